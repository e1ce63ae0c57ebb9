"""Target ``kubernetes``: workloads whose pods are replaced, or reload what they serve."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from certrotd.clock import Deadline
from certrotd.config.context import Context
from certrotd.config.probes import PodProbeEntry
from certrotd.config.targets import KubernetesEntry
from certrotd.dial import Timeout, connect
from certrotd.errors import Failure, NeedsOperator, Transient, raise_first
from certrotd.kube.api import Kind
from certrotd.kube.disruption import BUDGETS, never_allowing
from certrotd.kube.events import EVENTS
from certrotd.kube.exec import EXEC
from certrotd.kube.mounts import is_used
from certrotd.kube.pod_proof import PodProof
from certrotd.kube.pod_survey import PodSurvey, Probe
from certrotd.kube.pods import patiently
from certrotd.kube.reloads import Program, Reloads
from certrotd.kube.rights import Right, missing
from certrotd.kube.rollout import Gone, Rollouts
from certrotd.kube.shown import Shown, from_json, to_json
from certrotd.kube.stamps import is_told, name_in
from certrotd.kube.workloads import KINDS, PODS, Reference, Workload, unfinished, unfit, warnings
from certrotd.pki.generation import Checked, LiveCertificate
from certrotd.rotation.outcome import Stopped

T = TypeVar("T")

REACH = 5.0
"""So many seconds may it take a pod to take a connection, or to show its certificate once."""


@dataclass(frozen=True)
class Look:
    """What there is before a rotation.

    ``problems`` is everything that keeps the pods from being restarted, or reloaded, now. Where
    there are any, nothing more was looked at than what tells of them.
    """

    problems: Sequence[Failure] = ()
    warnings: Sequence[str] = ()
    shown: Mapping[str, Shown] = field(default_factory=dict)


@dataclass(frozen=True)
class KubernetesTarget:
    """Workloads of one namespace: ``named`` ones, then those that ``labels`` find besides.

    ``secrets`` has the name of each certificate's Secret in that namespace. With ``mounting``,
    those come last whose pods get at the Secret of a certificate that the target is told for. By
    ``probes`` each pod is looked at. Pods are restarted, unless they have ``reloads``. If
    ``versioned``, their template names the Secret of the generation, which those ``elsewhere``,
    certificates of other namespaces, do not have there.
    """

    rollouts: Rollouts
    named: tuple[Reference, ...] = ()
    labels: str | None = None
    probes: tuple[Probe, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict)
    mounting: bool = False
    versioned: bool = False
    elsewhere: tuple[str, ...] = ()
    reloads: Reloads | None = None
    together = True

    def check(self) -> None:
        """As Target.check: the account may do all that it takes, and every workload is whole."""
        self.checked_for(())

    def checked_for(self, certificates: Sequence[LiveCertificate]) -> Checked:
        """As InformedCautious.checked_for: the same, and what the pods show of these."""
        look = self.look(certificates)
        raise_first(look.problems)
        return Checked(look.warnings, to_json(look.shown))

    def look(self, certificates: Sequence[LiveCertificate] = ()) -> Look:
        """What there is now; raises as Api.ask()."""
        lists = self.labels is not None or self.mounting
        if denied := list(self._denied((kind, "list", "") for kind in KINDS.values() if lists)):
            return Look(denied)
        labelled = self._labelled()
        found = self._found(labelled)
        if problems := [*self._misnamed(found, labelled), *self._denied(self._needed(found))]:
            return Look(problems)
        if problems := [problem for each in found for problem in self._unfit(each)]:
            return Look(problems)
        survey = PodSurvey(self.rollouts, self.probes, self.reloads, self.secrets)
        for_all = {*self.named, *(each.reference for each in labelled)}
        pods = {
            each.reference: survey.look(
                each, certificates if each.reference in for_all else self._its(each, certificates)
            )
            for each in found
        }
        if problems := [problem for each in pods.values() for problem in each.problems]:
            return Look(problems)
        warned = [line for each in pods.values() for line in each.warnings]
        shown = {str(reference): each.shown for reference, each in pods.items()}
        return Look((), [*self._warnings(found), *warned], shown)

    def _its(
        self, found: Workload, certificates: Sequence[LiveCertificate]
    ) -> list[LiveCertificate]:
        """Those that a workload has which nothing but its Secrets has found."""
        secrets = ((each, self.secrets.get(each.certificate)) for each in certificates)
        return [each for each, secret in secrets if secret and _uses(found, secret)]

    def _misnamed(
        self, found: Sequence[Workload], labelled: Sequence[Workload]
    ) -> Iterator[Failure]:
        """That the configuration names what is not there."""
        if self.labels is not None and not labelled:
            yield NeedsOperator(self._nobody, hint="correct the selector, or label them")
        yield from self._unused(found)
        for name in self.elsewhere if self.versioned else ():
            yield NeedsOperator(
                f"the generations of the certificate {name} are not in the namespace "
                f"{self.rollouts.namespace}",
                hint="secret: versioned has pods mount them: correct the namespace of its store, "
                "and leave generations out",
            )

    def _warnings(self, found: Sequence[Workload]) -> Iterator[str]:
        secrets = set(self.secrets.values())
        budgets = self.rollouts.budgets() if self.reloads is None else []
        for each in found:
            if self.reloads is None:
                yield from (f"{each.reference} {words}" for words in warnings(each))
                for name in never_allowing(budgets, each.labels):
                    yield (
                        f"{each.reference} is under the PodDisruptionBudget {name}, which never "
                        "allows a disruption: its restart does not wait for it"
                    )
            if secrets and not any(_uses(each, secret) for secret in secrets):
                which = " or ".join(sorted(secrets))
                yield f"{each.reference} does not use the Secret {which}: nothing changes there"

    def fenced(self, check: Callable[[], None]) -> KubernetesTarget:
        """As Fenceable.fenced: before each write, so also between workloads."""
        rollouts = replace(self.rollouts, fence=check)
        reloads = self.reloads and replace(self.reloads, rollouts=rollouts)
        return replace(self, rollouts=rollouts, reloads=reloads)

    def apply(self) -> None:
        """As Target.apply."""
        self.apply_for(())

    def apply_for(self, certificates: Sequence[LiveCertificate]) -> None:
        """As Informed.apply_for; workloads that were restarted for these already are waited for.

        Raises Transient where the selector finds none: nobody would be told.
        """
        for reference, its in self._tasks(certificates, some=True):
            told, proof = _fingerprints(its), self._proof(its)
            if self.reloads is None:
                self.rollouts.restart(reference, told, proof, self._versions(its))
            else:
                self.reloads.forward(reference, told.values(), proof)

    def revert_for(
        self, certificates: Sequence[LiveCertificate], shown: Mapping[str, Any]
    ) -> Sequence[str]:
        """As InformedRevertible.revert_for: the last one first, each whatever becomes of others."""

        def back(task: tuple[Reference, Sequence[LiveCertificate]]) -> None:
            reference, its = task
            before = from_json(shown, str(reference))
            told, proof = _fingerprints(its), self._proof(its, before)
            if self.reloads is None:
                self.rollouts.revert(reference, told, proof, self._versions(its))
            else:
                self.reloads.back(reference, told.values(), proof, before)

        return _each(back, reversed(self._tasks(certificates)))

    def apply_of(self, hashes: Mapping[str, str]) -> None:
        """As keys.world.Proving: workloads that were restarted for these already are waited for.

        Raises Transient where the selector finds none: it may be made later.
        """
        for reference in self._chosen(some=True):
            self.rollouts.restart(reference, hashes)

    def revert_to(self, hashes: Mapping[str, str]) -> None:
        """As keys.world.Proving."""
        _each(partial(self.rollouts.revert, told=hashes), reversed(self._chosen()))

    def lacks(self, hashes: Mapping[str, str]) -> str | None:
        """As keys.world.Proving; an API server that is away is not waited for."""
        labelled = self._labelled()
        if self.labels is not None and not labelled:
            return self._nobody
        for each in [*map(self.rollouts.get, self.named), *labelled]:
            if not is_told(each, hashes):
                return f"{each.reference} was not restarted for them"
            if (words := unfinished(each)) is not None:
                return f"{each.reference} is not whole: {words}"
        return None

    def _versions(self, certificates: Sequence[LiveCertificate]) -> dict[str, str]:
        """The Secret that is to be named in the place of each live one; else that one again."""
        versions = {}
        for each in certificates:
            if secret := self.secrets.get(each.certificate):
                fit = self.versioned and each.certificate not in self.elsewhere
                versions[secret] = (each.sealed if fit else "") or secret
        return versions

    def _proof(
        self, certificates: Sequence[LiveCertificate], before: Shown | None = None
    ) -> PodProof | None:
        known = [each for each in certificates if each.fingerprint]
        looks = [partial(probe.prove, each) for each in known for probe in self.probes]
        return PodProof(self.rollouts.pods, looks, before) if looks else None

    @property
    def _nobody(self) -> str:
        return (
            f"no workload in the namespace {self.rollouts.namespace} has the labels {self.labels}"
        )

    def _labelled(self) -> list[Workload]:
        """Those that the selector finds; raises as Api.ask()."""
        return [] if self.labels is None else list(self.rollouts.having(self.labels))

    def _using(self, secrets: Mapping[str, str]) -> list[tuple[Workload, list[str]]]:
        """With ``mounting``: those that use these, and of which certificates; as Api.ask()."""
        found = []
        for each in self.rollouts.having("") if self.mounting else ():
            if its := [name for name, secret in secrets.items() if _uses(each, secret)]:
                found.append((each, its))
        return found

    def _patiently(self, ask: Callable[[], T]) -> T:
        return patiently(ask, Deadline(self.rollouts.api.clock, self.rollouts.timeout))

    def _chosen(self, *, some: bool = False) -> list[Reference]:
        """Those that the configuration names or labels; an API server that is away is waited for.

        Keyrings have no others: ``mounting`` is about the Secrets of certificates. Raises
        Transient where the labels must find ``some`` and find none.
        """
        labelled = self._patiently(self._labelled)
        if some and self.labels is not None and not labelled:
            raise Transient(self._nobody, hint="correct the selector, or label them")
        return list(dict.fromkeys([*self.named, *(each.reference for each in labelled)]))

    def _tasks(
        self, certificates: Sequence[LiveCertificate], *, some: bool = False
    ) -> list[tuple[Reference, Sequence[LiveCertificate]]]:
        """Which workloads are to be told, of which of these; as _chosen()."""
        tasks = dict.fromkeys(self._chosen(some=some), certificates)
        about = {each.certificate: each for each in certificates}
        names = about or self.secrets  # told for none in particular: for any
        secrets = {name: self.secrets[name] for name in names if name in self.secrets}
        for each, its in self._patiently(lambda: self._using(secrets)):
            tasks.setdefault(each.reference, [about[name] for name in its if name in about])
        return list(tasks.items())

    def _found(self, labelled: Iterable[Workload]) -> list[Workload]:
        """All there are, ``labelled`` among them; raises as Api.ask()."""
        found = {each: self.rollouts.get(each) for each in self.named}
        for each in [*labelled, *(each for each, _ in self._using(self.secrets))]:
            found.setdefault(each.reference, each)
        return list(found.values())

    def _unused(self, found: Sequence[Workload]) -> Iterator[Failure]:
        """That workloads are looked for by their Secrets, and a Secret has none."""
        namespace = self.rollouts.namespace
        if self.mounting and not self.secrets:
            yield NeedsOperator(
                f"none of the certificates is in a Secret of the namespace {namespace}",
                hint="mounting finds workloads by it: correct the namespace of target or store",
            )
        for secret in sorted(set(self.secrets.values())) if self.mounting else ():
            if not any(_uses(each, secret) for each in found):
                yield NeedsOperator(
                    f"no workload in the namespace {namespace} uses the Secret {secret}",
                    hint="mount it, or name workloads instead of mounting",
                )

    def _denied(self, needed: Iterable[tuple[Kind, str, str]]) -> Iterator[Failure]:
        namespace = self.rollouts.namespace
        rights = (Right(kind, verb, namespace, name) for kind, verb, name in needed)
        yield from missing(self.rollouts.api, rights)

    def _needed(self, found: Sequence[Workload]) -> Iterator[tuple[Kind, str, str]]:
        """The verbs that it takes, and to undo it: each with a kind, and a name or none."""
        restarts = self.reloads is None
        for each in found:
            for verb in ("get", "watch", "patch") if restarts else ("get", "watch"):
                yield KINDS[each.reference.kind], verb, each.reference.name
        yield PODS, "list", ""
        yield PODS, "watch", ""
        if restarts:
            yield BUDGETS, "list", ""
        stateful = any(each.reference.kind == "statefulset" for each in found)
        if restarts and (self.probes or stateful):
            yield PODS, "delete", ""
        if self.reloads is not None and self.reloads.program is not None:
            yield EXEC, "get", ""
            yield EXEC, "create", ""
        yield EVENTS, "create", ""

    def _unfit(self, found: Workload) -> Iterator[Failure]:
        named = f"{found.reference} in the namespace {self.rollouts.namespace}"
        reasons = unfit(found)
        if self.reloads is not None:
            reasons = self.reloads.unfit(found, set(self.secrets.values()))
        for why, hint in reasons:
            yield NeedsOperator(f"{named} {why}", hint=hint)
        if lacks := unfinished(found):
            yield Transient(
                f"{named} is not whole: {lacks}",
                hint="certrotd restarts nothing that is broken or being changed; "
                f"kubectl -n {self.rollouts.namespace} rollout status {found.reference}",
            )


def _each(act: Callable[[T], None], those: Iterable[T]) -> list[str]:
    """Do it to each, and return those that are gone; raises what failed first, after the others."""
    first: Failure | None = None
    gone = []
    for each in those:
        try:
            act(each)
        except Stopped:
            raise
        except Gone as failure:
            gone.append(failure.message)
        except Failure as failure:
            first = first or failure
    if first is not None:
        raise first
    return gone


def _uses(found: Workload, secret: str) -> bool:
    """Whether its pods get at a Secret, or at the one that is in its place."""
    return is_used(found.pod, name_in(found, secret))


def _fingerprints(certificates: Sequence[LiveCertificate]) -> dict[str, str]:
    return {each.certificate: each.fingerprint for each in certificates if each.fingerprint}


def build(entry: KubernetesEntry, context: Context) -> KubernetesTarget:
    """The target of a configuration entry."""
    api = context.connect(entry.kubeconfig, entry.context)
    own = api.access.namespace
    namespace = entry.namespace or own
    rollouts = Rollouts(api, namespace, entry.timeout.total_seconds())
    return KubernetesTarget(
        rollouts,
        tuple(Reference(*each.split("/")) for each in entry.workloads),
        entry.selector,
        probes=tuple(_probe(each, context) for each in entry.pod_probe),
        secrets={
            name: store.secret
            for name, store in context.stores.items()
            if (store.kubeconfig, store.context) == (entry.kubeconfig, entry.context)
            and (store.namespace or own) == namespace
        },
        mounting=entry.mounting,
        versioned=entry.versioned,
        elsewhere=tuple(
            name
            for name, store in context.stores.items()
            if (store.kubeconfig, store.context) != (entry.kubeconfig, entry.context)
            or {store.namespace or own, store.generations or store.namespace or own} != {namespace}
        ),
        reloads=None if entry.mode == "restart" else Reloads(rollouts, _program(entry)),
    )


def _program(entry: KubernetesEntry) -> Program | None:
    signals = entry.mode == "signal"
    argv = ("sh", "-c", f"kill -{entry.signal} 1") if signals else entry.command
    if argv is None:
        return None
    files = tuple(str(each) for each in entry.files)
    return Program(tuple(argv), files, entry.container, signals=signals)


def _probe(entry: PodProbeEntry, context: Context) -> Probe:
    once = entry.model_copy(update={"consecutive": 1, "deadline": timedelta(seconds=REACH)})

    def prove(certificate: LiveCertificate, address: str, how: PodProbeEntry = entry) -> None:
        context.prove(how, address, entry.port, certificate)

    def reach(address: str) -> None:
        connect(address, entry.port, timeout=Timeout(Deadline(context.clock, REACH))).close()

    return Probe(prove, partial(prove, how=once), reach)
