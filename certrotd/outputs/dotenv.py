"""Keys in variables of a .env file: in slots whose names are the ids, or current and previous.

In slots (``PSAP_KEY_V1``, ``PSAP_KEY_V2`` and a variable that names the one that encrypts), a new
key takes the free slot as secondary, and the variable follows when it is active: with two slots,
rotations go back and forth. Otherwise one variable holds the key that encrypts, and another the
others from the newest to the oldest, as Laravel's APP_KEY and APP_PREVIOUS_KEYS.

Processes read their environment when they start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from certrotd.keyring.delivery import Delivery
from certrotd.keyring.ids import Slots
from certrotd.outputs.env_file import EnvFile
from certrotd.outputs.errors import NotDeliverable, NotExpressible
from certrotd.outputs.key_text import KeyText, unique
from certrotd.outputs.port import (
    Contents,
    Imported,
    OneFile,
    Present,
    Traits,
    deliverable,
    encrypting_first,
)


@dataclass(frozen=True)
class DotenvSlots(OneFile):
    """``slots``: the variable of each slot by its name; ``version``: that which names a slot."""

    path: Path
    slots: Mapping[str, str]
    version: str
    keys: KeyText

    @cached_property
    def traits(self) -> Traits:
        """As many keys as slots."""
        count = len(self.slots)
        return Traits(
            "dotenv",
            count,
            self.keys.algorithms,
            ids=Slots(tuple(self.slots)),
            printable=self.keys.encoding.printable,
        )

    def parse(self, present: Present) -> Imported | None:
        """As Output.parse; the order is that of the slots, for their age is not told."""
        file = self._file(present)
        texts = {name: file.value(variable) for name, variable in self.slots.items()}
        version = file.value(self.version)
        if not version and not any(texts.values()):
            return None
        if not texts.get(version):
            raise NotExpressible(
                f"{self.path}: {self.version} does not name a slot that holds a key",
                hint=f"its slots are {', '.join(self.slots)}",
            )
        filled = [name for name, text in texts.items() if text]
        keys = [
            self.keys.read(texts[name], f"{self.path}: {self.slots[name]}", key_id=name)
            for name in filled
        ]
        return Imported(unique(keys, str(self.path)), filled.index(version))

    def render(self, delivery: Delivery, present: Present) -> Contents:
        """As Output.render; the variable of an empty slot stays, without a value."""
        deliverable(delivery, self.traits)
        self.check(present)
        values = dict.fromkeys(self.slots.values(), "")
        for each in delivery.keys:
            variable = self.slots.get(each.key.id)
            if variable is None or values[variable]:
                raise NotDeliverable(
                    f"key version {each.key.version} has no slot of its own",
                    hint=f"its id must be one of {', '.join(self.slots)}",
                )
            values[variable] = self.keys.written(each.key)
        values[self.version] = delivery.encrypting.key.id
        return {self.path: self._file(present).replaced(values)}

    def _file(self, present: Present) -> EnvFile:
        names = {*self.slots.values(), self.version}
        return EnvFile(self.path, present.get(self.path), names)


@dataclass(frozen=True)
class DotenvKeys(OneFile):
    """``key`` is the variable of the key that encrypts, ``previous`` that of the others.

    Without ``previous`` the application holds one key. ``secondary``: whether it tries those in
    ``previous`` for whatever it reads. ``capacity`` counts the key that encrypts, too.
    """

    path: Path
    key: str
    previous: str | None
    keys: KeyText
    separator: str = ","
    capacity: int | None = None
    secondary: bool = True

    @cached_property
    def traits(self) -> Traits:
        """A ring, or two places, or one."""
        capacity = self.capacity if self.previous else 1
        return Traits(
            "dotenv",
            capacity,
            self.keys.algorithms,
            printable=self.keys.encoding.printable,
            secondary=self.secondary and self.previous is not None,
        )

    def parse(self, present: Present) -> Imported | None:
        """As Output.parse."""
        file = self._file(present)
        text, others = file.value(self.key), file.value(self.previous or "")
        if not text and not others:
            return None
        if not text:
            raise NotExpressible(f"{self.path}: {self.key} is empty, and {self.previous} is not")
        where = f"{self.path}: {self.previous}"
        older = self.keys.split(others, self.separator, where)
        newest = self.keys.read(text, f"{self.path}: {self.key}")
        every = unique([*reversed(older), newest], str(self.path))
        return Imported(every, len(every) - 1)

    def render(self, delivery: Delivery, present: Present) -> Contents:
        """As Output.render."""
        deliverable(delivery, self.traits)
        self.check(present)
        active, *others = encrypting_first(delivery)
        values = {self.key: self.keys.written(active)}
        if self.previous:
            values[self.previous] = self.keys.joined(others, self.separator)
        return {self.path: self._file(present).replaced(values)}

    def _file(self, present: Present) -> EnvFile:
        names = {self.key, self.previous} if self.previous else {self.key}
        return EnvFile(self.path, present.get(self.path), {name for name in names if name})
