"""The invariants of a rotation, checked after every effect and at the end of every history.

I1  a fresh reader of ``live`` finds a whole matching pair; copies are all old or all new whenever
    a target is told to read them; an expired certificate never replaces a valid one, neither in
    ``live`` nor at a target
I2  a certificate that reached the store is never lost
I3  there is no order while an issued certificate waits to be deployed, or waits at the CA to be
    fetched (for a day, or a week while a valid one is live), and no more orders than one and one
    per fault
I4  without further faults, few runs lead to a closed journal and nothing left to do
I5  where a rotation was undone, targets and copies are as they were, or the report says why not;
    what is not finished is reported as failed
I6  no TXT record, staging, backup or trash is left at the end; no key is ever in the journal
I7  what is reported as done is served everywhere
I8  after ``committed`` nothing is undone
I9  nothing begins that the audit log does not know of, and in the end it knows what came of it
I10 what the CA has revoked is not live, and does not become live again
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from certrotd.certs.decision import Deploy, Renew
from certrotd.certs.policy import COPIES
from certrotd.errors import InvalidInput
from certrotd.lifecycle.report import Report
from certrotd.pki.facts import facts_of, parse_certificates
from certrotd.rotation.engine import Finished, Parked, RolledBack, Stuck
from certrotd.state.records import decode
from tests.fakes.store import Shelf, matching
from tests.fakes.world import MemoryWorld


class Violation(BaseException):
    """An invariant does not hold; nothing that catches failures may catch this."""

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant


@dataclass
class Monitor:
    """Watches one world; ``secrets`` are texts that must never be in a journal."""

    world: MemoryWorld
    secrets: tuple[bytes, ...]
    reached: frozenset[bytes] = frozenset()
    committed: bool = False
    effects: int = 0

    def __post_init__(self) -> None:
        # what somebody did to the copies is not what a rotation did
        self.lost = self.world.installer.files if self._displaced() else None

    @property
    def shelf(self) -> Shelf:
        """What is in the store of the certificate."""
        return self.world.store.shelf(self.world.policy.name)

    def started(self) -> None:
        """A new process begins; what it may still undo is told by the journal."""
        records = self._records()
        self.committed = any(_commits(record, records[0]) for record in records)

    def before(self, what: str) -> None:
        """An effect is about to happen."""
        if what == "issuer: order":
            self._no_order_needed()
        if what.startswith("target ") and what.endswith(": apply"):
            self._worth_reading(what.removeprefix("target ").removesuffix(": apply"))
        if what == "store: switch":
            self._live_before = self._leaf()
        if what == "journal: remove":
            self._no_secret()
        if what == "journal: begin" and self._unsettled() is None:
            raise Violation("I9", "a rotation begins that the audit log does not know of")
        undoes = what in ("store: switch", "journal: failed", "journal: undone")
        if self.committed and (undoes or what.startswith("installer: restore")):
            raise Violation("I8", f"{what} after the rotation was committed")

    def after(self, what: str) -> None:
        """An effect has happened."""
        self.effects += 1
        if what == "store: switch":
            self._whole_and_valid()
            self._replaced()
        elif what == "issuer: revoke":
            self._replaced()
        elif what.startswith("store: "):
            self._leaf()
            self._nothing_lost(what)
        elif what == "journal: reached":
            records = self._records()
            self.committed = _commits(records[-1], records[0])
        elif what == "journal: remove":
            self.committed = False

    def reported(self, report: Report, *, stopped: bool) -> None:
        """A process has ended by itself."""
        self._no_secret()
        outcomes = [each for each in (report.recovered, report.outcome) if each is not None]
        for outcome in outcomes:
            unfinished = isinstance(outcome, Stuck | Parked) and not stopped
            if (unfinished or isinstance(outcome, RolledBack)) and not report.failed:
                raise Violation("I5", f"{outcome} is not reported as failed")
            if isinstance(outcome, RolledBack):
                kept = str(outcome.facts.get("kept", ""))
                if kept not in outcome.left:
                    raise Violation("I5", f"{outcome} does not say why the new one stays")
        if self._records():
            if not report.failed and not stopped:
                raise Violation("I5", f"{report} leaves a rotation in flight and does not say so")
            return
        self._as_recorded()
        deployed = isinstance(report.decision, Renew | Deploy) or report.recovered is not None
        if outcomes and isinstance(outcomes[-1], Finished) and deployed and not report.failed:
            self._served_everywhere("I7")

    def settled(self, orders: int) -> None:
        """Nothing is due any more; ``orders`` is how many there may have been."""
        shelf = self.shelf
        self._served_everywhere("I7")
        left = {
            "TXT records": self.world.solver.records,
            "staging": shelf.staging,
            "trash": shelf.trash,
            "backups": self.world.installer.backups,
            "damage": shelf.live in shelf.worn,
            "a journal": self.world.disk.journal,
        }
        for what, there in left.items():
            if there:
                raise Violation("I6", f"{what} left behind")
        if (rotation := self._unsettled()) is not None:
            raise Violation("I9", f"the audit log does not know what came of {rotation}")
        if len(self.world.issuer.orders) > orders:
            raise Violation("I3", f"{len(self.world.issuer.orders)} orders, at most {orders}")

    def _records(self) -> list[dict[str, Any]]:
        return decode(self.world.disk.journal, what="the journal")[0]

    def _unsettled(self) -> str | None:
        return self.world.audit.unsettled(str(self.world.policy.id))

    def _leaf(self) -> tuple[str, bool] | None:
        """The fingerprint of the live leaf and whether it is valid now."""
        shelf = self.shelf
        if shelf.live is None:
            return None
        pair = self.world.store.pair(self.world.policy.name, shelf.live)
        if pair is None or pair.key is None or pair.chain is None:
            raise Violation("I1", f"live is generation {shelf.live}, which is not there")
        try:
            facts = matching(pair.key, pair.chain)
        except InvalidInput as failure:
            raise Violation("I1", f"generation {shelf.live}: {failure}") from None
        return facts.fingerprint, facts.not_after > self.world.clock.now()

    def _replaced(self) -> None:
        leaf = self._leaf()
        if leaf is not None and leaf[0] in self.world.issuer.revoked:
            raise Violation("I10", f"generation {self.shelf.live} is revoked and live")

    def _whole_and_valid(self) -> None:
        was, now = self._live_before, self._leaf()
        if now is not None and not now[1] and was is not None and was[1]:
            raise Violation("I1", "an expired certificate replaced a valid one")

    def _worth_reading(self, name: str) -> None:
        """What a target is about to read is a pair, and not worse than what it serves."""
        target, now = self.world.targets[name], self.world.clock.now()
        pair = target.read()
        if pair is None:
            return
        try:
            reads = matching(*pair)
        except InvalidInput as failure:
            raise Violation("I1", f"{name} is told to read half a change: {failure}") from None
        ends = self._ends().get(target.serves)
        if reads.not_after <= now and ends is not None and ends > now:
            raise Violation("I1", f"{name} is told to replace a valid certificate by an expired")

    def _ends(self) -> dict[str | None, datetime]:
        """When each generation's certificate ends, by its fingerprint."""
        found: dict[str | None, datetime] = {}
        for _, pair, _ in self.shelf.generations:
            if pair.key is not None and pair.chain is not None:
                facts = matching(pair.key, pair.chain)
                found[facts.fingerprint] = facts.not_after
        return found

    def _nothing_lost(self, what: str) -> None:
        shelf = self.shelf
        sealed = {pair.chain: number for number, pair, _ in shelf.generations}
        staged = {pair.chain for _, pair in shelf.staging if pair.chain is not None}
        if what == "store: stage chain":
            self.reached |= staged & {order.chain for order in self.world.issuer.orders}
        if what == "store: move to the trash":
            self.reached &= sealed.keys() | staged  # superseded, and no longer kept
        if lost := self.reached - sealed.keys() - staged:
            raise Violation("I2", f"{what} lost {len(lost)} issued certificates")

    def _no_secret(self) -> None:
        data = self.world.disk.journal + self.world.disk.history
        if any(secret in data for secret in self.secrets):
            raise Violation("I6", "there is a private key in the journal")

    def _no_order_needed(self) -> None:
        shelf, now = self.shelf, self.world.clock.now()
        pairs = [
            pair
            for number, pair, _ in shelf.generations
            if number > (shelf.live or 0) and number not in shelf.recorded.withdrawn
        ]
        for pair in [*pairs, *(pair for _, pair in shelf.staging)]:
            if pair.key is None or pair.chain not in self.reached or pair.chain is None:
                continue
            if matching(pair.key, pair.chain).not_after > now:
                raise Violation("I3", "another order, though an issued certificate is there")
        self._nothing_to_fetch(now)

    def _nothing_to_fetch(self, now: datetime) -> None:
        shelf, leaf = self.shelf, self._leaf()
        kept = timedelta(days=7 if leaf is not None and leaf[1] else 1)
        stored = {pair.chain for _, pair, _ in shelf.generations} | self.reached
        for order in self.world.issuer.orders:
            if order.status != "valid" or order.chain in stored:
                continue
            if now < facts_of(parse_certificates(order.chain)[0]).not_before + kept:
                raise Violation("I3", "another order, though the CA has issued on the first")

    def _as_recorded(self) -> None:
        """What the store's state says of places is so, whenever no rotation is in flight."""
        shelf, leaf = self.shelf, self._leaf()
        if leaf is None or not leaf[1]:
            return  # nobody is told to read it; the next run deploys a better one
        proven = [
            name
            for name, at in shelf.recorded.targets.items()
            if at.generation == shelf.live
            and (name != COPIES or self.world.installer.files != self.lost)
        ]
        self._serve(proven, "I5")

    def _displaced(self) -> bool:
        recorded = self.shelf.recorded
        return COPIES in recorded.targets and recorded.copies != self.world.installer.there()

    def _served_everywhere(self, invariant: str) -> None:
        self._serve(self.world.policy.places, invariant)

    def _serve(self, places: Iterable[str], invariant: str) -> None:
        leaf = self._leaf()
        for place in places:
            serves = self._installed() if place == COPIES else self.world.targets[place].serves
            if leaf is None or serves != leaf[0]:
                raise Violation(invariant, f"{place} does not serve the live generation")

    def _installed(self) -> str | None:
        """What the copies are, None if there are none or they are no pair."""
        files = dict(self.world.installer.files)
        try:
            return matching(files["key"], files["chain"]).fingerprint
        except (KeyError, InvalidInput):
            return None


def _commits(record: dict[str, Any], begin: dict[str, Any]) -> bool:
    if record["t"] != "reached":
        return False
    return bool(begin["plan"][record["i"]].get("savepoint") == "committed")
