"""Deployments whose pods are objects only, on a node that kwok makes: for numbers alone."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.objects import Object, container, deployment
from tests.parts import locate
from tests.parts.kubernetes import ApiError
from tests.parts.kubernetes.cluster import Cluster
from tests.parts.kubernetes.daemons import Daemon

_NODE = "fake"
_MARK = "kwok.x-k8s.io/node"
_PODS = "5000"
_NODES = f"/api/v1/nodes/{_NODE}"
_CLIENTS = 4


@contextmanager
def simulated_node(cluster: Cluster, directory: Path) -> Iterator[None]:
    """Within it there is such a node; it takes the pods of ``deploy`` and no others."""
    size = {"cpu": "1000", "memory": "1Ti", "pods": _PODS}
    node = {
        "metadata": {"name": _NODE, "labels": {"type": _NODE}, "annotations": {_MARK: _NODE}},
        "spec": {"taints": [{"key": _MARK, "value": _NODE, "effect": "NoSchedule"}]},
        "status": {"capacity": size, "allocatable": size},
    }
    cluster.api.create("/api/v1/nodes", node)
    command: list[str | Path] = [
        locate.require("kwok"),
        f"--kubeconfig={cluster.kubeconfig}",
        f"--config={locate.require_part('kwok') / 'stages.yaml'}",
        f"--manage-nodes-with-annotation-selector={_MARK}={_NODE}",
        "--node-lease-duration-seconds=40",
        "--cidr=10.128.0.0/16",
    ]

    def is_ready() -> bool:
        try:
            conditions = cluster.api.get(_NODES)["status"].get("conditions", [])
        except ApiError:
            return False
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    with Daemon(directory, cluster.isolation.inside(), command, is_ready):
        yield
    cluster.api.delete(_NODES)


def deploy(cluster: Cluster, namespace: str, names: Sequence[str]) -> None:
    """Makes a Deployment of one pod for each name, which is its Secret's, too; awaits all."""
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    with ThreadPoolExecutor(_CLIENTS) as clients:
        list(clients.map(lambda name: cluster.api.create(path, _deployment(name)), names))
    cluster.until(
        lambda: all(map(is_whole, deployments(cluster, namespace))),
        within=300,
        what="all of the simulated pods are ready",
    )


def deployments(cluster: Cluster, namespace: str) -> list[Object]:
    """All of a namespace."""
    found: list[Object] = cluster.api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments")[
        "items"
    ]
    return found


def is_whole(found: Object) -> bool:
    """Whether the one pod of a Deployment is of its present template, and available."""
    status = found["status"]
    pods = {status.get(each) for each in ("replicas", "updatedReplicas", "availableReplicas")}
    observed: int = status.get("observedGeneration", 0)
    return observed == found["metadata"]["generation"] and pods == {1}


def _deployment(name: str) -> Object:
    mount = {"name": "tls", "mountPath": "/tls"}
    made = deployment(
        name,
        1,
        container("simulated", volumeMounts=[mount]),
        volumes=[{"name": "tls", "secret": {"secretName": name}}],
        nodeSelector={"type": _NODE},
        tolerations=[{"key": _MARK, "operator": "Exists"}],
    )
    made["spec"]["revisionHistoryLimit"] = 1
    return made
