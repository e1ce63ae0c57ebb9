"""Every pod of a workload is seen to serve a certificate, at its own address."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from certrotd.clock import Deadline
from certrotd.errors import ProofFailed, Transient
from certrotd.kube.api import Object
from certrotd.kube.pods import Pods, address_of, name_of, patiently, serving, uid_of
from certrotd.kube.shown import Shown
from certrotd.kube.workloads import Workload
from certrotd.rotation.outcome import Stopped

Wrong = tuple[Object, ProofFailed]
"""A pod, and what it does instead."""

AT_ONCE = 8
"""So many pods are looked at at the same time."""
_INSTANT = 0.001


@dataclass(frozen=True)
class PodProof:
    """``at`` has a proof for each probe and certificate: given an address, it returns or raises.

    It returns once enough handshakes in a row have shown the leaf, and raises ProofFailed at the
    end of the probe's deadline. On the way back only those pods are looked at that must show it
    by what was so ``before``.
    """

    pods: Pods
    at: Sequence[Callable[[str], None]]
    before: Shown | None = None

    def asks(self, pod: Object) -> bool:
        """Whether a pod is to be looked at."""
        return self.before is None or self.before.must(uid_of(pod))

    def prove(
        self,
        look: Callable[[], Workload],
        deadline: Deadline,
        *,
        patient: bool = False,
        few: bool = False,
    ) -> None:
        """Return once as many pods as there should be are ready, and all that it asks are proven.

        ``look`` reads the workload as it is now; a ``few`` of its pods may do. Raises ProofFailed
        for the first that is not proven within the probe's own deadline; a ``patient`` one tries
        until ``deadline``. Raises Transient where too few pods are ready by then; no probe begins
        after it.
        """
        proven, wrong = set[str](), list[Wrong]()
        while True:
            found = patiently(look, deadline)
            ready = list(serving(self.pods.awaited(found, deadline), found))
            left = [pod for pod in ready if self.asks(pod) and uid_of(pod) not in proven]
            whole = len(ready) >= (min(1, found.wanted) if few else found.wanted)
            if whole and not left:
                return
            if deadline.passed:
                raise self.lasting(found, wrong, deadline) or self._few(found, len(ready))
            seen, wrong = self.judged(left, deadline, first=not patient)
            proven |= seen
            if not patient and (failure := self.lasting(found, wrong, deadline)):
                raise failure
            if wrong or not whole:
                deadline.pause(self.pods.pause)

    def judged(
        self, pods: Sequence[Object], deadline: Deadline, *, first: bool = False
    ) -> tuple[set[str], list[Wrong]]:
        """The uids of those that serve it, and those that do not, each with what it does instead.

        Of some nothing is said: no look begins after the deadline, nor, with ``first``, after one
        that failed.
        """
        proven, wrong, left, over = set[str](), list[Wrong](), list(pods), threading.Event()

        def judge(pod: Object) -> ProofFailed | Stopped | bool:
            if over.is_set() or deadline.passed:
                return False
            verdict = self._verdict(address_of(pod))
            if first and isinstance(verdict, ProofFailed):
                over.set()
            return verdict

        with ThreadPoolExecutor(min(AT_ONCE, max(1, len(left)))) as pool:
            while left:
                verdicts = list(zip(left, pool.map(judge, left), strict=True))
                proven |= {uid_of(pod) for pod, verdict in verdicts if verdict is True}
                wrong += [(pod, each) for pod, each in verdicts if isinstance(each, ProofFailed)]
                left = [pod for pod, verdict in verdicts if isinstance(verdict, Stopped)]
                if left:
                    # a thread that was woken already, as an undo is, goes on; another one stops
                    self.pods.api.clock.sleep(_INSTANT)
        return proven, wrong

    def lasting(
        self, found: Workload, failures: Sequence[Wrong], deadline: Deadline
    ) -> ProofFailed | None:
        """The first failure of a pod that is still there: another may have been replaced."""
        if not failures:
            return None
        there = {uid_of(pod) for pod in serving(self.pods.awaited(found, deadline), found)}
        for pod, failure in failures:
            if uid_of(pod) in there:
                return named(pod, found, failure)
        return None

    def _few(self, found: Workload, ready: int) -> Transient:
        few = f"only {ready} of {found.wanted} pods of {found.reference} stay ready"
        words = few if ready else f"no pod of {found.reference} stays ready"
        return Transient(
            f"{words} for long enough to be looked at",
            hint=f"kubectl -n {self.pods.namespace} describe {found.reference}",
        )

    def _verdict(self, address: str) -> ProofFailed | Stopped | bool:
        """What is wrong; True if nothing is; Stopped where the thread was woken in the middle."""
        try:
            for proof in self.at:
                proof(address)
        except (ProofFailed, Stopped) as failure:
            return failure
        return True


def named(pod: Object, found: Workload, failure: ProofFailed) -> ProofFailed:
    """The failure, with which pod it is of."""
    words = f"the pod {name_of(pod)} of {found.reference}: {failure.message}"
    return ProofFailed(words, hint=failure.hint)
