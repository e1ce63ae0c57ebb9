"""One contract for the places where state lives: a directory, and memory as a cluster would be."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certrotd.clock import Deadline, ManualClock
from certrotd.errors import InvalidInput, LockHeld
from certrotd.files.disktrouble import DiskTrouble
from certrotd.kube.access import Access, trusting
from certrotd.kube.api import LEASES, Api
from certrotd.kube.found_lease import DURATION
from certrotd.kube.leases import SHARE
from certrotd.kube.names import object_name
from certrotd.kube.state import NEEDED, ClusterState
from certrotd.state.directory import StateDirectory
from certrotd.state.document import FileDocument
from certrotd.state.ports import ABSENT, Conflict, Fenced, State, TooLarge
from certrotd.state.records import Unrecordable
from certrotd.state.typed import TypedDocument
from tests.fakes.state import MemoryState
from tests.parts.kubernetes import ControlPlane
from tests.parts.process import wait_until

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SUBJECT = "certificate/web"
BEGIN = {"t": "begin", "id": "r1", "plan": []}
SUMMARY = {"id": "r1", "failure": None, "ended": NOW.isoformat()}


@pytest.fixture(params=["directory", "memory", "cluster"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> State:
    """Each of the places, empty."""
    if request.param == "memory":
        return MemoryState()
    if request.param == "cluster":
        return Clustered(request.getfixturevalue("control_plane"))
    return StateDirectory(tmp_path, command="certrotd test", now=lambda: NOW)


class Clustered(ClusterState):
    """That of a namespace of its own, by an account that may do what it needs alone."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane, self.namespace, self.clock = plane, plane.namespace(), ManualClock(NOW)
        rules = [
            {"apiGroups": ["" if of.group == "api/v1" else of.group.split("/")[1]],
             "resources": [of.plural], "verbs": list(verbs)}
            for of, verbs in NEEDED.items()
        ]  # fmt: skip
        who = plane.service_account(self.namespace, "certrotd")
        plane.allow(self.namespace, "certrotd", *rules)
        assert who.token is not None
        access = Access(who.server, trusting(who.ca_file), self.namespace, lambda: who.token or "")
        api = Api(access, self.clock, agent="certrotd test")
        super().__init__(api, self.namespace, "certrotd", words="pod certrotd-0", every=0)

    def lose(self, name: str) -> None:
        """Somebody deletes the Lease, and it is time to write it again."""
        self.plane.api.delete(LEASES.path(self.namespace, object_name("certrotd-lock", name)))
        self.clock.advance(timedelta(seconds=DURATION / SHARE + 1))


@pytest.fixture
def lose(state: State, tmp_path: Path) -> Callable[[str], None]:
    """Takes a lock from its holder, as an operator's rm or a lease that runs out does."""
    if isinstance(state, MemoryState | Clustered):
        return state.lose
    return lambda name: (tmp_path / "locks" / f"{name}.lock").unlink()


def soon(ask: Callable[[], frozenset[str]], *wanted: str) -> frozenset[str]:
    """All that is answered until these are: a cluster tells it a moment later."""
    found: set[str] = set()

    def heard() -> bool:
        found.update(ask())
        return found.issuperset(wanted)

    wait_until(heard, what=f"{wanted} are heard of")
    return frozenset(found)


class TestDocuments:
    def test_a_document_is_read_back(self, state: State) -> None:
        """By its name, whoever asks; before the first write there is none."""
        assert (state.document("clock").read(), state.document("clock").revision()) == (
            None,
            ABSENT,
        )
        revision = state.document("clock").write(b"one")
        found = state.document("clock").read()
        assert found is not None
        assert (found.data, found.revision) == (b"one", revision)
        assert state.document("clock").revision() == revision != ABSENT

    def test_documents_in_folders_are_apart(self, state: State) -> None:
        """A budget is one of many."""
        state.document("budget/a").write(b"a")
        state.document("budget/b").write(b"b")
        found = state.document("budget/a").read()
        assert found is not None
        assert found.data == b"a"

    def test_a_write_that_somebody_else_was_quicker_with_conflicts(self, state: State) -> None:
        """And the other's stands: a lost update of a keyring is a lost key."""
        document = state.document("ring")
        read = document.write(b"one", expected=ABSENT)
        document.write(b"two", expected=read)
        with pytest.raises(Conflict):
            document.write(b"three", expected=read)
        with pytest.raises(Conflict):
            document.write(b"first", expected=ABSENT)
        found = document.read()
        assert found is not None
        assert found.data == b"two"

    def test_a_damaged_document_is_kept_aside_and_begun_anew(self, state: State) -> None:
        """What certrotd did not write is not written over, and holds nothing up."""
        said: list[str] = []
        document = state.document("clock")
        typed = TypedDocument(document, _number, _bytes, report=said.append, loss=", begun anew")
        assert (typed.read(), said) == (None, [])
        typed.write(7)
        assert (typed.read(), typed.changed(), said) == (7, False, [])
        document.write(b"seven")
        assert typed.changed()
        assert (typed.peek(), said) == (None, [])
        assert typed.read() is None
        [line] = said
        assert line.startswith(document.place)
        assert line.endswith(", begun anew")
        assert document.read() is None
        typed.replace(8)
        assert typed.read() == 8

    def test_a_typed_document_is_replaced_only_as_it_was_read(self, state: State) -> None:
        """Two processes that count the same budget do not forget each other's orders."""
        mine, other = (TypedDocument(state.document("b"), _number, _bytes) for _ in range(2))
        mine.read()
        other.read()
        mine.replace(1)
        with pytest.raises(Conflict):
            other.replace(1)
        assert other.read() == 1
        other.replace(2)
        assert mine.changed()
        assert mine.read() == 2


class TestFolders:
    def test_files_of_a_folder_are_read_back(self, state: State) -> None:
        """One that is written anew leaves the others as they are."""
        folder = state.folder("accounts/ca")
        assert (folder.names(), folder.read("account.key", limit=99)) == (frozenset(), None)
        folder.write("account.key", b"key")
        folder.write("account.json", b"{}")
        folder.write("account.json", b"{1}")
        again = state.folder("accounts/ca")
        assert again.names() == {"account.key", "account.json"}
        assert again.read("account.key", limit=99) == b"key"
        assert again.read("account.json", limit=3) == b"{1}"
        assert state.folder("accounts/other").names() == frozenset()
        assert "account.key" in again.where("account.key")

    def test_a_file_that_is_larger_than_its_reader_allows_is_refused(self, state: State) -> None:
        """Nothing that certrotd writes is that large."""
        folder = state.folder("accounts/ca")
        folder.write("account.key", b"key")
        with pytest.raises(InvalidInput, match=r"account\.key"):
            folder.read("account.key", limit=2)

    def test_a_file_is_added_only_where_there_is_none(self, state: State) -> None:
        """The key of an account: whoever lost the lock must not replace it."""
        folder = state.folder("accounts/ca")
        folder.add("account.key", b"key")
        folder.add("account.json", b"{}")
        with pytest.raises(Conflict, match=r"account\.key"):
            state.folder("accounts/ca").add("account.key", b"other")
        assert folder.names() == {"account.key", "account.json"}
        assert folder.read("account.key", limit=9) == b"key"

    def test_a_file_that_is_removed_leaves_the_others(self, state: State) -> None:
        """The key that an account had; where it is gone already, nothing happens."""
        folder = state.folder("accounts/ca")
        folder.remove("old.key")
        folder.write("account.key", b"key")
        folder.write("old.key", b"old")
        for _ in range(2):
            folder.remove("old.key")
            assert state.folder("accounts/ca").names() == {"account.key"}
        assert folder.read("account.key", limit=9) == b"key"

    def test_files_are_created_together_and_only_where_there_are_none(self, state: State) -> None:
        """The root of a CA: a second one would be trusted by nobody."""
        folder = state.folder("internal/lab")
        folder.create({"root.key": b"k", "root.pem": b"c"})
        assert folder.names() == {"root.key", "root.pem"}
        with pytest.raises(DiskTrouble, match="not empty"):
            folder.create({"root.key": b"other", "root.pem": b"other"})
        assert folder.read("root.key", limit=9) == b"k"

    def test_a_folder_is_locked_by_one_at_a_time(self, state: State) -> None:
        """Two processes make one account."""
        clock = ManualClock(NOW)
        folder = state.folder("accounts/ca")
        with (
            folder.locked("the account", Deadline(clock, 1)),
            pytest.raises(LockHeld, match="the account"),
            state.folder("accounts/ca").locked("the account", Deadline(clock, 1)),
        ):
            pass
        with folder.locked("the account", Deadline(clock, 1)):
            pass


class TestJournals:
    def test_an_open_journal_is_listed_until_it_is_closed(self, state: State) -> None:
        """Whoever starts learns what to go on with, and a closed rotation is a line of history."""
        assert state.in_flight() == frozenset()
        journal = state.journal(SUBJECT)
        journal.append(BEGIN, sync=True)
        assert state.in_flight() == {SUBJECT}
        assert (state.flying(SUBJECT), state.flying("certificate/www")) == (True, False)
        assert state.journal(SUBJECT).peek() == [BEGIN]
        journal.append({"t": "end"}, sync=False)
        journal.close(SUMMARY)
        assert (state.in_flight(), state.journal(SUBJECT).peek()) == (frozenset(), None)
        last = state.journal(SUBJECT).history.last()
        assert last is not None
        assert last["id"] == "r1"
        assert state.journal(SUBJECT).history.lines() == [last]
        journal.close(SUMMARY)  # a crash came between, and it is closed again
        assert state.journal(SUBJECT).history.lines() == [last]

    def test_records_of_another_process_are_seen(self, state: State) -> None:
        """Released ones, which nobody holds back any more."""
        mine = state.journal(SUBJECT)
        mine.append(BEGIN, sync=True)
        mine.append({"t": "note", "facts": {}}, sync=False)
        mine.release()
        assert state.journal(SUBJECT).records() == [BEGIN, {"t": "note", "facts": {}}]

    def test_dropped_records_are_never_written(self, state: State) -> None:
        """They would land among those of the next holder of the lock."""
        mine = state.journal(SUBJECT)
        mine.append(BEGIN, sync=True)
        mine.append({"t": "done", "i": 0}, sync=False)
        mine.drop()
        mine.release()
        assert state.journal(SUBJECT).records() == [BEGIN]

    def test_what_is_no_json_is_refused(self, state: State) -> None:
        """Before anything of it is written."""
        journal = state.journal(SUBJECT)
        with pytest.raises(Unrecordable):
            journal.append({"t": "note", "facts": {"x": object()}}, sync=True)
        assert journal.records() == []

    def test_changes_of_one_kind_are_told(self, state: State) -> None:
        """A rotation by hand is seen by the daemon; that of a key is none of a certificate."""
        changes = state.changes("certificate")
        state.journal("certificate/old").append(BEGIN, sync=True)
        assert changes.subjects() == frozenset()
        state.journal("key/web2").append(BEGIN, sync=True)
        state.journal(SUBJECT).append(BEGIN, sync=True)
        assert "key/web2" not in soon(changes.subjects, SUBJECT)
        assert state.in_flight() == {"certificate/old", "key/web2", SUBJECT}
        assert state.flying(SUBJECT)
        state.journal(SUBJECT).close(SUMMARY)
        soon(changes.subjects, SUBJECT)
        assert not state.flying(SUBJECT)

    def test_a_wake_is_heard_once_and_by_its_kind_alone(self, state: State) -> None:
        """Whoever acknowledges tells it twice, to be sure; a key's is none of a certificate."""
        changes = state.changes("certificate")
        assert changes.woken() == frozenset()
        for subject in (SUBJECT, "certificate/www", SUBJECT, "key/web"):
            state.wake(subject)
        both = SUBJECT, "certificate/www"
        assert soon(changes.woken, *both) == {*both}
        assert changes.woken() == frozenset()
        assert state.changes("key").woken() == {"key/web"}
        state.wake(SUBJECT)
        assert soon(changes.woken, SUBJECT) == {SUBJECT}, "it is heard as often as it is told"

    def test_a_wake_of_another_shard_is_left_for_it(self, state: State) -> None:
        """Each daemon hears of its own subjects alone, whoever listens first."""
        state.wake(SUBJECT)
        others = state.changes("certificate", lambda subject: subject != SUBJECT)
        assert others.woken() == others.woken() == frozenset()
        state.wake("certificate/www")
        assert soon(others.woken, "certificate/www") == {"certificate/www"}
        assert state.changes("certificate", lambda subject: subject == SUBJECT).woken() == {SUBJECT}

    def test_a_wake_is_kept_while_nobody_listens(self, state: State) -> None:
        """The daemon is being restarted when the acknowledgement comes."""
        state.wake(SUBJECT)
        assert state.changes("certificate").woken() == {SUBJECT}
        assert state.changes("certificate").woken() == frozenset()

    def test_no_wake_is_lost_while_others_are_heard(self, state: State) -> None:
        """Several processes tell it, and the daemon listens meanwhile."""
        changes, told = state.changes("certificate"), [f"certificate/c{n}" for n in range(40)]
        heard: set[str] = set()
        with ThreadPoolExecutor(4) as pool:
            telling = pool.map(state.wake, told)
            while not heard.issuperset(told[:30]):
                heard |= changes.woken()
            list(telling)
        heard |= soon(changes.woken, *set(told) - heard)
        assert heard == set(told)


class TestLocks:
    def test_one_holds_a_lock_at_a_time(self, state: State) -> None:
        """And another one of another name."""
        with state.lock(SUBJECT, "certificate web") as lease:
            lease.check()
            with (
                pytest.raises(LockHeld, match="certificate web"),
                state.lock(SUBJECT, "certificate web"),
            ):
                pass
            with state.lock("certificate/www", "certificate www"):
                pass
        with state.lock(SUBJECT, "certificate web"):
            pass

    def test_tokens_rise(self, state: State) -> None:
        """What carries a lower one is written by somebody who lost the lock."""
        tokens = []
        for _ in range(3):
            with state.lock(SUBJECT, "certificate web") as lease:
                tokens.append(lease.token)
        assert tokens == sorted(set(tokens))

    def test_who_holds_a_lock_is_seen_without_taking_it(self, state: State) -> None:
        """A listing says why nothing happens, and keeps nobody out meanwhile."""
        assert state.holder("certificate/web") is None
        with state.lock("certificate/web", "certificate web") as lease:
            assert state.holder("certificate/web")
            assert state.holder("certificate/other") is None
            lease.check()
        assert state.holder("certificate/web") is None

    def test_a_lost_lock_is_noticed(self, state: State, lose: Callable[[str], None]) -> None:
        """Whoever lost it is fenced, and another one is at work."""
        with state.lock(SUBJECT, "certificate web") as lease:
            lose(SUBJECT)
            with pytest.raises(Fenced):
                lease.check()
            with state.lock(SUBJECT, "certificate web") as other:
                other.check()
                with pytest.raises(Fenced):
                    lease.check()
        with state.lock(SUBJECT, "certificate web") as third:
            third.check()

    def test_shared_locks_keep_out_only_who_wants_it_alone(self, state: State) -> None:
        """Files of several certificates may change at once, but not while a service reads them."""
        wait = Deadline(ManualClock(NOW), 3)
        with state.lock("_target-web", "web", shared=True) as lease:
            lease.check()
            with state.lock("_target-web", "web", shared=True):
                pass
            with pytest.raises(LockHeld), state.lock("_target-web", "web", wait=wait):
                pass
        with state.lock("_target-web", "web"):
            pass


def test_a_document_that_is_too_large_is_refused(tmp_path: Path) -> None:
    """A Secret keeps a MiB; what was there stays."""
    for document in (
        FileDocument(tmp_path, "big", limit=10),
        MemoryState(limit=10).document("big"),
    ):
        document.write(b"small")
        with pytest.raises(TooLarge):
            document.write(b"x" * 11)
        found: Any = document.read()
        assert found.data == b"small"


def test_a_stale_read_is_found_out_by_the_write(tmp_path: Path) -> None:
    """A cache may answer with what was; compare-and-swap is what makes that harmless."""
    del tmp_path
    memory = MemoryState()
    document = TypedDocument(memory.document("b"), _number, _bytes)
    document.write(1)
    document.write(2)
    memory.stale = 1
    assert document.read() == 1
    with pytest.raises(Conflict):
        document.replace(2)
    assert document.read() == 2


def _number(data: bytes) -> int:
    return int(data)


def _bytes(number: int) -> bytes:
    return str(number).encode()
