"""A prober that looks at targets in memory."""

from __future__ import annotations

from collections.abc import Mapping

from certrotd.clock import Clock
from certrotd.errors import ProofFailed, Transient
from certrotd.observe.tls import Endpoint, Served
from tests.fakes.chance import CALM, Chance, Refused
from tests.fakes.target import MemoryTarget


class MemoryProber:
    """The Prober port; an endpoint's host is the target's name. A proof takes a moment.

    ``keys`` are the types of keys that were looked for, in their order.
    """

    def __init__(
        self, targets: Mapping[str, MemoryTarget], clock: Clock, chance: Chance = CALM
    ) -> None:
        self.targets = targets
        self.clock = clock
        self.chance = chance
        self.keys: list[str] = []

    def check(self, endpoint: Endpoint) -> None:
        assert endpoint.roots is None, "there are no files here"

    def vouch(self, endpoint: Endpoint, key: bytes, chain: bytes) -> None:
        self.check(endpoint)

    def look(self, endpoint: Endpoint) -> Served:
        self._ask("look", endpoint)
        serves = self.targets[endpoint.host].serves
        if serves is None:
            raise Transient(f"{endpoint}: no TLS handshake: Connection refused")
        return Served(serves, bytes.fromhex(serves))

    def prove(self, endpoint: Endpoint, fingerprint: str) -> None:
        self._ask("prove", endpoint)
        self.clock.sleep(0.02)
        serves = self.targets[endpoint.host].serves
        if serves != fingerprint:
            raise ProofFailed(f"{endpoint} serves {serves}, not {fingerprint}")

    def _ask(self, what: str, endpoint: Endpoint) -> None:
        self.keys.append(endpoint.key)
        try:
            self.chance.look(f"prober: {what} at {endpoint.host}")
        except Refused:
            raise ProofFailed(f"{endpoint} could not be looked at") from None
