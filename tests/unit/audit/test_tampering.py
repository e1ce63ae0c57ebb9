"""What an append does about a log that is not as it was left."""

from collections.abc import Callable
from pathlib import Path

import pytest

from certrotd.audit.log import AuditLog
from certrotd.audit.record import DAMAGED, RECOVERED
from tests.unit.audit.kept import began, events, opened, records


class TestTampering:
    """What an append does about a log that is not as it was left."""

    def lines(self, folder: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
        path = folder / "audit.jsonl"
        path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))

    @pytest.fixture
    def log(self, folder: Path) -> AuditLog:
        log = opened(folder)
        for number in range(4):
            log.record(began(f"r{number}"))
        return log

    def test_a_cut_off_end_is_found_before_and_after_the_next_append(
        self, log: AuditLog, folder: Path
    ) -> None:
        """Certificates go on being rotated, and the gap never closes."""
        self.lines(folder, lambda lines: lines[:2])
        broken = log.verify().broken
        assert broken is not None
        assert (broken.what, broken.seq) == ("truncated", 3)
        log.record(began("r4"))
        assert [r.seq for r in records(log)] == [1, 2, 5, 6]
        assert events(log)[2] == DAMAGED
        log.record(began("r5"))
        broken = opened(folder).verify().broken
        assert broken is not None
        assert (broken.what, broken.seq) == ("removed", 3)

    def test_a_log_that_was_removed_is_found_after_the_next_append(
        self, log: AuditLog, folder: Path
    ) -> None:
        """The head knows that there was one."""
        (folder / "audit.jsonl").unlink()
        broken = log.verify().broken
        assert broken is not None
        assert broken.what == "truncated"
        log.record(began("r4"))
        assert records(log)[0].seq == 5
        assert log.verify().broken is not None

    def test_a_last_line_cut_in_the_middle_is_left_as_evidence(
        self, log: AuditLog, folder: Path
    ) -> None:
        """The head knows that it was complete: no crash did this, so nothing is cleaned away."""
        self.lines(folder, lambda lines: [*lines[:3], lines[3][:-9]])
        before = (folder / "audit.jsonl").read_bytes()
        log.record(began("r4"))
        assert (folder / "audit.jsonl").read_bytes().startswith(before + b"\n")
        broken = log.verify().broken
        assert broken is not None
        assert broken.seq == 4

    def test_a_removed_head_is_found_after_the_next_append(
        self, log: AuditLog, folder: Path
    ) -> None:
        """Together with it the end could have been removed."""
        (folder / "head.json").unlink()
        self.lines(folder, lambda lines: lines[:3])
        log = opened(folder)  # the one that wrote it would know
        log.record(began("r4"))
        broken = log.verify().broken
        assert broken is not None
        assert (broken.what, broken.seq) == ("damaged", 4)

    @pytest.mark.parametrize("text", ["{", "[]", '{"seq":"x","hash":1,"waiting":{}}'])
    def test_an_unreadable_head_is_found(self, log: AuditLog, folder: Path, text: str) -> None:
        """It is not taken for a missing one, nor does it end in a traceback."""
        (folder / "head.json").write_text(text)
        assert log.verify().broken is not None
        log.record(began("r4"))
        assert DAMAGED in events(log)

    def test_a_head_that_a_power_cut_emptied_is_made_anew(
        self, log: AuditLog, folder: Path
    ) -> None:
        """It is not synced, so this can happen; it is recorded, and not held against anybody."""
        (folder / "head.json").write_bytes(b"\0" * 40)
        log.record(began("r4"))
        assert events(log)[-2:] == [RECOVERED, "rotation.began"]
        verdict = log.verify()
        assert verdict.broken is None
        assert "power cut" in verdict.notes[0]

    def test_records_that_do_not_belong_are_left_as_evidence(
        self, log: AuditLog, folder: Path
    ) -> None:
        """A copy of an old record at the end is not what a crash leaves."""
        self.lines(folder, lambda lines: [*lines, lines[1]])
        log.record(began("r4"))
        assert [r.seq for r in records(log)] == [1, 2, 3, 4, 2, 5, 6]
        broken = log.verify().broken
        assert broken is not None
        assert (broken.what, broken.seq) == ("inserted", 2)


class TestNoticing:
    """Damage is told when it is noticed: at a check, and at the next append."""

    @pytest.fixture
    def told(self) -> list[str]:
        return []

    @pytest.fixture
    def log(self, folder: Path, told: list[str]) -> AuditLog:
        log = opened(folder, damaged=told.append)
        for number in range(3):
            log.record(began(f"r{number}"))
        log.check()
        assert told == []  # the control
        return log

    @pytest.mark.parametrize("kept", [0, 1, 2])
    @pytest.mark.parametrize("by", ["check", "append"])
    def test_a_log_that_was_emptied_or_cut_is_reported_once_and_continues(
        self, log: AuditLog, folder: Path, told: list[str], kept: int, by: str
    ) -> None:
        """A new piece of the chain says so, and the gap shows at every verification."""
        path = folder / "audit.jsonl"
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:kept]))
        log.check() if by == "check" else log.record(began("r3"))
        [why] = told
        assert "the log does not end with record 3, which the head file knows" in why
        assert [r.event for r in records(log)][kept] == DAMAGED
        log.check()
        log.record(began("r4"))
        assert len(told) == 1
        assert log.verify().broken is not None

    def test_a_log_restored_together_with_its_head_is_reported(
        self, log: AuditLog, folder: Path, told: list[str]
    ) -> None:
        """Both agree, and this process knows better; so it is with both removed."""
        before = {path: path.read_bytes() for path in folder.glob("*.json*")}
        log.record(began("r3"))
        for path, content in before.items():
            path.write_bytes(content)
        log.record(began("r4"))
        for path in before:
            path.unlink()
        log.check()
        assert [why.partition(", ")[0] for why in told] == [
            "the log and its head file end before record 4",
            "the log and its head file end before record 6",
        ]
        assert log.verify().broken is not None

    @pytest.mark.parametrize("by", ["check", "append"])
    def test_damage_that_another_process_met_first_is_reported_too(
        self, folder: Path, told: list[str], by: str
    ) -> None:
        """A rotation by hand goes on from there; the daemon has the alerts."""
        for number in range(3):
            opened(folder).record(began(f"r{number}"))
        log = opened(folder, damaged=told.append)
        log.check()
        opened(folder).record(began("r3"))
        log.check()
        assert told == []  # the control
        path = folder / "audit.jsonl"
        path.write_bytes(path.read_bytes()[:100])
        for number in (4, 5):
            opened(folder).record(began(f"r{number}"))
        for _ in range(2):
            log.check() if by == "check" else log.record(began("r6"))
        assert told == ["the log does not end with record 4, which the head file knows"]

    def test_damage_that_was_reported_before_the_start_is_not_reported_again(
        self, log: AuditLog, folder: Path, told: list[str]
    ) -> None:
        """It stays in the log, and every verification says so."""
        (folder / "audit.jsonl").write_bytes(b"")
        log.check()
        again: list[str] = []
        opened(folder, damaged=again.append).check()
        assert (len(told), again) == (1, [])

    def test_a_torn_append_of_a_crash_is_no_damage(
        self, log: AuditLog, folder: Path, told: list[str]
    ) -> None:
        """A torn append is for the next append; the head's temporary file is swept."""
        path, left = folder / "audit.jsonl", folder / ".head.json.certrotd-tmp"
        path.write_bytes(path.read_bytes() + b'{"at":"2026')
        left.write_text("{")
        log.check()
        assert (told, left.exists()) == ([], False)
        assert path.read_bytes().endswith(b'{"at":"2026')

    def test_a_check_makes_no_log_where_there_is_none(self, tmp_path: Path) -> None:
        opened(tmp_path / "audit").check()
        assert list(tmp_path.iterdir()) == []
