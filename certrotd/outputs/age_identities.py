"""An identities file of age, which SOPS reads by SOPS_AGE_KEY_FILE, as age-keygen writes it.

Readers try every identity. The one that is the recipient of what is new comes first, a secondary
key second. Comments of others stay, above the keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

from certrotd.keyring.age_keys import identity_of, material_of, recipient_of
from certrotd.keyring.delivery import Delivery
from certrotd.keyring.material import Algorithm
from certrotd.outputs.errors import NotExpressible
from certrotd.outputs.key_text import unique
from certrotd.outputs.port import (
    Contents,
    Imported,
    ImportedKey,
    OneFile,
    Present,
    Traits,
    deliverable,
    encrypting_first,
)
from certrotd.outputs.reading import MAX_KEYS, text_of

_TRAITS = Traits("age-identities", None, frozenset({Algorithm.AGE_X25519}))
_OF_A_KEY = re.compile(r"# (?:created|public key): \S+")


@dataclass(frozen=True)
class AgeIdentities(OneFile):
    """One identity a line, each with comments as age-keygen writes them."""

    path: Path
    traits: Traits = _TRAITS

    def parse(self, present: Present) -> Imported | None:
        """As Output.parse."""
        found = list(self._keys(self._lines(present)))
        if len(found) > MAX_KEYS:
            raise NotExpressible(f"{self.path} has over {MAX_KEYS} keys")
        if not found:
            return None
        keys = unique(reversed(found), str(self.path))
        return Imported(keys, len(keys) - 1)

    def render(self, delivery: Delivery, present: Present) -> Contents:
        """As Output.render."""
        deliverable(delivery, self.traits)
        known = self.parse(present)
        wanted = list(encrypting_first(delivery))
        if known and [each.material for each in reversed(known.keys)] == [
            each.material for each in wanted
        ]:
            return {self.path: present[self.path]}
        lines = [
            line
            for line in self._lines(present)
            if not line.strip() or (line.startswith("#") and not _OF_A_KEY.fullmatch(line))
        ]
        for key in wanted:
            created = delivery.by_version[key.version].created.astimezone(UTC)
            lines += [
                f"# created: {created:%Y-%m-%dT%H:%M:%SZ}",
                f"# public key: {recipient_of(key)}",
                identity_of(key),
            ]
        return {self.path: "".join(f"{line}\n" for line in lines).encode()}

    def _lines(self, present: Present) -> list[str]:
        data = present.get(self.path)
        return text_of(self.path, data).splitlines() if data else []

    def _keys(self, lines: list[str]) -> Iterator[ImportedKey]:
        for number, line in enumerate(lines, 1):
            if not (text := line.strip()) or line.startswith("#"):
                continue
            try:
                material = material_of(text)
            except ValueError as error:
                raise NotExpressible(
                    f"line {number} of {self.path} is no identity of age: {error}",
                    hint="keys of plugins and of SSH are read from files of their own",
                ) from None
            yield ImportedKey(Algorithm.AGE_X25519, material)
