"""The last step of a rotation: what nothing goes back to any more is removed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from certrotd.certs.world import World
from certrotd.errors import Failure
from certrotd.pki.certificate import CertificateFacts, moment
from certrotd.rotation.step import Done, Journaled, Ledger
from certrotd.rotation.unexpected import as_failure

LONGEST_TIDYING = timedelta(days=1)
TIDYING_SHARE = 1 / 20


@dataclass(frozen=True)
class Prune(Journaled):
    """Old generations and backups that nothing goes back to any more.

    Until it is written down that everything is committed, a crash leaves the way back open: that
    needs the ``spare`` generations, which stay, and the ``backup``, which goes; empty for none.
    """

    keep: int
    spare: tuple[int, ...]
    backup: str
    kind = "prune"

    @property
    def announced(self) -> bool:  # type: ignore[override]
        """As Step.announced."""
        return bool(self.backup)

    def do(self, world: World, ledger: Ledger) -> Done:
        """What cannot be removed is tried again for a while, but keeps no renewal away."""
        try:
            try:
                open_ = world.store.look(world.name).state.to_revoke(world.clock.now())
                world.store.prune(world.name, self.keep, (*self.spare, *open_))
            finally:
                if self.backup:
                    world.installer.forget(self.backup)
        except (Failure, OSError) as error:
            now = world.clock.now()
            live = world.store.look(world.name).live
            if now < _untidy_since(now, ledger) + tidying(live.facts if live else None):
                raise
            trouble = as_failure(error, "remove old generations")
            world.remark(f"{world.name}: {trouble}; the next rotation tries again")
            return Done({"unpruned": str(trouble)})
        return Done()

    def undo(self, world: World, ledger: Ledger) -> None:
        pass  # forward only; the engine never comes here


def tidying(live: CertificateFacts | None) -> timedelta:
    """For how long to try again to remove what is old: a day, less of a short-lived certificate.

    Until then the rotation is in flight, and the next renewal could not begin.
    """
    if live is None:
        return timedelta(0)
    return min(LONGEST_TIDYING, (live.not_after - live.not_before) * TIDYING_SHARE)


def _untidy_since(now: datetime, ledger: Ledger) -> datetime:
    known = ledger.facts.get("untidy")
    if isinstance(known, str) and (since := moment(known)) <= now:
        return since
    ledger.note(untidy=now.isoformat())  # the first time, or the clock was ahead
    return now
