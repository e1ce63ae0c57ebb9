"""Where the answers come from: the board, what is in force, and the files of what is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from certrotd.audit.head import Anchor
from certrotd.clock import Clock
from certrotd.errors import Failure
from certrotd.id import Id
from certrotd.lifecycle.decision import Wait
from certrotd.lifecycle.inventory import look_at_all
from certrotd.lifecycle.view import View
from certrotd.lifecycle.wing import Terms
from certrotd.reporting.snapshot import Snapshot
from certrotd.reporting.status_board import StatusBoard
from certrotd.rotation.unexpected import as_failure
from certrotd.scheduling.workload import Workload
from certrotd.state.shard import ALL, Shard


@dataclass(frozen=True)
class Sources:
    """``work`` gives the configuration in force, ``audit`` reads the audit log's head file.

    ``shard`` is what the daemon looks after.
    """

    board: StatusBoard
    clock: Clock
    work: Callable[[], Workload]
    audit: Callable[[], Anchor]
    shard: Shard = ALL

    def views(self, subjects: Iterable[Id]) -> Iterator[View]:
        """These subjects as they are on disk right now; what is not there is left out.

        With what this process knows of why nothing happens.
        """
        work, snapshot = self.work(), self.board.snapshot()
        chosen = [work.subjects[each] for each in subjects if each in work.subjects]
        for view in look_at_all(chosen, now=self.clock.now(), in_flight=work.in_flight):
            yield _with(view, snapshot)


@dataclass(frozen=True)
class Around:
    """What is shown beside the subjects.

    ``budgets`` are what each limited account has left, or why that is not known; ``audit``
    is the head of the audit log, or why it cannot be read. ``terms`` are what things are counted
    by.
    """

    snapshot: Snapshot
    terms: Terms
    shard: Shard
    budgets: Mapping[str, int | Failure]
    audit: Anchor | Failure
    unready: str
    dead: str


def _with(view: View, snapshot: Snapshot) -> View:
    known = snapshot.known.get(view.id)
    if known is None or (isinstance(view.decision, Wait) and view.flight is None):
        return view
    flight = view.flight and (known.flight or view.flight)
    return replace(view, flight=flight, held=snapshot.held(view.id) or view.held)


def look_around(sources: Sources) -> Around:
    """All of it, as it is now."""
    snapshot = sources.board.snapshot()
    return Around(
        snapshot=snapshot,
        terms=sources.work().terms,
        shard=sources.shard,
        budgets=_budgets(sources),
        audit=_audit(sources),
        unready=sources.board.unready(),
        dead=sources.board.dead(),
    )


def _budgets(sources: Sources) -> dict[str, int | Failure]:
    now, found = sources.clock.now(), dict[str, int | Failure]()
    for account, ration_of in sorted(sources.work().rations.items()):
        try:
            ration = ration_of()
            left = ration.left(now) if ration is not None else None
        except (Failure, OSError) as error:
            found[account] = as_failure(error, f"read the budget of {account}")
        else:
            if left is not None:
                found[account] = left
    return found


def _audit(sources: Sources) -> Anchor | Failure:
    try:
        return sources.audit()
    except (Failure, OSError) as error:
        return as_failure(error, "read the head of the audit log")
