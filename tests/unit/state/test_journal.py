"""The journal of a rotation in flight, and the history it leaves: torn, damaged, full, repeated."""

import errno
import json
import os
import stat
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.errors import Failure, InvalidInput, NeedsOperator
from certrotd.files.disktrouble import DiskTrouble
from certrotd.rotation.flight import flight_in
from certrotd.state import history as history_module
from certrotd.state.history import FileHistory, with_line
from certrotd.state.journal import FileJournal, in_flight
from certrotd.state.ports import JournalBroken
from certrotd.state.records import decode, encode
from tests.fakes.journal import LateJournal, MemoryDisk, MemoryJournal
from tests.parts.process import descriptors

RECORDS: list[dict[str, Any]] = [
    {"t": "begin", "id": "r1", "plan": [], "why": "it is due — soon"},
    {"t": "try", "i": 0},
    {"t": "done", "i": 0, "facts": {"order": 'https://ca.test/"1"\n'}},
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def summary(rotation: str = "r1", failure: str | None = None, **more: Any) -> dict[str, Any]:
    """What a closed rotation leaves behind."""
    return {"id": rotation, "failure": failure, **more}


@pytest.fixture
def journal(tmp_path: Path) -> FileJournal:
    """A journal in a directory that is not there yet."""
    return FileJournal(tmp_path / "state", "web")


def filled(journal: FileJournal) -> FileJournal:
    """The journal with three records."""
    for record in RECORDS:
        journal.append(record, sync=True)
    return journal


def again(journal: FileJournal, tmp_path: Path) -> FileJournal:
    """The same journal in a new process."""
    return FileJournal(tmp_path / "state", "web")


class TestOneContract:
    """What the file and the one in memory, which the model explores, have in common."""

    @pytest.fixture(params=["file", "memory", "late"])
    def make(self, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Any]:
        """Makes the journal anew, as another process does."""
        disk = MemoryDisk()
        if request.param == "file":
            return lambda: FileJournal(tmp_path, "web")
        return lambda: (LateJournal if request.param == "late" else MemoryJournal)(disk)

    def test_a_rotation_in_flight_is_shown_without_locking_it(
        self, make: Callable[[], Any]
    ) -> None:
        """Whoever looks at a listing learns what to mend, while the rotation may be going on."""
        assert flight_in(make()) is None
        journal = make()
        begin = {"t": "begin", "id": "r1", "plan": [{"kind": "obtain", "intent": {}}]}
        journal.append({**begin, "at": "2026-06-01T12:00:00+00:00"}, sync=True)
        journal.append({"t": "try", "i": 0}, sync=True)
        journal.append({"t": "paused", "i": 0, "why": "obtain: no answer"}, sync=True)
        flight = flight_in(make())
        assert flight is not None
        assert (flight.step, flight.why, flight.tries) == ("obtain", "no answer", 1)

    def test_records_come_back_in_order(self, make: Callable[[], Any]) -> None:
        """And without any there is no rotation in flight."""
        assert make().records() == []
        journal = make()
        for record in RECORDS:
            journal.append(record, sync=False)
        assert journal.records() == make().records() == RECORDS

    def test_a_second_process_appends_behind_the_last_record(self, make: Callable[[], Any]) -> None:
        """A journal outlives many processes."""
        for record in RECORDS:
            make().append(record, sync=True)
        assert make().records() == RECORDS

    def test_closing_leaves_one_line_of_history(self, make: Callable[[], Any]) -> None:
        """And nothing in flight."""
        journal = make()
        journal.append(RECORDS[0], sync=True)
        journal.close(summary())
        assert make().records() == []
        assert make().history.lines() == [{**summary(), "failures": 0}]
        assert make().history.last() == {**summary(), "failures": 0}

    def test_closing_twice_leaves_one_line(self, make: Callable[[], Any]) -> None:
        """A crash between the history and the removal is followed by another close."""
        make().close(summary())
        make().append(RECORDS[0], sync=True)
        make().close(summary())
        assert len(make().history.lines()) == 1
        assert make().records() == []

    def test_failures_in_a_row_are_counted(self, make: Callable[[], Any]) -> None:
        """They decide on the backoff; a success forgives them."""
        for number, failure in enumerate(["429", "429", None, "full"]):
            make().close(summary(f"r{number}", failure))
        assert [line["failures"] for line in make().history.lines()] == [1, 2, 0, 1]

    def test_a_stopped_rotation_counts_neither_as_failure_nor_success(
        self, make: Callable[[], Any]
    ) -> None:
        """A restart is nobody's failure, and forgives none."""
        for number, (failure, stopped) in enumerate(
            [("stop", True), ("429", False), ("stop", True), ("429", False)]
        ):
            make().close(summary(f"r{number}", failure, stopped=stopped))
        assert [line["failures"] for line in make().history.lines()] == [0, 1, 1, 2]

    def test_failures_by_hand_are_counted_apart(self, make: Callable[[], Any]) -> None:
        """They say nothing of when to try unasked: that hangs on the last failure unasked."""
        attempts = [("no", True), ("no", False), ("no", True), ("stop", True), (None, True)]
        for number, (failure, by_hand) in enumerate(attempts):
            how = {"by_hand": by_hand, "stopped": failure == "stop", "ended": f"at {number}"}
            make().close(summary(f"r{number}", failure, **how))
        keys = ("failures", "by_hand_failures", "failed_at")
        assert [tuple(line.get(key) for key in keys) for line in make().history.lines()] == [
            (1, 1, None),
            (2, 1, "at 1"),
            (3, 2, "at 1"),
            (3, 2, "at 1"),
            (0, None, None),
        ]

    def test_a_journal_can_be_cleared_again_and_again(self, make: Callable[[], Any]) -> None:
        """A torn begin record is no rotation, and is swept."""
        make().append(RECORDS[0], sync=True)
        for _ in range(2):
            make().clear()
            assert make().records() == []

    def test_after_closing_the_next_rotation_begins_at_the_top(
        self, make: Callable[[], Any]
    ) -> None:
        """A daemon uses one journal object for many rotations."""
        journal = make()
        for number in range(2):
            journal.append(RECORDS[0], sync=True)
            journal.append(RECORDS[1], sync=True)
            assert journal.records() == RECORDS[:2]
            journal.close(summary(f"r{number}"))


class TestTornRecords:
    def test_a_record_torn_at_any_byte_never_happened(
        self, journal: FileJournal, tmp_path: Path
    ) -> None:
        """The act it announces comes only after it is whole."""
        filled(journal)
        data = journal.path.read_bytes()
        begin = len(data) - len(encode(RECORDS[-1]))
        for cut in range(begin, len(data)):
            journal.path.write_bytes(data[:cut])
            assert again(journal, tmp_path).records() == RECORDS[:-1]

    def test_a_torn_record_is_written_over(self, journal: FileJournal, tmp_path: Path) -> None:
        """Or the next record would be damaged by what is before it."""
        filled(journal)
        whole = journal.path.read_bytes()
        for cut in (1, len(encode(RECORDS[-1])) // 2):
            journal.path.write_bytes(whole[:-cut])
            again(journal, tmp_path).append(RECORDS[-1], sync=True)
            assert journal.path.read_bytes() == whole

    @pytest.mark.parametrize("hole", [b"\0", b"x"])
    def test_a_last_line_whose_middle_was_not_written_is_torn(
        self, journal: FileJournal, tmp_path: Path, hole: bytes
    ) -> None:
        """A file system may write the end of a line before its middle."""
        filled(journal)
        data = bytearray(journal.path.read_bytes())
        data[-20:-10] = hole * 10
        journal.path.write_bytes(data)
        assert again(journal, tmp_path).records() == RECORDS[:-1]

    def test_a_damaged_record_before_the_last_is_for_the_operator(
        self, journal: FileJournal, tmp_path: Path
    ) -> None:
        """No crash does that, and guessing what was done would be worse than asking."""
        filled(journal)
        data = bytearray(journal.path.read_bytes())
        data[len(encode(RECORDS[0])) + 30] ^= 1
        journal.path.write_bytes(data)
        with pytest.raises(NeedsOperator, match=r"web\.jsonl:2: the journal record is damaged"):
            again(journal, tmp_path).records()

    @given(st.lists(st.dictionaries(st.text(), JSON, max_size=3), max_size=5), st.data())
    def test_any_records_survive_any_cut(
        self, records: list[dict[str, Any]], data: st.DataObject
    ) -> None:
        """What decode() gives is always a beginning of what was written."""
        written = b"".join(encode(record) for record in records)
        cut = data.draw(st.integers(0, len(written)))
        read, whole = decode(written[:cut], what="it")
        assert json.loads(json.dumps(read)) == json.loads(json.dumps(records[: len(read)]))
        assert written[:whole] == b"".join(encode(record) for record in records[: len(read)])
        if cut == len(written):
            assert (len(read), whole) == (len(records), cut)

    @given(st.binary(max_size=200))
    def test_a_line_of_any_other_form_is_no_record(self, data: bytes) -> None:
        """Not a crash of the reader, and no record either."""
        try:
            read = decode(data, what="it")
        except NeedsOperator:
            read = [], 0
        assert read == ([], 0)

    def test_a_line_with_a_right_checksum_must_hold_json(self) -> None:
        """Nobody but us writes such a line, and we would not write this one."""
        assert decode(b'{"c":"%08x","r":oops}\n' % zlib.crc32(b"oops"), what="it") == ([], 0)

    @pytest.mark.parametrize("value", [[1], "text", 1])
    def test_a_line_with_a_right_checksum_must_hold_an_object(self, value: object) -> None:
        """Records are objects, whoever wrote the line."""
        assert decode(encode(value), what="it") == ([], 0)  # type: ignore[arg-type]


class TestTroubles:
    def test_a_full_disk_breaks_the_journal_and_the_next_record_follows_the_last_complete_one(
        self, journal: FileJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing may be begun that it would have to remember."""
        filled(journal)
        real = os.pwrite

        def full(handle: int, data: bytes, offset: int) -> int:
            return real(handle, data[: len(data) // 2], offset)

        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(JournalBroken, match="No space left") as broken:
            journal.append({"t": "try", "i": 1}, sync=True)
        assert broken.value.errno == errno.ENOSPC
        monkeypatch.undo()
        assert again(journal, tmp_path).records() == RECORDS
        journal.append({"t": "try", "i": 2}, sync=True)
        assert journal.records() == [*RECORDS, {"t": "try", "i": 2}]

    @pytest.mark.parametrize("call", ["open", "ftruncate", "pwrite", "fsync"])
    def test_any_call_that_fails_breaks_the_journal(
        self, journal: FileJournal, monkeypatch: pytest.MonkeyPatch, call: str
    ) -> None:
        """And leaves no handle open."""
        filled(journal).release()

        def failing(*_: object, **__: object) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        before = descriptors()
        monkeypatch.setattr(os, call, failing)
        with pytest.raises(JournalBroken, match="Input/output error"):
            journal.append({"t": "try", "i": 1}, sync=True)
        monkeypatch.undo()
        assert not descriptors() - before

    def test_only_synced_records_wait_for_the_disk(
        self, journal: FileJournal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A rotation has some forty records, of which half need no fsync of their own."""
        filled(journal)
        synced: list[int] = []
        monkeypatch.setattr(os, "fsync", synced.append)
        journal.append({"t": "done", "i": 1, "facts": {}}, sync=False)
        assert not synced
        journal.append({"t": "try", "i": 2}, sync=True)
        assert len(synced) == 1

    def test_records_that_need_no_sync_are_written_with_the_next_synced_one(
        self, journal: FileJournal, tmp_path: Path
    ) -> None:
        """One write for both, and before an act is begun both are there."""
        filled(journal)
        journal.append({"t": "done", "i": 1, "facts": {}}, sync=False)
        assert again(journal, tmp_path).records() == RECORDS
        journal.append({"t": "try", "i": 2}, sync=True)
        assert [each["t"] for each in again(journal, tmp_path).records()[3:]] == ["done", "try"]

    def test_a_released_journal_is_written_and_closed(
        self, journal: FileJournal, tmp_path: Path
    ) -> None:
        """A rotation that waits for days holds no file open, and has said all it knows."""
        before = descriptors()
        filled(journal).append({"t": "paused", "i": 1}, sync=False)
        assert len(descriptors() - before) == 1
        journal.release()
        assert not descriptors() - before
        assert again(journal, tmp_path).records() == [*RECORDS, {"t": "paused", "i": 1}]

    @pytest.mark.parametrize("content", [b"damaged\nbefore the last line\n", None])
    def test_a_journal_nobody_understands_is_in_flight_and_says_so(
        self, journal: FileJournal, content: bytes | None
    ) -> None:
        """A listing that left it out would say that all is well."""
        journal.path.parent.mkdir(parents=True)
        if content is None:
            journal.path.mkdir()
        else:
            journal.path.write_bytes(content)
        flight = flight_in(journal)
        assert flight is not None
        assert ("is damaged" if content else "not a regular file") in flight.why

    def test_what_cannot_be_a_kind_among_the_journals_is_ignored(self, tmp_path: Path) -> None:
        """The lost+found of a file system of its own is nobody's to read, and no rotation."""
        folder = tmp_path / "journal"
        for each in ("lost+found/x.jsonl", "certificate/web.jsonl"):
            (folder / each).parent.mkdir(parents=True)
            (folder / each).touch()
        (folder / "README").touch()
        assert in_flight(tmp_path) == {"certificate/web"}
        (folder / "token").touch()  # the control: in the place of a kind it hides journals
        with pytest.raises(DiskTrouble):
            in_flight(tmp_path)

    def test_journals_that_cannot_be_listed_are_a_trouble(self, tmp_path: Path) -> None:
        """Nothing in flight and nothing known are not the same."""
        assert in_flight(tmp_path) == frozenset()
        (tmp_path / "journal").write_text("a file in its place")
        with pytest.raises(DiskTrouble, match="Not a directory") as met:
            in_flight(tmp_path)
        assert "move it away" in met.value.hint
        with pytest.raises(DiskTrouble):
            flight_in(FileJournal(tmp_path, "web"))

    def test_a_record_that_could_not_be_written_is_not_written_later(
        self, journal: FileJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The rotation has gone back by then: it would be a lie."""
        filled(journal).append({"t": "done", "i": 1, "facts": {}}, sync=False)

        def failing(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "pwrite", failing)
        with pytest.raises(JournalBroken):
            journal.append({"t": "try", "i": 2}, sync=True)
        monkeypatch.undo()
        journal.release()
        assert journal.records() == again(journal, tmp_path).records() == RECORDS

    def test_a_symbolic_link_in_its_place_is_refused(
        self, journal: FileJournal, tmp_path: Path
    ) -> None:
        """Neither read nor written through (CVE-2016-1247)."""
        victim = tmp_path / "victim"
        victim.write_bytes(b"precious")
        journal.path.parent.mkdir(parents=True)
        journal.path.symlink_to(victim)
        with pytest.raises(DiskTrouble, match="symbolic link"):
            journal.records()
        journal._size = 0
        with pytest.raises(JournalBroken, match="symbolic link"):
            journal.append(RECORDS[0], sync=True)
        assert victim.read_bytes() == b"precious"

    def test_a_directory_that_cannot_be_made_begins_nothing(
        self, journal: FileJournal, tmp_path: Path
    ) -> None:
        """The state directory is a file, for example."""
        (tmp_path / "state").write_bytes(b"")
        with pytest.raises(DiskTrouble):
            journal.append(RECORDS[0], sync=True)

    def test_journal_and_history_are_private(self, journal: FileJournal) -> None:
        """They hold no secrets, and are nobody's business all the same."""
        filled(journal).close(summary())
        filled(journal)
        for path, wanted in (
            (journal.path, 0o600),
            (journal.path.parent, 0o700),
            (journal.history.path, 0o600),
            (journal.history.path.parent, 0o700),
        ):
            assert stat.S_IMODE(path.stat().st_mode) == wanted

    def test_a_history_that_cannot_be_written_keeps_the_journal(self, journal: FileJournal) -> None:
        """The next start closes the rotation again."""
        filled(journal)
        journal.history.path.mkdir(parents=True)
        with pytest.raises(Failure):
            journal.close(summary())
        assert journal.records() == RECORDS

    def test_a_file_that_cannot_be_removed_is_closed_by_the_next_start(
        self, journal: FileJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With one line of history, not two."""
        filled(journal)

        def readonly(*_: object) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        monkeypatch.setattr(os, "unlink", readonly)
        with pytest.raises(DiskTrouble, match="read-only"):
            journal.close(summary())
        monkeypatch.undo()
        again(journal, tmp_path).close(summary())
        assert (journal.records(), len(journal.history.lines())) == ([], 1)


class TestHistory:
    @pytest.fixture
    def history(self, tmp_path: Path) -> FileHistory:
        """The history of a name without one."""
        return FileHistory(tmp_path, "web")

    def test_a_new_certificate_has_no_history(self, history: FileHistory) -> None:
        """A certificate that was never rotated has no failures either."""
        assert (history.last(), history.lines()) == (None, [])

    def test_the_newest_lines_are_kept(
        self, history: FileHistory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A history does not grow for ever."""
        monkeypatch.setattr(history_module, "HISTORY_LINES", 3)
        for number in range(5):
            history.add(summary(f"r{number}"))
        assert [line["id"] for line in history.lines()] == ["r2", "r3", "r4"]

    def test_no_more_is_kept_than_is_read_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Or a rotation could never be closed again."""
        lines: list[dict[str, Any]] = []
        for number in range(5):
            lines = with_line(lines, summary(f"r{number}", facts="x" * 100))
        monkeypatch.setattr(
            history_module, "MAX_HISTORY", sum(len(encode(each)) for each in lines[2:])
        )
        kept = with_line(lines, summary("r5", facts="x" * 100))
        assert [line["id"] for line in kept] == ["r3", "r4", "r5"]

    def test_the_last_line_is_found_behind_many(self, history: FileHistory) -> None:
        """It is read from the end: a listing asks for 10,000 of them."""
        for number in range(200):
            history.add(summary(f"r{number}", why="w" * 300))
        assert (history.last() or {})["id"] == "r199"

    def test_an_unusually_long_last_line_is_found_too(self, history: FileHistory) -> None:
        """A hundred TXT records left behind must not be forgotten with the failures."""
        history.add(summary("r1"))
        history.add(summary("r2", "429", left=["x" * 2000] * 100))
        assert (history.last() or {})["id"] == "r2"

    def test_damaged_lines_are_passed_over(self, history: FileHistory) -> None:
        """History is for people and for backoff, not for recovery."""
        for number in range(3):
            history.add(summary(f"r{number}"))
        lines = history.path.read_bytes().split(b"\n")
        history.path.write_bytes(b"\n".join([lines[0], b"garbage", lines[2][:-5], b""]))
        assert [line["id"] for line in history.lines()] == ["r0"]
        assert (history.last() or {})["id"] == "r0"

    def test_a_history_of_garbage_is_none(self, history: FileHistory) -> None:
        """The next rotation begins a new one."""
        history.path.parent.mkdir()
        history.path.write_bytes(b"garbage" * 10_000)
        assert (history.last(), history.lines()) == (None, [])

    def test_a_symbolic_link_is_refused(self, history: FileHistory, tmp_path: Path) -> None:
        """It is said, not taken for an empty history."""
        history.path.parent.mkdir()
        history.path.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(DiskTrouble, match="symbolic link"):
            history.last()

    def test_a_huge_history_is_refused(
        self, history: FileHistory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It was not written by us."""
        history.add(summary())
        monkeypatch.setattr(history_module, "MAX_HISTORY", 10)
        with pytest.raises(InvalidInput, match="larger than"):
            history.lines()
