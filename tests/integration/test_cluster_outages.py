"""State in a cluster whose API server is away, slow, or loses answers: nothing is written twice."""

from __future__ import annotations

import threading
import time

import pytest

from certrotd.files.disktrouble import DiskTrouble
from certrotd.state.ports import ABSENT, Fenced, JournalBroken
from tests.integration.cluster_home import BEGIN, SUBJECT, SUMMARY, Home
from tests.parts import Parts
from tests.parts.kubernetes import ControlPlane
from tests.parts.kubernetes.lossy import LossyWay


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
        assert [line["id"] for line in state.journal(SUBJECT).history.lines()] == ["r1"]

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
        state = own.state(api=own.api(timeout=3.0), patience=3.0, duration=2)
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
