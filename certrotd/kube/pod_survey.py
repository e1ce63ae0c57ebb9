"""A look at pods before a change: whether they can be looked at, and show the live certificate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from certrotd.clock import Deadline
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.kube.api import Object
from certrotd.kube.mounts import uses
from certrotd.kube.pod_proof import PodProof
from certrotd.kube.pods import address_of, name_of, serving, uid_of
from certrotd.kube.reloads import Reloads, Unreadable
from certrotd.kube.rollout import Rollouts
from certrotd.kube.shown import Shown, shown_by
from certrotd.kube.stamps import name_in
from certrotd.kube.workloads import Workload
from certrotd.pki.generation import LiveCertificate


def _nobody(_address: str) -> None: ...


@dataclass(frozen=True)
class Probe:
    """What is done at the address of each pod.

    ``prove`` returns once it serves a certificate, ``look`` if one handshake shows it; both raise
    ProofFailed. ``reach`` returns once somebody takes a connection there, and raises OSError.
    """

    prove: Callable[[LiveCertificate, str], None]
    look: Callable[[LiveCertificate, str], None]
    reach: Callable[[str], None] = _nobody


@dataclass(frozen=True)
class PodLook:
    """What was found at the pods of one workload; ``shown`` says nothing where anything else is."""

    problems: tuple[Failure, ...] = ()
    warnings: tuple[str, ...] = ()
    shown: Shown = field(default_factory=Shown)


@dataclass(frozen=True)
class PodSurvey:
    """Looks by ``probes``, and into the files that ``reloads`` waits for.

    ``secrets`` has the Secret of each certificate whose pods are to have it from there.
    """

    rollouts: Rollouts
    probes: Sequence[Probe]
    reloads: Reloads | None
    secrets: Mapping[str, str]

    def look(self, found: Workload, certificates: Sequence[LiveCertificate]) -> PodLook:
        """What its pods that are ready show of these, as they are live; raises as Api.ask().

        Where no pod does, that is a warning: it may merely be behind, which a rotation mends.
        """
        if not self.probes and (self.reloads is None or self.reloads.program is None):
            return PodLook()
        pods = list(serving(self.rollouts.pods.seen(found), found))
        if not pods:
            return PodLook()
        known = [each for each in certificates if each.fingerprint]
        files = self._files(found, pods[0], known)
        problems = (*self._unreachable(found, pods[0]), *files.problems)
        if problems or not files.shown.some or not known:
            return replace(files, problems=problems, shown=Shown())
        return self._judged(found, pods, known) if self.probes else files

    def _unreachable(self, found: Workload, pod: Object) -> Iterator[Failure]:
        for probe in self.probes:
            try:
                probe.reach(address_of(pod))
            except OSError as error:
                yield NeedsOperator(
                    f"the pod {name_of(pod)} of {found.reference} cannot be looked at: "
                    f"{address_of(pod)} takes no connection: {error.strerror or error}",
                    hint="correct the port of pod_probe; or a NetworkPolicy keeps certrotd out",
                )

    def _judged(
        self, found: Workload, pods: Sequence[Object], known: Sequence[LiveCertificate]
    ) -> PodLook:
        looks = [partial(probe.look, each) for each in known for probe in self.probes]
        deadline = Deadline(self.rollouts.api.clock, self.rollouts.timeout)
        showed, silent = PodProof(self.rollouts.pods, looks).judged(pods, deadline)
        if showed or not silent:
            return PodLook(shown=shown_by(map(uid_of, pods), showed))
        pod, failure = silent[0]
        return PodLook(
            warnings=(
                f"no pod of {found.reference} shows its live certificate by pod_probe: "
                f"{name_of(pod)}: {failure.message}; if the probe is wrong, the rotation will be "
                "undone, and the undo looks at none of its pods",
            )
        )

    def _files(self, found: Workload, pod: Object, known: Sequence[LiveCertificate]) -> PodLook:
        """What the files of a pod have; where none are waited for, all that is wanted."""
        if self.reloads is None or self.reloads.program is None:
            return PodLook(shown=Shown(some=True))
        named = f"{found.reference} in the namespace {self.rollouts.namespace}"
        try:
            held = self.reloads.held(found, pod)
        except Unreadable as failure:
            words = f"{named} cannot show its certificate: {failure.message}"
            return PodLook((NeedsOperator(words, hint="correct files"),))
        if held is None:
            return PodLook()
        if empty := [file for file, leaf in held.items() if not leaf]:
            words = f"{named} has no certificate in {' and '.join(empty)}"
            return PodLook((NeedsOperator(words, hint="correct files"),))
        for each in known:
            if each.fingerprint not in held.values():
                return self._other(found, pod, each, held)
        return PodLook(shown=Shown(some=True))

    def _other(
        self, found: Workload, pod: Object, live: LiveCertificate, held: Mapping[str, str]
    ) -> PodLook:
        """That the files have another certificate than the live one.

        A Secret that certrotd writes itself is in its pods within two minutes, or files is wrong.
        Who brings the certificate there otherwise may be behind.
        """
        has = " and ".join(f"{file} is certificate {leaf[:16]}" for file, leaf in held.items())
        words = (
            f"the files in {name_of(pod)} of {found.reference} do not have the live certificate "
            f"{live.certificate} ({live.fingerprint[:16]}): {has}"
        )
        secret = self.secrets.get(live.certificate)
        if secret is None:
            return PodLook(
                warnings=(f"{words}; if files is a wrong path, the rotation will be undone",)
            )
        mounts = ", ".join(map(str, uses(found.pod, name_in(found, secret))))
        where = (
            f"of the Secret {secret}, {mounts}" if mounts else f"nothing has the Secret {secret}"
        )
        hint = f"correct files: {where}; a change of it takes up to two minutes to get there"
        return PodLook((Transient(words, hint=hint),))
