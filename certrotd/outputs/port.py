"""What an output is: what it declares of an application's form of keys, and how it renders it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from certrotd.errors import Failure
from certrotd.keyring.delivery import Delivered, Delivery
from certrotd.keyring.ids import IdSpace
from certrotd.keyring.material import Algorithm, DataKey, Material
from certrotd.outputs.errors import NoFreeSlot, NotDeliverable

Present = Mapping[Path, bytes | None]
"""What stands at each path now, None where nothing does."""

Contents = Mapping[Path, bytes | None]
"""What is to stand at each path, None where nothing is to: a key file whose key is gone."""


@dataclass(frozen=True)
class Traits:
    """What an output declares.

    ``capacity``: how many keys the application holds, None for any number. ``ids``: what new keys
    draw their ids from, None where the version will do. ``iv_bytes``: the length of the fixed
    initialization vector that each key needs, 0 for none. ``printable``: the key is a text, so new
    keys are drawn by encodings.printable_material(). ``secondary``: whether the application
    reads a key that does not encrypt yet; without it, rotate by a maintenance cut-over. ``by_id``:
    it reads with such a key what names it, and nothing else with the one that encrypts.
    ``readable``: whether parse() gives keys; where not, nothing can be adopted from it, and a file
    that was edited since is told by its bytes alone.
    """

    type: str
    capacity: int | None
    algorithms: frozenset[Algorithm]
    ids: IdSpace | None = None
    iv_bytes: int = 0
    printable: bool = False
    secondary: bool = True
    by_id: bool = False
    readable: bool = True


@dataclass(frozen=True)
class ImportedKey:
    """A key that an application has.

    ``id`` is empty where the form has none; ``created`` where the file tells it; ``retired`` where
    the application refuses to decrypt with it: adopt it as one that only decrypts.
    """

    algorithm: Algorithm
    material: Material
    id: str = ""
    iv: bytes = field(default=b"", repr=False)
    created: datetime | None = None
    retired: bool = False


@dataclass(frozen=True)
class Imported:
    """The keys that an application has now, oldest first as far as the file tells.

    ``encrypting`` is a place in ``keys``.
    """

    keys: tuple[ImportedKey, ...]
    encrypting: int


class Placed(Protocol):
    """What is known of the files of an output."""

    def paths(self, present: Present) -> Sequence[Path]:
        """As Output.paths."""
        ...

    def check(self, present: Present) -> None:
        """As Output.check."""
        ...


class OutputPlace(Protocol):
    """Where the keys of one application are written, by the paths of their output."""

    def present(self) -> Present:
        """What stands at the output's paths now; raises Failure."""
        ...

    def problems(self, *, dry: bool = False) -> Iterator[Failure]:
        """Everything that would keep it from being written; unless ``dry``, by trying it."""
        ...

    def findings(self) -> Iterator[str]:
        """Who else may read or replace the keys, and what to do about it; raises Failure."""
        ...

    def write(self, contents: Contents, *, over: Present) -> None:
        """Replace all of ``over``, as present() gave it, together; raises Failure."""
        ...

    def set_aside(self, mark: str) -> Sequence[Path]:
        """Move what stands there out of the way, and where it is now; raises Failure."""
        ...

    def sweep(self) -> None:
        """Remove what a crash left; raises Failure."""
        ...


class Output(Protocol):
    """Renders the keys of one keyring for one application; pure: it reads and writes no file."""

    @property
    def traits(self) -> Traits:
        """What holds for every delivery."""
        ...

    def paths(self, present: Present) -> Sequence[Path]:
        """The files it owns, those first that it always has.

        Some forms name further files in the first: asked with what was read, until none is new.
        Raises NotExpressible.
        """
        ...

    def check(self, present: Present) -> None:
        """Raises NotExpressible for what could not be rewritten without losing something."""
        ...

    def parse(self, present: Present) -> Imported | None:
        """The keys that stand there, None where there is none yet; raises NotExpressible."""
        ...

    def render(self, delivery: Delivery, present: Present) -> Contents:
        """What is to stand at every path; what is not the keyring's own stays byte for byte.

        ``present`` is given back unchanged where it holds the delivery already. Raises
        NotExpressible and NotDeliverable.
        """
        ...


class OneFile(ABC):
    """An output of one file, in which certrotd rewrites what it can parse."""

    path: Path

    def paths(self, present: Present) -> Sequence[Path]:
        """The file."""
        del present
        return (self.path,)

    def check(self, present: Present) -> None:
        """As Output.check."""
        self.parse(present)

    @abstractmethod
    def parse(self, present: Present) -> Imported | None:
        """As Output.parse."""


def deliverable(delivery: Delivery, traits: Traits) -> None:
    """Raises NotDeliverable, or NoFreeSlot, for what an output with these traits cannot hold."""
    count = len(delivery.keys)
    if traits.capacity is not None and count > traits.capacity:
        raise NoFreeSlot(
            f"the keyring {delivery.keyring} delivers {count} keys, and the application holds "
            f"{traits.capacity}",
            hint="re-encrypt what is under the oldest key, and retire it, before the next rotation",
        )
    if (waiting := delivery.secondary) and not traits.secondary:
        raise NotDeliverable(
            f"version {waiting.key.version} of the keyring {delivery.keyring} is secondary, and "
            "the application reads no key that does not encrypt yet",
            hint="rotate this keyring by a maintenance cut-over, or say that it reads one",
        )
    for each in delivery.keys:
        if each.key.algorithm not in traits.algorithms:
            raise NotDeliverable(
                f"an output of type {traits.type} holds no {each.key.algorithm} keys",
                hint=f"it holds {', '.join(sorted(traits.algorithms))}",
            )


def encrypting_first(delivery: Delivery) -> Iterator[DataKey]:
    """The key that encrypts, then the others from the newest to the oldest."""
    return iter(delivery.key_set)


def oldest_first(delivery: Delivery) -> Sequence[Delivered]:
    """The keys by their version."""
    return sorted(delivery.keys, key=lambda each: each.key.version)


def difference(output: Output, delivery: Delivery, present: Present) -> str | None:
    """How what stands there is not what was delivered; None where the application has the same.

    The same keys may be written otherwise, as before an adoption. Raises OutputError where it
    cannot be told.
    """
    rendered = output.render(delivery, present)
    changed = [path for path, data in rendered.items() if present.get(path) != data]
    if output.traits.readable:
        if why := _other_keys(output, delivery, present):
            return why
        if output.parse({**present, **rendered}) == output.parse(present):
            return None
    return f"{changed[0]} is not what certrotd wrote" if changed else None


def _other_keys(output: Output, delivery: Delivery, present: Present) -> str | None:
    found = output.parse(present)
    if found is None:
        return "no key is there"
    there = {(each.material, each.algorithm): each for each in found.keys}
    wanted = {(each.key.material, each.key.algorithm): each.key for each in delivery.keys}
    for known, key in wanted.items():
        if known not in there:
            return f"version {key.version} is not there"
        if there[known].retired:
            return f"version {key.version} is marked as retired there"
    if extra := len(there.keys() - wanted.keys()):
        return f"{extra} keys are there that the keyring does not deliver"
    if found.keys[found.encrypting].material != delivery.encrypting.key.material:
        return "another key encrypts there"
    return None
