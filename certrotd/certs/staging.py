"""What is staged of a generation, read while a certificate may have been issued for it already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from certrotd.certs.world import World
from certrotd.errors import Failure, InvalidInput, Transient
from certrotd.pki.request import holder_of
from certrotd.rotation.step import Later


@contextmanager
def keeping(state: str, doing: str) -> Iterator[None]:
    """A store that fails after the CA has issued must not cost the certificate; raises Later."""
    try:
        yield
    except (Transient, OSError) as trouble:
        raise Later(
            f"{state}, but {trouble}", hint=f"the next run will {doing} without a new order"
        ) from trouble


def staged_key(world: World, generation: int, state: str, doing: str) -> bytes:
    """The staged key, or the request that stands for one, as PEM that can be read.

    Raises Later as keeping(), and Failure where it is missing or damaged: nothing that was ordered
    for it is of any use then.
    """
    with keeping(state, doing):
        pem = world.store.staged_key(world.name, generation)
    if pem is None:
        raise Failure(f"the staged key of generation {generation} is missing")
    try:
        holder_of(pem)
    except InvalidInput as damage:
        raise Failure(
            f"the staged key of generation {generation} is damaged: {damage.message}",
            hint="the next run makes another one, and orders for that",
        ) from None
    return pem
