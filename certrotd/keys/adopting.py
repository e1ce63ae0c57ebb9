"""Taking over the keys that an application has: nothing that it reads changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from certrotd.errors import NeedsOperator
from certrotd.keyring.delivery import Delivery
from certrotd.keyring.keyring import Keyring, empty
from certrotd.keyring.material import DataKey, Material
from certrotd.keys.steps import tell
from certrotd.keys.world import World
from certrotd.outputs.port import Imported
from certrotd.rotation.step import Done, Journaled, Ledger, Observed


@dataclass(frozen=True)
class AdoptKeys(Journaled):
    """The keys at one output become the first versions of the keyring.

    Their age is not known: the cryptoperiod counts from now.
    """

    outlet: str
    why: str
    kind = "adopt"

    def do(self, world: World, ledger: Ledger) -> Done:
        found = world.store.read()
        if found is None:
            found = world.create(lambda: self._adopted(world))
        tell(world, ledger)
        active = found.keyring.versions.active
        assert active is not None, "one of those that were taken over encrypts"
        entry = found.keyring.entries[active.number]
        return Done({"adopted": active.number, "fingerprint": entry.fingerprint, "id": entry.id})

    def undo(self, world: World, ledger: Ledger) -> None:
        pass  # it is done or refused, and nothing that applications read has changed

    def observe(self, world: World, ledger: Ledger) -> Observed:  # noqa: ARG002
        return Observed.NOT_DONE if world.store.read() is None else Observed.DONE

    def _adopted(self, world: World) -> Keyring:
        outlet = next((each for each in world.outlets if each.name == self.outlet), None)
        if outlet is None:
            raise NeedsOperator(f"the configuration no longer has the output {self.outlet}")
        imported = outlet.imported()
        if imported is None:
            raise NeedsOperator(f"there is no key in {self.outlet}")
        now = world.clock.now()
        keyring = adopted(world.name, imported, world.inlets.seal(), at=now, why=self.why)
        delivery = Delivery.of(keyring)
        for each in world.outlets:
            if not each.absent() and (words := each.differs(delivery)) is not None:
                raise NeedsOperator(
                    f"{each.name} would change: {words}",
                    hint="nothing was taken over: every output must have the same keys",
                )
        return keyring


def adopted(name: str, found: Imported, seal: Material, *, at: datetime, why: str) -> Keyring:
    """A keyring of the keys that were found, the oldest first; one of them encrypts."""
    keyring = empty(name, seal)
    known: dict[Material, int] = {}
    for place, each in enumerate(found.keys):
        if (same := each.material) in known:
            raise NeedsOperator(
                f"keys {known[same] + 1} and {place + 1} are the same",
                hint="remove one of them from the application first",
            )
        known[same] = place
        versions = keyring.versions.adopt(active=place == found.encrypting, at=at, why=why)
        number = versions.all[-1].number
        key = DataKey(number, each.algorithm, each.material, each.id, each.iv)
        keyring = keyring.added(key, versions)
    return keyring
