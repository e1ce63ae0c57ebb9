"""A namespace with workloads in memory, and a target of them, for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from certrotd.kube.api import Api, Object
from certrotd.kube.pod_survey import Probe
from certrotd.kube.rollout import Rollouts
from certrotd.kube.stamps import RESTARTED_FOR
from certrotd.kube.workloads import Reference
from certrotd.pki.generation import LiveCertificate
from certrotd.targets.kubernetes import KubernetesTarget
from tests.unit.kube.memory_api import NAMESPACE, MemoryApi, workload_object

WEB, DB = Reference("deployment", "web"), Reference("statefulset", "db")


def labelled(kind: str, name: str, **labels: str) -> tuple[str, Object]:
    """A workload with labels."""
    found = workload_object(kind, name)
    found["metadata"]["labels"] = labels
    return kind, found


def done(found: Object) -> None:
    """A controller that is done at once."""
    found["status"]["observedGeneration"] = found["metadata"]["generation"]


def shop() -> MemoryApi:
    """A Deployment, a StatefulSet, and two of the tier "edge"."""
    api = MemoryApi(
        labelled("deployment", "web"),
        labelled("statefulset", "db"),
        labelled("daemonset", "edge", tier="edge"),
        labelled("deployment", "proxy", tier="edge"),
        labelled("deployment", "api", tier="edge"),
    )
    api.controller = done
    return api


def rollouts(api: MemoryApi) -> Rollouts:
    """Those of the API in memory."""
    return Rollouts(cast("Api", api), NAMESPACE, 30.0)


def target(
    api: MemoryApi,
    *named: Reference,
    labels: str | None = None,
    probes: Sequence[Probe] = (),
    **fields: Any,
) -> KubernetesTarget:
    """The target of these."""
    return KubernetesTarget(rollouts(api), named, labels, tuple(probes), **fields)


def probe(
    look: Callable[[LiveCertificate, str], None] = lambda _certificate, _address: None,
    reach: Callable[[str], None] = lambda _address: None,
) -> Probe:
    """One that finds every certificate, however it looks."""
    return Probe(look, look, reach)


def using(api: MemoryApi, **secrets: str) -> None:
    """Has workloads mount Secrets, by their names."""
    for each in api.objects.values():
        if secret := secrets.get(each["metadata"]["name"]):
            volume = {"name": "tls", "secret": {"secretName": secret}}
            container = {"name": "main", "volumeMounts": [{"name": "tls", "mountPath": "/tls"}]}
            each["spec"]["template"]["spec"] = {"containers": [container], "volumes": [volume]}


def live(certificate: str, fingerprint: str, sealed: str = "") -> LiveCertificate:
    """What it is told of one."""
    return LiveCertificate(certificate, ("a.test",), "/live", fingerprint, sealed=sealed)


def told(api: MemoryApi) -> dict[str, str]:
    """Which workloads were told, in the order of their names, of what."""
    found = {}
    for each in api.objects.values():
        annotations = each["spec"]["template"]["metadata"].get("annotations") or {}
        if annotations:
            found[each["metadata"]["name"]] = annotations.get(RESTARTED_FOR, "")
    return found


def patched(api: MemoryApi) -> list[str]:
    """What was written to, in order."""
    return [each.partition(" ")[2] for each in api.log if each.startswith("patch")]
