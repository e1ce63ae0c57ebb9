"""How the containers of a pod get at a Secret, and whether a running one ever sees a change of it.

The kubelet renews the files of a volume while the pod runs, but neither what is mounted by subPath,
nor environments; and an init container does not run again.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Pod = Mapping[str, Any]
"""The spec of a pod, as in a workload's template."""
How = Literal["volume", "projected", "subPath", "env", "envFrom", "init"]
WORDS: Mapping[How, str] = {
    "volume": "mounts it",
    "projected": "mounts it in a projected volume",
    "subPath": "mounts it by subPath",
    "env": "has it in a variable",
    "envFrom": "has it in its environment",
    "init": "reads it before the others start",
}

_LISTS = ("volumes", "containers", "initContainers")
"""The parts of a pod's spec that name Secrets."""


@dataclass(frozen=True)
class Use:
    """One way in which a container gets at a Secret; ``at`` is the mount path or the variable."""

    container: str
    how: How
    at: str = ""

    @property
    def follows(self) -> bool:
        """Whether the container sees a change without being started again."""
        return self.how in ("volume", "projected")

    def __str__(self) -> str:
        where = f" ({self.at})" if self.at else ""
        return f"container {self.container} {WORDS[self.how]}{where}"


def uses(pod: Pod, secret: str) -> Iterator[Use]:
    """Every use of a Secret by a container of the pod; none through a CSI driver is known."""
    volumes = dict(_volumes(pod, secret))
    for key, starts in (("initContainers", True), ("containers", False)):
        for container in pod.get(key) or ():
            once = starts and container.get("restartPolicy") != "Always"  # else it is a sidecar
            for use in _of_container(container, volumes, secret):
                yield Use(use.container, "init", use.at) if once else use


def is_used(pod: Pod, secret: str) -> bool:
    """Whether any container gets at the Secret."""
    return any(True for _ in uses(pod, secret))


def renamed(pod: Pod, names: Mapping[str, str]) -> dict[str, Any]:
    """The lists of the pod's spec that name one of these Secrets, with the new names instead."""
    after = copy.deepcopy({key: pod.get(key) or [] for key in _LISTS})
    for place, field in _references(after):
        place[field] = names.get(place[field], place[field])
    return {key: each for key, each in after.items() if each != (pod.get(key) or [])}


def _references(pod: Pod) -> Iterator[tuple[dict[str, Any], str]]:
    """Every field that has the name of a Secret: the object that it is in, and the field."""
    for volume in pod["volumes"]:
        if (volume.get("secret") or {}).get("secretName"):
            yield volume["secret"], "secretName"
        for source in (volume.get("projected") or {}).get("sources") or ():
            if (source.get("secret") or {}).get("name"):
                yield source["secret"], "name"
    for container in (*pod["containers"], *pod["initContainers"]):
        for variable in container.get("env") or ():
            if ref := (variable.get("valueFrom") or {}).get("secretKeyRef"):
                yield ref, "name"
        for source in container.get("envFrom") or ():
            if ref := source.get("secretRef"):
                yield ref, "name"


def _volumes(pod: Pod, secret: str) -> Iterator[tuple[str, How]]:
    for volume in pod.get("volumes") or ():
        name = str(volume.get("name"))
        if (volume.get("secret") or {}).get("secretName") == secret:
            yield name, "volume"
        sources = (volume.get("projected") or {}).get("sources") or ()
        if any((each.get("secret") or {}).get("name") == secret for each in sources):
            yield name, "projected"


def _of_container(
    container: Mapping[str, Any], volumes: Mapping[str, How], secret: str
) -> Iterator[Use]:
    name = str(container.get("name"))
    for mount in container.get("volumeMounts") or ():
        if how := volumes.get(str(mount.get("name"))):
            part = mount.get("subPath") or mount.get("subPathExpr")
            yield Use(name, "subPath" if part else how, str(mount.get("mountPath", "")))
    for variable in _of_secret(container.get("env"), ("valueFrom", "secretKeyRef"), secret):
        yield Use(name, "env", str(variable.get("name", "")))
    for source in _of_secret(container.get("envFrom"), ("secretRef",), secret):
        yield Use(name, "envFrom", str(source.get("prefix", "")))


def _of_secret(
    entries: Iterable[Mapping[str, Any]] | None, path: tuple[str, ...], secret: str
) -> Iterator[Mapping[str, Any]]:
    for each in entries or ():
        found: Mapping[str, Any] = each
        for key in path:
            found = found.get(key) or {}
        if found.get("name") == secret:
            yield each
