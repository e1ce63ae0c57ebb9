"""The cipher entries of symmetric-encryption's YAML, and the keys that they lead to."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from certrotd.outputs import cbc, yaml_text
from certrotd.outputs.errors import NotExpressible
from certrotd.outputs.reading import MAX_KEYS

if TYPE_CHECKING:
    import yaml

_MOST_LEVELS = 4
_SUFFIXES = (".encrypted_key", ".kekek", ".key")
_INT = "tag:yaml.org,2002:int"


class Wrapping(NamedTuple):
    """What the YAML holds of a key of two levels: the encrypted key-encrypting key, and two ivs."""

    encrypted: bytes
    iv: bytes
    kek_iv: bytes


@dataclass(frozen=True)
class Level:
    """A key: given as it is, in a file, or encrypted by ``above`` in the YAML or in a file."""

    iv: bytes
    key: bytes = field(default=b"", repr=False)
    encrypted: bytes = b""
    file: Path | None = None
    above: Level | None = None

    def secret(self, files: Mapping[Path, bytes], where: str) -> bytes:
        """The key; raises NotExpressible."""
        if self.key:
            return self.key
        data = self.encrypted if self.file is None else files[self.file]
        if self.above is None:
            return data
        return cbc.unwrap(self.above.secret(files, where), self.above.iv, data, where=where)

    @property
    def files(self) -> Iterable[Path]:
        """The files that it leads to."""
        if self.file is not None:
            yield self.file
        if self.above is not None:
            yield from self.above.files


@dataclass(frozen=True)
class Entry:
    """One cipher."""

    version: int
    cipher_name: str
    level: Level

    @property
    def iv(self) -> bytes:
        """The fixed one of the version, empty without."""
        return self.level.iv

    def secret(self, files: Mapping[Path, bytes], where: str) -> bytes:
        """Its key; raises NotExpressible."""
        return self.level.secret(files, where)

    @property
    def two_levels(self) -> tuple[Path, Wrapping, Path] | None:
        """Key file, wrapping and kekek file of an entry as the gem makes it; None of another."""
        own, kek = self.level, self.level.above
        kekek = kek.above if kek else None
        if kek is None or kekek is None or kekek.above is not None:
            return None
        if own.file is None or kek.file is not None or not kek.encrypted or kekek.file is None:
            return None
        return own.file, Wrapping(kek.encrypted, kek.iv, kekek.iv), kekek.file


def read_entries(document: yaml_text.Document, environment: str) -> Sequence[Entry]:
    """The ciphers of an environment, the active one first; raises NotExpressible.

    Names may be Ruby's symbols, with a colon in front.
    """
    if document.root is None:
        return ()
    top = _plain(document, document.root, "the file")
    if environment not in top:
        return ()
    below = _plain(document, top[environment], environment)
    if set(below) != {"ciphers"}:
        raise NotExpressible(f"{document.path}: {environment} has something else than ciphers")
    nodes = yaml_text.items(document, below["ciphers"], "ciphers")
    if len(nodes) > MAX_KEYS:
        raise NotExpressible(f"{document.path} has over {MAX_KEYS} ciphers")
    return [_entry(document, node, f"cipher {n}") for n, node in enumerate(nodes, 1)]


def key_files(entries: Iterable[Entry], directory: Path) -> Sequence[Path]:
    """The files that ``entries`` name; raises NotExpressible for one of another directory."""
    found = list(dict.fromkeys(path for entry in entries for path in entry.level.files))
    for path in found:
        if path.parent != directory or path.suffix not in _SUFFIXES:
            raise NotExpressible(
                f"a cipher names {path}, which is no key file in {directory}",
                hint=f"move it there; key files end in {', '.join(_SUFFIXES)}",
            )
    return found


def _plain(document: yaml_text.Document, node: yaml.Node, what: str) -> Mapping[str, yaml.Node]:
    """A mapping without the colons of symbols."""
    fields = yaml_text.entries(document, node, what)
    plain = {name.removeprefix(":"): value for name, value in fields.items()}
    if len(plain) < len(fields):
        raise NotExpressible(f"{document.path}: {what} has a name as text and as symbol")
    return plain


def _entry(document: yaml_text.Document, node: yaml.Node, what: str) -> Entry:
    fields = dict(_plain(document, node, what))
    where = f"{document.path}: {what}"
    store = _text(document, fields.pop("keystore", None), what) or "file"
    if store.removeprefix(":") not in ("file", "memory"):
        raise NotExpressible(
            f"{where} keeps its key in another keystore than files",
            hint="certrotd writes key files: adopt from a configuration with them",
        )
    number = fields.pop("version", None)
    if number is None or number.tag != _INT or not str(number.value).isdecimal():
        raise NotExpressible(f"{where} has no version")
    if len(number.value) > 3 or not 0 < int(number.value) <= 255:
        raise NotExpressible(f"{where} has a version that is none from 1 to 255")
    name = _text(document, fields.pop("cipher_name", None), what) or "aes-256-cbc"
    return Entry(int(number.value), name.lower(), _level(document, fields, what, depth=0))


def _level(
    document: yaml_text.Document, fields: dict[str, yaml.Node], what: str, *, depth: int
) -> Level:
    where = f"{document.path}: {what}"
    if depth > _MOST_LEVELS:
        raise NotExpressible(f"{where} has over {_MOST_LEVELS} levels of keys")
    iv = _bytes(document, fields.pop("iv", None), f"the iv of {what}")
    above = None
    if (node := fields.pop("key_encrypting_key", None)) is not None:
        inner = dict(_plain(document, node, what))
        above = _level(document, inner, f"the key-encrypting key of {what}", depth=depth + 1)
    given = {
        name: fields.pop(name)
        for name in ("key", "encrypted_key", "key_filename")
        if name in fields
    }
    if fields:
        raise NotExpressible(f"{where} has settings that would be lost")
    if len(given) != 1 or ("encrypted_key" in given and above is None):
        raise NotExpressible(f"{where} has not exactly one key, or nothing that decrypts it")
    file = _text(document, given.get("key_filename"), what)
    path = Path(file) if file else None
    if path is not None and (not path.is_absolute() or ".." in path.parts or "\0" in file):
        raise NotExpressible(f"{where} names a key file without its whole path")
    return Level(
        iv,
        _bytes(document, given.get("key"), f"the key of {what}"),
        _bytes(document, given.get("encrypted_key"), f"the key of {what}"),
        path,
        above,
    )


def _text(document: yaml_text.Document, node: yaml.Node | None, what: str) -> str:
    return "" if node is None else yaml_text.text(document, node, what)


def _bytes(document: yaml_text.Document, node: yaml.Node | None, what: str) -> bytes:
    """A text's characters, or what the base64 of a binary is; empty where there is none."""
    if node is None:
        return b""
    if node.tag not in yaml_text.BINARY:
        text = yaml_text.text(document, node, what)
        if not text.isascii():
            raise NotExpressible(f"{document.path}: {what} is no ASCII")
        return text.encode("ascii")
    try:
        return base64.b64decode("".join(str(node.value).split()), validate=True)
    except (binascii.Error, ValueError):
        raise NotExpressible(f"{document.path}: {what} is not base64") from None
