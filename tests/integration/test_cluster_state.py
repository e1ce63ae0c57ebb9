"""State in a cluster on its bad days: nothing is written twice, by two, or over another's."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certrotd.clock import Deadline, SystemClock
from certrotd.errors import LockHeld, NeedsOperator, Transient
from certrotd.files.disktrouble import DiskTrouble
from certrotd.kube.access import Access, from_kubeconfig, trusting
from certrotd.kube.api import CONFIG_MAPS, LEASES, SECRETS, Api, Expired
from certrotd.kube.documents import MAX_SECRET
from certrotd.kube.found_lease import DURATION, HOLDER, SHARERS
from certrotd.kube.leases import SHARE
from certrotd.kube.names import object_name
from certrotd.kube.objects import Objects
from certrotd.kube.records import MAX_JOURNAL, MAX_LINES
from certrotd.kube.state import NEEDED, ClusterState
from certrotd.kube.watch import Watched
from certrotd.state.directory import DAEMON_LOCK
from certrotd.state.ports import ABSENT, Conflict, Content, Fenced, JournalBroken, TooLarge
from tests.parts import Parts
from tests.parts.kubernetes import ControlPlane
from tests.parts.kubernetes.lossy import LossyWay
from tests.parts.process import wait_until

SUBJECT = "certificate/web"
BEGIN = {"t": "begin", "id": "r1", "plan": []}
SUMMARY = {"id": "r1", "failure": None, "ended": "2026-06-01T00:00:00+00:00"}
RULES = [
    {
        "apiGroups": ["" if kind.group == "api/v1" else kind.group.split("/")[1]],
        "resources": [kind.plural],
        "verbs": list(verbs),
    }
    for kind, verbs in NEEDED.items()
]


@dataclass(frozen=True)
class Home:
    """A namespace of an API server, and the account that has its state there."""

    plane: ControlPlane
    namespace: str
    token: str

    @classmethod
    def made(cls, plane: ControlPlane) -> Home:
        namespace = plane.namespace()
        who = plane.service_account(namespace, "certrotd")
        plane.allow(namespace, "certrotd", *RULES)
        assert who.token is not None
        return cls(plane, namespace, who.token)

    def api(self, *, server: str | None = None, timeout: float = 10.0) -> Api:
        """As one process has it."""
        context = trusting(self.plane.ca_file)
        access = Access(server or self.plane.url, context, self.namespace, lambda: self.token)
        return Api(access, SystemClock(), agent="certrotd test", timeout=timeout)

    def state(self, words: str = "pod a", *, api: Api | None = None, **given: Any) -> ClusterState:
        """That of one process."""
        api = api or self.api()
        return ClusterState(api, self.namespace, "certrotd", words=words, **{"every": 0, **given})

    def objects(self, part: str) -> Objects:
        """The Secrets of a part of the state."""
        return Objects(self.api(), SECRETS, self.namespace, "certrotd", part, 1.0)

    def lease(self, name: str = SUBJECT) -> str:
        """The path of a lock's Lease."""
        return LEASES.path(self.namespace, object_name("certrotd-lock", name))


@pytest.fixture
def home(control_plane: ControlPlane) -> Home:
    """In a server that is not harmed."""
    return Home.made(control_plane)


@pytest.fixture(scope="module")
def own_plane(module_parts: Parts) -> ControlPlane:
    """One that is."""
    return module_parts.start(ControlPlane)


@pytest.fixture
def own(own_plane: ControlPlane) -> Home:
    """A namespace of it."""
    return Home.made(own_plane)


class TestTwoWriters:
    """Whoever lost the lock writes nothing any more."""

    def test_a_record_after_another_has_written_is_fenced(self, home: Home) -> None:
        """The journal is as the other one left it."""
        mine, other = (home.state().journal(SUBJECT) for _ in range(2))
        mine.append(BEGIN, sync=True)
        assert other.records() == [BEGIN]
        other.append({"t": "resume"}, sync=True)
        with pytest.raises(Fenced, match=r"record\.certificate\.web in .* was changed"):
            mine.append({"t": "done", "i": 0}, sync=True)
        assert other.peek() == [BEGIN, {"t": "resume"}]

    @pytest.mark.parametrize("act", ["close", "clear", "replace"])
    def test_who_was_overtaken_closes_nothing(self, home: Home, act: str) -> None:
        """Nor clears, nor compacts: those replace the whole journal."""
        mine, other = (home.state().journal(SUBJECT) for _ in range(2))
        mine.append(BEGIN, sync=True)
        other.append({"t": "resume"}, sync=True)
        acts: dict[str, Callable[[], None]] = {
            "close": lambda: mine.close(SUMMARY),
            "clear": mine.clear,
            "replace": lambda: mine.replace([BEGIN]),
        }
        with pytest.raises(Fenced):
            acts[act]()
        assert home.state().journal(SUBJECT).peek() == [BEGIN, {"t": "resume"}]
        assert home.state().history(SUBJECT).lines() == []

    def test_a_journal_that_somebody_deleted_is_not_made_anew(self, home: Home) -> None:
        """It would have the end of a rotation without its beginning."""
        journal = home.state().journal(SUBJECT)
        journal.append(BEGIN, sync=True)
        path = SECRETS.path(home.namespace, object_name("certrotd-record", SUBJECT))
        home.plane.api.delete(path)
        with pytest.raises(Fenced):
            journal.append({"t": "done", "i": 0}, sync=True)
        assert journal.records() == []

    def test_many_who_compare_and_swap_lose_no_update(self, home: Home) -> None:
        """A counter that each raises by one, from eight threads."""
        state = home.state()
        state.document("n").write(b"0")

        def raised(_: int) -> None:
            while True:
                document = state.document("n")
                read = document.read()
                assert read is not None
                try:
                    document.write(b"%d" % (int(read.data) + 1), expected=read.revision)
                except Conflict:
                    continue
                return

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(raised, range(40)))
        found = state.document("n").read()
        assert found is not None
        assert found.data == b"40"


class TestLocks:
    """Leases that run out, are shared, or are frozen."""

    def test_a_lock_whose_holder_is_gone_is_had_once_it_ran_out(self, home: Home) -> None:
        """Not before: it may be at work yet."""
        state = home.state(duration=1)
        with state.lock(SUBJECT, "certificate web"):
            told = home.plane.api.get(home.lease())
        now = datetime.now(UTC)
        gone = {**told["spec"], "holderIdentity": "gone"}
        for ago, free in ((0.0, False), (60.0, True)):
            at = (now - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            home.plane.api.merge(
                home.lease(),
                {
                    "spec": {**gone, "renewTime": at, "acquireTime": at},
                    "metadata": {"annotations": {HOLDER: "pod gone (certrotd run)"}},
                },
            )
            assert home.state(duration=1).holder(SUBJECT) == (
                None if free else "pod gone (certrotd run)"
            )
            if free:
                with state.lock(SUBJECT, "certificate web") as lease:
                    lease.check()
            else:
                with (
                    pytest.raises(LockHeld, match=r"pod gone \(certrotd run\)"),
                    state.lock(SUBJECT, "certificate web"),
                ):
                    pass

    def test_a_lock_is_held_for_as_long_as_its_holder_works(self, home: Home) -> None:
        """It is renewed, though nothing is checked meanwhile: a step may take an hour."""
        with home.state(duration=1).lock(SUBJECT, "certificate web") as lease:
            deadline = time.monotonic() + 6  # past its duration and the slack
            while time.monotonic() < deadline:
                with (
                    pytest.raises(LockHeld),
                    home.state("pod b", duration=1).lock(SUBJECT, "certificate web"),
                ):
                    pass
                time.sleep(0.5)
            lease.check()

    def test_a_lock_that_follows_another_is_renewed_too(self, own: Home) -> None:
        """Though the thread that renewed the other has not ended yet: it waits for an answer."""
        state = own.state(duration=1)
        with state.lock("one", "one"):
            own.plane.pause()
            time.sleep(0.8)  # it is renewed every half of a second
        own.plane.resume()
        with state.lock("two", "two") as lease:
            before = own.plane.api.get(own.lease("two"))["spec"]["renewTime"]
            time.sleep(1.5)
            assert own.plane.api.get(own.lease("two"))["spec"]["renewTime"] > before
            lease.check()

    def test_what_a_daemon_holds_lasts_as_long_as_its_own_lease(self, home: Home) -> None:
        """That alone is renewed, however much is at work; and what is left of it stands alone."""
        state, other = home.state(duration=1), home.state("pod b", duration=1)
        with ExitStack() as work:
            with state.lock(DAEMON_LOCK, "the state"):
                lease = work.enter_context(state.lock(SUBJECT, "certificate web"))
                taken = home.plane.api.get(home.lease())
                deadline = time.monotonic() + 6  # past its duration and the slack
                while time.monotonic() < deadline:
                    with pytest.raises(LockHeld, match="pod a"), other.lock(SUBJECT, "it"):
                        pass
                    assert other.holder(SUBJECT) == "pod a"
                    time.sleep(0.5)
                lease.check()
                assert home.plane.api.get(home.lease()) == taken
            lease.check()
            wait_until(
                lambda: home.plane.api.get(home.lease())["spec"] != taken["spec"],
                what="it is renewed itself",
            )
            with pytest.raises(LockHeld), other.lock(SUBJECT, "certificate web"):
                pass
        with other.lock(SUBJECT, "certificate web") as lease:
            lease.check()

    def test_what_a_daemon_held_is_free_once_another_is_at_work(self, home: Home) -> None:
        """The next one goes on with its rotations at once."""
        state, other = home.state(), home.state("pod b")
        with state.lock(DAEMON_LOCK, "the state"), state.lock(SUBJECT, "certificate web") as lease:
            change = {"spec": {"holderIdentity": "another"}}
            home.plane.api.merge(home.lease(DAEMON_LOCK), change)
            with other.lock(SUBJECT, "certificate web") as theirs:
                theirs.check()
                time.sleep(DURATION / SHARE + 0.1)
                with pytest.raises(Fenced, match="the Lease of _daemon is not held any more"):
                    lease.check()

    def test_a_lock_that_is_let_go_is_had_at_once(self, home: Home) -> None:
        """By another process, with a higher token."""
        with home.state().lock(SUBJECT, "certificate web") as one:
            pass
        with home.state("pod b").lock(SUBJECT, "certificate web") as other:
            assert other.token > one.token
            assert home.state().holder(SUBJECT) == "pod b"

    def test_of_many_who_want_a_lock_one_has_it(self, home: Home) -> None:
        """Whoever writes first."""
        inside, most = [0], [0]
        counting = threading.Lock()

        def work(number: int) -> bool:
            try:
                with home.state(f"pod {number}").lock(SUBJECT, "certificate web"):
                    with counting:
                        inside[0] += 1
                        most[0] = max(most[0], inside[0])
                    time.sleep(0.2)
                    with counting:
                        inside[0] -= 1
            except LockHeld:
                return False
            return True

        with ThreadPoolExecutor(6) as pool:
            had = sum(pool.map(work, range(12)))
        assert had >= 1
        assert most == [1]

    def test_many_share_a_lock(self, home: Home) -> None:
        """Each of them writes the same Lease, and none takes that for a loss."""
        state = home.state()

        def work(_: int) -> None:
            with state.lock("_target-web", "web", shared=True) as lease:
                time.sleep(0.1)
                lease.check()

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(work, range(12)))
        with state.lock("_target-web", "web") as alone:
            alone.check()
        found = home.plane.api.get(home.lease("_target-web"))
        assert json.loads(found["metadata"]["annotations"][SHARERS]) == {}

    def test_who_shares_a_lock_that_ran_out_is_fenced(self, home: Home) -> None:
        """Another has had it alone meanwhile."""
        state = home.state()
        with state.lock("_target-web", "web", shared=True) as lease:
            home.plane.api.merge(
                home.lease("_target-web"), {"metadata": {"annotations": {SHARERS: "{}"}}}
            )
            time.sleep(DURATION / SHARE + 0.1)
            with pytest.raises(Fenced, match="ran out"):
                lease.check()

    def test_what_somebody_wrote_into_a_lease_stops_nobody(self, home: Home) -> None:
        """It is no time, and no list: so nobody holds it."""
        state = home.state()
        with state.lock(SUBJECT, "certificate web"):
            pass
        change = {"metadata": {"annotations": {SHARERS: "[1, 2"}}, "spec": {"holderIdentity": "x"}}
        home.plane.api.merge(home.lease(), change)
        with state.lock(SUBJECT, "certificate web") as lease:
            lease.check()

    @pytest.mark.parametrize("works", ["alone", "as a daemon"])
    def test_a_frozen_holder_that_thaws_is_fenced(
        self, home: Home, tmp_path: Path, works: str
    ) -> None:
        """It stood still while its Lease ran out and another rotated; it writes nothing more."""
        config = home.plane.admin.write_kubeconfig(tmp_path / "kubeconfig", home.namespace)
        command = [sys.executable, "-c", _HOLDER, str(config), home.namespace, works]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as holder:
            try:
                assert holder.stdout is not None
                assert holder.stdout.readline() == "held\n"
                holder.send_signal(signal.SIGSTOP)
                mine, wait = home.state("pod b", duration=1), Deadline(SystemClock(), 60)
                with mine.lock(SUBJECT, "certificate web", wait=wait) as lease:
                    journal = mine.journal(SUBJECT)
                    journal.append({"t": "resume"}, sync=True)
                    before = journal.records()
                    holder.send_signal(signal.SIGCONT)
                    said, _ = holder.communicate("go on\n", timeout=60)
                    lease.check()
                assert said == "fenced by the lock\nfenced by the journal\n"
                assert mine.journal(SUBJECT).records() == before
            finally:
                holder.kill()


_HOLDER = """
import sys
from contextlib import nullcontext
from pathlib import Path
from certrotd.clock import Deadline, SystemClock
from certrotd.kube.access import from_kubeconfig
from certrotd.kube.api import Api
from certrotd.kube.state import ClusterState
from certrotd.state.ports import Fenced

api = Api(from_kubeconfig(Path(sys.argv[1])), SystemClock(), agent="holder")
state = ClusterState(api, sys.argv[2], "certrotd", words="pod a", duration=1)
daemon = state.lock("_daemon", "the state") if sys.argv[3] == "as a daemon" else nullcontext()
with daemon, state.lock("certificate/web", "certificate web") as lease:
    journal = state.journal("certificate/web")
    journal.append({"t": "begin", "id": "r1", "plan": []}, sync=True)
    print("held", flush=True)
    sys.stdin.readline()
    try:
        lease.check()
    except Fenced:
        print("fenced by the lock")
    try:
        journal.append({"t": "done", "i": 0}, sync=True)
    except Fenced:
        print("fenced by the journal")
"""


class TestAnApiServerThatIsAway:
    """It is waited for, and what it did without saying so is found out."""

    def test_a_write_goes_on_when_the_server_answers_again(self, own: Home) -> None:
        """Frozen for some seconds, in the middle of a rotation under a lock."""
        state = own.state(api=own.api(timeout=1.0))
        with state.lock(SUBJECT, "certificate web") as lease:
            journal = state.journal(SUBJECT)
            journal.append(BEGIN, sync=True)
            own.plane.pause()
            thaw = threading.Timer(5, own.plane.resume)
            thaw.start()
            journal.append({"t": "done", "i": 0}, sync=True)
            thaw.join()
            lease.check()
            journal.close(SUMMARY)
        assert [line["id"] for line in state.history(SUBJECT).lines()] == ["r1"]

    def test_a_restart_of_the_server_loses_nothing(self, own: Home) -> None:
        """Its connections are cut, and the next question makes a new one."""
        state = own.state(api=own.api(timeout=2.0))
        with state.lock(SUBJECT, "certificate web") as lease:
            state.document("n").write(b"1")
            own.plane.restart()
            lease.check()
            found = state.document("n").read()
            assert found is not None
            assert found.data == b"1"

    def test_a_server_that_stays_away_is_said(self, own: Home) -> None:
        """After its time, in one line; the journal may not be written without it."""
        state = own.state(api=own.api(timeout=0.5), patience=1.0)
        journal = state.journal(SUBJECT)
        journal.append(BEGIN, sync=True)
        own.plane.pause()
        try:
            with pytest.raises(JournalBroken, match="the API server") as broken:
                journal.append({"t": "done", "i": 0}, sync=True)
            assert broken.value.message.count("cannot write") == 1
            with pytest.raises(DiskTrouble, match=r"cannot read secrets/certrotd-document\.n"):
                state.document("n").read()
            with pytest.raises(DiskTrouble), state.lock(SUBJECT, "certificate web"):
                pass
            with pytest.raises(DiskTrouble, match="cannot read leases"):
                state.holder(SUBJECT)
        finally:
            own.plane.resume()
        assert journal.records()[0] == BEGIN

    def test_who_cannot_tell_whose_a_lock_is_stops(self, own: Home) -> None:
        """Another may have it by now."""
        state = own.state(api=own.api(timeout=0.5), patience=0.5, duration=2)
        with state.lock(SUBJECT, "certificate web") as lease:
            own.plane.pause()
            try:
                time.sleep(3)
                with pytest.raises(Fenced, match="nobody can tell"):
                    lease.check()
            finally:
                own.plane.resume()

    def test_slow_answers_change_nothing(self, own: Home) -> None:
        """etcd stands still for most of the time."""
        state = own.state()
        with own.plane.slow_etcd(), state.lock(SUBJECT, "certificate web") as lease:
            journal = state.journal(SUBJECT)
            for number in range(3):
                journal.append({**BEGIN, "n": number}, sync=True)
            lease.check()
        assert [each["n"] for each in journal.records()] == [0, 1, 2]

    def test_what_was_written_without_an_answer_is_written_once(self, home: Home) -> None:
        """Its word is read back: else the journal's own write would be taken for another's."""
        with LossyWay(("127.0.0.1", int(home.plane.url.rpartition(":")[2]))) as way:
            api = home.api(server=f"https://127.0.0.1:{way.port}", timeout=2.0)
            state = home.state(api=api)
            journal = state.journal(SUBJECT)
            journal.append(BEGIN, sync=True)
            for write in (
                lambda: journal.append({"t": "done", "i": 0}, sync=True),
                lambda: state.document("n").write(b"1", expected=ABSENT),
                lambda: state.wake(SUBJECT),
            ):
                before = way.lost
                way.lose_answers()
                passing = threading.Timer(0.3, way.pass_answers)
                passing.start()
                write()
                passing.join()
                assert way.lost > before, "the control: an answer was lost"
            assert journal.records() == [BEGIN, {"t": "done", "i": 0}]
            assert state.document("n").revision() != ABSENT
            assert state.changes("certificate").woken() == {SUBJECT}


class TestRights:
    """The account does what its Role says, and certrotd says what it lacks."""

    def test_what_the_state_needs_is_all_it_is_given(self, home: Home) -> None:
        """The others of this file run with these rights alone."""
        assert list(home.state().problems(["certificate"])) == []
        assert home.plane.api.get(f"/api/v1/namespaces/{home.namespace}/secrets")["items"] == []

    def test_every_verb_that_is_missing_is_said(self, home: Home) -> None:
        """Before anything is begun."""
        home.plane.allow(home.namespace, "certrotd", RULES[0])
        found = [str(each) for each in home.state().problems(["certificate"])]
        assert len(found) == len(NEEDED[CONFIG_MAPS]) + len(NEEDED[LEASES])
        assert found[-1].startswith("the account may not update leases in the namespace")

    def test_a_right_that_is_gone_is_one_line(self, home: Home) -> None:
        """It is not waited for: somebody has to change the Role."""
        state = home.state()
        journal = state.journal(SUBJECT)
        journal.append(BEGIN, sync=True)
        home.plane.allow(home.namespace, "certrotd", {**RULES[0], "verbs": ["get"]})
        with pytest.raises(JournalBroken, match="cannot update resource"):
            journal.append({"t": "done", "i": 0}, sync=True)
        with pytest.raises(NeedsOperator, match="can-i"):
            state.document("n").write(b"1", expected=ABSENT)

    def test_a_token_that_is_no_more_is_said(self, home: Home) -> None:
        """The kubelet renews it: it is waited for, and then said."""
        state = Home(home.plane, home.namespace, "a.b.c").state(patience=0.6)
        with pytest.raises(DiskTrouble, match="does not know this account"):
            state.document("n").read()
        [failure] = state.problems(["certificate"])
        assert "does not know this account" in str(failure)

    def test_a_client_certificate_will_do(self, home: Home, tmp_path: Path) -> None:
        """As an administrator's kubeconfig has it."""
        path = home.plane.admin.write_kubeconfig(tmp_path / "kubeconfig", home.namespace)
        access = from_kubeconfig(path)
        state = home.state(api=Api(access, SystemClock(), agent="certrotd test"))
        state.document("n").write(b"1")
        assert home.state().document("n").revision() != ABSENT


class TestSizes:
    """A Secret holds a MiB."""

    def test_the_largest_document_is_kept_whole(self, home: Home) -> None:
        """And one byte more is refused, with what there was in its place."""
        document = home.state().document("n")
        document.write(b"x" * MAX_SECRET)
        with pytest.raises(TooLarge, match="1 MiB"):
            document.write(b"x" * (MAX_SECRET + 1))
        found = document.read()
        assert found is not None
        assert len(found.data) == MAX_SECRET

    def test_a_journal_that_would_not_fit_is_refused(self, home: Home) -> None:
        """What is there stays; the engine compacts before that."""
        journal = home.state().journal(SUBJECT)
        journal.append(BEGIN, sync=True)
        with pytest.raises(JournalBroken, match="would be larger than"):
            journal.append({"t": "note", "x": "y" * MAX_JOURNAL}, sync=True)
        assert journal.records() == [BEGIN]

    def test_the_newest_lines_of_a_history_stay(self, home: Home) -> None:
        """Beside the largest journal there is still room for them."""
        state = home.state()
        journal = state.journal(SUBJECT)
        for number in range(6):
            journal.append(BEGIN, sync=True)
            journal.close({**SUMMARY, "id": f"r{number}", "why": "y" * (MAX_LINES // 4)})
        assert [line["id"] for line in state.history(SUBJECT).lines()] == ["r3", "r4", "r5"]
        journal.append({"t": "note", "x": "y" * (MAX_JOURNAL - 100)}, sync=True)
        last = state.history(SUBJECT).last()
        assert last is not None
        assert last["id"] == "r5"

    def test_more_objects_than_a_page_has_are_all_found(
        self, home: Home, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A list is answered in parts."""
        monkeypatch.setattr("certrotd.kube.api.PAGE", 2)
        state = home.state()
        every = {f"certificate/c{number}" for number in range(5)}
        for subject in every:
            state.journal(subject).append(BEGIN, sync=True)
        assert state.in_flight() == every


class TestForeignHands:
    """What somebody else puts there is passed over, or said."""

    @pytest.mark.parametrize("said", [b"2", b"", b"x" * 99])
    def test_a_state_of_a_newer_certrotd_is_left_alone(self, home: Home, said: bytes) -> None:
        """After a helm rollback: the older one would misread it."""
        with home.state().lock(SUBJECT, "certificate web"):
            pass
        document = home.state().document("format")
        assert document.read() == Content(b"1", document.revision())
        document.write(said)
        with (
            pytest.raises(NeedsOperator, match=r"document\.format.* this certrotd knows 1"),
            home.state().lock(SUBJECT, "certificate web"),
        ):
            pass

    def test_a_secret_that_is_no_document_is_said(self, home: Home) -> None:
        """With its place, and nothing of what is in it."""
        state = home.state()
        state.document("n").write(b"1")
        path = SECRETS.path(home.namespace, object_name("certrotd-document", "n"))
        home.plane.api.merge(path, {"data": {"document": None}})
        found = state.document("n").read()
        assert found is not None
        assert found.data == b""

    def test_a_wake_that_is_no_id_is_passed_over(self, home: Home) -> None:
        """And stays: it is not certrotd's."""
        state = home.state()
        state.wake(SUBJECT)
        path = CONFIG_MAPS.path(home.namespace, object_name("certrotd-wake", "all"))
        home.plane.api.merge(path, {"data": {"certificate._": "x", "nonsense": "y"}})
        changes = state.changes("certificate")
        assert changes.woken() == {SUBJECT}
        assert set(home.plane.api.get(path)["data"]) == {"certificate._", "nonsense"}


class TestWatch:
    """What other processes do is told by the API server, without a question each time."""

    def test_nothing_is_asked_while_nothing_happens(self, home: Home) -> None:
        """The daemon looks every second, and the API server has others to answer, too."""
        state = home.state()
        state.journal(SUBJECT).append(BEGIN, sync=True)
        changes = [state.changes(kind) for kind in ("certificate", "key")]
        for each in changes:
            each.subjects()
            each.woken()
        with _calls(home) as calls:
            for _ in range(20):
                for each in changes:
                    assert each.subjects() == each.woken() == frozenset()
                assert state.in_flight() == {SUBJECT}
                assert state.flying(SUBJECT)
        assert calls == []

    def test_a_watch_that_is_over_goes_on(self, home: Home) -> None:
        """The server ends each after a minute; what happened in between is told."""
        objects = home.objects("record")
        watched = Watched(objects, 0, lasts=1)
        assert watched.look() == {}
        for number in range(3):
            time.sleep(1.2)  # the server has ended it by then, or is about to
            home.state().journal(f"certificate/c{number}").append(BEGIN, sync=True)
            wait_until(lambda: len(watched.look()) == number + 1)  # noqa: B023

    def test_one_that_begins_too_long_ago_begins_anew(self, home: Home) -> None:
        """The API server says 410, at once or as an event: all is listed then."""
        home.state().journal(SUBJECT).append(BEGIN, sync=True)
        watched = Watched(home.objects("record"), 0)
        watched.following._since = "1"  # which a server that has just begun still has
        wait_until(lambda: set(watched.look()) == {SUBJECT})
        home.state().journal("certificate/www").append(BEGIN, sync=True)
        watched.following.take(
            b'{"type": "ADDED", "object": {"metadata": {"resourceVersion": "7"}}}'
        )
        with pytest.raises(Expired):
            watched.following.take(
                b'{"type": "ERROR", "object": {"code": 410, "message": "too old"}}'
            )
        wait_until(lambda: len(watched.look()) == 2)

    def test_what_is_removed_is_gone(self, home: Home) -> None:
        """By somebody's hand."""
        home.state().journal(SUBJECT).append(BEGIN, sync=True)
        watched = Watched(home.objects("record"), 0)
        assert set(watched.look()) == {SUBJECT}
        path = SECRETS.path(home.namespace, object_name("certrotd-record", SUBJECT))
        home.plane.api.delete(path)
        wait_until(lambda: not watched.look())

    def test_one_that_hangs_is_begun_anew(self, home: Home) -> None:
        """Nobody cuts the connection, and nothing comes on it any more."""
        with LossyWay(("127.0.0.1", int(home.plane.url.rpartition(":")[2]))) as way:
            api = home.api(server=f"https://127.0.0.1:{way.port}", timeout=2.0)
            objects = replace(home.objects("record"), api=api)
            watched = Watched(objects, 0, lasts=2)
            assert watched.look() == {}
            way.hold_answers()
            home.state().journal(SUBJECT).append(BEGIN, sync=True)
            time.sleep(0.5)
            assert watched.look() == {}, "the control: it hangs"
            watched.following._end = 0.0  # ten seconds later
            with pytest.raises(DiskTrouble):
                watched.look()
            way.pass_answers()
            wait_until(lambda: _told(watched) == {SUBJECT})

    @pytest.mark.parametrize(
        "line",
        [b"{", b"[]", b"null", b'{"type": "ADDED"}', b'{"type": "ADDED", "object": 3}', b"<html>"],
    )
    def test_what_is_no_event_ends_it(self, home: Home, line: bytes) -> None:
        """A proxy's page, or half an answer."""
        with pytest.raises(Transient, match="no event of a watch"):
            Watched(home.objects("record"), 0).following.take(line)

    def test_an_account_that_may_not_watch_is_told_so(self, home: Home) -> None:
        """And is not asked again for a while."""
        home.plane.allow(home.namespace, "certrotd", *RULES[1:])
        watched = Watched(home.objects("record"), 3600)
        with _calls(home) as calls:
            for _ in range(3):
                with pytest.raises(DiskTrouble, match="watch secrets in"):
                    watched.look()
        assert len(calls) == 1


def _told(watched: Watched) -> set[str]:
    try:
        return set(watched.look())
    except DiskTrouble:
        return set()


@contextmanager
def _calls(home: Home) -> Iterator[list[str]]:
    """What the account asks of the API server meanwhile, by the server's own log."""
    who = f"system:serviceaccount:{home.namespace}:certrotd"

    def asked() -> list[str]:
        lines = map(json.loads, home.plane.audit_log.read_text().splitlines())
        return [f"{x['verb']} {x['requestURI']}" for x in lines if x["user"].get("username") == who]

    before, found = len(asked()), list[str]()
    yield found
    found += asked()[before:]


def test_what_another_has_written_meanwhile_is_read(home: Home) -> None:
    """Whoever has the lock again knows what was there, unless somebody has had it since."""
    state, other = home.state(), home.state("pod b")
    for each, number in ((state, 0), (other, 1), (state, 2), (state, 3)):
        with each.lock(SUBJECT, "certificate web"):
            journal = each.journal(SUBJECT)
            assert len(journal.records()) == number
            journal.append({**BEGIN, "n": number}, sync=True)


def test_what_was_changed_by_hand_is_read_once_the_watch_has_told_of_it(home: Home) -> None:
    """A record was restored from a backup, or removed."""
    state = home.state()
    changes = state.changes("certificate")
    changes.subjects()
    with state.lock(SUBJECT, "certificate web"):
        state.journal(SUBJECT).append(BEGIN, sync=True)
    wait_until(lambda: SUBJECT in changes.subjects(), what="the watch tells of it")
    name = object_name("certrotd-record", SUBJECT)
    home.plane.api.delete(SECRETS.path(home.namespace, name))
    wait_until(lambda: SUBJECT in changes.subjects(), what="the watch tells that it is gone")
    with state.lock(SUBJECT, "certificate web"):
        assert state.journal(SUBJECT).records() == []


def test_a_rotation_takes_few_calls(home: Home) -> None:
    """A lock is had in two or one, let go in one, and each durable record is one.

    What a process left when it had the lock last, is so still if it alone has had it since.
    """
    state = home.state()
    with state.lock("warm", "nothing"):  # the server's clock, and the format
        pass
    for had, made in ((("get", "create", "get"), "create"), (("update",), "update")):
        with _calls(home) as calls, state.lock(SUBJECT, "certificate web") as lease:
            journal = state.journal(SUBJECT)
            lease.check()
            assert journal.records() == []
            journal.append(BEGIN, sync=True)
            journal.append({"t": "done", "i": 0}, sync=True)
            journal.close(SUMMARY)
            assert journal.history.last() is not None
        assert state.history(SUBJECT).last() is not None
        assert [each.split("?")[0].split()[0] for each in calls] == [
            *had,
            *(made, "update", "update"),
            "update",
        ]
