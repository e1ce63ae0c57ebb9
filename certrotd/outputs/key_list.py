"""Keys in a list of a YAML file, as Rails' active_record_encryption.primary_key.

In Rails the last key encrypts, so a secondary key stands before it; other applications take the
first. Only the list is changed. Encrypted credentials are not read: name a file in plain text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.keyring.delivery import Delivery
from certrotd.outputs import yaml_text
from certrotd.outputs.errors import NotExpressible
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
from certrotd.outputs.reading import MAX_KEYS

if TYPE_CHECKING:
    import yaml


@dataclass(frozen=True)
class KeyList(OneFile):
    """``at`` are the names that lead to the list from the top of the document."""

    path: Path
    at: tuple[str, ...]
    keys: KeyText
    first: bool = False

    @cached_property
    def traits(self) -> Traits:
        """A ring of any number of keys."""
        return Traits(
            "key-list",
            None,
            self.keys.algorithms,
            printable=self.keys.encoding.printable,
        )

    def parse(self, present: Present) -> Imported | None:
        """As Output.parse; a single key may stand there without a list."""
        document, node = self._found(present)
        if node is None or yaml_text.is_empty(node):
            return None
        what = ".".join(self.at)
        nodes = [node] if yaml_text.is_text(node) else yaml_text.items(document, node, what)
        if len(nodes) > MAX_KEYS:
            raise NotExpressible(f"{self.path}: {what} has over {MAX_KEYS} keys")
        texts = [yaml_text.text(document, each, f"a key of {what}") for each in nodes]
        if self.first:
            texts.reverse()
        found = [self.keys.read(text, f"{self.path}: {what}") for text in texts]
        return Imported(unique(found, str(self.path)), len(found) - 1)

    def render(self, delivery: Delivery, present: Present) -> Contents:
        """As Output.render."""
        deliverable(delivery, self.traits)
        known = self.parse(present)
        keys = list(encrypting_first(delivery))
        keys.reverse()
        if known and [each.material for each in known.keys] == [each.material for each in keys]:
            return {self.path: present[self.path]}
        texts = [self.keys.written(key) for key in keys]
        if self.first:
            texts.reverse()
        document, node = self._found(present)
        if node is None:
            return {self.path: yaml_text.created(document, self.at, texts)}
        return {self.path: yaml_text.replaced(document, node, texts)}

    def _found(self, present: Present) -> tuple[yaml_text.Document, yaml.Node | None]:
        """The document, and the node that ``at`` leads to; None where none of it is there."""
        document = yaml_text.read(self.path, present.get(self.path))
        if document.root is None:
            return document, None
        node, below = document.root, "the file"
        for depth, name in enumerate(self.at):
            inside: Mapping[str, yaml.Node] = yaml_text.entries(document, node, below)
            if name not in inside:
                if depth:
                    raise NotExpressible(
                        f"{self.path}: {below} has no {name}",
                        hint=f"add {name} with an empty list, []",
                    )
                return document, None
            node, below = inside[name], ".".join(self.at[: depth + 1])
        return document, node
