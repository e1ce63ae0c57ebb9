"""The proof that the names are ours: TXT records published, seen, validated and withdrawn again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from certrotd.certs.issue import ENDING, Left, order_at_hand
from certrotd.certs.troubles import noting_trouble
from certrotd.certs.world import World
from certrotd.clock import Deadline
from certrotd.dns.persistent import confirm
from certrotd.dns.records import TxtRecord, Unpublished
from certrotd.errors import Failure, Transient, one_line
from certrotd.pki.order import Challenge
from certrotd.rotation.step import Done, Journaled, Ledger
from certrotd.rotation.stopping import begin
from certrotd.state.ports import Fenced, JournalBroken
from certrotd.wording import count


@dataclass(frozen=True)
class Authorize(Journaled):
    """The CA satisfied that the names are ours: TXT records out, seen, validated, withdrawn."""

    issuer: str
    names: tuple[str, ...]
    solver: str | None
    kind = "authorize"
    announced = False

    @noting_trouble()
    def do(self, world: World, ledger: Ledger) -> Done:
        left = _withdraw(_left(ledger), world)  # those of a try that a crash cut off
        order = order_at_hand(self.issuer, self.names, world, ledger)
        challenges = order.challenges()
        if not challenges:
            return Done({"left": left})
        confirmed = _confirm(challenges, world)
        records = [self._place(each, world) for each in challenges if each.persistent is None]
        ledger.note(**confirmed, left=[*left, *records])
        published: Left = []
        try:
            unheard = self._present(records, published, world)
            world.fence()
            order.validate()
        except Fenced:
            raise
        except Exception:
            still = _withdraw([*left, *published], world)
            with suppress(JournalBroken):  # what is in the way is found again, and told
                ledger.note(left=still)
            raise
        facts = {"left": _withdraw([*left, *published], world)}
        return Done({**facts, "unheard": unheard} if unheard else facts)

    def undo(self, world: World, ledger: Ledger) -> None:
        ledger.note(left=_withdraw(_left(ledger), world))

    def _place(self, challenge: Challenge, world: World) -> dict[str, Any]:
        name, deadline = challenge.name, Deadline(world.clock, world.dns_time)
        if world.follows(name, self.solver):
            name = world.dns().locate(name, deadline=deadline)
        record = TxtRecord(name, challenge.value, challenge.key_authorization)
        return {"solver": world.solver_for(name, self.solver), "record": record.to_json()}

    def _present(self, placed: Left, published: Left, world: World) -> str:
        """Have them all out and seen; who was not heard, in words.

        ``published`` is what may be out by then: all but what was refused for certain.
        """
        records: dict[str, list[TxtRecord]] = {}
        for each in placed:
            solver = world.solver(each["solver"])
            if solver is None:
                raise Failure(f"there is no solver {each['solver']!r} in the configuration")
            record, deadline = TxtRecord.from_json(each["record"]), world.dns_time
            begin(world.clock)
            published.append(each)
            world.fence()
            try:
                solver.present(record, deadline=Deadline(world.clock, deadline))
            except Unpublished:
                published.pop()
                raise
            records.setdefault(each["solver"], []).append(record)
        return self._seen(records, world)

    def _seen(self, records: Mapping[str, Sequence[TxtRecord]], world: World) -> str:
        unheard = []
        for solver, published in records.items():
            deadline = Deadline(world.clock, world.wait_time)
            if words := world.dns().wait(published, solver=solver, deadline=deadline):
                world.remark(f"{world.name}: {words}")
                unheard.append(words)
        return "; ".join(unheard)


@dataclass(frozen=True)
class SweepRecords(Journaled):
    """TXT records that earlier rotations could not withdraw; they are facts from the beginning.

    ``must``: the rotation is for nothing else, and fails unless all of them go.
    """

    must: bool
    kind = "sweep"

    def do(self, world: World, ledger: Ledger) -> Done:
        left = [each for each in _withdraw(_left(ledger), world) if not _absent(each, world)]
        if left and self.must:
            ledger.note(left=left)
            record = left[0]["record"]
            records = count(len(left), "TXT record")
            raise Transient(
                f"not withdrawn: {records}: {record['name']}: {left[0]['why']}",
                hint=f"or delete {record['value']} at {record['name']} by hand: the next run "
                "forgets records that no authoritative server shows",
            )
        return Done({"left": left})

    def undo(self, world: World, ledger: Ledger) -> None:
        pass  # nobody wants them back


def _confirm(challenges: Iterable[Challenge], world: World) -> Mapping[str, Any]:
    """Those records that stay are there before the CA looks: a failed look counts with the CA.

    Which of them is the first to end, as a fact, where any does.
    """
    now, ends = world.clock.now(), []
    for each in challenges:
        if each.persistent is None:
            continue
        # a name server that is dead costs each name its time
        deadline = Deadline(world.clock, world.dns_time)
        end = confirm(each, world.dns().texts(each.name, deadline=deadline), now=now)
        if end is not None:
            ends.append((end, each.name))
    if not ends:
        return {}
    end, name = min(ends)
    return {ENDING: [name, end.isoformat()]}


def _left(ledger: Ledger) -> Left:
    left = ledger.facts.get("left")
    return list(left) if isinstance(left, list) else []


def _absent(left: Mapping[str, Any], world: World) -> bool:
    """Whether the DNS itself says that there is nothing to withdraw; not if it cannot be asked."""
    record, deadline = TxtRecord.from_json(left["record"]), Deadline(world.clock, world.dns_time)
    try:
        return world.dns().absent(record, solver=left["solver"], deadline=deadline)
    except (Failure, OSError):
        return False  # it stays, and is asked for again


def _withdraw(left: Iterable[Mapping[str, Any]], world: World) -> Left:
    """Withdraw records and give back those that are still there.

    A record left behind must not spoil a certificate that was validated; it stays in the journal
    and in the history, and is swept by a later rotation. A solver that the configuration no longer
    has cannot withdraw anything, so its records are given up.
    """
    still: Left = []
    for each in left:
        solver = world.solver(each["solver"])
        if solver is None:
            continue
        world.fence()
        try:
            deadline = Deadline(world.clock, world.dns_time)
            solver.withdraw(TxtRecord.from_json(each["record"]), deadline=deadline)
        except (Failure, OSError) as failure:
            still.append({**each, "why": one_line(str(failure))})
    return still
