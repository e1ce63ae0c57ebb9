"""Every pod of a workload is seen to serve a certificate, at its own address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from certrotd.clock import Deadline
from certrotd.errors import ProofFailed, Transient
from certrotd.kube.api import Object
from certrotd.kube.pods import PAUSE, Pods, address_of, name_of, serving, uid_of
from certrotd.kube.workloads import Workload

AT_ONCE = 8
"""So many pods are looked at at the same time."""


@dataclass(frozen=True)
class PodProof:
    """``at`` has a proof for each probe and certificate: given an address, it returns or raises.

    It returns once enough handshakes in a row have shown the leaf, and raises ProofFailed at the
    end of the probe's deadline.
    """

    pods: Pods
    at: Sequence[Callable[[str], None]]

    def prove(self, found: Workload, deadline: Deadline, *, patient: bool = False) -> None:
        """Return once every pod that is ready is proven; pods that come meanwhile, too.

        Raises ProofFailed for the first that is not within the probe's own deadline; a ``patient``
        one tries until ``deadline``. Raises Transient where no pod is ready by then.
        """
        proven: set[str] = set()
        while True:
            ready = list(serving(self.pods.awaited(found, deadline), found))
            left = [pod for pod in ready if uid_of(pod) not in proven]
            if not left and (ready or not found.wanted):
                return
            failures = self.failing(left)
            proven |= {uid_of(pod) for pod in left} - {uid_of(pod) for pod, _ in failures}
            failure = self.lasting(found, failures, deadline) if failures else None
            if failure is not None and (deadline.passed or not patient):
                raise failure
            if deadline.passed and (failures or not ready):
                raise Transient(
                    f"no pod of {found.reference} stays ready for long enough to be looked at",
                    hint=f"kubectl -n {self.pods.namespace} describe {found.reference}",
                )
            if failures or not ready:
                deadline.pause(PAUSE)

    def failing(self, pods: Sequence[Object]) -> list[tuple[Object, ProofFailed]]:
        """Those that do not serve it, each with what it does instead."""
        if not pods:
            return []
        with ThreadPoolExecutor(min(AT_ONCE, len(pods))) as pool:
            found = zip(pods, pool.map(self._refusal, map(address_of, pods)), strict=True)
            return [(pod, failure) for pod, failure in found if failure is not None]

    def lasting(
        self, found: Workload, failures: Sequence[tuple[Object, ProofFailed]], deadline: Deadline
    ) -> ProofFailed | None:
        """The first failure of a pod that is still there: another may have been replaced."""
        there = {uid_of(pod) for pod in serving(self.pods.awaited(found, deadline), found)}
        for pod, failure in failures:
            if uid_of(pod) in there:
                return named(pod, found, failure)
        return None

    def _refusal(self, address: str) -> ProofFailed | None:
        try:
            for proof in self.at:
                proof(address)
        except ProofFailed as failure:
            return failure
        return None


def named(pod: Object, found: Workload, failure: ProofFailed) -> ProofFailed:
    """The failure, with which pod it is of."""
    words = f"the pod {name_of(pod)} of {found.reference}: {failure.message}"
    return ProofFailed(words, hint=failure.hint)
