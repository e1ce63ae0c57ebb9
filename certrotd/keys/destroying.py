"""The step that forgets a key for ever, and has the audit log know what was shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from certrotd.audit.record import Happened
from certrotd.keyring.evidence import Evidence, Freshness
from certrotd.keyring.proof import EVENT, Proof, proof_of
from certrotd.keyring.states import State
from certrotd.keys.policy import id_of
from certrotd.keys.steps import tell
from certrotd.keys.world import World
from certrotd.rotation.step import Done, Journaled, Ledger

PROOF = "proof"
"""The fact: what was shown of a key right before it was destroyed."""


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


def _proof(world: World, number: int, evidence: Evidence, fresh: Freshness, now: datetime) -> Proof:
    files = {str(path): each for o in world.outlets for path, each in o.digests().items()}
    asked = tuple(sorted(n for n, each in world.consumers.items() if each.acknowledgement))
    return proof_of(world.keyring(), number, evidence, fresh, at=now, consumers=asked, files=files)
