"""How names are proven: the solvers of one configuration, their zones, and the DNS."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from certrotd.certs.ports import Coverage, Solver
from certrotd.certs.wiring.shelf import Shelf
from certrotd.clock import Deadline
from certrotd.config.context import SolverContext
from certrotd.config.model import Config
from certrotd.dns.client import DnsClient
from certrotd.errors import Failure, NeedsOperator, failed
from certrotd.lifecycle.wing import Premises
from certrotd.pki.order import Challenge
from certrotd.rotation.unexpected import as_failure


class Solvers:
    """Built each when first used, shared by all rotations."""

    def __init__(self, config: Config, premises: Premises) -> None:
        self._config = config
        self._premises = premises
        self._clock = premises.clock
        self._solvers: Shelf[Solver] = Shelf(config.solvers, self._build, dry=premises.dry)
        self._zones = {name: tuple(entry.zones) for name, entry in config.solvers.items()}
        self._dns: DnsClient | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """As Shelf.close."""
        self._solvers.close()

    def find(self, name: str) -> Solver | None:
        """As Shelf.find."""
        return self._solvers.find(name)

    def dns(self) -> DnsClient:
        """The client that asks of what they publish."""
        with self._lock:
            if self._dns is None:
                own = {name: entry.propagation for name, entry in self._config.solvers.items()}
                self._dns = DnsClient(self._config.dns, self._solvers, own)
            return self._dns

    def act_time(self) -> float:
        """Seconds that one act on the DNS may take, of whichever solver."""
        acts = [each.act_time for each in self._config.solvers.values()]
        return max(acts, default=timedelta(minutes=1)).total_seconds()

    def wait_time(self) -> float:
        """Seconds within which any wait for published records has ended by itself."""
        waits = [each.propagation.timeout for each in self._config.solvers.values()]
        longest = max([self._config.dns.propagation.timeout, *filter(None, waits)])
        return longest.total_seconds()

    def follows(self, name: str, explicit: str | None) -> bool:
        """As World.follows: what the solver says that would publish at ``name`` itself."""
        try:
            chosen = self.chosen(name, explicit)
        except NeedsOperator:
            return True  # a CNAME may lead to a zone that a solver serves
        return self._config.solvers[chosen].follow_cname

    def chosen(self, name: str, explicit: str | None) -> str:
        """As dns.choose.choose."""
        from certrotd.dns.choose import choose

        return choose(name, self._zones, explicit)

    def confirm(self, challenge: Challenge, deadline: Deadline) -> datetime | None:
        """As dns.persistent.confirm, of what the name servers say now."""
        from certrotd.dns.persistent import confirm

        texts = self.dns().texts(challenge.name, deadline=deadline)
        return confirm(challenge, texts, now=self._clock.now())

    def unpublishable(
        self, records: Sequence[Challenge], solver: str | None, deadline: Deadline, *, ask: bool
    ) -> Iterator[Failure]:
        """What is wrong with the solvers for those records, and with where they are to be."""
        fit: dict[str, bool] = {}
        for challenge in (each.name for each in records):
            try:
                place = self._place(challenge, solver, deadline) if ask else challenge
                chosen = self.chosen(place, solver)
            except (Failure, OSError) as error:
                if ask:
                    yield as_failure(error, f"find where {challenge} is to be published")
                continue  # a CNAME may lead to a zone that a solver serves
            if chosen not in fit:
                found = [*failed(partial(self._solvers.ready, chosen, deadline, ask=ask))]
                fit[chosen] = not found
                yield from found
            if not ask or not fit[chosen]:
                continue
            seek = partial(self.dns().seek, place, solver=chosen, deadline=deadline)
            unknown = [*failed(seek)]
            yield from unknown
            adapter: object = self._solvers.get(chosen)
            if isinstance(adapter, Coverage) and not unknown:
                look = partial(adapter.covers, place, deadline=deadline, dry=self._premises.dry)
                yield from failed(look)

    def _place(self, challenge: str, solver: str | None, deadline: Deadline) -> str:
        """Where a challenge's record is to be published; raises what the look-ups raise."""
        if not self.follows(challenge, solver):
            return challenge
        return self.dns().locate(challenge, deadline=deadline)

    def _build(self, name: str, entry: Any) -> Any:
        context = SolverContext(
            name,
            self._config.state_dir,
            self._clock,
            zone_of=lambda of, deadline: self.dns().zone_of(of, deadline),
            folder=self._premises.state.folder(f"solvers/{name}"),
        )
        return importlib.import_module(f"certrotd.dns.{entry.type}").build(entry, context)
