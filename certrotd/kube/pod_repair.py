"""The way back for the pods themselves: those that a bad certificate has broken are replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from certrotd.clock import Deadline
from certrotd.errors import ProofFailed, Transient
from certrotd.kube.api import Object
from certrotd.kube.pod_proof import PodProof, named
from certrotd.kube.pods import Pods, name_of, owned, patiently, serving, uid_of
from certrotd.kube.stamps import RESTARTED_AT, stamp_of
from certrotd.kube.workloads import Workload, broken, stuck, was_restarted


class PodRepair:
    """Of one workload whose former template is back; ``tell`` takes a line for its events.

    Without a ``proof`` only those of a StatefulSet are replaced that nothing else replaces
    (kubernetes#67250). With one, also those that crash or do not serve what the proof asks for:
    any container that was restarted meanwhile has loaded the bad certificate. Only pods that were
    there at the first look are replaced, each once: what a new one serves is no leftover.

    The proof asks only those that showed the certificate before the change. Where none of them
    does any more, something else may keep them from being looked at: then only pods are replaced
    whose containers were restarted.
    """

    def __init__(self, pods: Pods, proof: PodProof | None, tell: Callable[[str], None]) -> None:
        self._pods = pods
        self._proof = proof and replace(proof, pods=pods)
        self._tell = tell
        self._before: set[str] | None = None
        self._wrong: dict[str, ProofFailed] = {}

    def replace_broken(self, found: Workload, at: str | None) -> None:
        """Delete what is stuck or crashes; ``at`` is the annotation of the former template."""
        if self._proof is None and found.reference.kind != "statefulset":
            return
        pods = self._look(found, self._pods.of(found))
        if found.reference.kind == "statefulset":
            for pod in stuck(pods, found.uid, RESTARTED_AT, at):
                self._delete(pod, "it is of the undone template and not ready")
        if self._proof is not None:
            for pod in self._leftover(broken(owned(pods, found), RESTARTED_AT, at)):
                self._delete(pod, "it crashes")

    def finish(self, look: Callable[[], Workload], deadline: Deadline) -> None:
        """Return once every pod serves what it should; those that do not are replaced one by one.

        Raises ProofFailed where a new pod does not either, or none does any more; Transient at the
        deadline.
        """
        if self._proof is None:
            return
        if self._proof.before is not None and not self._proof.before.some:
            self._tell(
                "no pod showed its certificate by pod_probe before the change: none is looked at"
            )
        proven: set[str] = set()
        while True:
            found = patiently(look, deadline)
            pods = self._look(found, self._pods.awaited(found, deadline))
            ready = list(serving(pods, found))
            self._judge(ready, found, proven, deadline)
            whole = len(ready) >= found.wanted
            wrong = [pod for pod in ready if uid_of(pod) in self._wrong]
            doubtful = [] if proven else [pod for pod in wrong if not was_restarted(pod)]
            wrong = [pod for pod in wrong if pod not in doubtful]
            if whole and not wrong and not self._unknown(ready, proven):
                if doubtful:
                    raise named(doubtful[0], found, self._wrong[uid_of(doubtful[0])])
                return
            if whole and wrong:
                self._delete(wrong[0], "it does not serve the former certificate")
            elif not whole:
                patiently(partial(self.replace_broken, found, stamp_of(found).at), deadline)
            if deadline.passed:
                raise Transient(
                    f"{found.reference} is not whole again: {len(ready)} of {found.wanted} pods "
                    "are ready",
                    hint=f"kubectl -n {self._pods.namespace} describe {found.reference}",
                )
            deadline.pause(self._pods.pause)

    def _judge(
        self, ready: list[Object], found: Workload, proven: set[str], deadline: Deadline
    ) -> None:
        """Look at those of which nothing is known yet; raises ProofFailed for a new one."""
        assert self._proof is not None
        seen, failures = self._proof.judged(self._unknown(ready, proven), deadline)
        proven |= seen
        before = self._before or set()
        self._wrong |= {uid_of(pod): why for pod, why in failures if uid_of(pod) in before}
        new = [each for each in failures if uid_of(each[0]) not in before]
        if failure := self._proof.lasting(found, new, deadline):
            raise failure

    def _unknown(self, ready: list[Object], proven: set[str]) -> list[Object]:
        """Those that are to be looked at still."""
        assert self._proof is not None
        known = proven | self._wrong.keys()
        return [pod for pod in ready if self._proof.asks(pod) and uid_of(pod) not in known]

    def _look(self, found: Workload, pods: list[Object]) -> list[Object]:
        if self._before is None:
            self._before = {uid_of(pod) for pod in owned(pods, found)}
        return pods

    def _leftover(self, pods: Iterator[Object]) -> Iterator[Object]:
        return (pod for pod in pods if uid_of(pod) in (self._before or ()))

    def _delete(self, pod: Object, why: str) -> None:
        if self._pods.delete(pod):
            self._tell(f"certrotd deletes the pod {name_of(pod)}: {why}")
