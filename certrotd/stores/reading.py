"""The files of a local store read back as values, quickly while nobody else has touched them."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic_core import from_json  # loaded by the configuration anyway; twice as quick as json

from certrotd.errors import InvalidInput
from certrotd.pki.certificate import CertificateFacts, moment
from certrotd.pki.generation import Generation, Meta, State
from certrotd.rotation.files import DiskTrouble, read_file

LIMIT = 4 * 1024 * 1024
STATE = "state.json"
NUMBER = re.compile(r"[0-9]{6}|[1-9][0-9]{6,11}")
_GUARDED = ("privkey.pem", "fullchain.pem", "cert.pem")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# nonblocking, so that a pipe in the place of a file is not waited for
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 64 * 1024
_NOT_OURS = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
# what says nothing of the files themselves
_NOT_THE_FILES = {errno.EACCES, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def numbers_in(generations: str) -> list[int]:
    """The generations in a directory, in no order; none if it is not there. Raises DiskTrouble."""
    try:
        return [int(name) for name in os.listdir(generations) if NUMBER.fullmatch(name)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DiskTrouble(f"read {generations}", error) from error


def generation_in(base: str, number: int) -> Generation:
    """A generation of the certificate whose directory is ``base``, or why it is broken.

    Raises DiskTrouble when it could not be looked at: then nothing is known of it.
    """
    folder = f"{base}/generations/{number:06d}"
    try:
        handle = os.open(folder, _DIRECTORY)
    except OSError as error:
        if error.errno in _NOT_THE_FILES:
            raise DiskTrouble(f"read {folder}", error) from error
        reason = DiskTrouble(f"read generation {number:06d}", error).message
        return Generation(number, None, None, reason)
    meta = None
    try:
        known = from_json(_quick_read("meta.json", handle))
        meta = _meta_from_json(known)
        if _stamps(handle) == known["files"]:
            return Generation(number, meta, CertificateFacts.from_json(known["facts"]))
    except (OSError, *_NOT_OURS):
        pass  # then the files themselves are asked
    finally:
        os.close(handle)
    return _parsed(Path(folder), number, meta)


def _parsed(folder: Path, number: int, meta: Meta | None) -> Generation:
    """The slow way: the files were changed, or written by somebody else."""
    from certrotd.pki.facts import facts_of, parse_certificates
    from certrotd.pki.keys import load
    from certrotd.pki.verify import verify_key

    try:
        key, chain = content(folder / "privkey.pem"), content(folder / "fullchain.pem")
        if key is None or chain is None:
            missing = "privkey.pem" if key is None else "fullchain.pem"
            return Generation(number, meta, None, f"{missing} is missing")
        certificates = parse_certificates(chain, what="fullchain.pem")
        verify_key(load(key, what="privkey.pem"), certificates[0])
        return Generation(number, meta, facts_of(certificates[0]))
    except InvalidInput as failure:
        return Generation(number, meta, None, failure.message)
    except DiskTrouble as trouble:
        if trouble.errno in _NOT_THE_FILES:
            raise
        return Generation(number, meta, None, trouble.message)


def state_in(base: str) -> tuple[State, str | None]:
    """The state beside the generations; an empty one, and why, if certrotd did not write it.

    Raises DiskTrouble when it could not be read: then it may be whole.
    """
    path = f"{base}/{STATE}"
    try:
        return State.from_json(from_json(_quick_read(path))), None
    except FileNotFoundError:
        return State(), None
    except OSError as error:
        raise DiskTrouble(f"read {path}", error) from error
    except _NOT_OURS:
        return State(), f"{path} is not a state that certrotd wrote"


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


def _stamps(folder: int) -> dict[str, list[int]]:
    # size, time and inode of the immutable files, as git's index does it: while they stand, the
    # facts in meta.json are those of the files, and nothing needs to be parsed
    stamps = {}
    for name in _GUARDED:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        stamps[name] = [status.st_size, status.st_mtime_ns, status.st_ino]
    return stamps


def stamps_in(folder: str) -> dict[str, list[int]]:
    """The stamps of a generation's files, for its meta.json; raises OSError."""
    handle = os.open(folder, _DIRECTORY)
    try:
        return _stamps(handle)
    finally:
        os.close(handle)


def document(
    number: int,
    meta: Meta,
    facts: CertificateFacts,
    shapes: Mapping[str, bytes],
    stamps: Mapping[str, list[int]],
) -> dict[str, Any]:
    """What meta.json says."""
    return {
        "version": 1,
        "generation": number,
        "created": meta.created.isoformat(),
        "origin": meta.origin,
        "issuer": meta.issuer,
        "authority": meta.authority,
        "order": meta.order,
        "asked": list(meta.asked),
        "terms": meta.terms,
        "draw": meta.draw,
        "facts": facts.to_json(),
        "sha256": {
            f"{shape}.pem": hashlib.sha256(data).hexdigest() for shape, data in shapes.items()
        },
        "files": dict(stamps),
    }


def _meta_from_json(known: Mapping[str, Any]) -> Meta:
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
    )
