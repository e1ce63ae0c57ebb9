"""Target ``kubernetes``: workloads whose pods are replaced by a rolling restart."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from certrotd.clock import Deadline
from certrotd.config.context import Context
from certrotd.config.targets import KubernetesEntry
from certrotd.errors import Failure, NeedsOperator, Transient, raise_first
from certrotd.kube.api import Kind
from certrotd.kube.connecting import Connections
from certrotd.kube.events import EVENTS
from certrotd.kube.rights import Right, missing
from certrotd.kube.rollout import Rollouts
from certrotd.kube.workloads import KINDS, PODS, Reference, Workload, unfinished, unfit, warnings
from certrotd.pki.generation import LiveCertificate


@dataclass(frozen=True)
class KubernetesTarget:
    """Workloads of one namespace: ``named`` ones, then those that ``labels`` find besides."""

    rollouts: Rollouts
    named: tuple[Reference, ...] = ()
    labels: str | None = None
    together = True

    def check(self) -> None:
        """As Target.check: the account may do all that it takes, and every workload is whole."""
        raise_first(self.problems())

    def problems(self) -> Iterator[Failure]:
        """Everything that keeps the pods from being restarted now."""
        namespace = self.rollouts.namespace
        lists = self.labels is not None
        yield from self._denied((kind, "list", "") for kind in KINDS.values() if lists)
        found = self._found()
        if not found:
            yield NeedsOperator(
                f"no workload in the namespace {namespace} has the labels {self.labels}",
                hint="correct the selector, or label them",
            )
        yield from self._denied(_needed(found))
        for each in found:
            yield from self._unfit(each)

    def warnings(self) -> Iterator[str]:
        """As Cautious.warnings."""
        for each in self._found():
            yield from (f"{each.reference} {words}" for words in warnings(each))

    def fenced(self, check: Callable[[], None]) -> KubernetesTarget:
        """As Fenceable.fenced: before each write, so also between workloads."""
        return replace(self, rollouts=replace(self.rollouts, fence=check))

    def apply(self) -> None:
        """As Target.apply."""
        self.apply_for(())

    def apply_for(self, certificates: Sequence[LiveCertificate]) -> None:
        """As Informed.apply_for; workloads that were restarted for these already are waited for."""
        self.rollouts.restart(self._references(), _fingerprints(certificates))

    def revert_for(self, certificates: Sequence[LiveCertificate]) -> None:
        """As InformedRevertible.revert_for."""
        self.rollouts.revert(self._references(), _fingerprints(certificates))

    def _references(self) -> list[Reference]:
        """All of them; the API server is waited for, if it has to be asked."""
        if self.labels is None:
            return list(self.named)
        deadline = Deadline(self.rollouts.api.clock, self.rollouts.timeout)
        labels = self.labels
        found = self.rollouts.patiently(lambda: list(self.rollouts.having(labels)), deadline)
        return list(dict.fromkeys([*self.named, *(each.reference for each in found)]))

    def _found(self) -> list[Workload]:
        found = {each: self.rollouts.get(each) for each in self.named}
        if self.labels is not None:
            for each in self.rollouts.having(self.labels):
                found.setdefault(each.reference, each)
        return list(found.values())

    def _denied(self, needed: Iterable[tuple[Kind, str, str]]) -> Iterator[Failure]:
        namespace = self.rollouts.namespace
        rights = (Right(kind, verb, namespace, name) for kind, verb, name in needed)
        yield from missing(self.rollouts.api, rights)

    def _unfit(self, found: Workload) -> Iterator[Failure]:
        named = f"{found.reference} in the namespace {self.rollouts.namespace}"
        for why, hint in unfit(found):
            yield NeedsOperator(f"{named} {why}", hint=hint)
        if lacks := unfinished(found):
            yield Transient(
                f"{named} is not whole: {lacks}",
                hint="certrotd restarts nothing that is broken or being changed; "
                f"kubectl -n {self.rollouts.namespace} rollout status {found.reference}",
            )


def _needed(found: Sequence[Workload]) -> Iterator[tuple[Kind, str, str]]:
    """The verbs that a restart and its undo need: each with a kind, and a name or none."""
    for each in found:
        for verb in ("get", "patch"):
            yield KINDS[each.reference.kind], verb, each.reference.name
    yield PODS, "list", ""
    if any(each.reference.kind == "statefulset" for each in found):
        yield PODS, "delete", ""
    yield EVENTS, "create", ""


def _fingerprints(certificates: Sequence[LiveCertificate]) -> dict[str, str]:
    return {each.certificate: each.fingerprint for each in certificates if each.fingerprint}


def build(entry: KubernetesEntry, context: Context) -> KubernetesTarget:
    """The target of a configuration entry."""
    api = Connections(context.clock, os.environ).api(entry.kubeconfig, entry.context)
    return KubernetesTarget(
        Rollouts(
            api,
            entry.namespace or api.access.namespace,
            entry.timeout.total_seconds(),
        ),
        tuple(Reference(*each.split("/")) for each in entry.workloads),
        entry.selector,
    )
