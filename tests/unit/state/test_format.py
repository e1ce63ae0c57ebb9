"""The state directory says its format; an older one is migrated, whatever interrupts that."""

import itertools
import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from certrotd.audit.log import AuditLog
from certrotd.audit.record import Happened
from certrotd.clock import ManualClock
from certrotd.errors import LockHeld, NeedsOperator
from certrotd.files.disktrouble import DiskTrouble
from certrotd.state.format import FILE, migrate, require_current, require_known
from certrotd.state.journal import FileJournal, in_flight
from certrotd.state.lock import hold
from certrotd.state.records import decode, encode

NOW = datetime(2026, 6, 1, tzinfo=UTC)
BEGUN = {"t": "begin", "id": "r1", "name": "web", "why": "due", "plan": [], "facts": {}}
NEXT = {"t": "paused", "i": 0, "why": "no answer"}
LINE = {"id": "r0", "name": "web", "failure": None, "failures": 0}
CALLS = ("rename", "unlink", "fsync", "mkdir", "write")


class Killed(BaseException):
    """The process ends here."""


def lock(path: Path, what: str) -> AbstractContextManager[object]:
    return hold(path, what=what, command="certrotd test", now=NOW)


def upgrade(state: Path) -> None:
    migrate(state, lock, daemon=state / "locks/_daemon.lock")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """What format 1 left: a rotation in flight, histories, locks, a budget, an audit log."""
    state = tmp_path / "state"
    for folder in ("journal", "history", "locks", "budget"):
        (state / folder).mkdir(parents=True)
    (state / "journal/web.jsonl").write_bytes(encode(BEGUN) + encode(NEXT))
    for name in ("web", "mail"):
        (state / f"history/{name}.jsonl").write_bytes(encode({**LINE, "name": name}))
        (state / f"locks/{name}.lock").touch()
    (state / "locks/_daemon.lock").touch()
    (state / "budget/ca.json").write_text("{}")
    audit_of(state).record(Happened("rotation.began", "web", "r1"))
    return state


def audit_of(state: Path) -> AuditLog:
    return AuditLog(state / "audit", clock=ManualClock(NOW), command="test")


def require_whole(state: Path) -> None:
    """Nothing was lost, and everything lies where this version looks for it."""
    assert require_known(state) == 2
    require_current(state)
    assert in_flight(state) == {"certificate/web"}
    begun, *rest = FileJournal(state, "certificate/web").records()
    rest_of = {key: value for key, value in BEGUN.items() if key != "name"}
    assert (begun, rest) == ({**rest_of, "subject": "certificate/web"}, [NEXT])
    for name in ("web", "mail"):
        line = FileJournal(state, f"certificate/{name}").history.last()
        assert line == {**LINE, "name": name}
    shown = {str(each.relative_to(state)) for each in state.rglob("*") if each.is_file()}
    assert shown == {
        FILE,
        *(f"{each}/certificate/web.{end}" for each, end in ENDS),
        *(f"{each}/certificate/mail.{end}" for each, end in ENDS[1:]),
        *("locks/_daemon.lock", "budget/ca.json"),
        *("audit/audit.jsonl", "audit/head.json", "audit/lock"),
    }
    assert audit_of(state).verify().broken is None


ENDS = (("journal", "jsonl"), ("history", "jsonl"), ("locks", "lock"))


def test_an_older_state_is_migrated_and_nothing_is_lost(state: Path) -> None:
    """Rotations in flight, histories, locks, budgets, the audit log."""
    upgrade(state)
    require_whole(state)
    upgrade(state)
    require_whole(state)


def test_a_migration_that_is_killed_anywhere_is_finished_by_the_next(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after each call that changes the disk, and twice in a row."""
    kills = 0
    for number in itertools.count():
        for after in (False, True):
            copy = state.with_name(f"state-{number}-{after}")
            _copy(state, copy)
            for again in (number, number // 2):
                if not _killed(copy, again, after=after, patch=monkeypatch):
                    break
                kills += 1
            upgrade(copy)
            _swept(copy)
            require_whole(copy)
        if not _killed_first(number, state, monkeypatch):
            break
    assert kills > 40


def _killed_first(number: int, state: Path, patch: pytest.MonkeyPatch) -> bool:
    copy = state.with_name(f"last-{number}")
    _copy(state, copy)
    return _killed(copy, number, after=False, patch=patch)


def _killed(state: Path, number: int, *, after: bool, patch: pytest.MonkeyPatch) -> bool:
    """Migrate, and end at the call of that number; whether it came so far."""
    counted = itertools.count()

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            due = next(counted) == number
            if due and not after:
                raise Killed
            result = real(*arguments, **more)
            if due:
                raise Killed
            return result

        return call

    with patch.context() as patched:
        for name in CALLS:
            patched.setattr(os, name, failing(getattr(os, name)))
        try:
            upgrade(state)
        except Killed:
            return True
    return False


def _copy(source: Path, target: Path) -> None:
    for each in sorted(source.rglob("*")):
        there = target / each.relative_to(source)
        if each.is_dir():
            there.mkdir(parents=True)
        else:
            there.write_bytes(each.read_bytes())


def _swept(state: Path) -> None:
    for each in state.rglob("*.certrotd-tmp"):
        each.unlink()


def test_a_new_state_says_its_format(tmp_path: Path) -> None:
    """So that no later version takes it for an old one."""
    assert require_known(tmp_path) is None
    require_current(tmp_path)
    upgrade(tmp_path)
    assert json.loads((tmp_path / FILE).read_bytes()) == {"format": 2}


def test_a_newer_state_is_refused_with_a_reason(tmp_path: Path) -> None:
    """Nothing is read that may mean something else by now, and nothing written."""
    (tmp_path / FILE).write_text('{"format": 3}')
    for look in (upgrade, require_known, require_current):
        with pytest.raises(NeedsOperator, match=r"newer certrotd \(format 3, this one knows 2\)"):
            look(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"format": "2"}', b'{"format": true}', b'{"format": 0}'],
)
def test_a_format_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    """To guess could lose a rotation in flight."""
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(NeedsOperator, match="is not what certrotd wrote"):
        upgrade(tmp_path)


def test_a_listing_refuses_an_older_state(state: Path) -> None:
    """What is in flight would not be seen; the words say who migrates it."""
    with pytest.raises(NeedsOperator, match="format 1 of an older certrotd") as refused:
        require_current(state)
    assert "systemctl restart certrotd" in refused.value.hint
    assert "rotate migrates it" in refused.value.hint


@pytest.mark.parametrize("held", ["locks/_daemon.lock", "locks/mail.lock"])
def test_a_state_is_not_migrated_under_an_older_process(state: Path, held: str) -> None:
    """It would write where nobody looks any more."""
    with lock(state / held, "it"), pytest.raises(NeedsOperator, match="cannot be migrated yet"):
        upgrade(state)
    assert require_known(state) is None
    upgrade(state)
    require_whole(state)


def test_a_lock_that_is_held_is_held_by_its_new_name_too(state: Path) -> None:
    """A process that has the file open keeps out who opens it by the other name."""
    upgrade(state)
    path = state / "locks/certificate/web.lock"
    with lock(path, "it"), pytest.raises(LockHeld), lock(path, "it"):
        pass


def test_a_damaged_journal_is_moved_as_it_is(state: Path) -> None:
    """Its rotation says so, and the others are migrated."""
    data = b"damaged\n" + encode(NEXT)
    (state / "journal/web.jsonl").write_bytes(data)
    upgrade(state)
    assert (state / "journal/certificate/web.jsonl").read_bytes() == data


def test_a_torn_last_record_is_one_that_never_happened(state: Path) -> None:
    """As in every other journal."""
    with (state / "journal/web.jsonl").open("ab") as file:
        file.write(encode(NEXT)[:9])
    upgrade(state)
    data = (state / "journal/certificate/web.jsonl").read_bytes()
    assert len(decode(data, what="it")[0]) == 2


@pytest.mark.parametrize("folder", ["journal", "history"])
def test_files_of_both_formats_are_left_to_the_operator(state: Path, folder: str) -> None:
    """An older version ran in between: which is right a person has to say."""
    new = state / folder / "certificate/web.jsonl"
    new.parent.mkdir()
    new.write_bytes(encode({"id": "another"}))
    with pytest.raises(NeedsOperator, match="are both there"):
        upgrade(state)
    assert new.read_bytes() == encode({"id": "another"})
    assert (state / folder / "web.jsonl").exists()


def test_a_folder_that_cannot_be_listed_is_reported(state: Path) -> None:
    """Nothing is said to be migrated then."""
    (state / "journal/web.jsonl").unlink()
    (state / "journal").rmdir()
    (state / "journal").write_text("in the way")
    with pytest.raises(DiskTrouble, match="cannot list"):
        upgrade(state)
    require_current(state)  # who reads finds it out, and says what it was at


def downgrade(state: Path, *, journal: bool = True) -> None:
    """What an older certrotd leaves on a state of today's format: it begins anew beside it."""
    line = {"id": "r2", "name": "web", "failure": "no answer", "failures": 1, "ended": "later"}
    (state / "history/web.jsonl").write_bytes(encode(line))
    (state / "locks/web.lock").touch()
    if journal:
        (state / "journal/web.jsonl").write_bytes(encode({**BEGUN, "id": "r3"}))


@pytest.fixture
def downgraded(state: Path) -> Path:
    """A state that was upgraded, emptied of rotations in flight, and downgraded."""
    upgrade(state)
    FileJournal(state, "certificate/web").clear()
    downgrade(state)
    return state


def require_taken_over(state: Path) -> None:
    """The rotation in flight and the latest failure are there, behind what was there before."""
    require_current(state)
    [begun] = FileJournal(state, "certificate/web").records()
    assert (begun["id"], begun["subject"]) == ("r3", "certificate/web")
    lines = FileJournal(state, "certificate/web").history.lines()
    assert [(each["id"], each["failures"]) for each in lines] == [("r0", 0), ("r2", 1)]
    assert not (state / "journal/web.jsonl").exists()
    assert not (state / "history/web.jsonl").exists()


def test_files_of_an_older_version_after_a_downgrade_are_taken_over(downgraded: Path) -> None:
    """Else its order and its TXT records stayed behind, and its failures did not count."""
    with pytest.raises(NeedsOperator, match="files in the format 1 of an older certrotd"):
        require_current(downgraded)
    said = migrate(downgraded, lock, daemon=downgraded / "locks/_daemon.lock")
    assert "ran on" in said
    assert said.endswith("took over what it wrote for web")
    require_taken_over(downgraded)
    assert migrate(downgraded, lock, daemon=None) == ""


def test_taking_over_that_is_killed_anywhere_is_finished_by_the_next(
    downgraded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line of history twice, no journal lost."""
    for number in itertools.count():
        copy = downgraded.with_name(f"downgraded-{number}")
        _copy(downgraded, copy)
        killed = _killed(copy, number, after=False, patch=monkeypatch)
        upgrade(copy)
        require_taken_over(copy)
        if not killed:
            break
    assert number > 5


def test_two_rotations_in_flight_of_one_certificate_are_refused(state: Path) -> None:
    """Nobody can tell which of the two is to be gone on with."""
    upgrade(state)
    downgrade(state)
    with pytest.raises(NeedsOperator, match="an older certrotd ran after this one"):
        upgrade(state)
    assert (state / "journal/web.jsonl").exists()


def test_a_running_rotation_of_this_version_blocks_the_takeover(downgraded: Path) -> None:
    """It writes the history that would be added to."""
    with (
        lock(downgraded / "locks/certificate/web.lock", "certificate web"),
        pytest.raises(NeedsOperator, match="cannot be migrated yet"),
    ):
        upgrade(downgraded)


def test_locks_of_an_older_version_alone_are_no_reason_to_migrate(state: Path) -> None:
    """They hold nothing, and removing one could let two processes lock two files."""
    upgrade(state)
    (state / "locks/web.lock").touch()
    require_current(state)
    assert migrate(state, lock, daemon=None) == ""
