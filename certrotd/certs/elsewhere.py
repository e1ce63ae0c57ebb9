"""Which requests of keys that are elsewhere nothing is ordered for, or not any more."""

from __future__ import annotations

from certrotd.certs.world import World
from certrotd.errors import Failure, NeedsOperator
from certrotd.pki.request import digest, is_request
from certrotd.pki.revocation import COMPROMISED


def refuse_compromised(request: str, world: World) -> None:
    """Nothing is ordered for a key that is known to others, of which only its owner makes another.

    Raises NeedsOperator.
    """
    for number, each in world.store.look(world.name).state.revoked.items():
        meta = world.store.generation(world.name, number).meta
        if each.reason == COMPROMISED and meta is not None and meta.request == request:
            raise NeedsOperator(
                f"the csr of {world.name} is still that of the key that is compromised",
                hint="put the request of a new key in its place",
            )


def refuse_superseded(pem: bytes, world: World) -> None:
    """An order for an earlier request ends: whoever has put another there has another key now.

    Raises Failure. A request that cannot be read, or does not fit, says nothing of that.
    """
    if not is_request(pem):
        return
    try:
        now = world.request()
    except (Failure, OSError):
        return
    if digest(now) != digest(pem):
        raise Failure(
            f"the csr of {world.name} is another one than was ordered for, so certrotd gives the "
            "order up",
            hint="the next run orders for the one that is there now",
        )
