"""A generation's files held against what was sealed; what is whole of them tells what all were.

``privkey.pem`` and ``combined.pem`` both hold the key; ``fullchain.pem``, ``combined.pem``, and
``cert.pem`` with ``chain.pem`` the certificates. So each file can be lost and the pair still told.
Where the key is elsewhere, ``request.pem`` is in its place, and there is no ``combined.pem``: then
meta.json has a copy of it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from certrotd.errors import InvalidInput
from certrotd.files.disktrouble import DiskTrouble
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.generation import PLACEHOLDER, Generation, Meta
from certrotd.stores.reading import FILES, KEYLESS, NOT_THE_FILES, REQUEST, Recorded, content

_FIRST = b"-----BEGIN CERTIFICATE-----"
_CHANGED = "differs from what was sealed"


@dataclass(frozen=True, slots=True)
class Examined:
    """A generation of which every file was read.

    ``pair`` are its key and its chain, None if it is broken; ``wrong`` are the files that are not
    as they should be for that, with what is the matter.
    """

    generation: Generation
    pair: tuple[bytes, bytes] | None = None
    wrong: Mapping[str, str] = field(default_factory=dict)


Files = Mapping[str, bytes | str]
"""The content of each file, or in words why there is none."""


def examine(folder: Path, number: int, recorded: Recorded | None) -> Examined:
    """Read every file of a generation; raises DiskTrouble where that says nothing of them."""
    names = recorded.files if recorded else _expected(folder)
    files = {name: _read(folder / name) for name in names}
    if recorded is None:
        return _unrecorded(files, number)
    wrong = {
        name: found if isinstance(found, str) else _CHANGED
        for name, found in files.items()
        if isinstance(found, str) or _digest(found) != recorded.digests.get(name)
    }
    meta = recorded.meta
    if wrong.get(_key_file(files)) == wrong.get("fullchain.pem") == _CHANGED:
        # no disk does that: somebody put a pair there, if it is one
        replaced = _replaced(files, number)
        if replaced.pair is not None:
            return replaced
    if pair := _sealed(files, recorded):
        damaged = _words(wrong) or None
        return Examined(Generation(number, meta, recorded.facts, None, damaged), pair, wrong)
    return Examined(Generation(number, meta, None, _words(wrong)), wrong=wrong)


def _sealed(files: Files, recorded: Recorded) -> tuple[bytes, bytes] | None:
    """Key and chain as they were sealed, from the files that are whole; None without those."""
    wanted = recorded.digests
    keys = (*_keys(files), recorded.request)
    key = next((k for k in keys if _digest(k) == wanted.get(_key_file(files))), None)
    chain = next((c for c in _chains(files) if _digest(c) == wanted.get("fullchain.pem")), None)
    return None if key is None or chain is None else (key, chain)


def _replaced(files: Files, number: int) -> Examined:
    pair = _bytes(files[_key_file(files)]), _bytes(files["fullchain.pem"])
    found = _first_pair(files, number, pairs=[pair])
    damaged = f"somebody put another pair there; {_words(found.wrong)}".rstrip("; ")
    return replace(found, generation=replace(found.generation, damaged=damaged))


def _unrecorded(files: Files, number: int) -> Examined:
    """Without meta.json what belongs together is believed: it may be from a backup."""
    pairs = [(key, chain) for key in _keys(files) for chain in _chains(files)]
    found = _first_pair(files, number, pairs=pairs)
    lost = {"meta.json": "is not what certrotd wrote", **found.wrong}
    if found.generation.facts is None:
        return found
    return replace(found, generation=replace(found.generation, damaged=_words(lost)), wrong=lost)


def _first_pair(files: Files, number: int, *, pairs: Sequence[tuple[bytes, bytes]]) -> Examined:
    """The first of the pairs that is one, and what the files differ from it."""
    why = _words({name: words for name, words in files.items() if isinstance(words, str)})
    for key, chain in pairs:
        try:
            facts, shapes = belonging(key, chain), files_of(key, chain)
        except InvalidInput as failure:
            why = why or failure.message
            continue
        wrong = {
            name: found if isinstance(found, str) else "is not of this pair"
            for name, found in files.items()
            if found != shapes.get(name)
        }
        pair = shapes[_key_file(shapes)], shapes["fullchain.pem"]
        return Examined(Generation(number, _taken_over(facts, key), facts), pair, wrong)
    return Examined(Generation(number, None, None, why))


def files_of(key: bytes, chain: bytes) -> dict[str, bytes]:
    """The content of every file of a pair, by its name; raises InvalidInput."""
    from certrotd.stores import bundle

    return {f"{shape}.pem": data for shape, data in bundle.files_of(key, chain).items()}


def belonging(
    key: bytes, chain: bytes, *, names: tuple[str, str] = ("privkey.pem", "fullchain.pem")
) -> CertificateFacts:
    """The facts of the leaf; raises InvalidInput unless all of it belongs together.

    ``names`` are those of the key and of the chain, for people.
    """
    from certrotd.pki.facts import facts_of, parse_certificates
    from certrotd.pki.path import verify_links
    from certrotd.pki.request import holder_of
    from certrotd.pki.verify import verify_key

    certificates = parse_certificates(chain, what=names[1])
    verify_key(holder_of(key, what=names[0]), certificates[0])
    verify_links(certificates)
    return facts_of(certificates[0])


def taken_over(facts: CertificateFacts) -> Meta:
    """What is remembered of a pair of which nothing else is known."""
    from certrotd.pki.placeholder import SUBJECT

    origin = PLACEHOLDER if facts.subject == SUBJECT else "adopted"
    return Meta(facts.not_before, origin, facts.issuer, "", 0.0)


def _taken_over(facts: CertificateFacts, key: bytes) -> Meta:
    from certrotd.pki.request import digest, is_request

    known = taken_over(facts)
    return replace(known, request=digest(key)) if is_request(key) else known


def _keys(files: Files) -> list[bytes]:
    combined = _bytes(files.get("combined.pem", "")).partition(_FIRST)[0]
    return [each for each in (_bytes(files[_key_file(files)]), combined) if each]


def _chains(files: Files) -> list[bytes]:
    _, first, rest = _bytes(files.get("combined.pem", "")).partition(_FIRST)
    several = [_bytes(files["fullchain.pem"]), first + rest]
    if isinstance(files["chain.pem"], bytes):
        several.append(_bytes(files["cert.pem"]) + files["chain.pem"])
    return [each for each in several if each]


def _expected(folder: Path) -> tuple[str, ...]:
    """The files of a generation of which nothing is known, by what is there of a key."""
    keyless = os.path.lexists(folder / REQUEST) and not os.path.lexists(folder / FILES[0])
    return KEYLESS if keyless else FILES


def _key_file(files: Mapping[str, object]) -> str:
    """What is in the place of the key."""
    return REQUEST if REQUEST in files else FILES[0]


def _bytes(found: bytes | str) -> bytes:
    return found if isinstance(found, bytes) else b""


def _read(path: Path) -> bytes | str:
    try:
        data = content(path)
    except InvalidInput:
        return _what(path)
    except DiskTrouble as trouble:
        if trouble.errno in NOT_THE_FILES:
            raise
        if trouble.errno == errno.ELOOP:
            return "is a symbolic link"
        return f"cannot be read: {os.strerror(trouble.errno or errno.EIO)}"
    return "is missing" if data is None else data


def _what(path: Path) -> str:
    mode = os.lstat(path).st_mode
    if stat.S_ISDIR(mode):
        return "is a directory"
    return "is far too large" if stat.S_ISREG(mode) else "is not a regular file"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _words(wrong: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {what}" for name, what in wrong.items())
