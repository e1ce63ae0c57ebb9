"""Deployments, StatefulSets and DaemonSets: what their objects and pods say of a rollout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from certrotd.kube.api import Kind, Object

PODS = Kind("api/v1", "pods")
KINDS = {
    "deployment": Kind("apis/apps/v1", "deployments"),
    "statefulset": Kind("apis/apps/v1", "statefulsets"),
    "daemonset": Kind("apis/apps/v1", "daemonsets"),
}
"""Where each kind of workload is."""
API_KINDS = {"deployment": "Deployment", "statefulset": "StatefulSet", "daemonset": "DaemonSet"}
"""The kinds as the API writes them."""

_NEVER_STARTS = frozenset(
    {"CrashLoopBackOff", "Error", "RunContainerError", "CreateContainerError"}
    | {"CreateContainerConfigError"}
)
_STARTING = frozenset({"ContainerCreating", "PodInitializing"})
_OPERATORS = {"In": "in", "NotIn": "notin"}


@dataclass(frozen=True, order=True)
class Reference:
    """A workload of one ``kind`` of KINDS, within a namespace."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True)
class Workload:
    """What is read of a workload's object.

    ``wanted`` is how many pods there should be; of its pods ``updated`` are of the present
    template, ``total`` of any, ``available`` ready for long enough. ``observed`` is the generation
    that these numbers are of. ``labels`` are those of its pods, ``strategy`` is the update strategy
    with its options.
    """

    reference: Reference
    uid: str
    revision: str
    generation: int
    observed: int
    wanted: int
    updated: int
    total: int
    available: int
    paused: bool
    deleted: bool
    selector: str
    labels: Mapping[str, str]
    strategy: Mapping[str, Any]
    annotations: Mapping[str, str]
    template_annotations: Mapping[str, str]
    pod: Mapping[str, Any]


def workload(kind: str, found: Object) -> Workload:
    """The workload that an object of the API is."""
    metadata, spec, status = (found.get(key) or {} for key in ("metadata", "spec", "status"))
    template = spec.get("template") or {}
    per_node = kind == "daemonset"
    total = status.get("currentNumberScheduled" if per_node else "replicas", 0)
    wanted = status.get("desiredNumberScheduled", 0) if per_node else spec.get("replicas", 1)
    return Workload(
        reference=Reference(kind, str(metadata.get("name", ""))),
        uid=str(metadata.get("uid", "")),
        revision=str(metadata.get("resourceVersion", "")),
        generation=metadata.get("generation", 0),
        observed=status.get("observedGeneration", 0),
        wanted=wanted,
        updated=status.get("updatedNumberScheduled" if per_node else "updatedReplicas", 0),
        total=total,
        available=status.get("numberAvailable" if per_node else "availableReplicas", 0),
        paused=bool(spec.get("paused")),
        deleted="deletionTimestamp" in metadata,
        selector=selector_text(spec.get("selector") or {}),
        labels=(template.get("metadata") or {}).get("labels") or {},
        strategy=spec.get("strategy" if kind == "deployment" else "updateStrategy") or {},
        annotations=metadata.get("annotations") or {},
        template_annotations=(template.get("metadata") or {}).get("annotations") or {},
        pod=template.get("spec") or {},
    )


def selector_text(selector: Mapping[str, Any]) -> str:
    """A LabelSelector as a list's query has it."""
    texts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for each in selector.get("matchExpressions") or ():
        key, operator = each["key"], each["operator"]
        if operator in _OPERATORS:
            texts.append(f"{key} {_OPERATORS[operator]} ({','.join(each['values'])})")
        else:
            texts.append(key if operator == "Exists" else f"!{key}")
    return ",".join(texts)


def unfinished(found: Workload) -> str | None:
    """What its present template still lacks, in words; None once every pod is of it and available.

    Conditions say nothing: they may be of an earlier generation.
    """
    if found.observed < found.generation:
        return "its controller has not seen its last change yet"
    old = max(0, found.total - found.updated)
    if found.updated >= found.wanted and not old and found.available >= found.wanted:
        return None
    left = f", {old} old" if old else ""
    paused = "it is paused; " if found.paused else ""
    return (
        f"{paused}{found.updated} of {found.wanted} pods updated{left}, {found.available} available"
    )


def is_rolling(found: Workload) -> bool:
    """Whether it has pods of another template than the present one, or may have for all we know."""
    return found.observed < found.generation or found.total > found.updated


def unfit(found: Workload) -> Iterator[tuple[str, str]]:
    """Why its pods cannot, or must not, be restarted now: each with a hint."""
    kind = found.strategy.get("type")
    options = found.strategy.get("rollingUpdate") or {}
    if found.deleted:
        yield "is being deleted", "take it out of the target"
    if found.paused:
        yield "is paused", f"kubectl rollout resume {found.reference}"
    if kind == "OnDelete":
        yield "has the update strategy OnDelete: nothing restarts its pods", "use RollingUpdate"
    if options.get("partition"):
        yield "has a partition: pods below it would keep the old certificate", "set it to 0"


def warnings(found: Workload) -> Iterator[str]:
    """What makes a restart of its pods felt by clients."""
    options = found.strategy.get("rollingUpdate") or {}
    if found.wanted == 0:
        yield "has no pods: nothing shows whether the certificate works"
    if found.wanted == 1 and found.reference.kind != "daemonset":
        yield "has one replica: nothing else serves if its new pod fails"
    if found.strategy.get("type") == "Recreate":
        yield "has the strategy Recreate: nothing serves between its old and its new pods"
    if found.reference.kind == "daemonset" and options.get("maxSurge") in (None, 0, "0%"):
        yield "has no maxSurge: on each node nothing serves while its pod is replaced"
    for container in found.pod.get("containers") or ():
        name = container.get("name")
        if not container.get("readinessProbe"):
            yield f"has no readinessProbe in container {name}: a new pod counts as soon as it runs"
        if not (container.get("lifecycle") or {}).get("preStop"):
            yield (
                f"has no preStop in container {name}: requests fail that arrive "
                "while a pod is taken out of its Services"
            )


def crash(pods: Iterable[Object], annotation: str, value: str | None) -> tuple[str, str] | None:
    """The name of the first pod that is broken(), and what it does; None where there is none."""
    for pod in broken(pods, annotation, value):
        return str((pod.get("metadata") or {}).get("name")), str(crash_of(pod))
    return None


def broken(pods: Iterable[Object], annotation: str, value: str | None) -> Iterator[Object]:
    """Those with a crash, of a template with that annotation."""
    return (pod for pod in pods if _of_template(pod, annotation, value) and crash_of(pod))


def crash_of(pod: Object) -> str | None:
    """What a pod's containers do, in words; None if it is ready, on its way out or merely slow."""
    status = pod.get("status") or {}
    if is_ready(pod) or is_leaving(pod):
        return None
    for each in status.get("initContainerStatuses") or ():
        if why := _broken(each, ends=True):
            return why
    for each in status.get("containerStatuses") or ():
        if why := _broken(each, ends=False):
            return why
    return None


def waiting(pods: Iterable[Object]) -> str | None:
    """What the first pod waits for that does not become ready by itself, in words.

    An image that cannot be pulled, or no node with room: None where pods are only slow.
    """
    for pod in pods:
        if is_ready(pod) or is_leaving(pod):
            continue
        status, name = pod.get("status") or {}, (pod.get("metadata") or {}).get("name")
        for each in (status.get("initContainerStatuses") or []) + (
            status.get("containerStatuses") or []
        ):
            reason = ((each.get("state") or {}).get("waiting") or {}).get("reason")
            if reason and reason not in _STARTING:
                return f"in the pod {name}, container {each.get('name')} is in {reason}"
        for each in status.get("conditions") or ():
            if each.get("type") == "PodScheduled" and each.get("status") == "False":
                return f"the pod {name} has no node: {each.get('message')}"
    return None


def stuck(
    pods: Iterable[Object], owner: str, annotation: str, value: str | None
) -> Iterator[Object]:
    """Pods that are not ready, and of another template than the one with that annotation.

    ``owner`` is the uid of their StatefulSet: its selector may find pods of others as well.
    """
    for pod in pods:
        metadata = pod.get("metadata") or {}
        owners = {each.get("uid") for each in metadata.get("ownerReferences") or ()}
        other = not _of_template(pod, annotation, value)
        if owner in owners and other and not is_ready(pod) and not is_leaving(pod):
            yield pod


def _of_template(pod: Object, annotation: str, value: str | None) -> bool:
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    return bool(annotations.get(annotation) == value)


def is_ready(pod: Object) -> bool:
    """Whether a pod has the condition Ready."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)


def was_restarted(pod: Object) -> bool:
    """Whether any of its containers has been started again since the pod was made."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return any(each.get("restartCount") for each in statuses)


def is_leaving(pod: Object) -> bool:
    """Whether a pod is being deleted: what its containers do then is no crash."""
    return "deletionTimestamp" in (pod.get("metadata") or {})


def _broken(status: Mapping[str, Any], *, ends: bool) -> str | None:
    """What is wrong with a container, in words; an init container ``ends``, with exit code 0."""
    name = status.get("name")
    state = status.get("state") or {}
    waiting = (state.get("waiting") or {}).get("reason")
    last = state.get("terminated") or (status.get("lastState") or {}).get("terminated") or {}
    code = last.get("exitCode")
    if ends and (state.get("terminated") or {}).get("exitCode") == 0:
        return None  # at last, however often it was tried
    if waiting in _NEVER_STARTS:
        ended = f", exit code {code}" if code is not None else ""
        return f"container {name} is in {waiting}{ended}"
    if status.get("restartCount") or (last and not (ends and code == 0)):
        return f"container {name} ended with exit code {code}"
    return None
