"""Pods that keep running: their processes reload by themselves, or are told to by a program."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from certrotd.clock import Deadline
from certrotd.errors import InvalidInput, NeedsOperator, ProofFailed, Transient
from certrotd.kube.api import Api, Missing, Object
from certrotd.kube.events import tell
from certrotd.kube.exec import Ran, run
from certrotd.kube.followed import Followed
from certrotd.kube.mounts import uses
from certrotd.kube.pod_proof import PodProof, named
from certrotd.kube.pods import PAUSE, name_of, owned, patiently, uid_of
from certrotd.kube.rollout import Rollouts
from certrotd.kube.shown import Shown
from certrotd.kube.workloads import Reference, Workload, unfinished, workload
from certrotd.pki.facts import facts_of, parse_certificates

_FAILURES = (NeedsOperator, Transient, ProofFailed)
_READ = ("cat", "--")
_LOOK = 30.0
"""So many seconds may it take to read a file before a rotation."""


class Unreadable(Transient):
    """A file in a container that cannot be read, at least for the moment."""


class Execute(Protocol):
    """As exec.run."""

    def __call__(
        self,
        api: Api,
        namespace: str,
        pod: str,
        container: str,
        argv: Sequence[str],
        *,
        seconds: float,
    ) -> Ran: ...


@dataclass(frozen=True)
class Program:
    """What is run in ``container`` (None: the first) of each pod, once it has the new files.

    Those are there once the leaf of each certificate is in one of ``files``. A program that
    ``signals`` does so to process 1.
    """

    argv: tuple[str, ...]
    files: tuple[str, ...]
    container: str | None = None
    signals: bool = False


@dataclass(frozen=True)
class Reloads:
    """Those of workloads in one namespace; without a ``program`` nothing is told to anybody.

    The files of a pod change some time after its Secret, when the kubelet looks: within a minute
    or two. So each pod is looked at until it has them, or until the workload's time is up.
    """

    rollouts: Rollouts
    program: Program | None = None
    execute: Execute = run

    def held(self, found: Workload, pod: Object) -> dict[str, str] | None:
        """The leaf in each file of a pod, empty where there is none; raises as _Round.leaf.

        None where there are no files to be read, or its container does not run.
        """
        program = self.program
        container = _container(program, pod) if program else ""
        if program is None or not _runs(pod, container):
            return None
        deadline = Deadline(self.rollouts.api.clock, _LOOK)
        look = _Round(self, program, found, (), None, deadline)
        return {file: look.leaf(name_of(pod), container, file) for file in program.files}

    def forward(
        self, reference: Reference, leaves: Collection[str], proof: PodProof | None
    ) -> None:
        """Have the pods reload, one after the other: each is proven before the next is told.

        ``leaves`` are the fingerprints to wait for. Raises NeedsOperator where a program fails,
        ProofFailed where a pod serves something else, Transient at the deadline.
        """
        self._reload(reference, leaves, proof, ("Reload", "Reloaded", "ReloadFailed"))

    def back(
        self,
        reference: Reference,
        leaves: Collection[str],
        proof: PodProof | None,
        before: Shown,
    ) -> None:
        """The same with what was there ``before``; a pod that fails keeps no other from it.

        Files that did not have it then are waited for, but need not have it at the deadline. A pod
        whose container does not run is left out: it reads its files when it starts.
        Raises Gone where there is nothing to put back.
        """
        self._reload(reference, leaves, proof, ("Undo", "Undone", "UndoFailed"), before)

    def _reload(
        self,
        reference: Reference,
        leaves: Collection[str],
        proof: PodProof | None,
        reasons: tuple[str, str, str],
        back: Shown | None = None,
    ) -> None:
        begun, done, failed = (f"Rotation{each}" for each in reasons)
        words = "each of its pods has reloaded its certificate"
        if back is not None and not back.some:
            words = "no pod showed its certificate before the change: none is looked at"
        deadline = Deadline(self.rollouts.api.clock, self.rollouts.timeout)
        read = patiently(partial(self.rollouts.read, reference), deadline)
        found = workload(reference.kind, read)
        self._tell(found, begun, "certrotd has its pods reload their certificate")
        try:
            with self.rollouts.following(reference, read) as seen:
                if self.program is not None:
                    _Round(self, self.program, found, leaves, proof, deadline, back).run(seen)
                elif proof is not None:
                    proof, few = replace(proof, pods=self.rollouts.pods_by(seen)), back is not None
                    proof.prove(seen.workload, deadline, patient=True, few=few)
                if back is None:
                    self._await(seen, deadline)
        except _FAILURES as failure:
            self._tell(found, failed, str(failure))
            raise
        self._tell(found, done, words)

    def _await(self, seen: Followed, deadline: Deadline) -> None:
        """Return once every pod is available: one that the certificate has broken is not."""
        while (lacks := unfinished(found := patiently(seen.workload, deadline))) is not None:
            if deadline.passed:
                raise Transient(
                    f"{found.reference} is not whole after its pods have reloaded: {lacks}",
                    hint=f"kubectl -n {self.rollouts.namespace} describe {found.reference}",
                )
            deadline.pause(seen.pause)

    def _tell(self, found: Workload, reason: str, words: str) -> None:
        self.rollouts.fence()
        tell(self.rollouts.api, found, self.rollouts.namespace, reason, words)

    def unfit(self, found: Workload, secrets: Collection[str]) -> Iterator[tuple[str, str]]:
        """Why its pods cannot reload without a restart: each with a hint."""
        if found.deleted:
            yield "is being deleted", "take it out of the target"
        for secret in sorted(secrets):
            for use in uses(found.pod, secret):
                if not use.follows:
                    yield (
                        f"never sees a new certificate while it runs: {use}",
                        f"mount the whole Secret {secret}, or use mode: restart",
                    )
        yield from self._unrunnable(found.pod) if self.program is not None else ()

    def _unrunnable(self, pod: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        assert self.program is not None
        names = container_names(pod)
        wanted = self.program.container
        if wanted is not None and wanted not in names:
            yield f"has no container {wanted}", f"it has: {', '.join(names)}"
        if self.program.signals and (pod.get("shareProcessNamespace") or pod.get("hostPID")):
            yield (
                "shares process ids: process 1 is not its container's",
                "use mode: exec with a command that finds the process",
            )


def container_names(pod: Mapping[str, Any]) -> list[str]:
    """Those of the containers that run as long as the pod does, native sidecars last."""
    sidecars = [
        each for each in pod.get("initContainers") or () if each.get("restartPolicy") == "Always"
    ]
    return [str(each.get("name")) for each in [*(pod.get("containers") or ()), *sidecars]]


@dataclass(frozen=True)
class _Round:
    """All pods of one workload told once; on the way ``back`` with what they had shown."""

    reloads: Reloads
    program: Program
    found: Workload
    leaves: Collection[str]
    proof: PodProof | None
    deadline: Deadline
    back: Shown | None = None

    def run(self, seen: Followed) -> None:
        """Return once every pod was told, those that come meanwhile too.

        On the way back, the deadline ends it for pods that had not shown the certificate: their
        files may never do.
        """
        rollouts, told, first = self.reloads.rollouts, set[str](), None
        back = self.back is not None
        pods_now = rollouts.pods_by(seen)
        while True:
            wanted = patiently(seen.workload, self.deadline).wanted
            pods = list(owned(pods_now.awaited(self.found, self.deadline), self.found))
            lacks = None if pods or not wanted else "it has no pods"
            if back:
                lacks, pods = None, [pod for pod in pods if self._could_run(pod)]
            for pod in sorted(pods, key=name_of):
                if uid_of(pod) in told:
                    continue
                try:
                    missing = self._told(pod)
                except (NeedsOperator, ProofFailed) as failure:
                    if not back:
                        raise
                    first, missing = first or failure, None
                lacks = lacks or missing
                told |= set() if missing else {uid_of(pod)}
                if missing and not back:
                    break  # the first one shows whether it works
            if lacks is None:
                break
            if self.deadline.passed:
                left = {uid_of(pod) for pod in pods} - told
                if self.back is not None and not any(map(self.back.must, left)):
                    break
                raise Transient(
                    f"{self.found.reference} is not reloaded within {rollouts.timeout:g} s: {lacks}"
                )
            self.deadline.pause(PAUSE)
        if first is not None:
            raise first

    def _told(self, pod: Object) -> str | None:
        """Tell a pod; what it still lacks before it can be told, in words, or None."""
        name, container = name_of(pod), _container(self.program, pod)
        if not _runs(pod, container):
            return f"container {container} of {name} does not run"
        try:
            missing = set(self.leaves)
            for file in self.program.files if missing else ():
                missing -= {self.leaf(name, container, file)}
            if missing:
                where = " and ".join(self.program.files)
                return f"{where} in {name}/{container} is not the certificate that it waits for"
            self.reloads.rollouts.fence()
            ran = self._run(name, container, self.program.argv)
        except (Transient, Missing) as failure:
            return failure.message
        if ran.code:
            raise NeedsOperator(
                f"{self.program.argv[0]} in {name}/{container} fails with exit code {ran.code}: "
                f"{ran.said}"
            )
        if self.proof is None or not self.proof.asks(pod):
            return None
        proven, wrong = self.proof.judged([pod], self.deadline)
        for failing, refusal in wrong:
            raise named(failing, self.found, refusal)
        return None if proven else f"there is no time left to look at {name}"

    def _could_run(self, pod: Object) -> bool:
        return _runs(pod, _container(self.program, pod))

    def leaf(self, pod: str, container: str, file: str) -> str:
        """The fingerprint of the first certificate in a file; empty where there is none.

        Raises Unreadable where ``cat`` fails, and as exec.run.
        """
        ran = self._run(pod, container, (*_READ, file))
        if ran.code:
            raise Unreadable(f"{file} in {pod}/{container} cannot be read: {ran.said}")
        try:
            return facts_of(parse_certificates(ran.output)[0]).fingerprint
        except InvalidInput:
            return ""

    def _run(self, pod: str, container: str, argv: Sequence[str]) -> Ran:
        rollouts = self.reloads.rollouts
        seconds = max(1.0, self.deadline.remaining)
        place = rollouts.api, rollouts.namespace, pod, container
        return self.reloads.execute(*place, argv, seconds=seconds)


def _container(program: Program, pod: Object) -> str:
    return program.container or container_names(pod.get("spec") or {})[0]


def _runs(pod: Object, container: str) -> bool:
    status = pod.get("status") or {}
    every = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    return any(
        each.get("name") == container and "running" in (each.get("state") or {}) for each in every
    )
