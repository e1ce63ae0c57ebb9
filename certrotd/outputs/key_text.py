"""One key as the text that stands in an application's file: an encoding and what is before it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from certrotd.keyring.material import Algorithm, DataKey, Material
from certrotd.outputs.encodings import KeyEncoding
from certrotd.outputs.errors import NotDeliverable, NotExpressible
from certrotd.outputs.port import ImportedKey
from certrotd.outputs.reading import MAX_KEYS


@dataclass(frozen=True)
class KeyText:
    """``prefix`` is before every key, as ``base64:`` in Laravel."""

    algorithms: frozenset[Algorithm]
    encoding: KeyEncoding
    prefix: str = ""

    def written(self, key: DataKey) -> str:
        """The text; raises NotDeliverable."""
        return self.prefix + self.encoding.written(key.material)

    def joined(self, keys: Iterable[DataKey], separator: str) -> str:
        """Several keys in one text; raises NotDeliverable."""
        texts = [self.written(key) for key in keys]
        if any(separator in text for text in texts):
            raise NotDeliverable(f"a key has the separator {separator!r} in it")
        return separator.join(texts)

    def read(self, text: str, where: str, *, key_id: str = "") -> ImportedKey:
        """The key; raises NotExpressible."""
        if not text.startswith(self.prefix):
            raise NotExpressible(f"{where}: the key does not begin with {self.prefix!r}")
        rest = text.removeprefix(self.prefix)
        algorithm, material = self.encoding.read(rest, self.algorithms, where=where)
        return ImportedKey(algorithm, material, id=key_id)

    def split(self, text: str, separator: str, where: str) -> list[ImportedKey]:
        """Several keys, in the order of the text; raises NotExpressible."""
        parts = [part.strip() for part in text.split(separator)] if text.strip() else []
        if len(parts) > MAX_KEYS:
            raise NotExpressible(f"{where} has over {MAX_KEYS} keys")
        return [self.read(part, f"{where}: key {n}") for n, part in enumerate(parts, 1)]


def unique(keys: Iterable[ImportedKey], where: str) -> tuple[ImportedKey, ...]:
    """``keys``, none of which is there twice; raises NotExpressible."""
    known: set[Material] = set()
    every = tuple(keys)
    for key in every:
        if key.material in known:
            raise NotExpressible(f"{where}: one key is there twice", hint="remove one of them")
        known.add(key.material)
    return every
