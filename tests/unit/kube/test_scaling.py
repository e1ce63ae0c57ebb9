"""Workloads that are stopped by having no pods, and started with as many as they had."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from typing import cast

import pytest

from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.https.client import Lost
from certrotd.kube.api import Api, Object
from certrotd.kube.scaling import REPLICAS, ScaledWorkloads
from certrotd.kube.workloads import KINDS, Reference
from tests.unit.kube.memory_api import NAMESPACE, MemoryApi, replica, workload_object

WEB, DB = Reference("deployment", "web"), Reference("statefulset", "db")


class Cluster(MemoryApi):
    """Two workloads, whose pods come and go at once."""

    def __init__(self) -> None:
        super().__init__(
            ("deployment", workload_object(replicas=3)),
            ("statefulset", workload_object("statefulset", "db", replicas=1)),
        )
        self.controller = self.obey
        self.obeys = True
        self.scaled: list[tuple[str, int]] = []

    def obey(self, found: Object) -> None:
        name, wanted = found["metadata"]["name"], found["spec"]["replicas"]
        self.scaled.append((name, wanted))
        if not self.obeys:
            return
        counts = ("replicas", "updatedReplicas", "availableReplicas")
        found["status"] = dict.fromkeys(counts, wanted)
        found["status"]["observedGeneration"] = found["metadata"]["generation"]
        self.pods = [replica(str(n)) for n in range(wanted)]

    def at(self, reference: Reference) -> Object:
        return self.objects[KINDS[reference.kind].path(NAMESPACE, reference.name)]

    def workloads(self, *references: Reference, timeout: float = 30.0) -> ScaledWorkloads:
        found = references or (WEB, DB)
        return ScaledWorkloads(lambda: cast("Api", self), NAMESPACE, found, timeout)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_pods_are_taken_away_and_as_many_given_back(cluster: Cluster) -> None:
    """In order, and in the reverse one; however often that is asked for, by any process."""
    cluster.workloads().check()
    assert cluster.workloads().stopped() is False
    for _ in range(2):
        cluster.workloads().stop()
    assert cluster.workloads().stopped() is True
    assert cluster.at(WEB)["metadata"]["annotations"] == {REPLICAS: "3"}
    for _ in range(2):
        cluster.workloads().start()
    assert cluster.scaled == [("web", 0), ("db", 0), ("db", 1), ("web", 3)]
    assert "annotations" not in cluster.at(WEB)["metadata"]
    assert cluster.workloads().stopped() is False
    assert cluster.reasons() == ["RotationStop"] * 2 + ["RotationStart"] * 2


def test_an_answer_that_is_lost_is_no_second_change(cluster: Cluster) -> None:
    """The former number is not overwritten by 0."""
    cluster.lost = Lost("the connection broke", sent=True)
    cluster.workloads(WEB).stop()
    cluster.lost = Lost("the connection broke", sent=True)
    cluster.workloads(WEB).start()
    assert cluster.scaled == [("web", 0), ("web", 3)]


def test_who_changes_a_workload_meanwhile_is_read_anew(cluster: Cluster) -> None:
    """Nothing of what others wrote is lost."""
    path = KINDS["deployment"].path(NAMESPACE, "web")
    left = [1]

    def meanwhile(what: str, at: str) -> None:
        if what == "patch" and at == path and left:
            left.pop()
            cluster.at(WEB)["spec"]["replicas"] = 5
            cluster.at(WEB)["metadata"]["resourceVersion"] = "70"

    cluster.then = meanwhile
    cluster.workloads(WEB).stop()
    cluster.workloads(WEB).start()
    assert cluster.at(WEB)["spec"]["replicas"] == 5


def test_a_pod_that_does_not_end_is_a_failure_that_can_be_undone(cluster: Cluster) -> None:
    """Also one that is on its way out: it may write until it is gone."""
    cluster.obeys = False
    cluster.pods = [replica("slow"), replica("over")]
    cluster.pods[1]["status"]["phase"] = "Succeeded"
    found = cluster.at(WEB)

    def seen(_what: str, _path: str) -> None:
        found["status"]["observedGeneration"] = found["metadata"]["generation"]

    cluster.then = seen
    begun = cluster.clock.now()
    with pytest.raises(Transient, match="deployment/web still has pods after 30 s: slow"):
        cluster.workloads(WEB).stop()
    assert cluster.clock.now() - begun >= timedelta(seconds=30)
    assert cluster.workloads(WEB).stopped() is False
    cluster.obeys = True
    cluster.workloads(WEB).start()
    assert found["spec"]["replicas"] == 3


def gone(cluster: Cluster) -> None:
    del cluster.objects[KINDS["deployment"].path(NAMESPACE, "web")]


def none_left(cluster: Cluster) -> None:
    cluster.at(WEB)["spec"]["replicas"] = 0


def unready(cluster: Cluster) -> None:
    cluster.at(WEB)["status"]["availableReplicas"] = 1


def denied(cluster: Cluster) -> None:
    cluster.denied.add("patch apps/deployments web")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (gone, "there is no deployment/web in the namespace shop"),
        (none_left, "deployment/web is stopped already"),
        (unready, "deployment/web does not run: 3 of 3 pods updated, 1 available"),
        (denied, "may not patch deployments/web in the namespace shop"),
    ],
)
def test_what_is_in_the_way_is_said_before_anything_is_stopped(
    cluster: Cluster, spoil: Callable[[Cluster], None], said: str
) -> None:
    """And nothing is written."""
    spoil(cluster)
    before = copy.deepcopy(cluster.objects)
    with pytest.raises(Failure, match=said):
        cluster.workloads().check()
    assert cluster.objects == before


def test_an_annotation_of_somebody_else_is_not_believed(cluster: Cluster) -> None:
    """How many pods there were is not known then."""
    cluster.workloads(WEB).stop()
    for told in ("0", "-1", "many"):
        cluster.at(WEB)["metadata"]["annotations"] = {REPLICAS: told}
        with pytest.raises(NeedsOperator, match="has changed the annotation"):
            cluster.workloads(WEB).start()


def test_who_scaled_it_up_meanwhile_knows_better(cluster: Cluster) -> None:
    """Their number stays, and the annotation goes."""
    cluster.workloads(WEB).stop()
    cluster.at(WEB)["spec"]["replicas"] = 2
    cluster.obey(cluster.at(WEB))
    cluster.workloads(WEB).start()
    assert cluster.at(WEB)["spec"]["replicas"] == 2
    assert "annotations" not in cluster.at(WEB)["metadata"]
