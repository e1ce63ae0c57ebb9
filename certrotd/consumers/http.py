"""An acknowledgement that the consumer gives over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import certrotd
from certrotd.clock import Clock, Deadline
from certrotd.config.acknowledgements import HttpAcknowledgement
from certrotd.config.notifications import is_loopback
from certrotd.consumers import hashes
from certrotd.consumers.port import Answer, Expected
from certrotd.dial import Timeout
from certrotd.errors import NeedsOperator, Transient
from certrotd.https.client import HttpsClient
from certrotd.https.http1 import Answer as HttpReply
from certrotd.pki.roots import trust


@dataclass(frozen=True)
class HttpAnswer:
    """The first word of what ``url`` answers within ``timeout`` seconds; nothing is followed."""

    url: str
    roots: Path | None
    timeout: float
    clock: Clock

    def ask(self, expected: Expected) -> Answer:
        """As Acknowledgement.ask."""
        try:
            answer = asked(self.url, self.roots, self.timeout, self.clock, accept="text/plain")
        except (Transient, NeedsOperator) as error:
            return Answer(False, f"cannot be asked: {error.message}")
        if answer.status != 200:
            return Answer(False, f"answers with the status {answer.status}")
        return hashes.answer(answer.content[: hashes.MAX_TEXT], expected)


def asked(
    address: str, roots: Path | None, seconds: float, clock: Clock, *, accept: str
) -> HttpReply:
    """What an application answers to GET; raises Transient or NeedsOperator."""
    url, context = urlsplit(address), None
    if url.scheme == "https":
        hint = "they are the roots of the consumer"
        context = trust(roots, what=f"the roots of {url.hostname}", hint=hint)
    client = HttpsClient(
        context,
        whom="the consumer at ",
        agent=f"certrotd/{certrotd.__version__}",
        direct=is_loopback(str(url.hostname)),
    )
    headers = {"Accept": accept, "Connection": "close"}
    timeout = Timeout(Deadline(clock, seconds))
    return client.exchange("GET", address, body=None, headers=headers, timeout=timeout)


def build(entry: HttpAcknowledgement, clock: Clock) -> HttpAnswer:
    """The acknowledgement of a configuration entry."""
    return HttpAnswer(entry.http, entry.roots, entry.timeout.total_seconds(), clock)
