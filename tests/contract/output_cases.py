"""Every type of output, with an application's file around its keys and keys that it can hold."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import strategies as st

from certrotd.keyring.delivery import Delivered, Delivery
from certrotd.keyring.ids import draw
from certrotd.keyring.material import Algorithm, DataKey, Material
from certrotd.keyring.states import State
from certrotd.outputs.json_keystore import JsonKeystore
from certrotd.outputs.port import Contents, Output, Present
from certrotd.outputs.tink import TinkKeyset

FILE = Path("/etc/app/keys")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def bits(seed: int = 1) -> Callable[[int], bytes]:
    """Random bytes that are the same in every run."""
    return random.Random(seed).randbytes


@dataclass(frozen=True)
class Case:
    """``around``: what an application has in its files beside the keys, with a key or without.

    ``masked`` gives what is not the keyring's own in a file of the first path. ``most`` keys at
    most are delivered in tests; ``material`` makes a key that the form can hold.
    """

    name: str
    make: Callable[[], Output]
    around: Sequence[bytes] = ()
    masked: Callable[[bytes], object] = lambda _: b""
    most: int = 5
    material: Callable[[random.Random, int], bytes] = lambda rng, size: rng.randbytes(size)
    algorithms: Sequence[Algorithm] = field(default=())

    @property
    def path(self) -> Path:
        """The first path."""
        return self.make().paths({})[0]

    def __str__(self) -> str:
        return self.name


def delivery_of(
    output: Output,
    count: int,
    *,
    active: int | None = None,
    secondary: bool = False,
    seed: int = 1,
    material: Callable[[random.Random, int], bytes] = lambda rng, size: rng.randbytes(size),
    algorithms: Sequence[Algorithm] = (),
) -> Delivery:
    """``count`` keys of the output; the last one or, if that is ``secondary``, the one before it
    encrypts, unless ``active`` (from 1) does."""
    rng, traits = random.Random(seed), output.traits
    usable = sorted(algorithms or traits.algorithms)
    keys: list[Delivered] = []
    for version in range(1, count + 1):
        algorithm = usable[rng.randrange(len(usable))]
        made, key_id = Material(material(rng, algorithm.key_bytes)), ""
        if traits.ids is not None:
            live = [each.key.id for each in keys]
            size = algorithm.key_bytes
            made, key_id = draw(
                traits.ids, lambda size=size: Material(material(rng, size)), live, ()
            )
        key = DataKey(version, algorithm, made, key_id, rng.randbytes(traits.iv_bytes))
        created = BEGIN + timedelta(days=version, milliseconds=version)
        keys.append(Delivered(key, State.DECRYPT_ONLY, created))
    encrypting = active or (count - 1 if secondary else count)
    states = {encrypting: State.ACTIVE} | ({count: State.SECONDARY} if secondary else {})
    keys = [
        Delivered(each.key, states.get(each.key.version, each.state), each.created) for each in keys
    ]
    return Delivery("app", keys, encrypting)


def deliveries(case: Case) -> st.SearchStrategy[Delivery]:
    """Whatever a keyring may deliver to this output."""
    output = case.make()
    most = min(case.most, output.traits.capacity or case.most)

    @st.composite
    def some(pick: st.DrawFn) -> Delivery:
        count = pick(st.integers(1, most))
        active = pick(st.integers(1, count))
        secondary = output.traits.secondary and active < count and pick(st.booleans())
        return delivery_of(
            output,
            count,
            active=active,
            secondary=secondary,
            seed=pick(st.integers(0, 2**32)),
            material=case.material,
            algorithms=case.algorithms,
        )

    return some()


def applied(present: Present, contents: Contents) -> Mapping[Path, bytes | None]:
    """What stands after ``contents`` were written."""
    return {**present, **contents}


CASES = [
    Case("tink", lambda: TinkKeyset(FILE, random.Random(7).randrange)),
    Case("json-keystore", lambda: JsonKeystore(FILE)),
]
