"""Fernet keys, the first of which encrypts: what MultiFernet takes, and Airflow's fernet_key.

They stand in a file of their own, separated by commas or one on a line, or in a variable of an
environment file. A secondary key comes second.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from certrotd.keyring.delivery import Delivery
from certrotd.keyring.material import Algorithm
from certrotd.outputs.encodings import KeyEncoding
from certrotd.outputs.env_file import EnvFile
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
from certrotd.outputs.reading import text_of

_KEYS = KeyText(frozenset({Algorithm.FERNET}), KeyEncoding.BASE64URL)
_TRAITS = Traits("fernet-list", None, _KEYS.algorithms)


@dataclass(frozen=True)
class FernetList(OneFile):
    """``separator`` is a comma or a line break; ``variable`` that of an environment file."""

    path: Path
    separator: str = ","
    variable: str | None = None
    traits: Traits = _TRAITS

    def parse(self, present: Present) -> Imported | None:
        """As Output.parse."""
        data = present.get(self.path)
        if self.variable is not None:
            text = EnvFile(self.path, data, {self.variable}).value(self.variable)
        else:
            text = "" if data is None else text_of(self.path, data).strip("\r\n")
        if not text:
            return None
        found = reversed(_KEYS.split(text, self.separator, str(self.path)))
        keys = unique(found, str(self.path))
        return Imported(keys, len(keys) - 1)

    def render(self, delivery: Delivery, present: Present) -> Contents:
        """As Output.render; a file of its own keeps its last line break, or has none."""
        deliverable(delivery, self.traits)
        self.check(present)
        text, data = (
            _KEYS.joined(encrypting_first(delivery), self.separator),
            present.get(self.path),
        )
        if self.variable is not None:
            file = EnvFile(self.path, data, {self.variable})
            return {self.path: file.replaced({self.variable: text})}
        ended = self.separator == "\n" or (data is not None and data.endswith(b"\n"))
        return {self.path: (text + "\n" * ended).encode("ascii")}
