"""Every pod is looked at by itself: all must serve it; on the way back others are replaced."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, cast

import pytest

from certrotd.clock import Deadline
from certrotd.daemon.stopping import StoppableClock
from certrotd.errors import NeedsOperator, ProofFailed, Transient
from certrotd.kube.api import Api, Object
from certrotd.kube.pod_proof import AT_ONCE, PodProof
from certrotd.kube.pods import Pods, owned, serving
from certrotd.kube.rollout import Rollouts
from certrotd.kube.shown import Shown
from certrotd.kube.workloads import Reference, Workload, workload
from certrotd.rotation.outcome import Stopped
from tests.unit.kube.memory_api import (
    CRASHED,
    NAMESPACE,
    MemoryApi,
    pod,
    replica,
    workload_object,
)

WEB = Reference("deployment", "web")
NEW, OLD = {"web": "bb"}, {"web": "aa"}


class Served:
    """What each address serves; every look is noted."""

    def __init__(self, api: MemoryApi) -> None:
        self.api = api
        self.wrong: set[str] = set()
        self.looked: list[str] = []
        self.then: Callable[[str], object] = lambda _address: None

    def __call__(self, address: str) -> None:
        self.looked.append(address.removeprefix("10.0.0."))
        self.then(address)
        if address.removeprefix("10.0.0.") in self.wrong:
            raise ProofFailed(f"{address} does not serve it", hint="look there")

    def proof(self, before: Shown | None = None) -> PodProof:
        """By this alone."""
        return PodProof(Pods(cast("Api", self.api), NAMESPACE), [self], before)


@pytest.fixture
def api() -> MemoryApi:
    """A Deployment of three pods, whose controller is done at once."""
    made = MemoryApi(("deployment", workload_object()))
    made.pods = [replica(name, ready=True) for name in "abc"]

    def done(found: Object) -> None:
        found["status"]["observedGeneration"] = found["metadata"]["generation"]

    made.controller = done
    return made


@pytest.fixture
def served(api: MemoryApi) -> Served:
    """All pods serve it."""
    return Served(api)


def of(api: MemoryApi, **spec: Any) -> Workload:
    """The Deployment."""
    found = next(iter(api.objects.values()))
    found["spec"] |= spec
    return workload("deployment", found)


def rollouts(api: MemoryApi, timeout: float = 30.0) -> Rollouts:
    """Those of the API in memory."""
    return Rollouts(cast("Api", api), NAMESPACE, timeout)


class TestForward:
    """After a restart."""

    def test_every_pod_is_looked_at(self, api: MemoryApi, served: Served) -> None:
        """Once, before the restart is told to be done."""
        rollouts(api).restart(WEB, NEW, served.proof())
        assert sorted(served.looked) == ["a", "b", "c"]
        assert api.reasons() == ["RotationRestart", "RotationRestarted"]

    def test_a_pod_that_serves_something_else_is_named(
        self, api: MemoryApi, served: Served
    ) -> None:
        """And ends it: the next workload is not touched."""
        served.wrong = {"b"}
        with pytest.raises(ProofFailed, match=r"the pod b of deployment/web: 10.0.0.b does") as got:
            rollouts(api).restart(WEB, NEW, served.proof())
        assert got.value.hint == "look there"
        assert api.reasons() == ["RotationRestart", "RotationRestartFailed"]

    def test_one_that_is_replaced_meanwhile_is_no_failure(
        self, api: MemoryApi, served: Served
    ) -> None:
        """The one that came for it is looked at instead."""
        served.wrong = {"b"}

        def replaced(address: str) -> None:
            if address.endswith("b"):
                api.pods = [replica(name, ready=True) for name in "acd"]

        served.then = replaced
        served.proof().prove(lambda: of(api), Deadline(api.clock, 30))
        assert sorted(served.looked) == ["a", "b", "c", "d"]

    def test_pods_that_are_not_ready_or_not_its_own_are_left_out(
        self, api: MemoryApi, served: Served
    ) -> None:
        """A selector may find those of others."""
        leaving = replica("c", ready=True)
        leaving["metadata"]["deletionTimestamp"] = "now"
        over = replica("d", ready=True, phase="Failed")
        api.pods = [replica("a", ready=True), replica("b"), leaving, over, pod("x", ready=True)]
        api.pods.append(replica("y", of="other", ready=True))
        found = of(api)
        assert [each["metadata"]["name"] for each in owned(api.pods, found)] == ["a", "b"]
        assert [each["metadata"]["name"] for each in serving(api.pods, found)] == ["a"]
        served.proof().prove(lambda: of(api, replicas=1), Deadline(api.clock, 30))
        assert served.looked == ["a"]

    def test_a_statefulsets_pods_are_known_by_its_uid(self) -> None:
        """As a DaemonSet's."""
        found = workload("statefulset", workload_object("statefulset", "db"))
        pods = [pod("db-0", ready=True), replica("a", of="db", ready=True)]
        assert [each["metadata"]["name"] for each in owned(pods, found)] == ["db-0"]

    def test_no_pod_at_all_is_waited_for_until_the_deadline(
        self, api: MemoryApi, served: Served
    ) -> None:
        """Unless there should be none."""
        api.pods = []
        with pytest.raises(Transient, match="no pod of deployment/web stays ready"):
            served.proof().prove(lambda: of(api), Deadline(api.clock, 30))
        assert api.clock.monotonic() == 30
        served.proof().prove(lambda: of(api, replicas=0), Deadline(api.clock, 30))

    def test_a_patient_proof_tries_until_the_deadline(self, api: MemoryApi, served: Served) -> None:
        """The kubelet may take a minute to show a pod what is in its Secret."""
        served.wrong = {"a", "b"}

        def later(_address: str) -> None:
            if api.clock.monotonic() >= 20:
                served.wrong = set()

        served.then = later
        served.proof().prove(lambda: of(api), Deadline(api.clock, 30), patient=True)
        assert api.clock.monotonic() == 20
        assert served.looked.count("c") == 1
        served.wrong, served.then = {"a"}, lambda _address: None
        with pytest.raises(ProofFailed):
            served.proof().prove(lambda: of(api), Deadline(api.clock, 10), patient=True)
        assert api.clock.monotonic() == 30

    def test_pods_that_have_dropped_out_are_not_passed_over(
        self, api: MemoryApi, served: Served
    ) -> None:
        """Two that the certificate has broken are not ready, and the third proves little."""
        api.pods = [replica("a", ready=True), replica("b"), replica("c")]
        with pytest.raises(Transient, match="only 1 of 3 pods of deployment/web stay ready"):
            served.proof().prove(lambda: of(api), Deadline(api.clock, 30))
        assert served.looked == ["a"]
        served.proof().prove(lambda: of(api, replicas=1), Deadline(api.clock, 30))

    def test_the_first_that_fails_ends_it(self, api: MemoryApi, served: Served) -> None:
        """The probes of the others would take their time in vain."""
        names = [f"{number:02}" for number in range(40)]
        api.pods = [replica(name, ready=True) for name in names]
        served.wrong = set(names)
        with pytest.raises(ProofFailed):
            served.proof().prove(lambda: of(api), Deadline(api.clock, 30))
        assert len(served.looked) <= AT_ONCE

    def test_no_look_begins_after_the_deadline(self, api: MemoryApi, served: Served) -> None:
        """The last ones are not proven, and that is said."""
        api.pods = [replica(f"{number:02}", ready=True) for number in range(40)]
        served.then = lambda _address: api.clock.sleep(30)
        with pytest.raises(Transient, match="looked at"):
            served.proof().prove(lambda: of(api), Deadline(api.clock, 30))
        assert len(served.looked) <= AT_ONCE

    def test_another_trouble_of_a_proof_is_raised_at_once(
        self, api: MemoryApi, served: Served
    ) -> None:
        """Roots that cannot be read are nothing that a pod is to blame for."""

        def unreadable(_address: str) -> None:
            raise NeedsOperator("unreadable roots")

        served.then = unreadable
        with pytest.raises(NeedsOperator, match="unreadable"):
            served.proof().prove(lambda: of(api), Deadline(api.clock, 30), patient=True)


class TestStop:
    """The process is told to stop while pods are looked at."""

    @pytest.fixture
    def stopped(self, api: MemoryApi, served: Served) -> StoppableClock:
        """A clock that wakes every sleeper, once for each thread; a look sleeps a little."""
        event = threading.Event()
        event.set()
        clock = StoppableClock(event)
        api.clock = cast("Any", clock)
        served.then = lambda _address: clock.sleep(0.001)
        return clock

    @pytest.mark.usefixtures("stopped")
    def test_a_rotation_stops(self, api: MemoryApi, served: Served) -> None:
        """At the next safe point."""
        with pytest.raises(Stopped):
            served.proof().prove(lambda: of(api), Deadline(api.clock, 30))

    def test_the_undo_after_it_is_finished(
        self, api: MemoryApi, served: Served, stopped: StoppableClock
    ) -> None:
        """Its thread was woken; those that look for it are woken in vain."""
        with pytest.raises(Stopped):
            stopped.sleep(1)
        served.proof().prove(lambda: of(api), Deadline(api.clock, 30))
        assert set(served.looked) == {"a", "b", "c"}


class TestBack:
    """After an undo."""

    @pytest.fixture(autouse=True)
    def _restarted(self, api: MemoryApi, served: Served) -> None:
        rollouts(api).restart(WEB, NEW)
        api.log.clear()
        served.looked.clear()

        def replaced(what: str, path: str) -> None:
            if what == "delete":
                name = path.rpartition("/")[2].partition("@")[0]
                api.pods.append(replica(f"new-{name}", ready=True))

        api.then = replaced

    def deleted(self, api: MemoryApi) -> list[str]:
        return [each.partition(" ")[2] for each in api.log if each.startswith("delete")]

    def test_pods_that_serve_the_old_leaf_are_kept(self, api: MemoryApi, served: Served) -> None:
        """Each was looked at."""
        rollouts(api).revert(WEB, OLD, served.proof())
        assert sorted(served.looked) == ["a", "b", "c"]
        assert not self.deleted(api)

    def test_only_those_that_do_not_are_replaced(self, api: MemoryApi, served: Served) -> None:
        """And what comes in their place is looked at, too."""
        served.wrong = {"a", "c"}
        rollouts(api).revert(WEB, OLD, served.proof())
        assert self.deleted(api) == ["a@3", "c@3"]
        assert sorted(served.looked) == ["a", "b", "c", "new-a", "new-c"]
        messages = [each["message"] for each in api.events if "deletes" in each["message"]]
        assert messages == [
            f"certrotd deletes the pod {name}: it does not serve the former certificate"
            for name in "ac"
        ]
        assert api.reasons()[-1] == "RotationUndone"

    def test_the_next_is_deleted_only_once_the_one_before_is_replaced(
        self, api: MemoryApi, served: Served
    ) -> None:
        """Else nothing might serve."""
        served.wrong = {"a", "c"}
        seen: list[int] = []

        def slow(what: str, _path: str) -> None:
            if what == "delete":
                seen.append(len(api.pods))
            if what == "list" and len(api.pods) < 3 and api.clock.monotonic() % 5 == 4:
                api.pods.append(replica(f"new-{len(seen)}", ready=True))

        api.then = slow
        rollouts(api).revert(WEB, OLD, served.proof())
        assert seen == [3, 3]

    def test_one_that_crashes_is_replaced(self, api: MemoryApi, served: Served) -> None:
        """The kubelet would try again by and by, up to five minutes later."""
        api.pods[1] = replica("b", **CRASHED)
        rollouts(api).revert(WEB, OLD, served.proof())
        assert self.deleted(api) == ["b@3"]
        assert sorted(served.looked) == ["a", "c", "new-b"]

    def test_one_that_merely_starts_is_waited_for(self, api: MemoryApi, served: Served) -> None:
        """The negative control."""
        api.pods[1] = replica("b")

        def ready(what: str, _path: str) -> None:
            if what == "list" and api.clock.monotonic() >= 5:
                api.pods[1] = replica("b", ready=True)

        api.then = ready
        rollouts(api).revert(WEB, OLD, served.proof())
        assert not self.deleted(api)
        assert sorted(served.looked) == ["a", "b", "c"]

    def test_a_new_pod_that_does_not_serve_it_either_ends_it(
        self, api: MemoryApi, served: Served
    ) -> None:
        """It is not deleted again and again."""
        served.wrong = {"a", "new-a"}
        with pytest.raises(ProofFailed, match="the pod new-a of deployment/web"):
            rollouts(api).revert(WEB, OLD, served.proof())
        assert self.deleted(api) == ["a@3"]
        assert api.reasons()[-1] == "RotationUndoFailed"

    def test_no_pod_is_asked_where_none_showed_it_before(
        self, api: MemoryApi, served: Served
    ) -> None:
        """Behind a sidecar or a wrong port the leaf never shows: the undo is over all the same."""
        served.wrong = {"a", "b", "c"}
        api.pods[1] = replica("b", **CRASHED)
        rollouts(api).revert(WEB, OLD, served.proof(Shown()))
        assert self.deleted(api) == ["b@3"]
        assert not served.looked
        assert api.reasons()[2:] == ["RotationUndo"] * 3 + ["RotationUndone"]
        assert (
            "no pod showed its certificate by pod_probe before the change: none is looked at"
            in [each["message"] for each in api.events]
        )

    def test_one_that_did_not_show_it_before_is_not_asked(
        self, api: MemoryApi, served: Served
    ) -> None:
        """The others are, and whoever came since."""
        served.wrong = {"a", "c"}
        before = Shown(some=True, silent=frozenset({"a"}))
        rollouts(api).revert(WEB, OLD, served.proof(before))
        assert self.deleted(api) == ["c@3"]
        assert sorted(served.looked) == ["b", "c", "new-c"]

    def test_where_none_shows_it_any_more_none_is_deleted(
        self, api: MemoryApi, served: Served
    ) -> None:
        """A NetworkPolicy, say, has come meanwhile: a person is needed, and no healthy pod goes."""
        served.wrong = {"a", "b", "c"}
        with pytest.raises(ProofFailed, match="the pod a of deployment/web"):
            rollouts(api).revert(WEB, OLD, served.proof(Shown(some=True)))
        assert not self.deleted(api)
        assert api.reasons()[-1] == "RotationUndoFailed"

    @pytest.mark.parametrize("cured", [True, False])
    def test_a_pod_whose_container_was_restarted_is_replaced_even_then(
        self, api: MemoryApi, served: Served, cured: bool
    ) -> None:
        """It may have loaded the bad certificate; once its successor shows the old one, all may."""
        served.wrong = {"a", "b", "c"} if cured else {"a", "b", "c", "new-b"}
        restarted = [{"name": "main", "restartCount": 1}]
        api.pods[1] = replica("b", ready=True, containerStatuses=restarted)
        with nullcontext() if cured else pytest.raises(ProofFailed, match="the pod new-b"):
            rollouts(api).revert(WEB, OLD, served.proof())
        assert self.deleted(api) == (["b@3", "a@3", "c@3"] if cured else ["b@3"])

    def test_what_is_not_whole_at_the_deadline_is_said(
        self, api: MemoryApi, served: Served
    ) -> None:
        """With how many there are."""
        api.pods.pop()
        with pytest.raises(Transient, match="web is not whole again: 2 of 3 pods are ready"):
            rollouts(api).revert(WEB, OLD, served.proof())
