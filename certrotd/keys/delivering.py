"""How outputs and consumers get a keyring: what every step that hands it on does."""

from __future__ import annotations

from pathlib import Path

from certrotd.errors import NeedsOperator
from certrotd.keyring.delivery import Delivery
from certrotd.keyring.keyring import Keyring
from certrotd.keys.policy import id_of
from certrotd.keys.world import Proving, World
from certrotd.rotation.step import Ledger


def deliver(world: World, keyring: Keyring, ledger: Ledger | None = None) -> dict[Path, str]:
    """Have every output say what ``keyring`` is; what is not the keyring's is never overwritten.

    Raises Failure. That the first is about to be written is in the ledger before.
    """
    delivery = Delivery.of(keyring)
    for outlet in world.outlets:
        if (words := outlet.strange(keyring)) is not None:
            raise NeedsOperator(
                f"{outlet.name} was changed by something else: {words}",
                hint=f"compare it, then: certrotd keys deliver {world.name} --overwrite",
            )
    if ledger is not None and world.outlets:
        ledger.note(files={outlet.name: "" for outlet in world.outlets})
    files: dict[Path, str] = {}
    for outlet in world.outlets:
        world.fence()
        files.update(outlet.deliver(delivery))
    return files


def keep_aside(world: World) -> list[str]:
    """Rename every output that something else has changed; where each file is then."""
    keyring, kept = world.keyring(), list[str]()
    mark = f"{world.clock.now():%Y%m%dT%H%M%SZ}"
    for outlet in world.outlets:
        if not outlet.absent() and outlet.strange(keyring) is not None:
            world.fence()
            kept += [str(path) for path in outlet.set_aside(mark)]
    return kept


def apply(world: World, name: str, *, back: bool = False) -> None:
    """Have one consumer read its keys again, alone if its target is another's, too.

    ``back``: they are what they were before.
    """
    consumer = world.consumers.get(name)
    if consumer is None or consumer.target is None:
        return
    with consumer.alone():
        world.fence()
        target = consumer.target
        if not isinstance(target, Proving):
            target.apply()
            return
        hashes = {str(id_of(world.name)): Delivery.of(world.keyring()).hash}
        act = target.revert_to if back else target.apply_of
        act(hashes)
