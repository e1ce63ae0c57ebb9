"""The pods of a workload: which are its own, which serve, and how they are read and deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from certrotd.clock import Deadline
from certrotd.errors import Transient
from certrotd.kube.api import Api, Missing, Object, Selection
from certrotd.kube.workloads import PODS, Workload, is_leaving, is_ready
from certrotd.state.ports import Conflict

T = TypeVar("T")

PAUSE = 1.0
_AGAIN = 0.1
_OVER = ("Succeeded", "Failed")
_HASH = "pod-template-hash"
"""The label by which a Deployment names its ReplicaSets."""


def patiently(ask: Callable[[], T], deadline: Deadline) -> T:
    """The answer, once the API server gives one; raises as Api.ask() at the deadline.

    It is asked again after as long as it says, or after a second.
    """
    while True:
        try:
            return ask()
        except Transient as failure:
            if deadline.passed:
                raise
            asked = failure.retry_after
            least = _AGAIN if isinstance(failure, Conflict) else PAUSE
            deadline.pause(max(least, asked.total_seconds() if asked else 0))


def owned(pods: Iterable[Object], found: Workload) -> Iterator[Object]:
    """Those that the workload has made itself: not over, and not on their way out."""
    for pod in pods:
        over = (pod.get("status") or {}).get("phase") in _OVER
        if _is_owner(found, pod) and not over and not is_leaving(pod):
            yield pod


def serving(pods: Iterable[Object], found: Workload) -> Iterator[Object]:
    """Those of the workload that are ready, and have an address."""
    return (pod for pod in owned(pods, found) if is_ready(pod) and address_of(pod))


def place_of(selection: Selection) -> str:
    """What a list of pods is known by, of those that were read a moment ago."""
    return f"{selection.path}?{selection.labels}"


def uid_of(pod: Object) -> str:
    """What tells it from others that have, or had, its name."""
    return str(pod["metadata"].get("uid"))


def name_of(pod: Object) -> str:
    return str(pod["metadata"].get("name"))


def address_of(pod: Object) -> str:
    """Its IP address; empty before it has one."""
    return str((pod.get("status") or {}).get("podIP") or "")


class Follower(Protocol):
    """As followed.Followed."""

    @property
    def pause(self) -> float: ...

    def of(self, found: Workload) -> list[Object]: ...


@dataclass(frozen=True)
class Pods:
    """Those in one namespace, by the API or a ``follower``; ``fence`` as of Rollouts."""

    api: Api
    namespace: str
    fence: Callable[[], None] = lambda: None
    follower: Follower | None = None

    @property
    def pause(self) -> float:
        """Seconds until it is worth its while to look again."""
        return PAUSE if self.follower is None else self.follower.pause

    def of(self, found: Workload) -> list[Object]:
        """Whatever the workload's selector finds; raises as Api.ask()."""
        if self.follower is not None:
            return self.follower.of(found)
        return list(self.api.find(Selection(PODS.path(self.namespace), labels=found.selector)))

    def seen(self, found: Workload) -> list[Object]:
        """The same, read anew; whoever follows them a moment later begins with that."""
        place = Selection(PODS.path(self.namespace), labels=found.selector)
        listed = self.api.list_of(place)
        self.api.recent.put(place_of(place), listed)
        return listed[0]

    def awaited(self, found: Workload, deadline: Deadline) -> list[Object]:
        """The same, once the API server answers."""
        return patiently(lambda: self.of(found), deadline)

    def delete(self, pod: Object) -> bool:
        """Delete it if it still is as it was read; whether it was deleted."""
        path = PODS.path(self.namespace, name_of(pod))
        self.fence()
        try:
            self.api.delete(path, revision=pod["metadata"]["resourceVersion"])
        except (Missing, Conflict):
            return False  # it is another by now: the next look tells
        return True


def _is_owner(found: Workload, pod: Object) -> bool:
    metadata = pod.get("metadata") or {}
    owners = metadata.get("ownerReferences") or ()
    if found.reference.kind != "deployment":
        return any(each.get("uid") == found.uid for each in owners)
    # its ReplicaSets are named so; to read them would take one more right
    made = f"{found.reference.name}-{(metadata.get('labels') or {}).get(_HASH)}"
    return any((each.get("kind"), each.get("name")) == ("ReplicaSet", made) for each in owners)
