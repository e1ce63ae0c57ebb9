"""Target ``http``: a service that reads its files again when a URL is posted to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from certrotd.asking import Asked
from certrotd.clock import Clock, Deadline, SystemClock
from certrotd.config.context import Context
from certrotd.config.environment import reveal
from certrotd.config.services import HttpTargetEntry
from certrotd.errors import NeedsOperator


@dataclass(frozen=True)
class HttpTarget:
    """``headers`` gives those of the request, with their secrets; ``expected`` is the status of a
    success, None: any 2xx. ``timeout`` is in seconds, to the head of the answer.
    """

    name: str
    asked: Asked
    headers: Callable[[], Mapping[str, str]] = field(default=dict, repr=False)
    expected: int | None = None
    timeout: float = 30.0
    clock: Clock = field(default_factory=SystemClock, repr=False)

    def precheck(self) -> None:
        """As Precheck.precheck: the secrets can be read."""
        self.headers()

    def check(self) -> None:
        """As Target.check: nobody is asked, for whom a request is an order."""
        self.precheck()

    def apply(self) -> None:
        """As Target.apply."""
        self.asked.post(
            b"",
            headers=self.headers(),
            deadline=Deadline(self.clock, self.timeout),
            what=f"target {self.name}",
            hint="compare url and headers, and status if another one means success",
            expected=self.expected,
        )


def build(entry: HttpTargetEntry, context: Context) -> HttpTarget:
    """The target of a configuration entry; its secrets are read whenever it is used."""

    def headers() -> dict[str, str]:
        revealed = reveal(entry.headers)
        for name, value in revealed.items():
            if not value.isascii() or not value.isprintable():
                raise NeedsOperator(f"the header {name} is more than a line of ASCII")
            if value != value.strip():
                raise NeedsOperator(f"the header {name} begins or ends with a space")
        return revealed

    return HttpTarget(
        context.name,
        Asked(
            entry.url,
            "",
            entry.ca_bundle,
            "ca_bundle",
            "it is the root of the service",
            entry.socket,
            entry.use_proxy,
        ),
        headers,
        entry.status,
        entry.timeout.total_seconds(),
        context.clock,
    )
