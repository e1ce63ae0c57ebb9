"""What a rollout does in what order, and what becomes of it when the API server is away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest

from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.https.client import Lost
from certrotd.kube.api import Api, Denied, Missing, Object
from certrotd.kube.events import event, tell
from certrotd.kube.rollout import Rollouts
from certrotd.kube.stamps import RESTARTED_AT, RESTARTED_FOR
from certrotd.kube.workloads import Reference, workload
from certrotd.rotation.outcome import Stopped
from certrotd.state.ports import Conflict, Fenced
from certrotd.targets.kubernetes import KubernetesTarget
from tests.unit.kube.memory_api import (
    CRASHED,
    NAMESPACE,
    MemoryApi,
    budget,
    pod,
    replica,
    status,
    workload_object,
)

WEB, CANARY, DB = (
    Reference("deployment", "web"),
    Reference("deployment", "canary"),
    Reference("statefulset", "db"),
)
OLD, NEW = {"web": "aa"}, {"web": "bb"}


def made(api: MemoryApi, timeout: float = 30.0) -> Rollouts:
    """Those of the API in memory."""
    return Rollouts(cast("Api", api), NAMESPACE, timeout)


def both(rollouts: Rollouts) -> KubernetesTarget:
    """A target of CANARY, and then WEB."""
    return KubernetesTarget(rollouts, (CANARY, WEB))


def two() -> MemoryApi:
    """A canary, and what comes after it."""
    return MemoryApi(
        ("deployment", workload_object(name="canary")),
        ("deployment", workload_object()),
    )


def done(found: Object) -> None:
    """A controller that is done at once."""
    found["status"]["observedGeneration"] = found["metadata"]["generation"]


def stamped(api: MemoryApi, reference: Reference) -> dict[str, str]:
    """Those of a workload's template."""
    where = {each["metadata"]["name"]: each for each in api.objects.values()}[reference.name]
    found: dict[str, str] = where["spec"]["template"]["metadata"].get("annotations") or {}
    return found


def crashing(api: MemoryApi) -> Callable[[Object], None]:
    """A controller whose new pods crash, unless the template is that of the old ones."""

    def controller(found: Object) -> None:
        done(found)
        at = (found["spec"]["template"]["metadata"].get("annotations") or {}).get(RESTARTED_AT)
        name, old = found["metadata"]["name"], 2 if at else 3
        found["status"] |= {"updatedReplicas": 3 - old if at else 3}
        api.pods = [pod(f"{name}-{number}", ready=True) for number in range(old)]
        api.pods += [pod(f"{name}-new", of=at, **CRASHED)] * (3 - old)

    return controller


def once(*failures: Failure, act: str = "") -> Callable[[str, str], None]:
    """Refuses the first acts, or the first of that name."""
    left = list(failures)

    def then(what: str, _path: str) -> None:
        if left and act in ("", what):
            raise left.pop(0)

    return then


def always(failure: Failure, act: str) -> Callable[[str, str], None]:
    """Refuses every act of that name."""

    def then(what: str, _path: str) -> None:
        if what == act:
            raise failure

    return then


class TestRestart:
    """Forward."""

    def test_one_workload_is_whole_before_the_next_is_touched(self) -> None:
        """The first is the canary of all others."""
        api = two()
        api.controller = done
        both(made(api)).apply_of(NEW)
        assert [each for each in api.log if "patch" in each] == ["patch canary", "patch web"]
        assert api.reasons() == ["RotationRestart", "RotationRestarted"] * 2
        assert stamped(api, WEB)[RESTARTED_FOR] == "web=bb"
        assert stamped(api, WEB)[RESTARTED_AT] == "2026-06-01T12:00:00.000+00:00"

    def test_nothing_is_written_for_what_was_restarted_already(self) -> None:
        """Nor told."""
        api = two()
        api.controller = done
        made(api).restart(WEB, NEW)
        told, api.log = len(api.events), []
        made(api).restart(WEB, NEW)
        assert api.log == ["now", "get web", "get web"]
        assert len(api.events) == told

    def test_the_first_crash_ends_it(self) -> None:
        """Nothing is put back yet: the Secret is still the new one."""
        api = two()
        api.controller = crashing(api)
        with pytest.raises(NeedsOperator, match="canary-new of deployment/canary") as caught:
            both(made(api)).apply_of(NEW)
        assert caught.value.hint == "kubectl -n shop logs canary-new --previous"
        assert api.reasons() == ["RotationRestart", "RotationRestartFailed"]
        assert stamped(api, CANARY)
        assert not stamped(api, WEB)

    def test_the_deadline_is_that_of_each_workload(self) -> None:
        """What has not been seen by its controller is waited for, too."""
        api = two()
        with pytest.raises(Transient) as caught:
            made(api).restart(CANARY, NEW)
        assert str(caught.value) == (
            "deployment/canary is not restarted within 30 s: its controller has not seen its last "
            "change yet (kubectl -n shop describe deployment/canary)"
        )
        assert api.clock.monotonic() == 30

    def test_what_the_new_pods_wait_for_is_said_at_the_deadline(self) -> None:
        """Somebody has given the workload an image that is nowhere."""
        api = two()
        pull = status(state={"waiting": {"reason": "ImagePullBackOff"}})

        def unpulled(found: Object) -> None:
            done(found)
            found["status"] |= {"availableReplicas": 2}
            api.pods = [replica("web-new", containerStatuses=[pull])]

        api.controller = unpulled
        with pytest.raises(Transient, match=r"2 available; in the pod web-new, container main is "):
            made(api).restart(WEB, NEW)

    def test_an_api_server_that_is_away_for_a_while_is_waited_for(self) -> None:
        """At each of the calls."""
        api = two()
        api.controller = done
        for act in ("now", "get", "patch"):
            api.then = once(Transient("away"), Transient("away"), act=act)
            made(api).restart(WEB, {"web": act})
            assert stamped(api, WEB)[RESTARTED_FOR] == f"web={act}"

    @pytest.mark.parametrize("act", ["now", "get", "patch"])
    def test_one_that_stays_away_is_not_waited_for_longer(self, act: str) -> None:
        """The negative control."""
        api = two()
        api.then = always(Transient("the API server is away"), act)
        with pytest.raises(Transient, match="the API server is away"):
            made(api).restart(WEB, NEW)
        assert api.clock.monotonic() == 30

    def test_one_that_says_when_to_ask_again_is_not_asked_before(self) -> None:
        """It has too much to do."""
        api = two()
        api.controller = done
        api.then = once(Transient("too many requests", retry_after=timedelta(seconds=7)), act="get")
        made(api).restart(WEB, NEW)
        assert api.clock.monotonic() == 7

    def test_new_pods_that_start_slowly_are_waited_for(self) -> None:
        """An API server that is away meanwhile is no reason to go back, either."""
        api = two()
        web = api.objects["/apis/apps/v1/namespaces/shop/deployments/web"]

        def slow(found: Object) -> None:
            done(found)
            at = found["spec"]["template"]["metadata"]["annotations"][RESTARTED_AT]
            api.pods = [pod("web-old", ready=True), pod("web-new", of=at)]
            found["status"] |= {"updatedReplicas": 1}

        def then(what: str, _path: str) -> None:
            if what == "list" and api.log.count("list pods?app=web") == 2:
                raise Transient("away")
            if api.clock.monotonic() == 20:
                web["status"] |= {"updatedReplicas": 3}

        api.controller, api.then = slow, then
        made(api).restart(WEB, NEW)
        assert api.clock.monotonic() == 20

    def test_an_api_server_that_goes_away_in_mid_rollout_is_waited_for_until_the_deadline(
        self,
    ) -> None:
        """The message says what is known last."""
        api = two()

        def then(what: str, _path: str) -> None:
            if what == "get" and api.events:
                raise Transient("the API server is away")

        api.then = then
        with pytest.raises(Transient, match="not restarted within 30 s: the API server is away"):
            made(api).restart(WEB, NEW)

    def test_what_was_written_although_the_answer_was_lost_is_not_written_again(self) -> None:
        """And it is told of."""
        api = two()
        api.controller = done
        api.lost = Lost("no answer", sent=True)
        made(api).restart(WEB, NEW)
        assert api.log.count("patch web") == 1
        assert api.reasons() == ["RotationRestart", "RotationRestarted"]

    def test_a_workload_that_changes_meanwhile_is_read_again(self) -> None:
        """Its controller writes its status into the same object."""
        api = two()
        api.controller = done
        api.then = once(Conflict("changed"), Conflict("changed"), act="patch")
        made(api).restart(WEB, NEW)
        assert api.log.count("patch web") == 3
        assert api.clock.monotonic() < 1
        assert stamped(api, WEB)

    def test_one_that_changes_all_the_time_is_given_up(self) -> None:
        """The negative control."""
        api = two()
        api.then = always(Conflict("changed"), "patch")
        with pytest.raises(Transient, match="is being changed by others all the time"):
            made(api).restart(WEB, NEW)

    def test_a_template_that_somebody_else_stamps_ends_it(self) -> None:
        """Which of the two the pods are of, nobody could tell."""
        api = two()

        canary = next(iter(api.objects.values()))

        def then(what: str, _path: str) -> None:
            if what == "create":
                canary["spec"]["template"]["metadata"]["annotations"][RESTARTED_AT] = "theirs"

        api.then = then
        with pytest.raises(NeedsOperator, match="somebody else has changed the annotation"):
            made(api).restart(CANARY, NEW)

    def test_a_workload_that_is_gone_is_named(self) -> None:
        """Another of the list may be there."""
        with pytest.raises(NeedsOperator, match="no statefulset/db in the namespace shop"):
            made(two()).restart(DB, NEW)

    def test_events_that_cannot_be_written_stop_nothing(self) -> None:
        """The restart matters more."""
        api = two()
        api.controller = done
        api.then = always(Denied("no"), "create")
        made(api).restart(WEB, NEW)
        assert stamped(api, WEB)
        assert api.events == []


class TestFence:
    """Another process may be at work on the same."""

    @staticmethod
    def fenced_after(api: MemoryApi, writes: int) -> Rollouts:
        """Whoever has written so often has lost its lock."""

        def fence() -> None:
            acts = [each for each in api.log if each.startswith(("patch", "delete", "create"))]
            if len(acts) >= writes:
                raise Fenced("another process has the lock")

        return replace(made(api), fence=fence)

    def test_the_next_workload_is_left_alone(self) -> None:
        """Nor is anything told of."""
        api = two()
        api.controller = done
        with pytest.raises(Fenced):
            both(self.fenced_after(api, 3)).apply_of(NEW)
        assert stamped(api, CANARY)
        assert not stamped(api, WEB)
        assert len(api.events) == 2, "those of the canary"

    @pytest.mark.parametrize("writes", range(4))
    def test_nothing_is_written_once_the_lock_is_lost(self, writes: int) -> None:
        """Wherever that is; the control loses it when all is done."""
        api = two()
        api.controller = done
        both(made(api)).apply_of(NEW)
        for go in (KubernetesTarget.apply_of, KubernetesTarget.revert_to):
            api.log.clear()
            told = {"web": go.__name__}
            with pytest.raises(Fenced):
                go(both(self.fenced_after(api, writes)), told)
            acts = [each for each in api.log if each.startswith(("patch", "delete", "create"))]
            assert len(acts) == writes
        both(self.fenced_after(api, 1000)).apply_of({"web": "cc"})

    def test_a_pod_is_not_deleted_without_the_lock(self) -> None:
        """It may be one of a template that is wanted again."""
        api = MemoryApi(("statefulset", workload_object("statefulset", "db")))
        api.controller = done
        made(api).restart(DB, NEW)
        bad = pod("db-2", of=stamped(api, DB)[RESTARTED_AT], **CRASHED)

        def stuck(found: Object) -> None:
            done(found)
            found["status"] |= {"updatedReplicas": 1}
            api.pods = [bad]

        api.controller = stuck
        api.log.clear()
        with pytest.raises(Fenced):
            self.fenced_after(api, 2).revert(DB, OLD)
        assert not [each for each in api.log if "delete" in each]
        assert "list pods?app=db" in api.log, "the control: it was looked at"


class TestHold:
    """A PodDisruptionBudget that allows nothing for the moment is waited for."""

    def test_until_it_allows_a_disruption(self) -> None:
        """Others are none of this workload's business."""
        api = two()
        api.controller = done
        api.budgets = [budget(healthy=2), budget(healthy=2, app="other", name="two")]

        def healed(what: str, _path: str) -> None:
            if api.clock.monotonic() >= 20:
                api.budgets[0] = budget(healthy=3, allowed=1)

        api.then = healed
        both(made(api)).apply_of(NEW)
        assert api.clock.monotonic() == 20
        assert api.reasons()[2:] == [
            "RotationHeld",
            "RotationRestart",
            "RotationRestarted",
        ]
        assert api.events[2]["message"] == (
            "it waits for the PodDisruptionBudget one, which allows no disruption"
        )

    def test_at_the_deadline_nothing_was_changed(self) -> None:
        """It is tried again later."""
        api = two()
        api.budgets = [budget(healthy=2)]
        with pytest.raises(Transient, match="Budget one has allowed no disruption for 30 s"):
            made(api).restart(WEB, NEW)
        assert not stamped(api, WEB)
        assert api.reasons() == ["RotationHeld", "RotationRestartFailed"]

    def test_not_where_it_never_will(self) -> None:
        """All of its pods are healthy, and yet it allows none."""
        api = two()
        api.controller = done
        api.budgets = [budget(healthy=3)]
        made(api).restart(WEB, NEW)
        assert api.clock.monotonic() == 0

    def test_not_in_mid_rollout_nor_on_the_way_back(self) -> None:
        """The rollout itself is what makes the budget allow none."""
        api = two()
        api.controller = done
        made(api).restart(WEB, NEW)
        api.budgets = [budget(healthy=2)]
        made(api).restart(WEB, NEW)
        made(api).revert(WEB, OLD)
        assert api.clock.monotonic() == 0
        assert not stamped(api, WEB)


class TestRevert:
    """Back."""

    def test_the_former_template_is_put_back_last_one_first(self) -> None:
        """What was never reached is not touched."""
        api = two()
        api.controller = crashing(api)
        with pytest.raises(NeedsOperator):
            both(made(api)).apply_of(NEW)
        api.log.clear()
        both(made(api)).revert_to(OLD)
        assert [each for each in api.log if "patch" in each] == ["patch canary"]
        assert not stamped(api, CANARY)
        assert api.reasons()[2:] == ["RotationUndo", "RotationUndone"]
        assert [each["message"] for each in api.events[2:]] == [
            "certrotd puts its former pod template back",
            "its former pods are whole again",
        ]

    def test_pods_that_were_restarted_for_others_meanwhile_are_restarted_once_more(self) -> None:
        """A template that lacks what the others were restarted for is not put back."""
        api = two()
        api.controller = done
        made(api).restart(WEB, NEW)
        made(api).restart(WEB, {"key/a": "1"})
        made(api).revert(WEB, OLD)
        assert stamped(api, WEB)[RESTARTED_FOR] == "key/a=1 web=aa"
        assert [each["message"] for each in api.events[4:]] == [
            "certrotd restarts its pods once more",
            "each of its pods is new and available",
        ]

    def test_one_that_cannot_be_put_back_keeps_no_other_from_it(self) -> None:
        """And is told of in the end."""
        api = two()
        api.controller = done
        both(made(api)).apply_of(NEW)

        def then(what: str, path: str) -> None:
            if what == "patch" and path.endswith("web"):
                raise Denied("you may not")

        api.then = then
        with pytest.raises(Denied, match="you may not"):
            both(made(api)).revert_to(OLD)
        assert not stamped(api, CANARY)
        assert stamped(api, WEB)

    def test_one_that_was_deleted_meanwhile_has_nothing_to_be_put_back(self) -> None:
        """The others are put back."""
        api = two()
        api.controller = done
        both(made(api)).apply_of(NEW)
        del api.objects["/apis/apps/v1/namespaces/shop/deployments/web"]
        both(made(api)).revert_to(OLD)
        assert not stamped(api, CANARY)

    def test_a_stop_ends_it_at_once(self) -> None:
        """It is done again at the next start."""
        api = two()
        api.controller = done
        both(made(api)).apply_of(NEW)
        api.then = once(Stopped("the process was told to stop"))
        with pytest.raises(Stopped):
            both(made(api)).revert_to(OLD)
        assert stamped(api, CANARY)

    def test_what_does_not_become_whole_again_is_said(self) -> None:
        """At the deadline, and on the object."""
        api = two()
        api.controller = done
        made(api).restart(WEB, NEW)

        def short(found: Object) -> None:
            done(found)
            found["status"] |= {"availableReplicas": 1}

        api.controller = short
        with pytest.raises(Transient, match=r"is not restarted within 30 s: .* 1 available"):
            made(api).revert(WEB, OLD)
        assert api.reasons()[2:] == ["RotationUndo", "RotationUndoFailed"]

    @pytest.mark.parametrize("trouble", [None, Conflict("it is ready by now"), Missing("gone")])
    def test_a_statefulsets_pod_of_the_undone_template_is_deleted(
        self, trouble: Failure | None
    ) -> None:
        """Guarded by its resourceVersion: one that became ready meanwhile is left alone."""
        api = MemoryApi(("statefulset", workload_object("statefulset", "db")))
        api.controller = done
        made(api).restart(DB, NEW)
        api.controller = crashing(api)
        path = next(iter(api.objects))
        api.objects[path]["status"] |= {"updatedReplicas": 1}
        bad = pod("db-2", of=stamped(api, DB)[RESTARTED_AT], **CRASHED)

        def controller(found: Object) -> None:
            done(found)
            api.pods = [pod("db-0", ready=True), pod("db-1", ready=True), bad]

        def then(what: str, at: str) -> None:
            if what == "delete":
                assert at.endswith("/db-2@3")
                api.objects[path]["status"] |= {"updatedReplicas": 3}
                if trouble is not None:
                    raise trouble

        api.controller, api.then = controller, then
        made(api).revert(DB, OLD)
        assert api.log.count("delete db-2@3") == 1
        deleted = [each["message"] for each in api.events if "deletes the pod" in each["message"]]
        assert len(deleted) == (0 if trouble else 1)

    def test_no_other_pod_is_ever_deleted(self) -> None:
        """A Deployment and a DaemonSet replace theirs by themselves."""
        api = two()
        api.controller = crashing(api)
        with pytest.raises(NeedsOperator):
            made(api).restart(WEB, NEW)
        made(api).revert(WEB, OLD)
        assert not [each for each in api.log if "delete" in each]


def test_an_event_is_what_kubectl_describe_looks_for() -> None:
    """By the object that it involves; what has failed is a warning, long words are cut."""
    found = workload("statefulset", workload_object("statefulset", "db"))
    made = event(found, "shop", "2026-06-01T12:00:00Z", "RotationRestartFailed", "x" * 5000)
    assert made["involvedObject"] == {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "namespace": "shop",
        "name": "db",
        "uid": "1-2",
    }
    assert (made["type"], len(made["message"])) == ("Warning", 1024)
    assert event(found, "shop", "", "RotationRestart", "")["type"] == "Normal"


def test_an_event_has_the_time_of_the_api_server() -> None:
    """Which all objects of a cluster are stamped with."""
    api = two()
    tell(cast("Api", api), workload("deployment", workload_object()), "shop", "A", "b")
    assert api.events[0]["lastTimestamp"] == "2026-06-01T12:00:00Z"
