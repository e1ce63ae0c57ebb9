"""The DNS client of rotations: where names lead, and what name servers answer."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from certrotd.clock import Deadline
from certrotd.config.hostfile import DnsEntry
from certrotd.config.solver import SolverPropagationEntry
from certrotd.dns.records import TxtRecord
from certrotd.errors import NeedsOperator

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certrotd.dns.propagation import Propagation


_PLACE_SECONDS = 30.0
_MAX_PLACES = 1024


class _Solvers(Protocol):
    def all(self) -> Iterable[object]: ...


class DnsClient:
    """The Dns port over the resolver and the propagation checks, built when first used.

    ``own`` is how the records of a solver are waited for, by its name.
    """

    def __init__(
        self, entry: DnsEntry, solvers: _Solvers, own: Mapping[str, SolverPropagationEntry]
    ) -> None:
        from certrotd.dns.resolve import Resolver  # loads dnspython

        self._settings = entry.propagation
        self._resolver = Resolver(entry.resolvers or None, authoritative_port=self._settings.port)
        self._own = own
        # what is asked before an order need not be asked again right behind it
        self._places: dict[str, tuple[float, str]] = {}
        self._propagations: dict[str, Propagation] = {}
        self._solvers = solvers
        self._started = False
        self._lock = threading.Lock()

    def locate(self, name: str, *, deadline: Deadline) -> str:
        """As Dns.locate. Solvers that are themselves servers are up before anybody is asked."""
        self._serve()
        now = deadline.clock.monotonic()
        until, place = self._places.get(name, (now, ""))
        if until <= now:
            place = self._resolver.follow(name, deadline=deadline)
            if len(self._places) >= _MAX_PLACES:
                self._places.clear()
            self._places[name] = now + _PLACE_SECONDS, place
        return place

    def seek(self, name: str, *, solver: str, deadline: Deadline) -> None:
        """Look ahead for the zone whose servers :meth:`wait` will ask about ``name``.

        Raises what that would raise; where no zone has to be found, nobody is asked.
        """
        if self._settings.skip or self._settings.servers or self._own[solver].servers:
            return
        self._serve()
        self._resolver.zone_of(name, deadline=deadline, ahead=True)

    def zone_of(self, name: str, deadline: Deadline) -> str:
        """The zone that holds ``name``, by its SOA; raises as Resolver.zone_of."""
        self._serve()
        return self._resolver.zone_of(name, deadline=deadline, ahead=True)

    def wait(self, records: Sequence[TxtRecord], *, solver: str, deadline: Deadline) -> str:
        """As Dns.wait; returns at once where the configuration says to skip it."""
        if self._settings.skip:
            return ""
        return self._propagation(solver).wait(records, deadline=deadline)

    def absent(self, record: TxtRecord, *, solver: str, deadline: Deadline) -> bool:
        """As Dns.absent; where the servers are not to be looked at, nothing is known."""
        if self._settings.skip:
            return False
        return self._propagation(solver).absent(record, deadline=deadline)

    def texts(self, name: str, *, deadline: Deadline) -> Mapping[str, frozenset[str]]:
        """As Dns.texts; none where the configuration says to skip looking."""
        if self._settings.skip:
            return {}
        place = self.locate(name, deadline=deadline)
        return self._propagation("").texts(place, deadline=deadline)

    def _propagation(self, solver: str) -> Propagation:
        from certrotd.dns.propagation import Propagation

        with self._lock:
            if solver not in self._propagations:
                own = self._own.get(solver) or SolverPropagationEntry()
                settings = self._settings
                self._propagations[solver] = Propagation(
                    self._resolver,
                    servers=own.servers or settings.servers or None,
                    timeout=(own.timeout or settings.timeout).total_seconds(),
                    interval=settings.interval.total_seconds(),
                    quorum=own.quorum or settings.quorum,
                )
            return self._propagations[solver]

    def _serve(self) -> None:
        with self._lock:
            if not self._started:
                self._start()
                self._started = True

    def _start(self) -> None:
        for solver in self._solvers.all():
            start = getattr(solver, "start", None)
            if start is None:
                continue
            try:
                start()
            except NeedsOperator:
                continue  # if a record belongs to it, presenting it says the same, by its name
