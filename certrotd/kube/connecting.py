"""The API servers that a configuration names: each is connected to once, by all that use it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import certrotd
from certrotd.clock import Clock
from certrotd.kube.access import access
from certrotd.kube.api import Api
from certrotd.kube.patience import Patience

AGENT = f"certrotd/{certrotd.__version__}"
Key = tuple[Path | None, str | None]
Lasting = dict[Key, set[object]]
"""The rights that an account had, as Api.lasting."""


class Connections:
    """By kubeconfig and context; without a kubeconfig that of the pod this process runs in.

    ``lasting`` outlives these connections, and ``patience`` is that of the process.
    """

    def __init__(
        self,
        clock: Clock,
        environment: Mapping[str, str],
        lasting: Lasting | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._clock = clock
        self._environment = environment
        self._lasting: Lasting = {} if lasting is None else lasting
        self._patience = patience or Patience()
        self._made: dict[Key, Api] = {}
        self._lock = threading.Lock()

    def api(self, kubeconfig: Path | None = None, context: str | None = None) -> Api:
        """The API server of one; raises NeedsOperator."""
        with self._lock:
            key = kubeconfig, context
            if key not in self._made:
                found = access(kubeconfig, context, self._environment)
                lasting = self._lasting.setdefault(key, set())
                self._made[key] = Api(
                    *(found, self._clock), agent=AGENT, lasting=lasting, patience=self._patience
                )
            return self._made[key]
