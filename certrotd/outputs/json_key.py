"""One key as a text of a JSON file, as n8n's ``~/.n8n/config`` has it.

Nothing else of the file changes: neither its other members, nor how it is indented.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from certrotd.jsonpath import Path as Member
from certrotd.jsonscan import Place, scanned, spliced
from certrotd.keyring.delivery import Delivery
from certrotd.outputs.errors import NotExpressible
from certrotd.outputs.key_text import KeyText
from certrotd.outputs.port import (
    Contents,
    Imported,
    OneFile,
    Present,
    Traits,
    deliverable,
)
from certrotd.outputs.reading import json_of, text_of


@dataclass(frozen=True)
class JsonKey(OneFile):
    """``at`` are the names that lead to the text from the top of the document."""

    path: Path
    at: tuple[str, ...]
    keys: KeyText

    @cached_property
    def traits(self) -> Traits:
        """One slot."""
        return Traits(
            "json-key",
            1,
            self.keys.algorithms,
            printable=self.keys.encoding.printable,
            secondary=False,
        )

    def parse(self, present: Present) -> Imported | None:
        """As Output.parse; an empty text is no key."""
        data = present.get(self.path)
        if data is None:
            return None
        place = self._place(data)
        if not place.value:
            return None
        return Imported((self.keys.read(place.value, f"{self.path}: {self._name}"),), 0)

    def render(self, delivery: Delivery, present: Present) -> Contents:
        """As Output.render; a new file has this one member."""
        deliverable(delivery, self.traits)
        text = self.keys.written(delivery.encrypting.key)
        data = present.get(self.path)
        if data is None:
            made: object = text
            for name in reversed(self.at):
                made = {name: made}
            return {self.path: (json.dumps(made, indent=2) + "\n").encode("ascii")}
        place = self._place(data)
        if place.value == text:
            return {self.path: data}
        return {self.path: spliced(text_of(self.path, data), [(place, text)]).encode("utf-8")}

    @property
    def _name(self) -> str:
        return ".".join(self.at)

    def _place(self, data: bytes) -> Place:
        json_of(self.path, data)  # no name of it is there twice
        found = scanned(text_of(self.path, data), [Member("", self.at)])
        if not found:
            raise NotExpressible(
                f"{self.path} has no {self._name}", hint='add it with an empty text, ""'
            )
        [place] = found
        if place.value is None:
            raise NotExpressible(f"{self.path}: {self._name} is no text")
        return place
