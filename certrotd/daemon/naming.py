"""What certrotd itself asks the DNS, as the configuration says: where names lead, what is seen."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from certrotd.clock import Deadline
from certrotd.config.file import DnsEntry
from certrotd.dns.records import TxtRecord
from certrotd.errors import NeedsOperator

if TYPE_CHECKING:
    from collections.abc import Iterable


class _Solvers(Protocol):
    def all(self) -> Iterable[object]: ...


class Dns:
    """The Dns port over the resolver and the propagation check, built when first used."""

    def __init__(self, entry: DnsEntry, solvers: _Solvers) -> None:
        from certrotd.dns.propagation import Propagation
        from certrotd.dns.resolve import Resolver  # both load dnspython

        settings = entry.propagation
        self._resolver = Resolver(entry.resolvers or None, authoritative_port=settings.port)
        self._propagation = Propagation(
            self._resolver,
            servers=settings.servers or None,
            timeout=settings.timeout.total_seconds(),
            interval=settings.interval.total_seconds(),
        )
        self._skip = settings.skip
        self._solvers = solvers
        self._started = False
        self._lock = threading.Lock()

    def locate(self, name: str, *, deadline: Deadline) -> str:
        """As Dns.locate. Solvers that are themselves servers are up before anybody is asked."""
        with self._lock:
            if not self._started:
                self._start()
                self._started = True
        return self._resolver.follow(name, deadline=deadline)

    def wait(self, records: Sequence[TxtRecord], *, deadline: Deadline) -> None:
        """As Dns.wait; returns at once where the configuration says to skip it."""
        if not self._skip:
            self._propagation.wait(records, deadline=deadline)

    def _start(self) -> None:
        for solver in self._solvers.all():
            start = getattr(solver, "start", None)
            if start is None:
                continue
            try:
                start()
            except NeedsOperator:
                continue  # if a record belongs to it, presenting it says the same, by its name
