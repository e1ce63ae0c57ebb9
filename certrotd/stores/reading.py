"""The files of a local store read back as values, quickly while nobody else has touched them."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from certrotd.files.disktrouble import DiskTrouble
from certrotd.files.reading import read_file
from certrotd.pki.certificate import CertificateFacts, moment
from certrotd.pki.generation import CertificateState, Generation, Meta
from certrotd.pki.order import Missed
from certrotd.stores.digest import undigested
from certrotd.value import value

LIMIT = 4 * 1024 * 1024
STATE = "state.json"
NUMBER = re.compile(r"[0-9]{6}|[1-9][0-9]{6,11}")
FILES = ("privkey.pem", "fullchain.pem", "combined.pem", "cert.pem", "chain.pem")
REQUEST = "request.pem"
KEYLESS = (REQUEST, "fullchain.pem", "cert.pem", "chain.pem")
"""The files of a generation whose key is elsewhere."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# nonblocking, so that a pipe in the place of a file is not waited for
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 64 * 1024
_NOT_OURS = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
# what says nothing of the files themselves
NOT_THE_FILES = {errno.EACCES, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def numbers_in(generations: str) -> list[int]:
    """The generations in a directory, in no order; none if it is not there. Raises DiskTrouble."""
    try:
        return [int(name) for name in os.listdir(generations) if NUMBER.fullmatch(name)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DiskTrouble(f"read {generations}", error) from error


@value
class Recorded:
    """What a generation's meta.json says: ``digests`` are the SHA-256 of its files in hex.

    ``request`` is what request.pem holds, of which no other file has a copy.
    """

    meta: Meta
    facts: CertificateFacts
    digests: Mapping[str, str]
    stamps: Mapping[str, Sequence[int]]
    request: bytes = b""

    @property
    def files(self) -> Sequence[str]:
        """The files that it has."""
        return KEYLESS if REQUEST in self.digests else FILES


def generation_in(base: str, number: int, *, thorough: bool = False) -> Generation:
    """A generation of the certificate whose directory is ``base``, or why it is broken.

    Its files are read where their stamps changed since they were sealed, or if the look is to be
    ``thorough``: a bit that a disk has lost changes no stamp. Raises DiskTrouble when it could not
    be looked at: then nothing is known of it.
    """
    folder = f"{base}/generations/{number:06d}"
    try:
        handle = os.open(folder, _DIRECTORY)
    except OSError as error:
        if error.errno in NOT_THE_FILES:
            raise DiskTrouble(f"read {folder}", error) from error
        reason = DiskTrouble(f"read generation {number:06d}", error).message
        return Generation(number, None, None, reason)
    recorded = None
    try:
        recorded = _recorded("meta.json", handle)
        if recorded and not thorough and _stamps(handle, recorded.files) == recorded.stamps:
            return Generation(number, recorded.meta, recorded.facts)
    except OSError as error:
        if error.errno in NOT_THE_FILES:
            raise DiskTrouble(f"read {folder}", error) from error
    finally:
        os.close(handle)
    from certrotd.stores.wholeness import examine

    return examine(Path(folder), number, recorded).generation


def recorded_in(folder: Path) -> Recorded | None:
    """What meta.json in a generation's directory says; None if it says nothing any more.

    Raises DiskTrouble when it could not be read: then it may be whole.
    """
    path = folder / "meta.json"
    try:
        return _recorded(str(path))
    except OSError as error:
        raise DiskTrouble(f"read {path}", error) from error


def state_in(base: str) -> tuple[CertificateState, str | None]:
    """The state beside the generations; an empty one, and why, if certrotd did not write it.

    Raises DiskTrouble when it could not be read: then it may be whole.
    """
    path = f"{base}/{STATE}"
    try:
        return CertificateState.from_json(undigested(_quick_read(path))), None
    except FileNotFoundError:
        return CertificateState(), None
    except OSError as error:
        raise DiskTrouble(f"read {path}", error) from error
    except _NOT_OURS:
        return CertificateState(), f"{path} is not a state that certrotd wrote"


def content(path: Path) -> bytes | None:
    """What is in a file, None if it is not there; raises DiskTrouble or InvalidInput."""
    try:
        return read_file(path, limit=LIMIT, follow=False)
    except FileNotFoundError:
        return None


def _quick_read(path: str, folder: int | None = None) -> bytes:
    handle = os.open(path, _FILE, dir_fd=folder)
    try:
        data = part = os.read(handle, _CHUNK)
        while len(part) == _CHUNK and len(data) < LIMIT:
            part = os.read(handle, _CHUNK)
            data += part
        return data
    finally:
        os.close(handle)


def _stamps(folder: int, names: Sequence[str]) -> dict[str, list[int]]:
    # size, times and inode of the immutable files, as git's index does it: while they stand, the
    # facts in meta.json are those of the files, and nothing needs to be read. The time of change,
    # too: whoever writes into a file can put back all the others
    stamps = {}
    for name in names:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        stamps[name] = [status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns]
    return stamps


def stamps_in(folder: str, names: Sequence[str]) -> dict[str, list[int]]:
    """The stamps of a generation's files, for its meta.json; raises OSError."""
    handle = os.open(folder, _DIRECTORY)
    try:
        return _stamps(handle, names)
    finally:
        os.close(handle)


def document(
    number: int,
    meta: Meta,
    facts: CertificateFacts,
    files: Mapping[str, bytes],
    stamps: Mapping[str, list[int]],
) -> dict[str, Any]:
    """What meta.json says."""
    copies = {REQUEST: files[REQUEST].decode()} if REQUEST in files else {}
    return {
        "generation": number,
        "created": meta.created.isoformat(),
        "origin": meta.origin,
        "issuer": meta.issuer,
        "authority": meta.authority,
        "order": meta.order,
        "asked": list(meta.asked),
        "terms": meta.terms,
        "missed": meta.missed.to_json() if meta.missed else None,
        "instead": meta.instead,
        "request": meta.request,
        "draw": meta.draw,
        "facts": facts.to_json(),
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        "files": dict(stamps),
        **copies,
    }


def _recorded(path: str, folder: int | None = None) -> Recorded | None:
    """What a meta.json says, None if it is none; raises OSError if that cannot be told."""
    try:
        known = undigested(_quick_read(path, folder))
        meta, facts = meta_from_json(known), CertificateFacts.from_json(known["facts"])
        request = str(known.get(REQUEST, "")).encode()
        return Recorded(meta, facts, known["sha256"], known["files"], request)
    except OSError as error:
        if error.errno in NOT_THE_FILES:
            raise
    except _NOT_OURS:
        pass
    return None  # then the files themselves are asked


def meta_from_json(known: Mapping[str, Any]) -> Meta:
    """What a document() says of it; KeyError, TypeError or ValueError if it is none."""
    draw = float(known["draw"])
    if not 0 <= draw < 1:
        raise ValueError(f"a draw of {draw}")
    return Meta(
        created=moment(known["created"]),
        origin=known["origin"],
        issuer=known["issuer"],
        authority=known["authority"],
        draw=draw,
        order=known["order"],
        asked=tuple(known.get("asked", ())),
        terms=str(known.get("terms", "")),
        missed=Missed.from_json(known.get("missed")),
        instead=str(known.get("instead", "")),
        request=str(known.get("request", "")),
    )
