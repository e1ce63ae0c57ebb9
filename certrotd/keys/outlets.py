"""The outputs of a configured keyring, each with the place that it is written to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from certrotd.clock import Clock
from certrotd.config.keyrings import KeyringEntry, SealedEntry
from certrotd.config.output import BaseOutputEntry
from certrotd.kek.port import Kek
from certrotd.keyring.material import Algorithm, Material
from certrotd.keys.outlet import FileOutlet
from certrotd.keys.sealed_outlet import SealedFile, SealedOutlet
from certrotd.outputs.build import Chance, files_of, output_of
from certrotd.outputs.port import OutputPlace, Placed
from certrotd.state.ports import Document

if TYPE_CHECKING:
    from certrotd.config.connect import Connect

AnyOutlet = FileOutlet | SealedOutlet


def outlets_of(
    name: str,
    entry: KeyringEntry,
    *,
    chance: Chance,
    keks: Callable[[SealedEntry], Mapping[str, Kek]],
    written: Callable[[int], Document],
    connect: Connect,
    clock: Clock,
) -> Iterator[AnyOutlet]:
    """Each of them; nothing is read or connected to. Raises as outputs.build.output_of.

    ``written`` is where the output of a number remembers what it wrote.
    """

    def seal() -> Material:
        return Material(chance.random(32))

    for number, each in enumerate(entry.outputs):
        called = f"{each.type} {each.place}"
        if isinstance(each, SealedEntry):
            place = _place(name, each, SealedFile(each.place), connect)
            yield SealedOutlet(called, name, each.place, place, keks(each), clock, seal)
            continue
        output = output_of(each, algorithm=Algorithm(entry.algorithm), chance=chance)
        place, alone = _place(name, each, output, connect), entry.cutover is not None
        yield FileOutlet(called, output, place, written(number), one_key=alone)


def _place(keyring: str, entry: BaseOutputEntry, output: Placed, connect: Connect) -> OutputPlace:
    if entry.secret is None:
        return files_of(entry, output)
    from certrotd.outputs.secret_entries import SecretEntries, home_of

    return SecretEntries(output, partial(home_of, entry.secret, keyring, connect))
