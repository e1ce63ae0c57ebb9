"""An examiner that sees what it is told is there."""

from __future__ import annotations

from collections.abc import Callable

from certrotd.errors import Failure, Transient
from certrotd.observe.chain import Presented
from certrotd.observe.tls import Endpoint


class MemoryExaminer:
    """Looks at ``shown`` by host; who is not there refuses the connection.

    ``during`` is called in the middle of every look; ``asked`` are the endpoints in their order.
    """

    def __init__(self) -> None:
        self.shown: dict[str, Presented | Failure] = {}
        self.asked: list[Endpoint] = []
        self.during: Callable[[Endpoint], object] = lambda _endpoint: None

    def examine(self, endpoint: Endpoint) -> Presented:
        self.asked.append(endpoint)
        self.during(endpoint)
        found = self.shown.get(endpoint.host)
        if found is None:
            raise Transient(f"{endpoint}: no TLS handshake: Connection refused")
        if isinstance(found, Failure):
            raise found
        return found
