"""Rolling restarts of workloads, one after the other, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial

from certrotd.clock import Deadline
from certrotd.errors import NeedsOperator, ProofFailed, Transient
from certrotd.kube import stamps
from certrotd.kube.api import Api, Missing, Object, Selection
from certrotd.kube.disruption import BUDGETS, holding
from certrotd.kube.events import tell
from certrotd.kube.followed import Followed
from certrotd.kube.memory import FRESH
from certrotd.kube.pod_proof import PodProof
from certrotd.kube.pod_repair import PodRepair
from certrotd.kube.pods import PAUSE, Pods, patiently
from certrotd.kube.stamps import NO_VERSIONS, RESTARTED_AT, Stamp, stamp_of
from certrotd.kube.workloads import (
    KINDS,
    Reference,
    Workload,
    crash,
    unfinished,
    waiting,
    workload,
)
from certrotd.state.ports import Conflict

Change = Callable[[Workload], Object | None]
"""The merge patch that a workload, as it is now, needs; None if it needs none."""

_FAILURES = (NeedsOperator, Transient, ProofFailed)


class Gone(NeedsOperator):
    """A workload that is not there: nothing of it can be restarted, or has to be put back."""


@dataclass(frozen=True)
class Rollouts:
    """Those in one namespace.

    ``timeout`` is how many seconds each workload may take, also to go back. An API server that is
    away is waited for until then. ``fence`` comes before each write, and raises Fenced once another
    process may be at work on the same.
    """

    api: Api
    namespace: str
    timeout: float
    fence: Callable[[], None] = lambda: None

    def get(self, reference: Reference) -> Workload:
        """A workload as it is now; raises Gone if there is none, and as Api.ask().

        A restart a moment later begins with that: it is refused if the workload has changed since.
        """
        found = self.read(reference)
        self.api.recent.put(KINDS[reference.kind].path(self.namespace, reference.name), found)
        return workload(reference.kind, found)

    def read(self, reference: Reference) -> Object:
        """The same, as the API has it."""
        path = KINDS[reference.kind].path(self.namespace, reference.name)
        try:
            return self.api.get(path)
        except Missing:
            raise Gone(
                f"there is no {reference} in the namespace {self.namespace}",
                hint="correct its name, or take it out of the target",
            ) from None

    def having(self, labels: str) -> Iterator[Workload]:
        """The workloads that a label selector finds, by kind and name; raises as Api.ask()."""
        for kind, where in KINDS.items():
            found = self.api.find(Selection(where.path(self.namespace), labels=labels))
            yield from sorted((workload(kind, each) for each in found), key=lambda w: w.reference)

    @property
    def pods(self) -> Pods:
        """Those of the namespace."""
        return Pods(self.api, self.namespace, self.fence)

    def pods_by(self, follower: Followed) -> Pods:
        """The same, as it follows them."""
        return replace(self.pods, follower=follower)

    @contextmanager
    def following(self, reference: Reference, known: Object) -> Iterator[Followed]:
        """A workload and its pods as they are now, from what it is in ``known`` on."""
        get = partial(self.read, reference)
        with closing(Followed(self.api, self.namespace, reference, known, get)) as seen:
            yield seen

    def restart(
        self,
        reference: Reference,
        told: Mapping[str, str],
        proof: PodProof | None = None,
        versions: Mapping[str, str] = NO_VERSIONS,
    ) -> None:
        """Have its pods replaced, and wait until all are new, available and proven.

        It waits before for the PodDisruptionBudgets over them, as long again. ``told`` and
        ``versions`` as in stamps.restart(). Raises NeedsOperator at the first crash of a new pod,
        Transient at the deadline, ProofFailed for a pod that serves something else.
        """
        change = partial(stamps.restart, told=told, at=self._moment(), versions=versions)
        held = self._hold(reference, change)
        deadline = Deadline(self.api.clock, self.timeout)
        written, changed = self._change(reference, change, deadline, held)
        found = workload(reference.kind, written)
        if changed:
            self._tell(found, "RotationRestart", "certrotd restarts its pods")
        try:
            with self.following(reference, written) as seen:
                seen.go_on(found)
                self._await(found, deadline, seen)
                if proof is not None:
                    replace(proof, pods=self.pods_by(seen)).prove(seen.workload, deadline)
        except _FAILURES as failure:
            self._tell(found, "RotationRestartFailed", str(failure))
            raise
        if changed:
            self._tell(found, "RotationRestarted", "each of its pods is new and available")

    def revert(
        self,
        reference: Reference,
        told: Mapping[str, str],
        proof: PodProof | None = None,
        versions: Mapping[str, str] = NO_VERSIONS,
    ) -> None:
        """Put its former pod template back, and wait until it is whole.

        By a ``proof`` every pod is looked at then, and those are replaced that crash or serve
        something else. Raises Gone where there is nothing to put back.
        """
        deadline = Deadline(self.api.clock, self.timeout)
        at = self._moment()
        change = partial(stamps.revert, told=told, at=at, versions=versions)
        written, changed = self._change(reference, change, deadline)
        found = workload(reference.kind, written)
        again = stamp_of(found).at == at
        if changed:
            words = "restarts its pods once more" if again else "puts its former pod template back"
            self._tell(found, "RotationUndo", f"certrotd {words}")
        try:
            with self.following(reference, written) as seen:
                tell_of = partial(self._tell, found, "RotationUndo")
                repair = PodRepair(self.pods_by(seen), proof, tell_of)
                self._await(found, deadline, seen, repair)
                repair.finish(seen.workload, deadline)
        except _FAILURES as failure:
            self._tell(found, "RotationUndoFailed", str(failure))
            raise
        if changed:
            words = (
                "each of its pods is new and available"
                if again
                else "its former pods are whole again"
            )
            self._tell(found, "RotationUndone", words)

    def budgets(self) -> list[Object]:
        """The PodDisruptionBudgets of the namespace; raises as Api.ask().

        A restart within FRESH seconds begins with them.
        """
        found = self._budgets()
        self.api.recent.put(BUDGETS.path(self.namespace), found)
        return found

    def _budgets(self) -> list[Object]:
        return list(self.api.find(Selection(BUDGETS.path(self.namespace))))

    def _hold(self, reference: Reference, change: Change) -> Object:
        """The workload once no PodDisruptionBudget stands against the change, or none is needed.

        Raises Transient at a deadline of its own: nothing was changed then.
        """
        deadline, told = Deadline(self.api.clock, self.timeout), False
        recent, where = self.api.recent, KINDS[reference.kind].path(self.namespace, reference.name)
        while True:
            read = recent.take(where) or patiently(partial(self.read, reference), deadline)
            found = workload(reference.kind, read)
            if change(found) is None:
                return read  # it was restarted already: to wait in the middle would help nobody
            budgets = recent.take(BUDGETS.path(self.namespace), within=FRESH)
            if budgets is None:
                budgets = patiently(self._budgets, deadline)
            names = ", ".join(holding(budgets, found.labels))
            if not names:
                return read
            if not told:
                words = f"it waits for the PodDisruptionBudget {names}, which allows no disruption"
                self._tell(found, "RotationHeld", words)
                told = True
            if deadline.passed:
                failure = Transient(
                    f"{reference} is not restarted: the PodDisruptionBudget {names} has allowed no "
                    f"disruption for {self.timeout:g} s",
                    hint=f"kubectl -n {self.namespace} describe poddisruptionbudget",
                )
                self._tell(found, "RotationRestartFailed", str(failure))
                raise failure
            deadline.pause(PAUSE)

    def _moment(self) -> str:
        """The time of the API server, for a stamp; raises as Api.ask() at a deadline of its own."""
        now = patiently(self.api.now, Deadline(self.api.clock, self.timeout))
        return now.isoformat(timespec="milliseconds")

    def _change(
        self, reference: Reference, change: Change, deadline: Deadline, read: Object | None = None
    ) -> tuple[Object, bool]:
        """Write what is needed; the workload after that, and whether anything was written.

        ``read`` is what it was a moment ago: it may be that still.
        """
        path = KINDS[reference.kind].path(self.namespace, reference.name)
        written = False

        def write() -> Object:
            nonlocal written, read
            found, read = read or self.read(reference), None
            patch = change(workload(reference.kind, found))
            if patch is None:
                return found
            self.fence()
            written = True  # if the answer is lost, the next look tells whether it was
            try:
                return self.api.merge(path, patch)
            except Conflict:
                written = False
                raise

        try:
            return patiently(write, deadline), written
        except Conflict:
            raise Transient(f"{reference} is being changed by others all the time") from None

    def _await(
        self, told: Workload, deadline: Deadline, seen: Followed, back: PodRepair | None = None
    ) -> None:
        """Return once all pods of a workload are of the template that it has been given."""
        reference, stamp = told.reference, stamp_of(told)
        lacks: str | None = "nothing is known of it"
        while True:
            try:
                lacks = self._look(seen, stamp, back)
            except Transient as failure:
                lacks = failure.message
            if lacks is None:
                return
            if deadline.passed:
                raise Transient(
                    f"{reference} is not restarted within {self.timeout:g} s: {lacks}",
                    hint=f"kubectl -n {self.namespace} describe {reference}",
                )
            deadline.pause(seen.pause)

    def _look(self, seen: Followed, stamp: Stamp, back: PodRepair | None) -> str | None:
        found = seen.workload()
        reference = found.reference
        if stamp_of(found) != stamp:
            raise NeedsOperator(
                f"somebody else has changed the annotation {RESTARTED_AT} of {reference}",
                hint="have a GitOps tool leave certrotd's annotations alone",
            )
        lacks = unfinished(found)
        if lacks is None or found.observed < found.generation:
            return lacks
        pods = seen.of(found)
        if back is not None:
            back.replace_broken(found, stamp.at)
        elif crashed := crash(pods, RESTARTED_AT, stamp.at):
            pod, why = crashed
            raise NeedsOperator(
                f"the new pod {pod} of {reference} fails: {why}",
                hint=f"kubectl -n {self.namespace} logs {pod} --previous",
            )
        waits = waiting(pods)
        return f"{lacks}; {waits}" if waits else lacks

    def _tell(self, found: Workload, reason: str, words: str) -> None:
        self.fence()
        tell(self.api, found, self.namespace, reason, words)
