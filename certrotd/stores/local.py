"""Generations in directories of the local file system, and ``live``, one link replaced by rename.

::

    STORE/NAME/live -> generations/000007
    STORE/NAME/generations/000007/{privkey,cert,chain,fullchain,combined}.pem, meta.json
        (request.pem instead of privkey.pem and combined.pem, where the key is elsewhere)
    STORE/NAME/state.json, and state.json.unreadable-TIME if it was damaged
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.errors import NeedsOperator
from certrotd.files.disktrouble import DiskTrouble, explained
from certrotd.files.reading import is_there
from certrotd.files.writable import check_directory, probe_file, probe_symlink
from certrotd.files.writing import (
    TEMPORARY,
    create_files,
    do_each,
    make_directory,
    remove_file,
    remove_tree,
    rename,
    replace_symlink,
    sweep_temporaries,
    write_file,
)
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.generation import CertificateState, Generation, Meta, Standing
from certrotd.stores.digest import digested
from certrotd.stores.exposure import exposures
from certrotd.stores.reading import (
    NUMBER,
    REQUEST,
    STATE,
    Recorded,
    content,
    document,
    generation_in,
    numbers_in,
    recorded_in,
    stamps_in,
    state_in,
)

if TYPE_CHECKING:  # a look that finds everything whole does without
    from certrotd.stores.wholeness import Examined

PROBE = 64 * 1024
_PRIVATE = ("privkey.pem", "combined.pem")
UNREADABLE = ".unreadable-"
DISPLACED = "displaced"
"""The directory beside the generations with what copies of them have replaced."""
KEPT = 3


class LocalStore:
    """The store in the directory ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._root = str(root)

    def look(self, name: str, *, thorough: bool = False) -> Standing:
        """As Store.look; cheap enough for 10,000 in a second, unless it is ``thorough``."""
        base = f"{self._root}/{name}"
        numbers, at = numbers_in(f"{base}/generations"), self.live(name)
        last = max(numbers, default=None)
        live = generation_in(base, at, thorough=thorough) if at is not None else None
        newest = live
        if last != at:
            newest = generation_in(base, last, thorough=thorough) if last is not None else None
        earlier: tuple[Generation, ...] = ()
        if live is None or live.facts is None:
            others = sorted({*numbers} - {at, last}, reverse=True)
            earlier = tuple(generation_in(base, each, thorough=True) for each in others)
        return Standing(live, newest, *state_in(base), earlier=earlier)

    def names(self) -> list[str]:
        """Every certificate there is something of, configured or not; no other directory."""
        with explained(f"read {self.root}"):
            try:
                names = [entry.name for entry in os.scandir(self.root) if entry.is_dir()]
            except FileNotFoundError:
                return []
        return sorted(name for name in names if os.path.isdir(self._generations(name)))

    def live(self, name: str) -> int | None:
        """The number of the generation ``live`` points at; None if there is no link."""
        link = f"{self._root}/{name}/live"
        try:
            target = os.readlink(link)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise DiskTrouble(f"read {link}", error) from error
            raise NeedsOperator(
                f"{link} is not a symbolic link", hint="move it away; certrotd creates its own"
            ) from None
        folder, _, number = target.rpartition("/")
        if folder != "generations" or not NUMBER.fullmatch(number):
            raise NeedsOperator(
                f"{link} points at {target!r}, not at a generation", hint="remove the link"
            )
        return int(number)

    def place(self, name: str) -> str:
        """As Store.place."""
        return f"{self._root}/{name}/live"

    def generation(self, name: str, number: int) -> Generation:
        """One generation, its files read, or told why it cannot be used."""
        return generation_in(f"{self._root}/{name}", number, thorough=True)

    def numbers(self, name: str) -> list[int]:
        """The sealed generations, oldest first."""
        return sorted(numbers_in(f"{self._root}/{name}/generations"))

    def check(self, name: str, *, dry: bool = False) -> None:
        """Whether the next generation could be written and put in place.

        Takes as much room as a generation needs: a disk that is all but full shows itself here.
        Raises DiskTrouble, or NeedsOperator if something else stands where ``live`` belongs. A
        ``dry`` check writes nothing, and believes what the system says of rights and room.
        """
        self.live(name)
        if dry:
            check_directory(self._generations(name), room=PROBE)
            return
        self._prepare(name)
        probe_symlink(self.root / name)
        probe_file(self._generations(name) / ".staging-check", PROBE)

    def stage_key(self, name: str, generation: int, pem: bytes) -> None:
        """Keep the new key durably, mode 0600, before anything is ordered for it."""
        staging = self._staging(name, generation)
        self._prepare(name)
        if not _is_directory(staging):
            _remove(staging)
            make_directory(staging, mode=0o755)
        from certrotd.pki.request import is_request

        file = (REQUEST, pem, 0o644) if is_request(pem) else ("privkey.pem", pem, 0o600)
        create_files(staging, [file], sync=True)

    def staged_key(self, name: str, generation: int) -> bytes | None:
        staged = (self._staged(name, generation, file) for file in ("privkey.pem", REQUEST))
        return next((each for each in staged if each is not None), None)

    def stage_chain(self, name: str, generation: int, pem: bytes) -> None:
        """Keep the issued chain durably: it cannot be had a second time."""
        staging = self._staging(name, generation)
        if not _is_directory(staging):
            raise NeedsOperator(f"{staging} is gone, and the key in it")
        create_files(staging, [("fullchain.pem", pem, 0o644)], sync=True)

    def staged_chain(self, name: str, generation: int) -> bytes | None:
        return self._staged(name, generation, "fullchain.pem")

    def seal(self, name: str, generation: int, meta: Meta) -> None:
        """As Store.seal; raises KeyMismatch, for what is remembered here is believed ever after."""
        from certrotd.pki.facts import facts_of, parse_certificates
        from certrotd.pki.request import holder_of
        from certrotd.pki.verify import verify_key
        from certrotd.stores.bundle import files_of

        staging = self._staging(name, generation)
        key, chain = self.staged_key(name, generation), self.staged_chain(name, generation)
        if key is None or chain is None:
            raise NeedsOperator(f"{staging} is incomplete: the key or the chain is missing")
        leaf = parse_certificates(chain, what="the staged chain")[0]
        verify_key(holder_of(key, what="the staged key"), leaf)
        shapes = files_of(key, chain)
        # replaced whole, and only if need be: until the generation is sealed, these are all there
        # is of a certificate that was paid for with an order
        if shapes.get("privkey", key) != key:
            write_file(staging / "privkey.pem", shapes["privkey"], mode=0o600)
        if shapes["fullchain"] != chain:
            write_file(staging / "fullchain.pem", shapes["fullchain"], mode=0o644)
        others = [each for each in ("cert", "chain", "combined") if each in shapes]
        files = [(f"{each}.pem", shapes[each], _mode(f"{each}.pem")) for each in others]
        create_files(staging, files, sync=False)
        named = {f"{shape}.pem": data for shape, data in shapes.items()}
        described = _described(staging, generation, meta, facts_of(leaf), named)
        create_files(staging, [("meta.json", described, 0o644)], sync=True)
        rename(staging, self._folder(name, generation))

    def rebuild(self, name: str, generation: int) -> None:
        """As Store.rebuild; each file is replaced by a rename, and holds what was sealed then."""
        folder, recorded, found = self._examined(name, generation)
        facts, meta, pair = found.generation.facts, found.generation.meta, found.pair
        if facts is None or meta is None or pair is None:
            raise NeedsOperator(f"{folder} cannot be used: {found.generation.broken}")
        with explained(f"read {folder}"):
            if (
                not found.wrong
                and recorded
                and recorded.stamps == stamps_in(str(folder), recorded.files)
            ):
                return
        from certrotd.stores.wholeness import files_of

        files = files_of(*pair)
        for file in found.wrong:
            if _is_directory(folder / file):
                raise NeedsOperator(f"{folder / file} is a directory", hint="move it away")
            if file in files:
                write_file(folder / file, files[file], mode=_mode(file))
        described = _described(folder, generation, meta, facts, files)
        write_file(folder / "meta.json", described, mode=0o644)

    def sealed(self, name: str, generation: int) -> bool:
        return _is_directory(self._folder(name, generation))

    def discard(self, name: str, generation: int) -> None:
        _remove(self._staging(name, generation))

    def read(self, name: str, generation: int) -> tuple[bytes, bytes]:
        """As Store.read; NeedsOperator if too many of the files are gone or damaged."""
        folder, _, found = self._examined(name, generation)
        if found.pair is None:
            raise NeedsOperator(f"{folder} cannot be used: {found.generation.broken}")
        return found.pair

    def exposed(self, name: str, generation: int) -> list[str]:
        """As Store.exposed; an access control list shows itself as rights of the group (acl(5)).

        What is no file any more is damage: to change its mode would change that of something else.
        """
        base, folder = self.root / name, self._folder(name, generation)
        found: list[str] = []
        with explained(f"look at {folder}"):
            try:
                owner = os.lstat(base).st_uid
                for path in (folder, *(folder / each for each in _PRIVATE)):
                    found += exposures(path, owner=owner, beside=base)
            except FileNotFoundError:
                pass
        return found

    def switch(self, name: str, generation: int) -> None:
        """As Store.switch: ``live`` is pointed at it by one rename."""
        if not self.sealed(name, generation):
            raise NeedsOperator(f"{self._folder(name, generation)} does not exist")
        self.rebuild(name, generation)
        replace_symlink(self.root / name / "live", f"generations/{generation:06d}")

    def record(self, name: str, state: CertificateState) -> None:
        write_file(self.root / name / STATE, digested(state.to_json()), mode=0o644)

    def mend(self, name: str, state: CertificateState, *, now: datetime) -> str:
        """As Store.mend; the last few that were damaged are kept."""
        path = self.root / name / STATE
        aside = path.with_name(f"{STATE}{UNREADABLE}{now:%Y%m%dT%H%M%S.%fZ}")
        with explained(f"keep {path} as {aside}"):
            try:
                # a second name, so that there is a state at any moment; never over something
                os.link(path, aside, follow_symlinks=False)
            except PermissionError:  # fs.protected_hardlinks: it is somebody else's
                os.rename(path, aside)
        self.record(name, state)
        kept = [each for each in os.listdir(path.parent) if each.startswith(STATE + UNREADABLE)]
        for each in sorted(kept)[:-KEPT]:
            remove_file(path.with_name(each))
        return str(aside)

    def sweep(self, name: str) -> None:
        """As Store.sweep; a link in the place of something of ours is removed, never followed."""
        clear = partial(self._clear, self._generations(name), ".staging-", ".trash-")
        do_each([clear, partial(sweep_temporaries, self.root / name)])

    def prune(self, name: str, keep: int, spare: Sequence[int]) -> None:
        """As Store.prune; a generation is renamed away before its files go, never half there."""
        live = self.live(name)
        if live is None:
            return
        earlier = [n for n in self.numbers(name) if n < live]
        old = [n for n in earlier[: max(0, len(earlier) - keep)] if n not in spare]
        # first what a crash left
        clear = partial(self._clear, self._generations(name), ".trash-")
        do_each([clear, *(partial(self._drop, name, n) for n in old)])

    def remove(self, name: str) -> None:
        """As Store.remove; first the link, so that nobody finds half a generation.

        What somebody else has put beside them stays.
        """
        base = self.root / name
        remove_file(base / "live")
        for each in ("generations", DISPLACED):
            if _is_directory(base / each):
                self._clear(base / each, "")
            _remove(base / each)
        with explained(f"read {base}"):
            try:
                names = os.listdir(base)
            except FileNotFoundError:
                return
        ours = [each for each in names if each.startswith(STATE) or each.endswith(TEMPORARY)]
        do_each([partial(_remove, base / each) for each in ours])
        if len(ours) == len(names):
            _remove(base)

    def _drop(self, name: str, generation: int) -> None:
        trash = self._generations(name) / f".trash-{generation:06d}"
        rename(self._folder(name, generation), trash)
        _remove(trash)

    def _clear(self, folder: Path, *prefixes: str) -> None:
        with explained(f"read {folder}"):
            try:
                names = os.listdir(folder)
            except FileNotFoundError:
                return
        do_each([partial(_remove, folder / each) for each in names if each.startswith(prefixes)])

    def _examined(self, name: str, generation: int) -> tuple[Path, Recorded | None, Examined]:
        """The directory of a generation, what its meta.json says, and what is in its files."""
        from certrotd.stores.wholeness import examine

        folder = self._folder(name, generation)
        if not _is_directory(folder):
            raise NeedsOperator(f"{folder} is not a generation's directory")
        recorded = recorded_in(folder)
        return folder, recorded, examine(folder, generation, recorded)

    def _staged(self, name: str, generation: int, file: str) -> bytes | None:
        staging = self._staging(name, generation)
        return content(staging / file) if _is_directory(staging) else None

    def _prepare(self, name: str) -> None:
        make_directory(self._generations(name), mode=0o755)

    def _generations(self, name: str) -> Path:
        return Path(f"{self._root}/{name}/generations")

    def _folder(self, name: str, generation: int) -> Path:
        return Path(f"{self._root}/{name}/generations/{generation:06d}")

    def _staging(self, name: str, generation: int) -> Path:
        return Path(f"{self._root}/{name}/generations/.staging-{generation:06d}")


def _described(
    folder: Path, number: int, meta: Meta, facts: CertificateFacts, files: Mapping[str, bytes]
) -> bytes:
    """The meta.json of a generation whose other files are in ``folder`` now."""
    with explained(f"read {folder}"):
        stamps = stamps_in(str(folder), list(files))
    return digested(document(number, meta, facts, files, stamps))


def _mode(file: str) -> int:
    return 0o600 if file in _PRIVATE else 0o644


def _is_directory(path: Path) -> bool:
    with explained(f"look at {path}"):
        try:
            return stat.S_ISDIR(os.lstat(path).st_mode)
        except FileNotFoundError:
            return False


def _remove(path: Path) -> None:
    """Remove a directory of ours, or whatever stands in its place; a link is never followed."""
    if _is_directory(path):
        remove_tree(path)
    elif is_there(path):
        remove_file(path)
