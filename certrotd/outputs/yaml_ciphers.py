"""The configuration of the Ruby gem symmetric-encryption, with its key files.

A file of certrotd's own, to which SYMMETRIC_ENCRYPTION_CONFIG points, with the ciphers of one
environment: the first is active, and the others decrypt what names their version. Each key is in a
file ``STEM_vN.encrypted_key``, encrypted by a key that the YAML holds, encrypted in turn by that in
``STEM_vN.kekek``. The gem reads them when it starts, and only files of its own user and mode 0600.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from certrotd.keyring.delivery import Delivery
from certrotd.keyring.ids import Numbers
from certrotd.keyring.material import Algorithm, DataKey, Material
from certrotd.outputs import cbc, yaml_text
from certrotd.outputs.cipher_entries import Entry, Wrapping, key_files, read_entries
from certrotd.outputs.errors import NotDeliverable, NotExpressible
from certrotd.outputs.port import (
    Contents,
    Imported,
    ImportedKey,
    Present,
    Traits,
    deliverable,
    encrypting_first,
)

MOST_VERSION = 255
_KEK_BYTES = 32
_TRAITS = Traits(
    "yaml-ciphers",
    MOST_VERSION,
    frozenset(
        {
            Algorithm.AES_128_CBC,
            Algorithm.AES_192_CBC,
            Algorithm.AES_256_CBC,
            Algorithm.AES_128_GCM,
            Algorithm.AES_256_GCM,
        }
    ),
    ids=Numbers(1, MOST_VERSION),
    iv_bytes=cbc.BLOCK,
)


class _Cipher(NamedTuple):
    """A key with what wraps it: two files, and two texts of the YAML."""

    key: DataKey
    key_file: Path
    wrapped: bytes
    wrapping: Wrapping
    kekek_file: Path
    kekek: bytes


@dataclass(frozen=True)
class YamlCiphers:
    """``keys`` is the directory of the key files, ``stem`` what their names begin with.

    ``random`` gives so many random bytes, as os.urandom does.
    """

    path: Path
    environment: str
    keys: Path
    stem: str
    random: Callable[[int], bytes]
    traits: Traits = _TRAITS

    def paths(self, present: Present) -> Sequence[Path]:
        """The YAML file, the key files that it names, and every name that certrotd gives one.

        So a key file is found that a crash left behind when its key was gone.
        """
        named = key_files(self._entries(present), self.keys)
        own = (path for n in range(1, MOST_VERSION + 1) for path in self._names(n))
        return tuple(dict.fromkeys((self.path, *named, *own)))

    def check(self, present: Present) -> None:
        """As Output.check: another environment in the file would be lost."""
        self.parse(present)
        document = yaml_text.read(self.path, present.get(self.path), tags=yaml_text.BINARY)
        if document.root is None:
            return
        for name in yaml_text.entries(document, document.root, "the file"):
            if name.removeprefix(":") != self.environment:
                raise NotExpressible(
                    f"{self.path} has another environment than {self.environment}",
                    hint="let SYMMETRIC_ENCRYPTION_CONFIG name a file of certrotd's own",
                )

    def parse(self, present: Present) -> Imported | None:
        """As Output.parse; other environments in the file are left out."""
        entries = self._entries(present)
        if not entries:
            return None
        keys = [self._imported(entry, present) for entry in reversed(entries)]
        if len({key.id for key in keys}) < len(keys):
            raise NotExpressible(f"{self.path}: two ciphers have one version")
        return Imported(tuple(keys), len(keys) - 1)

    def render(self, delivery: Delivery, present: Present) -> Contents:
        """As Output.render: key files first, then the YAML that names them, then what goes.

        What wraps a key stays where it is of two levels and still holds the same key; a file that
        says all of it already stays as it is, whoever wrote it.
        """
        deliverable(delivery, self.traits)
        self.check(present)
        entries = {entry.version: entry for entry in self._entries(present)}
        ciphers: dict[int, _Cipher] = {}
        same = True
        for key in encrypting_first(delivery):
            version = _version(key)
            if version in ciphers:
                raise NotDeliverable("two keys have one version")
            kept = self._kept(entries.get(version), key, present)
            same = same and kept is not None
            ciphers[version] = kept or self._drawn(key, version)
        contents: dict[Path, bytes | None] = {}
        for each in ciphers.values():
            for path, data in ((each.key_file, each.wrapped), (each.kekek_file, each.kekek)):
                if contents.setdefault(path, data) != data:
                    raise NotExpressible(
                        f"{path} would hold what two ciphers need",
                        hint=f"choose another stem than {self.stem}",
                    )
        there = (path for path in self.paths(present) if present.get(path) is not None)
        gone = dict.fromkeys(path for path in there if path not in contents)
        gone.pop(self.path, None)
        same = same and [*ciphers] == [*entries]
        contents[self.path] = present.get(self.path) if same else self._yaml(ciphers)
        return contents | gone

    def _entries(self, present: Present) -> Sequence[Entry]:
        document = yaml_text.read(self.path, present.get(self.path), tags=yaml_text.BINARY)
        return read_entries(document, self.environment)

    def _imported(self, entry: Entry, present: Present) -> ImportedKey:
        where = f"{self.path}: version {entry.version}"
        try:
            algorithm = Algorithm(entry.cipher_name)
        except ValueError:
            algorithm = None
        if algorithm not in self.traits.algorithms:
            raise NotExpressible(f"{where} has a cipher that certrotd does not know")
        secret = entry.secret(self._files(entry, present), where)
        if len(secret) != algorithm.key_bytes:
            raise NotExpressible(f"{where}: its key has {len(secret)} bytes")
        return ImportedKey(algorithm, Material(secret), id=str(entry.version), iv=entry.iv)

    def _files(self, entry: Entry, present: Present) -> Mapping[Path, bytes]:
        found: dict[Path, bytes] = {}
        for path in key_files([entry], self.keys):
            data = present.get(path)
            if data is None:
                raise NotExpressible(f"{path} is named in {self.path}, and is not there")
            found[path] = data
        return found

    def _kept(self, entry: Entry | None, key: DataKey, present: Present) -> _Cipher | None:
        if entry is None or entry.cipher_name != key.algorithm or entry.iv != key.iv:
            return None
        if not (levels := entry.two_levels):
            return None
        files = self._files(entry, present)
        if entry.secret(files, "") != key.material.reveal():
            return None
        key_file, wrapping, kekek_file = levels
        return _Cipher(key, key_file, files[key_file], wrapping, kekek_file, files[kekek_file])

    def _drawn(self, key: DataKey, version: int) -> _Cipher:
        kek, kekek = self.random(_KEK_BYTES), self.random(_KEK_BYTES)
        iv, kek_iv = self.random(cbc.BLOCK), self.random(cbc.BLOCK)
        key_file, kekek_file = self._names(version)
        return _Cipher(
            key,
            key_file,
            cbc.wrap(kek, iv, key.material.reveal()),
            Wrapping(cbc.wrap(kekek, kek_iv, kek), iv, kek_iv),
            kekek_file,
            kekek,
        )

    def _names(self, version: int) -> tuple[Path, Path]:
        base = f"{self.stem}_v{version}"
        return self.keys / f"{base}.encrypted_key", self.keys / f"{base}.kekek"

    def _yaml(self, ciphers: Mapping[int, _Cipher]) -> bytes:
        lines = ["# Written by certrotd: do not edit.", "---"]
        lines += [f"{self.environment}:", "  ciphers:"]
        for version, each in ciphers.items():
            encrypted, iv, kek_iv = each.wrapping
            lines += ["  - keystore: :file", f"    cipher_name: {each.key.algorithm}"]
            lines += [f"    version: {version}", f'    key_filename: "{each.key_file}"']
            lines += _binary("    iv", each.key.iv) if each.key.iv else []
            lines += ["    key_encrypting_key:", *_binary("      encrypted_key", encrypted)]
            lines += [*_binary("      iv", iv), "      key_encrypting_key:"]
            lines += [f'        key_filename: "{each.kekek_file}"', *_binary("        iv", kek_iv)]
        return ("\n".join(lines) + "\n").encode("utf-8")


def _binary(name: str, data: bytes) -> Iterable[str]:
    yield f"{name}: !binary |-"
    yield f"{' ' * (len(name) - len(name.lstrip()) + 2)}{base64.b64encode(data).decode('ascii')}"


def _version(key: DataKey) -> int:
    text = key.id or str(key.version)
    if not (text.isascii() and text.isdecimal() and len(text) <= 3):
        raise NotDeliverable(f"the id of key version {key.version} is no number")
    if not 0 < int(text) <= MOST_VERSION:
        raise NotDeliverable(f"a version of this output is a number from 1 to {MOST_VERSION}")
    if len(key.iv) != cbc.BLOCK and (key.iv or key.algorithm.endswith("cbc")):
        raise NotDeliverable(
            f"key version {key.version} has no fixed iv of {cbc.BLOCK} bytes",
            hint="draw one with each new key",
        )
    return int(text)
