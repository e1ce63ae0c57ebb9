"""Files are re-encrypted by the program itself, however often it is killed, in constant memory."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path

import pytest

from certrotd.codecs import stream
from certrotd.codecs.errors import Damaged
from certrotd.codecs.stream_header import HEADER, Header, new_header, read_header
from certrotd.files.writing import write_all
from certrotd.keyring.material import Algorithm, DataKey, KeySet, Material
from tests.integration.keyring_shop import keyset
from tests.parts.process import wait_until
from tests.parts.site import Site

pytestmark = pytest.mark.integration
MIB = 1024 * 1024
GIB = int(os.environ.get("CERTROTD_REENCRYPTION_GIB", "0"))
"""The size of the tree; without one, it is of some 60 MiB."""
SMALL = 300
LARGE, LARGE_SIZE = (4 * GIB, 256 * MIB) if GIB else (6, 8 * MIB)
KILLS = 10 if GIB else 4
WITHIN = 100.0 + 60 * GIB
"""Seconds, for what reads and writes all of it on a slow machine."""


@dataclass(frozen=True)
class Stored:
    """What a file is to hold, and to be like."""

    digest: bytes
    mode: int
    owner: int
    note: bytes


class Documents:
    """A tree of encrypted files."""

    def __init__(self, root: Path, keys: Path) -> None:
        self.root = root
        self._keys = keys
        self.stored: dict[str, Stored] = {}

    def keys(self) -> KeySet:
        """Those that applications have, the one that encrypts as version 1000."""
        primary, keys = keyset(self._keys)
        made = [
            DataKey(1000 if number == primary else index, Algorithm.AES_256_GCM,
                    Material(secret), str(number))
            for index, (number, secret) in enumerate(keys.items(), 1)
        ]  # fmt: skip
        return KeySet.of(made, active=1000)

    def fill(self) -> None:
        """Small files and large ones, under the present key."""
        chance, key = random.Random(13), self.keys().encrypting
        for number in range(SMALL + LARGE):
            large = number >= SMALL
            size = LARGE_SIZE + number if large else chance.randrange(1, 60_000)
            path, digest = self.root / f"{number % 7}" / f"{number}.crd", hashlib.sha256()
            path.parent.mkdir(parents=True, exist_ok=True)
            header = new_header(key)
            with path.open("wb", buffering=0) as file:
                file.write(header.data)
                source = _content(chance, size, digest.update)
                stream.encrypt(header, partial(_next, source, bytearray()), file.write)
            mode, owner, note = 0o600 | number % 8, number % 3, b"note %d" % number
            os.chown(path, owner, -1)
            os.chmod(path, mode)
            os.setxattr(path, "user.note", note)
            os.utime(path, (1e9 + number, 1e9 + number))
            name = str(path.relative_to(self.root))
            self.stored[name] = Stored(digest.digest(), mode, owner, note)

    def headers(self) -> Mapping[str, Header]:
        """Of every file that opens, which each must."""
        keys = self.keys()
        found = {}
        for name in self.stored:
            with (self.root / name).open("rb") as file:
                found[name] = read_header(file.read(HEADER), keys)
        return found

    def done(self) -> int:
        """How many files are under the active key alone, as far as they were begun."""
        return sum(each.is_under(1000) for each in self.headers().values())

    def check(self) -> None:
        """Every file opens, holds what it held, and is like it was."""
        for name, header in self.headers().items():
            path, digest = self.root / name, hashlib.sha256()
            with FileIO(path) as file:
                file.seek(HEADER)
                stream.decrypt(header, file.readinto, digest.update)
            status, note = path.stat(), os.getxattr(path, "user.note")
            like = Stored(digest.digest(), stat.S_IMODE(status.st_mode), status.st_uid, note)
            assert like == self.stored[name], name

    def others(self) -> set[str]:
        """What is there beside them."""
        there = {str(e.relative_to(self.root)) for e in self.root.rglob("*") if e.is_file()}
        return there - self.stored.keys()

    def times(self) -> dict[str, float]:
        return {name: (self.root / name).stat().st_mtime for name in self.stored}


def _content(chance: random.Random, size: int, seen: Callable[[bytes], None]) -> Iterator[bytes]:
    for begin in range(0, size, MIB):
        piece = chance.randbytes(min(MIB, size - begin))
        seen(piece)
        yield piece


def _next(source: Iterator[bytes], left: bytearray, into: memoryview) -> int:
    if not left:
        left += next(source, b"")
    size = min(len(left), len(into))
    into[:size] = left[:size]
    del left[:size]
    return size


@pytest.fixture
def documents(site: Site) -> Documents:
    """Files under the first key of a keyring."""
    keys, root = site.directory / "keys.json", site.directory / "docs"
    dataset = {"type": "files", "roots": [str(root)], "include": ["**/*.crd"]}
    site.config["keyrings"] = {
        "orders": {
            "outputs": [{"type": "tink", "path": str(keys)}],
            "datasets": {"docs": dataset},
        }
    }
    assert site.run("rotate", "key/orders").code == 0
    found = Documents(root, keys)
    found.fill()
    return found


def counts(site: Site) -> dict[int, int]:
    ran = site.run("keys", "reencrypt", "orders", "--dry-run", "--json")
    assert ran.code == 0, ran
    [told] = ran.json
    return {each["version"]: each["count"] for each in told["values"]}


def killed_often(site: Site, documents: Documents, chance: random.Random, within: float) -> int:
    """Kill it ``within`` seconds until nearly done; how often it was at work when it was killed."""
    kills = 0
    for _ in range(KILLS):
        before = documents.done()
        if before > SMALL + LARGE - 26:
            break
        started = site.start("keys", "reencrypt", "orders")
        wait_until(lambda: started.is_over or documents.done() > before)  # noqa: B023
        time.sleep(chance.random() * within)
        kills += not started.is_over
        started.signal(signal.SIGKILL)
        started.end()
        documents.check()
    return kills


def test_files_are_whole_however_often_it_is_killed(site: Site, documents: Documents) -> None:
    """While headers are wrapped anew, and while all content is encrypted anew.

    Each file is under the old key or the new one, nothing is left beside them at the end, and the
    old key is retired.
    """
    chance, total, times = random.Random(7), SMALL + LARGE, documents.times()
    assert site.run("keys", "rotate", "orders", "--reason", "test").code == 0
    assert counts(site) == {1: total, 2: 0}
    kills = killed_often(site, documents, chance, 0.02)
    assert kills > 1
    assert site.run("keys", "reencrypt", "orders", within=WITHIN).code == 0
    assert documents.done() == total
    changed = [name for name, at in documents.times().items() if at != times[name]]
    assert len(changed) <= kills, "a kill may leave the time of one file"
    began = {name: each.content for name, each in documents.headers().items()}

    assert site.run("keys", "rotate", "orders", "--reason", "test").code == 0
    site.config["keyrings"]["orders"]["datasets"]["docs"]["content_keys"] = "replace"
    kills = killed_often(site, documents, chance, 5.0 if GIB else 0.02)
    assert kills > 1
    half = documents.root / "3" / ".0123456789abcdef.certrotd-tmp"
    half.write_bytes(b"of a file that is gone")
    assert site.run("keys", "reencrypt", "orders", within=WITHIN).code == 0
    assert documents.done() == total
    documents.check()
    assert documents.others() == set()
    assert all(each.content != began[name] for name, each in documents.headers().items())
    told = counts(site)
    assert (told[1], told[2], told[3]) == (0, 0, total)


def test_the_check_notices_a_file_that_is_not_whole(documents: Documents) -> None:
    """The negative control."""
    documents.check()
    with (documents.root / "0/0.crd").open("r+b") as file:
        file.seek(HEADER + 60)
        file.write(b"x")
    with pytest.raises(Damaged):
        documents.check()


MEASURED = """
import os, resource, sys
from pathlib import Path
from certrotd.clock import SystemClock
from certrotd.config.file_datasets import FilesDatasetEntry
from certrotd.datasets.configured import opened
from certrotd.datasets.reencryption import Pass
from certrotd.keyring.material import Algorithm, DataKey, KeySet, Material

def key(number):
    return DataKey(number, Algorithm.AES_256_GCM, Material(bytes([number]) * 32))

def run(root, active, **more):
    entry = FilesDatasetEntry.model_validate({"type": "files", "roots": [root], **more})
    with opened("docs", entry) as found:
        keys = KeySet.of([key(1), key(2)], active=active)
        assert Pass(found.dataset, found.form, keys, SystemClock(), found.pace).run().count == 0
        assert found.tally(keys).by_version[active] == 1

codec, small, large = sys.argv[1:]
replaces = {"content_keys": "replace"} if codec == "stream" else {}
peaks = []
for root in (small, large):
    run(root, 1, codec=codec, plaintext="encrypt")
    run(root, 2, codec=codec, **replaces)
    run(root, 1, codec=codec)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(peaks[1] - peaks[0])
"""


@pytest.mark.parametrize(("codec", "most"), [("stream", 256), ("symmetric-encryption", 64)])
def test_memory_stays_the_same_for_a_large_file(tmp_path: Path, codec: str, most: int) -> None:
    """Encrypted, encrypted anew, and wrapped anew: as for one of 4 MiB."""
    for name, size in (("small", 4), ("large", most)):
        (tmp_path / name).mkdir()
        with (tmp_path / name / "file").open("wb", buffering=0) as file:
            for _ in range(size):
                write_all(file.fileno(), os.urandom(1024) * 1024)
    argv = [
        sys.executable,
        "-c",
        MEASURED,
        codec,
        *map(str, (tmp_path / "small", tmp_path / "large")),
    ]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < 4 * 1024, "KiB"
