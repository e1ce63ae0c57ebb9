"""Taking over a pair that somebody else put there, so that there is something to go back to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from certrotd.certs.compromised import compromised
from certrotd.certs.world import World
from certrotd.errors import Failure, NeedsOperator, failed
from certrotd.pki.generation import Meta
from certrotd.rotation.step import Done, Journaled, Ledger, Observed


@dataclass(frozen=True)
class AdoptPair(Journaled):
    """The pair at the ``adopt:`` paths becomes a generation; it is copied, never moved."""

    generation: int
    names: tuple[str, ...]
    draw: float
    kind = "adopt"

    def do(self, world: World, ledger: Ledger) -> Done:  # noqa: ARG002
        """Raises InvalidInput unless key and certificate belong together and are in date."""
        key, chain, issuer = _usable_pair(world)
        world.store.stage_key(world.name, self.generation, key)
        world.store.stage_chain(world.name, self.generation, chain)
        meta = Meta(world.clock.now(), "adopted", issuer, "", self.draw)
        world.store.seal(world.name, self.generation, meta)
        return Done()

    def problems(self, world: World) -> Iterator[Failure]:
        """As Foresight.problems."""
        yield from failed(partial(world.store.check, world.name, dry=world.dry))
        yield from failed(partial(_usable_pair, world))

    def undo(self, world: World, ledger: Ledger) -> None:  # noqa: ARG002
        world.store.discard(world.name, self.generation)

    def observe(self, world: World, ledger: Ledger) -> Observed:  # noqa: ARG002
        if world.store.sealed(world.name, self.generation):
            return Observed.DONE
        return Observed.NOT_DONE


def _usable_pair(world: World) -> tuple[bytes, bytes, str]:
    """Key, chain and issuer of the pair to adopt; raises Failure for one that cannot be."""
    from certrotd.pki.facts import facts_of, parse_certificates
    from certrotd.pki.verify import usable_pair

    pair = world.adoptable()
    if pair is None:
        raise NeedsOperator("the pair to adopt is no longer there")
    key, chain = pair
    certificates = parse_certificates(chain, what="the certificate to adopt")
    leaf = usable_pair(key, certificates, what="the key to adopt", now=world.clock.now())
    if (of := compromised(key, world)) is not None:
        raise NeedsOperator(
            f"the key to adopt is that of {of}, which was revoked as compromised",
            hint="certrotd orders a certificate with a key of its own",
        )
    return key, chain, facts_of(leaf).issuer
