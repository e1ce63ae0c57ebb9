"""An acknowledgement by a Kubernetes API server: the hash of the configuration it encrypts by."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import certrotd
from certrotd.clock import Clock, Deadline
from certrotd.config.acknowledgements import ApiServerAcknowledgement
from certrotd.config.connect import Connect
from certrotd.consumers.port import Answer, Expected
from certrotd.dial import Timeout
from certrotd.errors import Failure
from certrotd.https.client import HttpsClient
from certrotd.kube.access import UNTRUSTED, Access

METRIC = "apiserver_encryption_config_controller_last_config_info"
"""What Kubernetes 1.34 tells of itself, once it starts and after each reload."""
MAX_METRICS = 256 * 1024 * 1024
"""Bytes that are looked through at most; a large cluster has tens of MB, and none are kept."""
_NAME = METRIC.encode()
_TOLD = re.compile(_NAME + rb"\{[^}]*\bhash=\"sha256:([0-9a-f]{64})\"[^}]*\}")
_LONGEST_LINE = 64 * 1024


class Metrics:
    """Lines of /metrics as they come; ``told`` are the hashes of the metric so far."""

    def __init__(self) -> None:
        self.told: set[str] = set()
        self._rest = b""

    def enough(self, data: bytes) -> bool:
        """Whether the metric has been told: its lines stand together."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:_LONGEST_LINE]
        return any(self._ends(line) for line in lines)

    def close(self) -> None:
        """No more comes."""
        self._ends(self._rest)

    def _ends(self, line: bytes) -> bool:
        if not line.startswith(_NAME):
            return bool(self.told)
        if found := _TOLD.match(line):
            self.told.add(found[1].decode())
        return False


@dataclass(frozen=True)
class ApiServerAnswer:
    """What the metrics of the API server at ``url`` say, within ``timeout`` seconds.

    ``reach`` gives the cluster's roots and the account; it raises NeedsOperator.
    """

    url: str
    reach: Callable[[], Access]
    timeout: float
    clock: Clock

    def ask(self, expected: Expected) -> Answer:
        """As Acknowledgement.ask."""
        metrics = Metrics()
        try:
            found = self.reach()
            headers = {"Accept": "text/plain", "Connection": "close"}
            if found.token is not None:
                headers["Authorization"] = f"Bearer {found.token()}"
            answer = _client(found).exchange(
                "GET",
                f"{self.url}/metrics",
                body=None,
                headers=headers,
                timeout=Timeout(Deadline(self.clock, self.timeout)),
                enough=metrics.enough,
            )
        except Failure as error:
            return Answer(False, f"cannot be asked: {error.message}")
        if answer.status in (401, 403):
            return Answer(False, "does not let this account read /metrics")
        if answer.status != 200:
            return Answer(False, f"answers with the status {answer.status}")
        metrics.close()
        if not metrics.told:
            return Answer(False, f"does not tell {METRIC}, as Kubernetes 1.34 does")
        return Answer(metrics.told <= expected.hashes, "has other keys")


def _client(found: Access) -> HttpsClient:
    return HttpsClient(
        found.context,
        whom="the API server ",
        agent=f"certrotd/{certrotd.__version__}",
        direct=True,
        limit=MAX_METRICS,
        cure=UNTRUSTED,
    )


def build(entry: ApiServerAcknowledgement, clock: Clock, connect: Connect) -> ApiServerAnswer:
    """The acknowledgement of a configuration entry, by the account that ``connect`` knows."""

    def reach() -> Access:
        return connect(entry.kubeconfig, entry.context).access

    return ApiServerAnswer(entry.api_server, reach, entry.timeout.total_seconds(), clock)
