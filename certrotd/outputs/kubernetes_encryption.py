"""The EncryptionConfiguration of a Kubernetes API server: the keys of one provider of one rule.

The first provider of a rule, and its first key, write; every key reads. A key's name stands in
what is stored, so names are ids. A secondary key stands second, until every API server has it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.keyring.delivery import Delivery
from certrotd.keyring.ids import Slots
from certrotd.keyring.material import Algorithm, DataKey
from certrotd.outputs import yaml_text
from certrotd.outputs.encodings import KeyEncoding
from certrotd.outputs.errors import NotDeliverable, NotExpressible
from certrotd.outputs.key_text import KeyText, unique
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
from certrotd.outputs.reading import MAX_KEYS

if TYPE_CHECKING:
    import yaml

ALGORITHMS: Mapping[str, frozenset[Algorithm]] = {
    "aesgcm": frozenset({Algorithm.AES_128_GCM, Algorithm.AES_192_GCM, Algorithm.AES_256_GCM}),
    "aescbc": frozenset({Algorithm.AES_128_CBC, Algorithm.AES_192_CBC, Algorithm.AES_256_CBC}),
    "secretbox": frozenset({Algorithm.XSALSA20_POLY1305}),
}
"""What the keys of a provider are for: their length tells which of these."""
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?\Z", re.ASCII)
_NAMES = Slots(tuple(f"key{number}" for number in range(1, MAX_KEYS + 1)))
_KIND = "EncryptionConfiguration"
_VERSION = "apiserver.config.k8s.io/v1"


@dataclass(frozen=True)
class KubernetesEncryption(OneFile):
    """``provider`` is one of ALGORITHMS, ``resources`` those of the rule that holds its keys."""

    path: Path
    provider: str
    resources: tuple[str, ...]

    @cached_property
    def traits(self) -> Traits:
        """A ring of named keys."""
        return Traits(
            "kubernetes-encryption-configuration",
            None,
            ALGORITHMS[self.provider],
            ids=_NAMES,
        )

    def parse(self, present: Present) -> Imported | None:
        """As Output.parse."""
        document = yaml_text.read(self.path, present.get(self.path))
        node = self._keys(document)
        if node is None or yaml_text.is_empty(node):
            return None
        nodes = yaml_text.items(document, node, "keys")
        if len(nodes) > MAX_KEYS:
            raise NotExpressible(f"{self.path}: there are over {MAX_KEYS} keys")
        found = [self._imported(document, each, n) for n, each in enumerate(nodes, 1)]
        if len({each.id for each in found}) < len(found):
            raise NotExpressible(f"{self.path}: two keys have one name")
        return Imported(unique(reversed(found), str(self.path)), len(found) - 1)

    def render(self, delivery: Delivery, present: Present) -> Contents:
        """As Output.render."""
        deliverable(delivery, self.traits)
        known = self.parse(present)
        keys = list(encrypting_first(delivery))
        names = [_name(key) for key in keys]
        if len(set(names)) < len(names):
            raise NotDeliverable("two keys have one name")
        wanted = list(zip(names, (key.material for key in keys), strict=True))
        if known and [(each.id, each.material) for each in reversed(known.keys)] == wanted:
            return {self.path: present[self.path]}
        written = KeyEncoding.BASE64.written
        new = [{"name": name, "secret": written(secret)} for name, secret in wanted]
        document = yaml_text.read(self.path, present.get(self.path))
        node = self._keys(document)
        if node is None:
            return {self.path: self._whole(new)}
        return {self.path: yaml_text.replaced(document, node, new)}

    def _whole(self, new: Sequence[Mapping[str, str]]) -> bytes:
        """A configuration of its own; what is not encrypted yet is read by the identity."""
        lines = [f"apiVersion: {_VERSION}", f"kind: {_KIND}", "resources:", "- resources:"]
        lines += [f"  - {json.dumps(resource)}" for resource in self.resources]
        lines += ["  providers:", f"  - {self.provider}:", "      keys:"]
        for each in new:
            lines += [f"      - name: {json.dumps(each['name'])}"]
            lines += [f"        secret: {json.dumps(each['secret'])}"]
        return ("\n".join([*lines, "  - identity: {}"]) + "\n").encode("ascii")

    def _keys(self, document: yaml_text.Document) -> yaml.Node | None:
        """The list of keys; None where there is no document yet."""
        if document.root is None:
            return None
        top = yaml_text.entries(document, document.root, "the file")
        if yaml_text.text(document, top.get("kind"), "kind") != _KIND:
            raise NotExpressible(f"{self.path} is not of the kind {_KIND}")
        if yaml_text.text(document, top.get("apiVersion"), "apiVersion") != _VERSION:
            raise NotExpressible(f"{self.path} is not of the version {_VERSION}")
        for rule in yaml_text.items(document, top.get("resources"), "resources"):
            fields = yaml_text.entries(document, rule, "a rule")
            named = yaml_text.items(document, fields.get("resources"), "resources of a rule")
            if {yaml_text.text(document, each, "a resource") for each in named} == {
                *self.resources
            }:
                return self._of_rule(document, fields.get("providers"))
        raise NotExpressible(
            f"{self.path} has no rule for exactly {', '.join(self.resources)}",
            hint="name the resources as one of its rules does",
        )

    def _of_rule(
        self, document: yaml_text.Document, providers: yaml.Node | None
    ) -> yaml.Node | None:
        known = yaml_text.items(document, providers, "providers")
        first = yaml_text.entries(document, known[0], "a provider") if known else {}
        if set(first) != {self.provider}:
            raise NotExpressible(
                f"{self.path}: {self.provider} is not the first provider of "
                f"{', '.join(self.resources)}, so it does not encrypt",
                hint="make it the first one, and let the others follow",
            )
        fields = yaml_text.entries(document, first[self.provider], self.provider)
        if set(fields) != {"keys"}:
            raise NotExpressible(f"{self.path}: {self.provider} has something else than keys")
        return fields["keys"]

    def _imported(self, document: yaml_text.Document, node: yaml.Node, n: int) -> ImportedKey:
        fields = yaml_text.entries(document, node, f"key {n}")
        if set(fields) != {"name", "secret"}:
            raise NotExpressible(f"{self.path}: key {n} has not exactly a name and a secret")
        name = yaml_text.text(document, fields["name"], f"the name of key {n}")
        if not _NAME.match(name):
            raise NotExpressible(f"{self.path}: the name of key {n} is not a plain one")
        text = yaml_text.text(document, fields["secret"], f"the secret of key {n}")
        keys = KeyText(self.traits.algorithms, KeyEncoding.BASE64)
        return keys.read(text, f"{self.path}: key {n}", key_id=name)


def _name(key: DataKey) -> str:
    name = key.id or f"key{key.version}"
    if not _NAME.match(name):
        raise NotDeliverable(f"the id of key version {key.version} is no name of a key")
    return name
