"""Where the answers come from: the board, what is in force, and the files of what is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from certrotd.audit.head import Anchor
from certrotd.certs.inventory import Inventory, Row
from certrotd.certs.managed import Managed
from certrotd.clock import Clock
from certrotd.errors import Failure
from certrotd.id import Id
from certrotd.lifecycle.decision import Wait
from certrotd.reporting.snapshot import Snapshot
from certrotd.reporting.status_board import StatusBoard
from certrotd.rotation.unexpected import as_failure
from certrotd.scheduling.workload import Workload


@dataclass(frozen=True)
class Sources:
    """``work`` gives the configuration in force, ``audit`` reads the audit log's head file."""

    board: StatusBoard
    clock: Clock
    work: Callable[[], Workload]
    audit: Callable[[], Anchor]

    @property
    def certificates(self) -> Mapping[Id, Managed]:
        """The certificates in force, by id."""
        return self.work().certificates

    def rows(self, subjects: Iterable[Id]) -> Iterator[Row]:
        """These certificates as they are on disk right now; what is not there is left out.

        With what this process knows of why nothing happens.
        """
        work, snapshot = self.work(), self.board.snapshot()
        chosen = [work.certificates[each] for each in subjects if each in work.certificates]
        inventory = Inventory(chosen, work.concurrency)
        for row in inventory.look(chosen, now=self.clock.now(), in_flight=work.in_flight):
            yield _with(row, snapshot)


@dataclass(frozen=True)
class Around:
    """What is shown beside the certificates.

    ``budgets`` are the orders each limited account has left, or why that is not known; ``audit``
    is the head of the audit log, or why it cannot be read.
    """

    snapshot: Snapshot
    budgets: Mapping[str, int | Failure]
    audit: Anchor | Failure
    unready: str
    dead: str


def _with(row: Row, snapshot: Snapshot) -> Row:
    subject = row.managed.policy.id
    known = snapshot.known.get(subject)
    if known is None or (isinstance(row.decision, Wait) and row.flight is None):
        return row
    flight = row.flight and (known.flight or row.flight)
    return replace(row, flight=flight, held=snapshot.held(subject) or row.held)


def look_around(sources: Sources) -> Around:
    """All of it, as it is now."""
    snapshot = sources.board.snapshot()
    return Around(
        snapshot=snapshot,
        budgets=_budgets(sources),
        audit=_audit(sources),
        unready=sources.board.unready(),
        dead=sources.board.dead(),
    )


def _budgets(sources: Sources) -> dict[str, int | Failure]:
    work, now = sources.work(), sources.clock.now()
    found: dict[str, int | Failure] = {}
    for issuer in sorted({managed.policy.issuer for managed in work.certificates.values()}):
        try:
            budget = work.budget(issuer)
            left = budget.left(now) if budget is not None else None
        except (Failure, OSError) as error:
            found[issuer] = as_failure(error, f"read the budget of {issuer}")
        else:
            if left is not None:
                found[issuer] = left
    return found


def _audit(sources: Sources) -> Anchor | Failure:
    try:
        return sources.audit()
    except (Failure, OSError) as error:
        return as_failure(error, "read the head of the audit log")
