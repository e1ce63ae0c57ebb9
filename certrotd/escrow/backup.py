"""A backup of a keyring: one file that opens without certrotd's state, and without its KEKs.

Three lines, then a file of age. ``certrotd keyring backup 1``; the header (header.py) as JSON; the
HMAC-SHA256, in hex, over both lines and what age encrypted, under the keyring's seal. That key is
on the host that made the backup and in the backup itself: the host tells a forged one before it is
opened, and anybody else after that. ``tail -n +4 FILE | age -d -i IDENTITY`` shows the contents as
JSON: everything that the keyring's document holds, with the keys as base64.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from certrotd.errors import InvalidInput, printable
from certrotd.escrow.age import Key, Recipients, decrypted, encrypted
from certrotd.escrow.errors import BackupUnreadable, damaged
from certrotd.escrow.header import Header
from certrotd.escrow.header import read as header_in
from certrotd.jsontext import parsed
from certrotd.keyring.keyring import Entry, Keyring, Wrapped, fingerprint
from certrotd.keyring.material import Material
from certrotd.keyring.states import Version, Versions
from certrotd.keyring.version_json import version_json, version_read

FORMAT = 1
MAX_BACKUP = 32 * 1024 * 1024
"""Bytes: a keyring of ten thousand versions has fewer."""
_MAGIC = b"certrotd keyring backup "
_DOMAIN = b"certrotd keyring backup\0"
_SEAL = 32


def sealed_backup(keyring: Keyring, to: Recipients, *, at: datetime) -> bytes:
    """The backup of a keyring, made at ``at``; raises InvalidInput or LibraryMissing.

    Two backups of one keyring are never the same bytes.
    """
    start = b"%s%d\n%s\n" % (_MAGIC, FORMAT, Header.of(keyring, to, at=at).line())
    body = encrypted(_contents(keyring), to)
    return b"%s%s\n%s" % (start, _mac(keyring.seal.material, start, body), body)


def opened_backup(data: bytes, by: Key) -> Keyring:
    """The keyring in a backup, which no KEK has wrapped; raises BackupUnreadable.

    NotOpened, which is one, if ``by`` does not open it.
    """
    parts = _parts(data)
    keyring = _read(decrypted(parts.body, by))
    if not parts.bears(keyring.seal.material):
        raise damaged("its header, or what it holds, was changed by something else than certrotd")
    return keyring


def header_of(data: bytes) -> Header:
    """What a backup says of itself; raises BackupUnreadable.

    Only authentic(), or opening it, tells whether that is so.
    """
    return _parts(data).header


def authentic(data: bytes, keyring: Keyring) -> bool:
    """Whether a holder of the seal of ``keyring`` made this backup; raises BackupUnreadable."""
    return _parts(data).bears(keyring.seal.material)


@dataclass(frozen=True)
class _Parts:
    start: bytes
    header: Header
    mac: bytes
    body: bytes

    def bears(self, seal: Material) -> bool:
        return hmac.compare_digest(self.mac, _mac(seal, self.start, self.body))


def _parts(data: bytes) -> _Parts:
    if len(data) > MAX_BACKUP:
        raise damaged(f"it is larger than {MAX_BACKUP} bytes")
    magic, _, rest = data.partition(b"\n")
    if not magic.startswith(_MAGIC):
        raise BackupUnreadable("this is no backup of a keyring")
    version = magic.removeprefix(_MAGIC)
    if not version.isdigit() or len(version) > 9:
        raise damaged("its first line is not what certrotd writes")
    if int(version) != FORMAT:
        raise BackupUnreadable(
            f"the backup is of format {int(version)}, and this certrotd reads {FORMAT}",
            hint="use the certrotd that wrote it, or a newer one",
        )
    line, _, rest = rest.partition(b"\n")
    mac, end, body = rest.partition(b"\n")
    if not end or not body:
        raise damaged("its end is missing")
    return _Parts(b"%s\n%s\n" % (magic, line), header_in(line), mac, body)


def _mac(seal: Material, start: bytes, body: bytes) -> bytes:
    return hmac.new(seal.reveal(), _DOMAIN + start + body, "sha256").hexdigest().encode()


def _contents(keyring: Keyring) -> bytes:
    told = {
        "format": FORMAT,
        "keyring": keyring.name,
        "revision": keyring.revision,
        "seal": _encoded(keyring.seal.material),
        "versions": [
            {
                **version_json(each, entry := keyring.entries[each.number]),
                "material": _encoded(entry.secret.material) if entry.secret else None,
            }
            for each in keyring.versions.all
        ],
    }
    return json.dumps(told, sort_keys=True, separators=(",", ":")).encode()


def _read(contents: bytes) -> Keyring:
    try:
        return _keyring(parsed(contents))
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, InvalidInput) as error:
        why = error.message if isinstance(error, InvalidInput) else "they are not as written"
        raise damaged(f"its contents cannot be used: {printable(why)}") from None


def _keyring(told: Any) -> Keyring:
    versions: list[Version] = []
    entries: dict[int, Entry] = {}
    name, revision, seal = told["keyring"], told["revision"], _decoded(told["seal"])
    if not isinstance(name, str) or type(revision) is not int or len(seal) != _SEAL:
        raise ValueError("no keyring")
    for each in told["versions"]:
        version, entry = _version(each, seal)
        versions.append(version)
        entries[version.number] = entry
    keyring = Keyring(name, revision, Versions(tuple(versions)), entries, Wrapped(seal))
    for number in entries:
        if entries[number].secret:
            keyring.key(number)  # the length of its material, its id
    return keyring


def _version(each: Mapping[str, Any], seal: Material) -> tuple[Version, Entry]:
    version, entry = version_read(each)
    times = (each.at for each in version.transitions)
    if type(version.number) is not int or any(at.tzinfo is None for at in times):
        raise ValueError("no version")
    if each["material"] is None:
        return version, entry
    material = _decoded(each["material"])
    if fingerprint(material, seal) != entry.fingerprint:
        raise InvalidInput(f"version {version.number} is another key")
    return version, replace(entry, secret=Wrapped(material))


def _encoded(material: Material) -> str:
    return base64.b64encode(material.reveal()).decode()


def _decoded(text: str) -> Material:
    return Material(base64.b64decode(text, validate=True))
