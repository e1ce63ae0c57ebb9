"""A placeholder put in place at once, so that a service whose files are to come can start."""

from __future__ import annotations

from dataclasses import dataclass

from certrotd.certs.world import World
from certrotd.pki.generation import PLACEHOLDER, Meta
from certrotd.pki.keys import KeyType, to_pem
from certrotd.rotation.step import Done, Journaled, Ledger, Observed


@dataclass(frozen=True)
class MakePlaceholder(Journaled):
    """A self-signed pair becomes a generation; it stands in for the first certificate."""

    generation: int
    names: tuple[str, ...]
    key_type: str
    kind = "placeholder"

    def do(self, world: World, ledger: Ledger) -> Done:
        from certrotd.pki.placeholder import self_signed

        if self.observe(world, ledger) is Observed.DONE:
            return Done()
        now = world.clock.now()
        key = world.new_key(KeyType(self.key_type))
        world.store.stage_key(world.name, self.generation, to_pem(key))
        chain = self_signed(key, self.names, now=now)
        world.store.stage_chain(world.name, self.generation, chain)
        meta = Meta(now, PLACEHOLDER, "", "", 0.0, asked=self.names)
        world.store.seal(world.name, self.generation, meta)
        return Done()

    def undo(self, world: World, ledger: Ledger) -> None:  # noqa: ARG002
        world.store.discard(world.name, self.generation)

    def observe(self, world: World, ledger: Ledger) -> Observed:  # noqa: ARG002
        if world.store.sealed(world.name, self.generation):
            return Observed.DONE
        return Observed.NOT_DONE


@dataclass(frozen=True)
class InstallPlaceholder(Journaled):
    """Its copies, where nothing is yet: what somebody else put there is better than that."""

    generation: int
    backup: str
    kind = "install placeholder"

    def do(self, world: World, ledger: Ledger) -> Done:
        if not ledger.facts.get("vacant"):
            if not world.installer.vacant():
                return Done()
            ledger.note(vacant=True)  # of a crash between two copies the next try must know
        key, chain = world.store.read(world.name, self.generation)
        with world.still():
            world.installer.install(key, chain, self.backup)
        return Done()

    def undo(self, world: World, ledger: Ledger) -> None:  # noqa: ARG002
        with world.still():
            world.installer.restore(self.backup)
        world.installer.forget(self.backup)
