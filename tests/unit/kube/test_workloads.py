"""What a workload's numbers and its pods' statuses mean."""

from __future__ import annotations

from typing import Any

import pytest

from certrotd.kube.api import Object
from certrotd.kube.workloads import (
    Reference,
    crash,
    selector_text,
    stuck,
    unfinished,
    unfit,
    waiting,
    warnings,
    workload,
)
from tests.unit.kube.memory_api import CRASHED, pod, status, workload_object

MARK = "certrotd.io/restarted-at"
KINDS = ("deployment", "statefulset", "daemonset")
COUNTS = {
    "updated": ("updatedReplicas", "updatedNumberScheduled"),
    "available": ("availableReplicas", "numberAvailable"),
    "total": ("replicas", "currentNumberScheduled"),
}


def changed(kind: str, **counts: int | None) -> Object:
    """A workload of three pods whose status has these numbers instead; None: it lacks them."""
    found = workload_object(kind)
    for name, value in counts.items():
        key = COUNTS[name][kind == "daemonset"] if name in COUNTS else name
        if value is None:
            del found["status"][key]
        else:
            found["status"][key] = value
    return found


@pytest.mark.parametrize("kind", KINDS)
class TestUnfinished:
    """As ``kubectl rollout status`` sees it."""

    def test_a_workload_whose_pods_are_all_new_and_available_is_finished(self, kind: str) -> None:
        """Whatever its conditions say: they may be of an earlier generation."""
        found = workload_object(kind)
        found["status"]["conditions"] = [
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
        ]
        assert unfinished(workload(kind, found)) is None

    @pytest.mark.parametrize(
        ("counts", "words"),
        [
            ({"observedGeneration": 1}, "its controller has not seen its last change yet"),
            ({"observedGeneration": None}, "its controller has not seen its last change yet"),
            ({"updated": 2}, "2 of 3 pods updated, 1 old, 3 available"),
            ({"updated": None}, "0 of 3 pods updated, 3 old, 3 available"),
            ({"available": 2}, "3 of 3 pods updated, 2 available"),
            ({"available": None}, "3 of 3 pods updated, 0 available"),
            ({"total": 4}, "3 of 3 pods updated, 1 old, 3 available"),
        ],
    )
    def test_what_it_lacks_is_said(
        self, kind: str, counts: dict[str, int | None], words: str
    ) -> None:
        """Old pods that are still there are a rollout that goes on, too."""
        assert unfinished(workload(kind, changed(kind, **counts))) == words

    def test_that_it_is_paused_is_said(self, kind: str) -> None:
        """By somebody, in the middle: nothing goes on until it is resumed."""
        found = changed(kind, updated=2)
        found["spec"]["paused"] = True
        assert (unfinished(workload(kind, found)) or "").startswith("it is paused; 2 of 3 pods")

    def test_a_workload_without_pods_is_finished(self, kind: str) -> None:
        """There is nothing to wait for."""
        assert unfinished(workload(kind, workload_object(kind, replicas=0))) is None


def test_a_deployment_that_says_no_number_has_one_pod() -> None:
    """As the API has it by default; an object that lacks everything else is read all the same."""
    assert workload("deployment", {}).wanted == 1
    assert workload("daemonset", {}).wanted == 0


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ({"key": "a", "operator": "In", "values": ["x", "y"]}, "app=web,a in (x,y)"),
        ({"key": "a", "operator": "NotIn", "values": ["x"]}, "app=web,a notin (x)"),
        ({"key": "a", "operator": "Exists"}, "app=web,a"),
        ({"key": "a", "operator": "DoesNotExist"}, "app=web,!a"),
    ],
)
def test_a_selector_is_written_as_a_query_has_it(expression: Object, text: str) -> None:
    """All four operators of the API."""
    labels = {"matchLabels": {"app": "web"}}
    assert selector_text({**labels, "matchExpressions": [expression]}) == text
    assert selector_text(labels) == "app=web"


class TestUnfit:
    """What keeps a restart from being one."""

    @pytest.mark.parametrize(
        ("kind", "spec", "words"),
        [
            ("deployment", {"paused": True}, "is paused"),
            ("statefulset", {"updateStrategy": {"type": "OnDelete"}}, "update strategy OnDelete"),
            ("daemonset", {"updateStrategy": {"type": "OnDelete"}}, "update strategy OnDelete"),
            (
                "statefulset",
                {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}},
                "has a partition",
            ),
        ],
    )
    def test_it_is_said(self, kind: str, spec: Object, words: str) -> None:
        """Each with what would be right."""
        found = workload_object(kind)
        found["spec"] |= spec
        [(why, hint)] = unfit(workload(kind, found))
        assert words in why
        assert hint

    def test_one_that_is_being_deleted_is_left_alone(self) -> None:
        """Its pods are about to go."""
        found = workload_object()
        found["metadata"]["deletionTimestamp"] = "2026-06-01T12:00:00Z"
        assert [why for why, _ in unfit(workload("deployment", found))] == ["is being deleted"]

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_usual_one_is_fit(self, kind: str) -> None:
        """The negative control: a partition of 0 is none."""
        found = workload_object(kind)
        key = "strategy" if kind == "deployment" else "updateStrategy"
        found["spec"][key] = {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
        assert list(unfit(workload(kind, found))) == []


class TestWarnings:
    """What clients would feel of a restart."""

    def of(self, kind: str = "deployment", replicas: int = 3, **spec: Any) -> list[str]:
        """Those of a workload of one container with a probe and a preStop."""
        container = {"name": "main", "readinessProbe": {"tcpSocket": {"port": 1}}}
        container |= {"lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}
        found = workload_object(kind, replicas=replicas)
        found["spec"]["template"]["spec"] = {"containers": [container]}
        found["spec"] |= spec
        return list(warnings(workload(kind, found)))

    def test_a_good_one_has_none(self) -> None:
        """The negative control of those below."""
        surge = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}
        assert self.of() == self.of("statefulset") == []
        assert self.of("daemonset", 1, updateStrategy=surge) == []

    @pytest.mark.parametrize(
        ("made", "words"),
        [
            ({"replicas": 1}, "has one replica"),
            ({"replicas": 0}, "has no pods"),
            ({"strategy": {"type": "Recreate"}}, "has the strategy Recreate"),
            ({"kind": "daemonset", "replicas": 1}, "has no maxSurge"),
        ],
    )
    def test_each_is_said_once(self, made: Any, words: str) -> None:
        """With what it comes to."""
        [line] = self.of(**made)
        assert line.startswith(words)

    def test_a_container_without_probe_and_prestop_is_named(self) -> None:
        """Each container of the pod."""
        found = workload_object()
        found["spec"]["template"]["spec"] = {"containers": [{"name": "main"}, {"name": "proxy"}]}
        lines = list(warnings(workload("deployment", found)))
        assert [line.split(":")[0] for line in lines] == [
            "has no readinessProbe in container main",
            "has no preStop in container main",
            "has no readinessProbe in container proxy",
            "has no preStop in container proxy",
        ]


class TestCrash:
    """The first sign that a new pod does not work."""

    @pytest.mark.parametrize(
        ("state", "words"),
        [
            ({"waiting": {"reason": "CrashLoopBackOff"}}, "is in CrashLoopBackOff"),
            (
                {"waiting": {"reason": "CreateContainerConfigError"}},
                "is in CreateContainerConfigError",
            ),
            ({"waiting": {"reason": "RunContainerError"}}, "is in RunContainerError"),
            ({"terminated": {"exitCode": 1, "reason": "Error"}}, "ended with exit code 1"),
            ({"terminated": {"exitCode": 0}}, "ended with exit code 0"),
        ],
    )
    def test_a_container_that_does_not_run_is_one(self, state: Object, words: str) -> None:
        """Before the kubelet has started it a second time."""
        new = pod("web-1", of="t", containerStatuses=[status(state=state)])
        assert crash([new], MARK, "t") == ("web-1", f"container main {words}")

    def test_the_exit_code_is_told_with_the_back_off(self) -> None:
        """It is in the last state by then."""
        found = crash([pod("web-1", of="t", **CRASHED)], MARK, "t")
        assert found == ("web-1", "container main is in CrashLoopBackOff, exit code 1")

    def test_a_container_that_was_restarted_and_runs_is_one(self) -> None:
        """It is up for a moment, until it crashes again."""
        again = status(
            state={"running": {}}, lastState={"terminated": {"exitCode": 2}}, restartCount=1
        )
        found = crash([pod("web-1", of="t", containerStatuses=[again])], MARK, "t")
        assert found == ("web-1", "container main ended with exit code 2")

    @pytest.mark.parametrize(("code", "crashed"), [(0, False), (1, True)])
    def test_an_init_container_may_end_but_not_fail(self, code: int, crashed: bool) -> None:
        """Ending well is what it is for."""
        ended = status(state={"terminated": {"exitCode": code}})
        new = pod("web-1", of="t", initContainerStatuses=[ended])
        assert (crash([new], MARK, "t") is not None) is crashed

    def test_an_init_container_may_be_tried_again_until_it_ends_well(self) -> None:
        """It may wait for something by failing; the control has not ended well yet."""
        status_ = status(state={"terminated": {"exitCode": 0}}, restartCount=2)
        status_["lastState"] = {"terminated": {"exitCode": 1}}
        new = pod("web-1", of="t", initContainerStatuses=[status_])
        assert crash([new], MARK, "t") is None
        status_["state"] = {"running": {}}
        assert crash([new], MARK, "t") is not None

    def test_other_pods_are_not_counted(self) -> None:
        """Old ones, those that are ready by now, and those that are told to end."""
        leaving = pod("leaving", of="t", **CRASHED)
        leaving["metadata"]["deletionTimestamp"] = "2026-06-01T12:00:00Z"
        pods = [
            pod("old", of="s", **CRASHED),
            pod("older", **CRASHED),
            pod("ready", ready=True, of="t", **CRASHED),
            leaving,
            pod("starting", of="t", containerStatuses=[status(state={"waiting": {}})]),
            pod("new", of="t"),
            {},
        ]
        assert crash(pods, MARK, "t") is None


NO_NODE = [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}]


@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        (
            {"containerStatuses": [status(state={"waiting": {"reason": "ImagePullBackOff"}})]},
            "in the pod web-1, container main is in ImagePullBackOff",
        ),
        (
            {"initContainerStatuses": [status(state={"waiting": {"reason": "ErrImagePull"}})]},
            "in the pod web-1, container main is in ErrImagePull",
        ),
        ({"conditions": NO_NODE}, "the pod web-1 has no node: 0/1 nodes are available"),
        ({"containerStatuses": [status(state={"waiting": {"reason": "PodInitializing"}})]}, None),
        ({"containerStatuses": [status(state={"waiting": {}})]}, None),
        ({"conditions": [{"type": "PodScheduled", "status": "True"}]}, None),
        ({}, None),
    ],
)
def test_what_a_pod_waits_for_is_said(statuses: Any, words: str | None) -> None:
    """Of one that is not merely slow, ready by now, or on its way out."""
    leaving = pod("leaving", conditions=NO_NODE)
    leaving["metadata"]["deletionTimestamp"] = "2026-06-01T12:00:00Z"
    others = [pod("ready", ready=True), leaving]
    assert waiting([*others, pod("web-1", **statuses)]) == words


@pytest.mark.parametrize("value", ["former", None])
def test_pods_are_stuck_that_are_of_another_template_and_not_ready(value: str | None) -> None:
    """Those on their way out need no help, and those that are ready are replaced in their turn."""
    leaving = pod("leaving", of="bad")
    leaving["metadata"]["deletionTimestamp"] = "2026-06-01T12:00:00Z"
    pods = [pod("bad", of="bad"), pod("ready", ready=True, of="bad"), leaving, pod("own", of=value)]
    assert [each["metadata"]["name"] for each in stuck(pods, "1-2", MARK, value)] == ["bad"]


def test_a_pod_of_somebody_else_is_never_stuck() -> None:
    """It may have the labels that the selector asks for."""
    theirs, nobodys = pod("theirs", of="bad"), pod("nobodys", of="bad")
    theirs["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "uid": "3"}]
    del nobodys["metadata"]["ownerReferences"]
    assert list(stuck([theirs, nobodys, {}], "1-2", MARK, None)) == []


def test_a_reference_is_written_as_kubectl_takes_it() -> None:
    """It can be copied from a message."""
    assert str(Reference("statefulset", "db")) == "statefulset/db"
