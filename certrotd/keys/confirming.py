"""Whether consumers have the keys that they are to have: each is asked, and nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from certrotd.consumers.port import Expected
from certrotd.errors import Transient, listed
from certrotd.keyring.delivery import Delivery
from certrotd.keys.world import World


def lacking_of(world: World, consumers: Iterable[str], expected: Expected) -> Sequence[str]:
    """Which of ``consumers`` do not confirm what is expected, and what each has, in words."""
    lacking = []
    for name in consumers:
        consumer = world.consumers.get(name)
        if consumer is None or consumer.acknowledgement is None:
            continue  # it left the configuration, or its target's word is enough
        answer = consumer.acknowledgement.ask(expected)
        if not answer.acknowledged:
            lacking.append(f"{name}, which {answer.words}")
    return lacking


def check_confirmed(world: World) -> None:
    """Whether each output, and each consumer of the present configuration, has the present keys.

    Raises Transient where one has not, and as the outputs.
    """
    delivery = Delivery.of(world.keyring())
    files: dict[Path, str] = {}
    for outlet in world.outlets:
        if (words := outlet.differs(delivery)) is not None:
            raise Transient(f"{outlet.name} is not as it was delivered: {words}")
        files.update(outlet.digests())
    if lacking := lacking_of(world, world.consumers, Expected(world.name, delivery.hash, files)):
        raise Transient(f"not confirmed by {listed(lacking, most=3)}")


def unconfirmed(world: World) -> tuple[str, ...]:
    """The consumers that do not confirm the present keys, and what each has, in words.

    Raises Failure where an output cannot be read.
    """
    delivery = Delivery.of(world.keyring())
    files = {path: digest for each in world.outlets for path, digest in each.digests().items()}
    return tuple(lacking_of(world, world.consumers, Expected(world.name, delivery.hash, files)))


def confirms(world: World, name: str, expected: Expected) -> bool:
    """Whether a consumer that could not be told has what it should have all the same."""
    consumer = world.consumers[name]
    acknowledgement = consumer.acknowledgement
    return acknowledgement is not None and acknowledgement.ask(expected).acknowledged
