"""Which requests of keys that are elsewhere nothing is ordered for, or not any more."""

from __future__ import annotations

from certrotd.certs.world import World
from certrotd.errors import Failure, NeedsOperator
from certrotd.pki.keys import key_digest
from certrotd.pki.request import digest, holder_of, is_request


def refuse_to_replace(generation: int, world: World) -> None:
    """A generation whose key is compromised is not replaced by another for that same key.

    Raises NeedsOperator. A request that cannot be read is for the look before an order.
    """
    request, _ = world.store.read(world.name, generation)
    try:
        same = _key_in(world.request()) == _key_in(request)
    except (Failure, OSError):
        return
    if same:
        hint = "put the request of a new key in its place, or revoke it with --now"
        raise _of_compromised(world, hint)


def _of_compromised(world: World, hint: str) -> NeedsOperator:
    return NeedsOperator(
        f"the csr of {world.name} is still that of the key that is compromised", hint=hint
    )


def _key_in(request: bytes) -> str:
    return key_digest(holder_of(request).public_key())


def refuse_superseded(pem: bytes, world: World, so: str) -> None:
    """What is for an earlier request ends: whoever has put another there has another key now.

    Raises Failure, with ``so``, what that means. A request that cannot be read, or does not fit,
    says nothing of that.
    """
    if not is_request(pem):
        return
    try:
        now = world.request()
    except (Failure, OSError):
        return
    if digest(now) != digest(pem):
        raise Failure(
            f"the csr of {world.name} is another one than was ordered for, so {so}",
            hint="the next run orders for the one that is there now",
        )
