"""An acknowledgement by a Kubernetes API server: the hash of the configuration it encrypts by."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass

import certrotd
from certrotd.clock import Clock, Deadline
from certrotd.config.keyrings import ApiServerAcknowledgement
from certrotd.consumers.port import Answer, Expected
from certrotd.dial import Timeout
from certrotd.errors import Failure
from certrotd.https.client import HttpsClient
from certrotd.kube.access import Access, access

METRIC = "apiserver_encryption_config_controller_last_config_info"
"""What Kubernetes 1.34 tells of itself, once it starts and after each reload."""
MAX_METRICS = 64 * 1024 * 1024
_TOLD = re.compile(
    rb"^" + METRIC.encode() + rb"\{[^}\n]*\bhash=\"sha256:([0-9a-f]{64})\"[^}\n]*\}", re.MULTILINE
)


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
            )
        except Failure as error:
            return Answer(False, f"cannot be asked: {error.message}")
        if answer.status in (401, 403):
            return Answer(False, "does not let this account read /metrics")
        if answer.status != 200:
            return Answer(False, f"answers with the status {answer.status}")
        told = {match.decode() for match in _TOLD.findall(answer.content)}
        if not told:
            return Answer(False, f"does not tell {METRIC}, as Kubernetes 1.34 does")
        return Answer(told <= expected.hashes, "has other keys")


def _client(found: Access) -> HttpsClient:
    return HttpsClient(
        found.context,
        whom="the API server ",
        agent=f"certrotd/{certrotd.__version__}",
        direct=True,
        limit=MAX_METRICS,
    )


def build(entry: ApiServerAcknowledgement, clock: Clock) -> ApiServerAnswer:
    """The acknowledgement of a configuration entry."""

    def reach() -> Access:
        return access(entry.kubeconfig, entry.context, os.environ)

    return ApiServerAnswer(entry.api_server, reach, entry.timeout.total_seconds(), clock)
