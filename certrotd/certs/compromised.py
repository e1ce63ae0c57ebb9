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
    of = compromised(pem, world)
    if of is None:
        return
    if is_request(pem):
        raise NeedsOperator(
            f"the csr of {world.name} is still that of the key that is compromised: that of {of}",
            hint="put the request of a new key in its place",
        )
    raise Failure(
        f"its key is that of {of}, which was revoked as compromised",
        hint="the next run orders for a new key",
    )


def compromised(pem: bytes, world: World) -> str | None:
    """Whose key was said to be compromised that is this one, be it in a request; in words."""
    key = key_digest(holder_of(pem).public_key())
    known = world.store.look(world.name).state.revoked.items()
    same = (f"generation {number}" for number, each in known if each.compromises(key))
    return next(same, None) or world.known_compromised(key)
