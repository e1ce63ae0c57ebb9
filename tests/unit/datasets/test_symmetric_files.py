"""Files that symmetric-encryption wrote come under another key, and hold what they held."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import shutil
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from certrotd.clock import ManualClock
from certrotd.codecs.encoding import Encoding
from certrotd.codecs.expectation import Length
from certrotd.codecs.symmetric_encryption import SymmetricEncryption
from certrotd.codecs.symmetric_header import read_header
from certrotd.config.file_datasets import FilesDatasetEntry
from certrotd.datasets.census import BY_BEGINNING
from certrotd.datasets.configured import Opened, opened
from certrotd.datasets.reencryption import Pass, Passed
from certrotd.files import rewriting
from certrotd.keyring.material import Algorithm, DataKey, KeySet, Material
from tests.contract.codec_cases import key_of

NOW = datetime(2027, 1, 1, tzinfo=UTC)
VECTORS = Path(__file__).parent.parent.parent / "vectors" / "symmetric_encryption"
ANYTHING = Length(0, 10**9)
CBC, CBC_2 = (key_of(Algorithm.AES_256_CBC, each) for each in (1, 2))
GCM, GCM_2 = (key_of(Algorithm.AES_256_GCM, each) for each in (1, 2))
BIG = random.Random(9).randbytes(3_000_017)
JPEG = b"\xff\xd8\xff\xe0" + BIG[:5000]


def codec(**options: Any) -> SymmetricEncryption:
    """That of whole files in memory, which has another implementation."""
    return SymmetricEncryption(ANYTHING, encoding=Encoding.NONE, **{"file": True, **options})


def both(old: DataKey, new: DataKey) -> KeySet:
    return KeySet.of([old, new], active=new.version)


class Tree:
    """A directory with files, and the dataset that it is."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.root.mkdir()
        self.options: dict[str, Any] = {}

    def add(self, name: str, data: bytes) -> Path:
        path = self.root / name
        path.write_bytes(data)
        os.chmod(path, 0o604)
        os.utime(path, ns=(10**18, 10**18 + 1))
        return path

    def with_it(self, use: Callable[[Opened], Any]) -> Any:
        told = {"type": "files", "roots": [str(self.root)], "codec": "symmetric-encryption"}
        entry = FilesDatasetEntry.model_validate({**told, **self.options})
        with opened("docs", entry) as found:
            return use(found)

    def run(self, keys: KeySet) -> Passed:
        def use(found: Opened) -> Passed:
            return Pass(found.dataset, found.form, keys, ManualClock(NOW), found.pace).run()

        return self.with_it(use)  # type: ignore[no-any-return]

    def census(self, keys: KeySet) -> dict[int, int]:
        tally = self.with_it(lambda found: found.tally(keys))
        assert tally.method == BY_BEGINNING
        return {**tally.by_version, 0: tally.plaintext, -1: tally.unopened}

    def left(self) -> list[str]:
        return sorted(each.name for each in self.root.iterdir())


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An empty one."""
    return Tree(tmp_path / "files")


@pytest.mark.parametrize("known", ["v4.6.0.json", "v5.0.0-dev.json"])
def test_files_of_the_gem_come_under_another_key_as_they_were(tree: Tree, known: str) -> None:
    """Compressed, chunked, with a key of their own or without: by the other implementation."""
    told = json.loads((VECTORS / known).read_text())
    there = [each for each in told["files"] if (VECTORS / each["file"]).exists()]
    assert len(there) > 5
    old = {}
    for each in told["keys"]:
        secret = Material(bytes.fromhex(each["key_hex"]))
        algorithm, iv = Algorithm(each["cipher_name"]), bytes.fromhex(each["iv_hex"])
        old[each["version"]] = DataKey(each["version"], algorithm, secret, "", iv)
    tree.options["content"] = "utf8"  # of small_raw_nork
    for each in there:
        tree.add(each["file"], (VECTORS / each["file"]).read_bytes())
    for made in (key_of(Algorithm.AES_256_CBC, 200), key_of(Algorithm.AES_256_GCM, 201)):
        keys = KeySet.of([*old.values(), made], active=made.version)
        assert tree.run(keys).count == 0
        assert tree.census(keys)[made.version] == len(there)
        for each in there:
            path = tree.root / each["file"]
            data = path.read_bytes()
            header = read_header(data)
            found = codec().decrypt(data, made)
            assert hashlib.sha256(found).hexdigest() == each["sha256"], path.name
            assert (header.compressed, bool(header.key)) == (each["compress"], each["random_key"])
            assert (path.stat().st_mode & 0o777, path.stat().st_mtime_ns) == (0o604, 10**18 + 1)
        old = {made.version: made}


@pytest.mark.parametrize(("old", "new"), [(CBC, CBC_2), (GCM, GCM_2), (CBC, GCM_2), (GCM, CBC_2)])
def test_a_large_file_is_as_the_codec_of_whole_files_reads_and_writes_it(
    tree: Tree, old: DataKey, new: DataKey
) -> None:
    """Around the sizes of chunks and of what is read at a time."""
    sizes = [1, 15, 16, 65535, 65536, 65537, 131072, 1 << 20, (1 << 20) - 16, len(BIG)]
    for size in sizes:
        tree.add(f"{size}", codec().encrypt(BIG[:size], old))
        tree.add(f"{size}.gz", codec(compress=True).encrypt(BIG[:size], old))
    keys = both(old, new)
    assert tree.run(keys).count == 0
    assert tree.census(keys) == {1: 0, 2: 2 * len(sizes), 0: 0, -1: 0}
    for size in sizes:
        for name in (f"{size}", f"{size}.gz"):
            data = (tree.root / name).read_bytes()
            assert codec().decrypt(data, new) == BIG[:size]
            assert read_header(data).key
    before = {each: (tree.root / each).stat().st_ino for each in tree.left()}
    tree.run(keys)
    assert {each: (tree.root / each).stat().st_ino for each in tree.left()} == before


def no_key(plaintext: bytes, **more: Any) -> bytes:
    return codec(file=False, **more).encrypt(plaintext, CBC)


def test_a_wrong_key_never_makes_a_file_of_noise(tree: Tree) -> None:
    """Of the same version, and CBC: it seems to fit every 256th time.

    What tells it is the file's own key, its compression, or that it is text.
    """
    tree.options["content"] = "utf8"
    for number in range(600):
        tree.add(f"raw{number}", no_key(b"text %d, of two blocks" % number))
    tree.add("own", codec().encrypt(JPEG, CBC))
    tree.add("gz", codec(compress=True).encrypt(JPEG, CBC))
    before = {each: (tree.root / each).read_bytes() for each in tree.left()}
    impostor = replace(CBC, material=key_of(Algorithm.AES_256_CBC, 1, seed="other").material)
    assert tree.run(both(impostor, CBC_2)).count == 602
    assert {each: (tree.root / each).read_bytes() for each in tree.left()} == before
    for number in range(1, 600):
        (tree.root / f"raw{number}").unlink()
    assert tree.run(both(CBC, CBC_2)).count == 0


def test_a_file_that_nothing_proves_is_left_alone_unless_it_is_said_to_be_text(tree: Tree) -> None:
    """CBC, without a key of its own, not compressed."""
    path = tree.add("raw", no_key(b"text"))
    [refused] = tree.run(both(CBC, CBC_2)).quarantined
    assert refused.why == "the file has no MAC, no key of its own, and is not compressed"
    assert codec().decrypt(path.read_bytes(), CBC) == b"text"
    tree.options["content"] = "utf8"
    path.write_bytes(no_key(JPEG))
    assert tree.run(both(CBC, CBC_2)).count == 1
    path.write_bytes(no_key(b"text"))
    assert tree.run(both(CBC, CBC_2)).count == 0
    assert codec().decrypt(path.read_bytes(), CBC_2) == b"text"


def test_what_is_damaged_is_listed_and_stays(tree: Tree) -> None:
    """Cut anywhere, altered, of another key, a bomb that never ends, zeros."""
    sealed = codec().encrypt(BIG[:200_000], GCM)
    packed = codec(compress=True).encrypt(b"a" * 100_000, CBC)
    damaged = {
        "altered": sealed[:100_000] + bytes([sealed[100_000] ^ 1]) + sealed[100_001:],
        "swapped": sealed[:200] + sealed[65752:131304] + sealed[200:65752] + sealed[131304:],
        "frame": sealed[: len(sealed) - 65536],
        "tag": sealed[:-3],
        "head": sealed[:20],
        "gz": packed[:-16],
        "crc": codec(file=False).encrypt(gzip.compress(b"x" * 50)[:-8] + bytes(8), CBC),
        "more": codec(file=False).encrypt(zlib.compress(b"x") + b"more", CBC),
        "zeros": bytes(4000),
        "other": codec().encrypt(b"x", key_of(Algorithm.AES_256_GCM, 9)),
        "text": b"readable",
        "magic": b"@EnC",
    }
    for name in ("gz", "crc", "more"):  # of version 3; they say that they are compressed
        data = damaged[name]
        damaged[name] = data[:4] + bytes([3, data[5] | 0x80]) + data[6:]
    for name, data in damaged.items():
        tree.add(name, data)
    keys = KeySet.of([replace(CBC, version=3), GCM, GCM_2], active=2)
    passed = tree.run(keys)
    assert passed.count == len(damaged)
    assert {each: (tree.root / each).read_bytes() for each in tree.left()} == damaged
    assert {str(each.key[1]) for each in passed.quarantined} == set(damaged)


def test_plaintext_is_encrypted_or_left_as_the_operator_says(tree: Tree) -> None:
    """What begins as the gem's files do, or with zeros, is never taken for it."""
    for plaintext, count in (("leave", 0), ("encrypt", 2)):
        tree.options["plaintext"] = plaintext
        tree.add("text", b"readable")
        tree.add("picture", JPEG)
        tree.add("magic", b"@EnC")
        tree.add("zeros", bytes(600))
        keys = both(CBC, CBC_2)
        assert tree.run(keys).count == 2
        assert tree.census(keys) == {1: 0, 2: count, 0: 2 - count, -1: 2}
    assert codec().decrypt((tree.root / "text").read_bytes(), CBC_2) == b"readable"
    assert codec().decrypt((tree.root / "picture").read_bytes(), CBC_2) == JPEG


class Killed(BaseException):
    """The process ends here."""


def test_killed_at_each_system_call_a_file_is_wholly_old_or_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next pass ends it, with no temporary file left."""
    left, survived, number = [0], False, 0

    def killing(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*arguments: Any, **named: Any) -> Any:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return real(*arguments, **named)

        return call

    keys, held = both(GCM, GCM_2), {"a": b"one", "b": b"other" * 50_000}
    while not survived:
        tree = Tree(tmp_path / str(number))
        for name, plaintext in held.items():
            tree.add(name, codec().encrypt(plaintext, GCM))
        with monkeypatch.context() as patch:
            left[0] = number
            for each in ("fsync", "rename", "utime", "fchmod", "unlink", "write", "fchown"):
                patch.setattr(os, each, killing(each))
            patch.setattr(rewriting, "_removed", lambda *_: None)
            try:
                tree.run(keys)
                survived = True
            except Killed:
                pass
        for name, plaintext in held.items():
            data = (tree.root / name).read_bytes()
            assert codec().decrypt(data, {b"\1": GCM, b"\2": GCM_2}[data[4:5]]) == plaintext
        assert tree.run(keys).count == 0
        assert tree.left() == ["a", "b"]
        assert tree.census(keys) == {1: 0, 2: 2, 0: 0, -1: 0}
        shutil.rmtree(tree.root)
        number += 1
    assert number > 10


def test_a_key_without_a_vector_of_its_own_is_refused_before_anything_is_written(
    tree: Tree,
) -> None:
    """It encrypts the keys of files."""
    tree.add("one", codec().encrypt(b"one", CBC))
    passed = tree.run(both(CBC, replace(CBC_2, iv=b"")))
    assert "no initialization vector" in passed.quarantined[0].why
    assert tree.left() == ["one"]
