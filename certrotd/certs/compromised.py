"""Keys that others know: nothing is ordered for them, nor are they put in place."""

from __future__ import annotations

from certrotd.certs.world import World
from certrotd.errors import Failure, NeedsOperator
from certrotd.pki.keys import key_digest
from certrotd.pki.request import holder_of, is_request


def refuse_compromised(pem: bytes, world: World) -> None:
    """Nothing is ordered for a key that is known to others, nor is it put in place.

    Raises NeedsOperator for one that is elsewhere: only its owner makes another.
    """
    number = compromised(pem, world)
    if number is None:
        return
    if is_request(pem):
        raise NeedsOperator(
            f"the csr of {world.name} is still that of the key that is compromised",
            hint="put the request of a new key in its place",
        )
    raise Failure(
        f"its key is that of generation {number}, which was revoked as compromised",
        hint="the next run orders for a new key",
    )


def compromised(pem: bytes, world: World) -> int | None:
    """The generation that was revoked because others know this key, be it in a request."""
    key = key_digest(holder_of(pem).public_key())
    known = world.store.look(world.name).state.revoked.items()
    same = (number for number, each in known if each.compromises(key))
    return next(same, None)
