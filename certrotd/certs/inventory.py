"""The inventory: the certificates of a configuration, looked at and rotated several at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from certrotd.certs.managed import Managed, attempts_of
from certrotd.certs.policy import Attempts
from certrotd.certs.rules import decide
from certrotd.config.nearest import MAX_LISTED, suggestion
from certrotd.errors import Failure, InvalidInput, UsageError
from certrotd.id import Id
from certrotd.lifecycle.decision import Decision, by_decision
from certrotd.lifecycle.gate import Held
from certrotd.pki.generation import Standing
from certrotd.pki.names import canonical, covers
from certrotd.rotation.flight import Flight, flight_in

if TYPE_CHECKING:
    from certrotd.certs.rotate import Rotator
    from certrotd.lifecycle.report import Report


@dataclass(frozen=True, slots=True)
class Row:
    """One certificate as it stands, or why it could not be looked at.

    ``flight`` is the rotation in flight, ``held`` what holds back what is due. With a ``failure``
    there may be a decision all the same: then it is not known whether a rotation is in flight.
    """

    managed: Managed
    standing: Standing
    attempts: Attempts
    decision: Decision | None
    flight: Flight | None = None
    failure: Failure | None = None
    held: Held | None = None


@dataclass(frozen=True)
class Inventory:
    """The certificates of one configuration, in its order; ``concurrency`` rotations at once."""

    certificates: Sequence[Managed]
    concurrency: int
    _placing: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    _placed: set[Id] = field(default_factory=set, repr=False, compare=False)

    def chosen(self, names: Sequence[str]) -> list[Managed]:
        """The certificates called that (by name, id, or a DNS name that they are for), or all.

        UsageError says which is not there, or not alone.
        """
        if not names:
            return list(self.certificates)
        ids = {str(managed.policy.id): managed for managed in self.certificates}
        called: dict[str, list[str]] = {}
        for text, managed in ids.items():
            called.setdefault(managed.policy.name, []).append(text)
        found = (name if name in ids else self._only(name, called) for name in names)
        return [ids[text] for text in dict.fromkeys(found)]

    def _only(self, name: str, called: Mapping[str, Sequence[str]]) -> str:
        """The only id with that name; else that of the certificate for a DNS name."""
        texts = called.get(name, ())
        if len(texts) > 1:
            raise UsageError(
                f"several are called {name}: {', '.join(texts)}", hint="name one of them"
            )
        if texts:
            return texts[0]
        kind, _, plain = name.rpartition("/")
        kinds = {managed.policy.id.kind for managed in self.certificates}
        return self._covering(plain if kind in kinds else name)

    def _covering(self, name: str) -> str:
        """The id of the only certificate for a DNS name; a wildcard's comes last."""
        policies = [managed.policy for managed in self.certificates]
        try:
            host = canonical(name)
        except InvalidInput:
            host = ""
        found = [each.id for each in policies if host in each.names] or [
            each.id for each in policies if covers(each.names, host)
        ]
        if len(found) == 1:
            return str(found[0])
        if found:
            listed = ", ".join(each.name for each in found[:MAX_LISTED])
            listed += ", …" if len(found) > MAX_LISTED else ""
            raise UsageError(
                f"several certificates are for {name}: {listed}", hint="name one of them"
            )
        hint = suggestion(name, [each.name for each in policies])
        raise UsageError(f"there is no certificate {name!r}", hint=hint)

    def look(
        self, chosen: Sequence[Managed], *, now: datetime, in_flight: Callable[[Id], bool]
    ) -> Iterator[Row]:
        """Where each certificate stands; a failure is a row, never the end of the listing."""
        for managed in chosen:
            try:
                standing, attempts = managed.look(), attempts_of(managed)
                decision = decide(managed.policy, standing, attempts, now=now)
            except Failure as failure:
                yield Row(managed, Standing(), Attempts(), None, failure=failure)
                continue
            flight, unknown = None, None
            try:
                if in_flight(managed.policy.id):
                    flight = flight_in(managed.journal) or Flight()
            except Failure as failure:
                unknown = failure
            # what is in flight goes on, whatever would keep another rotation from beginning
            held = by_decision(decision) if flight is None else None
            yield Row(managed, standing, attempts, decision, flight, unknown, held)

    def placeholders(self, rotator: Rotator) -> list[Report]:
        """Put every placeholder in place that is asked for and not there.

        Before any rotation: ``nginx -t`` reads the files of all virtual hosts, and one whose files
        are missing would keep the others' certificates away. Who comes second waits for the first.
        Those of which none is wanted are not asked again: each looks itself at its own rotation.
        """
        reports: list[Report] = []
        wanting = [each for each in self.certificates if each.policy.bootstraps]
        if all(each.policy.id in self._placed for each in wanting):
            return reports
        with self._placing:
            for each in wanting:
                if each.policy.id in self._placed or rotator.stopping():
                    continue
                report = rotator.bootstrap(each)
                if report is None:
                    self._placed.add(each.policy.id)
                else:
                    reports.append(report)
        return reports

    def rotate_one(self, managed: Managed, rotator: Rotator) -> Report:
        """Bring one up to date, after every placeholder; what became of those is theirs to say."""
        self.placeholders(rotator)
        return rotator.rotate(managed)

    def rotate(
        self,
        chosen: Sequence[Managed],
        rotator: Rotator,
        *,
        forced: bool = False,
        by_hand: bool = False,
        named: bool = False,
    ) -> Iterator[Report]:
        """Bring each up to date, several at once; one's failure never stops the others.

        Placeholders come first: one that fails is tried again, and said, by its own rotation.
        """
        from concurrent.futures import ThreadPoolExecutor, as_completed

        self.placeholders(rotator)
        workers = max(1, min(self.concurrency, len(chosen)))
        with ThreadPoolExecutor(workers, thread_name_prefix="rotation") as pool:
            futures = [
                pool.submit(rotator.rotate, managed, forced=forced, by_hand=by_hand, named=named)
                for managed in chosen
                if not rotator.stopping()
            ]
            for future in as_completed(futures):
                yield future.result()
