"""What encryption of files costs, beside Cobblestone-256 alone.

Both read the same file in memory (tmpfs) in the same pieces, and write another there. They take
turns, and the best of each counts. Beside it, how many headers are wrapped anew a second on disk,
where each takes two syncs.
"""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor

from benchmarks.measure import ProgramFailed
from certrotd.clock import SystemClock
from certrotd.codecs.stream import CHUNK
from certrotd.codecs.stream_header import HEADER, read_header
from certrotd.config.file_datasets import FilesDatasetEntry
from certrotd.datasets.configured import opened
from certrotd.datasets.one_file import encrypt_file
from certrotd.datasets.reencryption import Pass
from certrotd.files.writing import write_all
from certrotd.keyring.material import Algorithm, DataKey, KeySet, Material

MIB = 512
SMALL = 2000
TURNS = 5
BUDGET = 0.9
MEMORY = Path("/dev/shm")
KEYS = [DataKey(n, Algorithm.AES_256_GCM, Material(os.urandom(32))) for n in (1, 2)]
OLD, NEW = (KeySet.of(KEYS, active=n) for n in (1, 2))


@dataclass(frozen=True)
class Files:
    """GB a second of the processor of each, and headers a second."""

    encrypted: float
    encrypted_bare: float
    reencrypted: float
    reencrypted_bare: float
    rewrapped: float


def measure() -> Files:
    """With files of its own."""
    where = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="certrotd-bench-", dir=where) as name:
        plain, root = Path(name, "plain"), Path(name, "root")
        root.mkdir()
        file, other = root / "file", Path(name, "other")
        with FileIO(plain, "w") as out:
            for _ in range(MIB):
                write_all(out.fileno(), os.urandom(CHUNK))
        best: dict[str, float] = {}
        acts: list[tuple[str, Callable[[], object]]] = [
            ("bare", lambda: _bare_encryption(plain, other)),
            ("ours", lambda: encrypt_file(plain, file, OLD, overwrite=True)),
            ("bare again", lambda: _bare_reencryption(file, other)),
            ("ours again", lambda: _reencrypted(root, content_keys="replace")),
        ]
        for _ in range(TURNS):
            for what, act in acts:
                began = time.process_time()  # nothing waits for a disk
                act()
                took = time.process_time() - began
                best[what] = max(best.get(what, 0), MIB * CHUNK / took / 1e9)
    with tempfile.TemporaryDirectory(prefix="certrotd-bench-") as disk:
        rewrapped = _rewrapped(Path(disk))
    return Files(best["ours"], best["bare"], best["ours again"], best["bare again"], rewrapped)


def _bare_encryption(source: Path, target: Path) -> None:
    encryptor = Cobblestone256Encryptor(bytes(32), b"")
    buffer, sealed = memoryview(bytearray(CHUNK)), memoryview(bytearray(CHUNK + CHUNK // 8))
    with FileIO(source) as file, FileIO(target, "w") as out:
        while size := file.readinto(buffer):
            out.write(sealed[: encryptor.update_into(buffer[:size], sealed)])
        write_all(out.fileno(), encryptor.finalize())
    target.unlink()  # as a file that is replaced


def _bare_reencryption(source: Path, target: Path) -> None:
    encryptor = Cobblestone256Encryptor(bytes(32), b"")
    buffer, plain = memoryview(bytearray(CHUNK)), memoryview(bytearray(CHUNK + CHUNK // 8))
    sealed = memoryview(bytearray(CHUNK + CHUNK // 4))
    with FileIO(source) as file, FileIO(target, "w") as out:
        header = read_header(file.read(HEADER), OLD)
        context = b"certrotd file\0" + header.fixed
        decryptor = Cobblestone256Decryptor(header.content.reveal(), context)
        while size := file.readinto(buffer):
            opened_size = decryptor.update_into(buffer[:size], plain)
            out.write(sealed[: encryptor.update_into(plain[:opened_size], sealed)])
        rest = encryptor.update(decryptor.finalize())
        write_all(out.fileno(), rest + encryptor.finalize())
    target.unlink()


def _reencrypted(root: Path, **more: object) -> None:
    entry = FilesDatasetEntry.model_validate({"type": "files", "roots": [str(root)], **more})
    with opened("files", entry) as found:
        Pass(found.dataset, found.form, NEW, SystemClock(), found.pace).run()
        if found.tally(NEW).by_version[1]:
            raise ProgramFailed("files are left under the old key")


def _rewrapped(directory: Path) -> float:
    plain, root = directory / "plain", directory / "root"
    root.mkdir()
    plain.write_bytes(os.urandom(4096))
    for number in range(SMALL):
        encrypt_file(plain, root / str(number), OLD, overwrite=True)
    began = time.perf_counter()
    _reencrypted(root)
    return SMALL / (time.perf_counter() - began)


def show(found: Files) -> None:
    """The figures as a table."""
    print(f"\na file of {MIB} MiB in memory:\n")
    print(f"{'':24}{'GB/CPU s':>8}{'Cobblestone alone':>20}{'ratio':>8}")
    for what, ours, bare in (
        ("encrypted", found.encrypted, found.encrypted_bare),
        ("encrypted anew", found.reencrypted, found.reencrypted_bare),
    ):
        print(f"{what:24}{ours:>8.2f}{bare:>20.2f}{100 * ours / bare:>6.0f} %")
    print(f"\n(≥{100 * BUDGET:.0f} %); wrapped anew on disk: {found.rewrapped:,.0f} files/s")
