"""Workloads that are stopped by having no pods: their former number is kept in the object itself.

An annotation has it, written by the request that takes the pods away and removed by the one that
gives them back: a process that is killed between the two leaves nothing that another cannot end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

from certrotd.clock import Deadline
from certrotd.errors import NeedsOperator, Transient
from certrotd.kube.api import Api, Missing, Object, Selection
from certrotd.kube.events import EVENTS, tell
from certrotd.kube.pods import PAUSE, patiently
from certrotd.kube.rights import Right, missing
from certrotd.kube.workloads import KINDS, PODS, Reference, Workload, unfinished, workload
from certrotd.state.ports import Conflict

REPLICAS = "certrotd.io/replicas-before"
"""The annotation: how many pods there were before certrotd stopped the workload."""
_OVER = ("Succeeded", "Failed")


@dataclass(frozen=True)
class ScaledWorkloads:
    """Switched, by the number of pods of workloads of one namespace.

    They are stopped in their order, and started in the reverse one, each within ``timeout`` s.
    ``given`` is the namespace, None for that of the account.
    """

    connect: Callable[[], Api]
    given: str | None
    references: tuple[Reference, ...]
    timeout: float

    @cached_property
    def api(self) -> Api:
        """The API server; raises NeedsOperator where nobody knows it."""
        return self.connect()

    @property
    def namespace(self) -> str:
        """Where they are."""
        return self.given or self.api.access.namespace

    def check(self) -> None:
        """As Application.check."""
        rights = [
            Right(KINDS[each.kind], verb, self.namespace, each.name)
            for each in self.references
            for verb in ("get", "patch")
        ]
        rights += [Right(PODS, "list", self.namespace), Right(EVENTS, "create", self.namespace)]
        for lacking in missing(self.api, rights):
            raise lacking
        for reference in self.references:
            found = self._read(reference, self._deadline())
            if REPLICAS in found.annotations or not found.wanted:
                raise NeedsOperator(
                    f"{reference} is stopped already",
                    hint=f"kubectl -n {self.namespace} scale {reference} --replicas=1",
                )
            if (lacks := unfinished(found)) is not None:
                raise NeedsOperator(f"{reference} does not run: {lacks}")

    def stop(self) -> None:
        """As Application.stop: until no pod is left, those that are ending among them."""
        for reference in self.references:
            deadline = self._deadline()
            self._change(reference, deadline, _stopping, "RotationStop", "takes its pods away")
            self._wait(reference, deadline, self._left, "still has pods")

    def start(self) -> None:
        """As Application.start: until as many pods are available as there were."""
        for reference in reversed(self.references):
            deadline = self._deadline()
            self._change(reference, deadline, _starting, "RotationStart", "gives its pods back")
            self._wait(reference, deadline, unfinished, "does not run")

    def stopped(self) -> bool:
        """As Application.stopped."""
        deadline = self._deadline()
        found = [self._read(each, deadline) for each in self.references]
        return all(not each.wanted and self._left(each) is None for each in found)

    def _deadline(self) -> Deadline:
        return Deadline(self.api.clock, self.timeout)

    def _read(self, reference: Reference, deadline: Deadline) -> Workload:
        found = patiently(partial(self._get, reference), deadline)
        return workload(reference.kind, found)

    def _get(self, reference: Reference) -> Object:
        try:
            return self.api.get(self._path(reference))
        except Missing:
            raise NeedsOperator(
                f"there is no {reference} in the namespace {self.namespace}",
                hint="correct its name in cutover",
            ) from None

    def _path(self, reference: Reference) -> str:
        return KINDS[reference.kind].path(self.namespace, reference.name)

    def _change(
        self,
        reference: Reference,
        deadline: Deadline,
        change: Callable[[Workload], Object | None],
        reason: str,
        words: str,
    ) -> None:
        """Write what ``change`` makes of it, read anew if somebody was quicker."""

        def write() -> Workload | None:
            found = workload(reference.kind, self._get(reference))
            patch = change(found)
            if patch is None:
                return None
            metadata = {**patch.get("metadata", {}), "resourceVersion": found.revision}
            self.api.merge(self._path(reference), {**patch, "metadata": metadata})
            return found

        try:
            if (found := patiently(write, deadline)) is not None:
                said = f"certrotd {words}: a key is cut over"
                tell(self.api, found, self.namespace, reason, said)
        except Conflict:
            raise Transient(f"{reference} is being changed by others all the time") from None

    def _left(self, found: Workload) -> str | None:
        """How many pods are left of it, in words; None if none."""
        if found.observed < found.generation:
            return "its controller has not seen its last change yet"
        selected = Selection(PODS.path(self.namespace), labels=found.selector)
        names = [
            str(pod["metadata"]["name"])
            for pod in self.api.find(selected)
            if (pod.get("status") or {}).get("phase") not in _OVER
        ]
        return ", ".join(names[:3]) or None

    def _wait(
        self,
        reference: Reference,
        deadline: Deadline,
        lacks: Callable[[Workload], str | None],
        words: str,
    ) -> None:
        while True:
            try:
                why = lacks(self._read(reference, deadline))
            except Transient as failure:
                why = failure.message
            if why is None:
                return
            if deadline.passed:
                raise Transient(
                    f"{reference} {words} after {self.timeout:g} s: {why}",
                    hint=f"kubectl -n {self.namespace} describe {reference}",
                )
            deadline.pause(PAUSE)


def _stopping(found: Workload) -> Object | None:
    """What takes its pods away, and keeps how many there were; None if they are."""
    if not found.wanted:
        return None
    kept = found.annotations.get(REPLICAS, str(found.wanted))
    return {"metadata": {"annotations": {REPLICAS: kept}}, "spec": {"replicas": 0}}


def _starting(found: Workload) -> Object | None:
    """What gives its pods back; None if nobody took them."""
    kept = found.annotations.get(REPLICAS)
    if kept is None:
        return None
    if not kept.isdecimal() or not int(kept):
        raise NeedsOperator(
            f"somebody else has changed the annotation {REPLICAS} of {found.reference}",
            hint="scale it by hand, and remove the annotation",
        )
    # somebody who scaled it up meanwhile knows better
    replicas = found.wanted or int(kept)
    return {"metadata": {"annotations": {REPLICAS: None}}, "spec": {"replicas": replicas}}
