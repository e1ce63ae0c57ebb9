"""Locks in a cluster: one has each, for as long as it works, and whoever lost it is fenced."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certrotd.clock import Deadline, SystemClock
from certrotd.errors import LockHeld
from certrotd.kube.found_lease import DURATION, HOLDER, SHARERS
from certrotd.kube.leases import SHARE
from certrotd.state.directory import DAEMON_LOCK
from certrotd.state.ports import Fenced
from tests.integration.cluster_home import SUBJECT, Home
from tests.parts.kubernetes import ControlPlane
from tests.parts.process import wait_until


@pytest.fixture
def home(control_plane: ControlPlane) -> Home:
    """In a server that is not harmed."""
    return Home.made(control_plane)


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
