"""Generations in directories of the local file system, and ``live``, one link replaced by rename.

::

    STORE/NAME/live -> generations/000007
    STORE/NAME/generations/000007/{privkey,cert,chain,fullchain,combined}.pem, meta.json
    STORE/NAME/state.json
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.pki.facts import CertificateFacts
from certrotd.pki.generation import Generation, Meta, Standing, State
from certrotd.rotation.files import (
    DiskTrouble,
    create_file,
    explained,
    make_directory,
    read_file,
    remove_tree,
    rename,
    replace_symlink,
    sweep_temporaries,
    sync_directory,
    write_file,
)

LIMIT = 4 * 1024 * 1024
_NUMBER = re.compile(r"[0-9]{6,}")
_GUARDED = ("privkey.pem", "fullchain.pem", "cert.pem")


class LocalStore:
    """The store in the directory ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._root = str(root)

    def look(self, name: str) -> Standing:
        """What is on disk of the certificate ``name``; cheap enough for 10,000 in a second."""
        base = f"{self._root}/{name}"
        try:
            numbers = [int(n) for n in os.listdir(f"{base}/generations") if _NUMBER.fullmatch(n)]
        except FileNotFoundError:
            return Standing()
        except OSError as error:
            raise DiskTrouble(f"read {base}/generations", error) from error
        number = self.live(name)
        live = self._generation(base, number) if number is not None else None
        newest = max(numbers, default=None)
        if newest is None or newest == number:
            newest_generation = live
        else:
            newest_generation = self._generation(base, newest)
        return Standing(live, newest_generation, self._state(base))

    def live(self, name: str) -> int | None:
        """The number of the generation ``live`` points at; None if there is no link."""
        link = f"{self._root}/{name}/live"
        try:
            target = os.readlink(link)
        except FileNotFoundError:
            return None
        except OSError:
            raise NeedsOperator(
                f"{link} is not a symbolic link", hint="move it away; certrotd makes its own"
            ) from None
        folder, _, number = target.rpartition("/")
        if folder != "generations" or not _NUMBER.fullmatch(number):
            raise NeedsOperator(
                f"{link} points at {target!r}, not at a generation", hint="remove the link"
            )
        return int(number)

    def generation(self, name: str, number: int) -> Generation:
        """One generation, parsed or told why it cannot be."""
        return self._generation(f"{self._root}/{name}", number)

    def numbers(self, name: str) -> list[int]:
        """The sealed generations, oldest first."""
        try:
            names = os.listdir(self._generations(name))
        except FileNotFoundError:
            return []
        return sorted(int(n) for n in names if _NUMBER.fullmatch(n))

    def check(self, name: str) -> None:
        """Write and remove a file where the next generation will be; raises DiskTrouble."""
        self._prepare(name)
        probe = self._generations(name) / f".staging-check{os.getpid()}"
        with explained(f"write {probe.parent}"):
            os.mkdir(probe, 0o700)
            try:
                # as large as a generation: a disk that is all but full shows itself here
                create_file(probe / "probe", b"\0" * 32 * 1024, mode=0o600)
            finally:
                remove_tree(probe)

    def stage_key(self, name: str, generation: int, pem: bytes) -> None:
        """Keep the new key durably, mode 0600, before anything is ordered for it."""
        staging = self._staging(name, generation)
        self._prepare(name)
        make_directory(staging, mode=0o755)
        create_file(staging / "privkey.pem", pem, mode=0o600)
        with explained(f"sync {staging}"):
            sync_directory(staging)

    def staged_key(self, name: str, generation: int) -> bytes | None:
        return _content(self._staging(name, generation) / "privkey.pem")

    def stage_chain(self, name: str, generation: int, pem: bytes) -> None:
        create_file(self._staging(name, generation) / "fullchain.pem", pem, mode=0o644)

    def staged_chain(self, name: str, generation: int) -> bytes | None:
        return _content(self._staging(name, generation) / "fullchain.pem")

    def seal(self, name: str, generation: int, meta: Meta) -> None:
        """As Store.seal. The caller has verified the pair; what is parsed here is remembered."""
        from certrotd.pki.facts import facts_of, parse_certificates
        from certrotd.stores.bundle import files_of

        staging = self._staging(name, generation)
        key, chain = self.staged_key(name, generation), self.staged_chain(name, generation)
        if key is None or chain is None:
            raise NeedsOperator(f"{staging} is incomplete: the key or the chain is missing")
        shapes = files_of(key, chain)
        create_file(staging / "fullchain.pem", shapes["fullchain"], mode=0o644)
        create_file(staging / "cert.pem", shapes["cert"], mode=0o644)
        create_file(staging / "chain.pem", shapes["chain"], mode=0o644)
        create_file(staging / "combined.pem", shapes["combined"], mode=0o600)
        facts = facts_of(parse_certificates(chain)[0])
        with explained(f"read {staging}"):
            document = _meta_to_json(generation, meta, facts, staging)
        create_file(staging / "meta.json", json.dumps(document, indent=1).encode(), mode=0o644)
        with explained(f"sync {staging}"):
            sync_directory(staging)
        rename(staging, self._folder(name, generation))

    def sealed(self, name: str, generation: int) -> bool:
        return self._folder(name, generation).is_dir()

    def discard(self, name: str, generation: int) -> None:
        remove_tree(self._staging(name, generation))

    def read(self, name: str, generation: int) -> tuple[bytes, bytes]:
        """As Store.read; NeedsOperator if the files are gone."""
        folder = self._folder(name, generation)
        key, chain = _content(folder / "privkey.pem"), _content(folder / "fullchain.pem")
        if key is None or chain is None:
            raise NeedsOperator(f"{folder} has no privkey.pem or no fullchain.pem")
        return key, chain

    def switch(self, name: str, generation: int) -> None:
        """Point ``live`` at a sealed generation by one rename."""
        if not self.sealed(name, generation):
            raise NeedsOperator(f"{self._folder(name, generation)} does not exist")
        replace_symlink(self.root / name / "live", f"generations/{generation:06d}")

    def record(self, name: str, state: State) -> None:
        data = json.dumps(state.to_json(), indent=1).encode()
        write_file(self.root / name / "state.json", data, mode=0o644)

    def sweep(self, name: str) -> None:
        generations = self._generations(name)
        try:
            names = os.listdir(generations)
        except FileNotFoundError:
            return
        for each in names:
            if each.startswith((".staging-", ".trash-")):
                remove_tree(generations / each)
        sweep_temporaries(self.root / name)

    def prune(self, name: str, keep: int, spare: Sequence[int]) -> None:
        """As Store.prune; a generation is renamed away before its files go, never half there."""
        live = self.live(name)
        if live is None:
            return
        earlier = [n for n in self.numbers(name) if n < live]
        for number in earlier[: max(0, len(earlier) - keep)]:
            if number in spare:
                continue
            trash = self._generations(name) / f".trash-{number:06d}"
            remove_tree(trash)
            rename(self._folder(name, number), trash)
            remove_tree(trash)

    def _prepare(self, name: str) -> None:
        make_directory(self._generations(name), mode=0o755)

    def _generations(self, name: str) -> Path:
        return self.root / name / "generations"

    def _folder(self, name: str, generation: int) -> Path:
        return self._generations(name) / f"{generation:06d}"

    def _staging(self, name: str, generation: int) -> Path:
        return self._generations(name) / f".staging-{generation:06d}"

    def _generation(self, base: str, number: int) -> Generation:
        folder = f"{base}/generations/{number:06d}"
        try:
            document = json.loads(_quick_read(f"{folder}/meta.json"))
            meta = _meta_from_json(document)
            if _stamps(folder) == document["files"]:
                return Generation(number, meta, CertificateFacts.from_json(document["facts"]))
        except (OSError, ValueError, KeyError, TypeError):
            meta = None  # then the files themselves are asked
        return _parsed(Path(folder), number, meta)

    def _state(self, base: str) -> State:
        path = f"{base}/state.json"
        try:
            return State.from_json(json.loads(_quick_read(path)))
        except FileNotFoundError:
            return State()
        except OSError as error:
            raise DiskTrouble(f"read {path}", error) from error
        except (ValueError, KeyError, TypeError, AttributeError):
            raise NeedsOperator(
                f"{path} is not a state that certrotd wrote",
                hint="remove it: every target is then proven again",
            ) from None


def _parsed(folder: Path, number: int, meta: Meta | None) -> Generation:
    """The slow way: the files were changed, or written by somebody else."""
    from certrotd.pki.facts import facts_of, parse_certificates
    from certrotd.pki.keys import load
    from certrotd.pki.verify import verify_key

    try:
        key, chain = _content(folder / "privkey.pem"), _content(folder / "fullchain.pem")
        if key is None or chain is None:
            missing = "privkey.pem" if key is None else "fullchain.pem"
            return Generation(number, meta, None, f"{missing} is missing")
        certificates = parse_certificates(chain, what="fullchain.pem")
        verify_key(load(key, what="privkey.pem"), certificates[0])
        return Generation(number, meta, facts_of(certificates[0]))
    except (InvalidInput, DiskTrouble) as failure:
        return Generation(number, meta, None, failure.message)


def _content(path: Path) -> bytes | None:
    try:
        return read_file(path, limit=LIMIT, follow=False)
    except FileNotFoundError:
        return None


def _quick_read(path: str) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return os.read(handle, LIMIT)
    finally:
        os.close(handle)


def _stamps(folder: str, stat: Callable[[str], os.stat_result] = os.stat) -> dict[str, list[int]]:
    # size, time and inode of the immutable files, as git's index does it: while they stand, the
    # facts in meta.json are those of the files, and nothing needs to be parsed
    stamps = {}
    for name in _GUARDED:
        status = stat(f"{folder}/{name}")
        stamps[name] = [status.st_size, status.st_mtime_ns, status.st_ino]
    return stamps


def _meta_to_json(
    number: int, meta: Meta, facts: CertificateFacts, staging: Path
) -> dict[str, Any]:
    files = sorted(path for path in staging.iterdir() if path.suffix == ".pem")
    return {
        "version": 1,
        "generation": number,
        "created": meta.created.isoformat(),
        "origin": meta.origin,
        "issuer": meta.issuer,
        "authority": meta.authority,
        "order": meta.order,
        "draw": meta.draw,
        "facts": facts.to_json(),
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
        "files": _stamps(str(staging)),
    }


def _meta_from_json(document: Mapping[str, Any]) -> Meta:
    return Meta(
        created=datetime.fromisoformat(document["created"]),
        origin=document["origin"],
        issuer=document["issuer"],
        authority=document["authority"],
        draw=float(document["draw"]),
        order=document["order"],
    )
