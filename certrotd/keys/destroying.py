"""The step that forgets a key for ever, and has the audit log know what was shown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from certrotd.audit.record import Happened
from certrotd.keyring.evidence import Evidence, Freshness
from certrotd.keyring.proof import EVENT, Proof, proof_of
from certrotd.keyring.states import State
from certrotd.keys.archive import Holding
from certrotd.keys.policy import id_of
from certrotd.keys.steps import tell
from certrotd.keys.world import World
from certrotd.rotation.step import JSON, Done, Journaled, Ledger

PURGED = "keyring.backups_purged"
"""The event of the audit log."""
PROOF, REMOVED = "proof", "removed_backups"
"""The facts: what was shown of a key right before it was destroyed, and which backups had it."""


@dataclass(frozen=True)
class Destroy(Journaled):
    """Forget the material of a version, once everything that has to be shown is."""

    version: int
    why: str
    kind = "destroy"

    def do(self, world: World, ledger: Ledger) -> Done:
        now = world.clock.now()
        version = world.keyring().versions.version(self.version)
        if version.state is not State.DESTROYED:
            evidence, fresh = world.evidence(version)
            ledger.note(**{PROOF: _proof(world, self.version, evidence, fresh, now).to_json()})
            world.move(
                lambda all_: all_.destroy(self.version, evidence, fresh, at=now, why=self.why)
            )
            version = world.keyring().versions.version(self.version)
        tell(world, ledger)
        if isinstance(shown := ledger.facts.get(PROOF), dict):
            world.fence()
            world.record(Happened(EVENT, str(id_of(world.name)), ledger.rotation, shown))
        return Done({"destroyed": self.version, "evidence": version.transitions[-1].why})

    def undo(self, world: World, ledger: Ledger) -> None:
        pass  # nothing undoes it: it is refused, or done


@dataclass(frozen=True)
class PurgeBackups(Journaled):
    """A backup without the key of a destroyed version, and then none that has it within reach."""

    version: int
    kind = "purge-backups"

    def do(self, world: World, ledger: Ledger) -> Done:
        if world.archive is None or world.escrow is None:
            return Done()  # no longer configured: the proof names what there was
        keyring = world.keyring()
        world.fence()
        made = world.escrow(keyring)
        world.fence()
        found, before = world.archive.holding(self.version, keyring), ledger.facts.get(REMOVED)
        gone = {**(before if isinstance(before, dict) else {}), **found.backups}
        ledger.note(**{REMOVED: gone})  # a kill may come before the record
        world.archive.remove(self.version, keyring)
        told: dict[str, JSON] = {"version": self.version, "backup": made, "removed": gone}
        told["unreadable"] = list(found.unreadable)
        world.fence()
        world.record(Happened(PURGED, str(id_of(world.name)), ledger.rotation, told))
        return Done()

    def undo(self, world: World, ledger: Ledger) -> None:
        pass  # forward only; the engine never comes here


def _proof(world: World, number: int, evidence: Evidence, fresh: Freshness, now: datetime) -> Proof:
    keyring, archive = world.keyring(), world.archive
    found = archive.holding(number, keyring) if archive else Holding({}, ())
    copies = {what: now + age for what, age in archive.copies.items()} if archive else {}
    files = {str(path): each for o in world.outlets for path, each in o.digests().items()}
    asked = tuple(sorted(n for n, each in world.consumers.items() if each.acknowledgement))
    proof = proof_of(keyring, number, evidence, fresh, at=now, consumers=asked, files=files)
    backups, unreadable = tuple(found.backups), found.unreadable
    return replace(proof, backups=backups, unreadable=unreadable, copies=copies)
