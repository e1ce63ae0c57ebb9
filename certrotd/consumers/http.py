"""An acknowledgement that the consumer gives over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from certrotd.asking import Asked
from certrotd.clock import Clock, Deadline
from certrotd.config.acknowledgements import HttpAcknowledgement
from certrotd.consumers import hashes
from certrotd.consumers.port import Answer, Expected
from certrotd.errors import NeedsOperator, Transient
from certrotd.https.http1 import Answer as HttpReply


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
    host = urlsplit(address).hostname
    hint = "they are the roots of the consumer"
    consumer = Asked(address, "the consumer at ", roots, f"the roots of {host}", hint)
    return consumer.ask("GET", headers={"Accept": accept}, deadline=Deadline(clock, seconds))


def build(entry: HttpAcknowledgement, clock: Clock) -> HttpAnswer:
    """The acknowledgement of a configuration entry."""
    return HttpAnswer(entry.http, entry.roots, entry.timeout.total_seconds(), clock)
