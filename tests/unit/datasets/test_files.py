"""Files as a dataset: wrapped anew, or encrypted anew, by the same pass and census as tables."""

from __future__ import annotations

import errno
import io
import os
import random
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from certrotd.clock import ManualClock
from certrotd.codecs import stream
from certrotd.codecs.fernet import FernetTokens
from certrotd.codecs.stream_header import HEADER, SLOT, Cipher, new_header, read_header
from certrotd.codecs.tink import Tink
from certrotd.config.file_datasets import FilesDatasetEntry
from certrotd.datasets import files
from certrotd.datasets.census import BY_BEGINNING, BY_TRIAL
from certrotd.datasets.configured import Opened, opened
from certrotd.datasets.exposure import Exposure
from certrotd.datasets.reencryption import Pace, Pass, Passed, trial
from certrotd.datasets.streamed import Rewrite
from certrotd.errors import NeedsOperator
from certrotd.files import rewriting
from certrotd.files.disktrouble import DiskTrouble
from certrotd.files.writing import TEMPORARY
from certrotd.keyring.material import Algorithm, DataKey, KeySet
from tests.contract.codec_cases import key_of

NOW = datetime(2027, 1, 1, tzinfo=UTC)
FIRST, SECOND, THIRD = (key_of(Algorithm.AES_256_GCM, each) for each in (1, 2, 3))
KEYS = KeySet.of([FIRST, SECOND], active=2)
LATER = KeySet.of([FIRST, SECOND, THIRD], active=3)
NAMES = {"1": 1, "2": 2, "3": 3}
BIG = random.Random(5).randbytes(3 * stream.CHUNK + 17)


def sealed(plaintext: bytes, key: DataKey = FIRST) -> bytes:
    header, out = new_header(key), io.BytesIO()
    stream.encrypt(header, io.BytesIO(plaintext).readinto, out.write)
    return header.data + out.getvalue()


def unsealed(path: Path, keys: KeySet = KEYS) -> bytes:
    data, out = path.read_bytes(), io.BytesIO()
    stream.decrypt(read_header(data, keys), io.BytesIO(data[HEADER:]).readinto, out.write)
    return out.getvalue()


def only(key: DataKey) -> KeySet:
    return KeySet.of([key], active=key.version)


class Tree:
    """A directory with encrypted files, and the dataset that it is."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.exposure = Exposure(NAMES)
        self.options: dict[str, Any] = {}
        self.plaintexts: dict[str, bytes] = {}

    def add(self, name: str, plaintext: bytes, key: DataKey = FIRST) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sealed(plaintext, key))
        os.utime(path, ns=(10**18, 10**18 + 1))
        self.plaintexts[name] = plaintext
        return path

    def with_it(self, use: Callable[[Opened], Any]) -> Any:
        told = {"type": "files", "roots": [str(self.root)], **self.options}
        entry = FilesDatasetEntry.model_validate(told)
        with opened("docs", entry, lambda: self.exposure) as found:
            return use(found)

    def run(self, keys: KeySet = KEYS) -> Passed:
        def use(found: Opened) -> Passed:
            return Pass(found.dataset, found.form, keys, ManualClock(NOW), found.pace).run()

        return self.with_it(use)  # type: ignore[no-any-return]

    def census(self, keys: KeySet = KEYS) -> dict[int, int]:
        tally = self.with_it(lambda found: found.tally(keys))
        assert tally.method == BY_TRIAL
        return {**tally.by_version, 0: tally.plaintext, -1: tally.unopened}

    def check(self, keys: KeySet) -> None:
        """Every plaintext is what it was, under those keys alone, and nothing else is there."""
        there = {
            str(each.relative_to(self.root)) for each in self.root.rglob("*") if each.is_file()
        }
        assert there == self.plaintexts.keys()
        for name, plaintext in self.plaintexts.items():
            assert unsealed(self.root / name, keys) == plaintext, name


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Some files under the first key, one of them large."""
    found = Tree(tmp_path / "docs")
    for number in range(20):
        found.add(f"{number % 3}/{number}", b"file %d" % number)
    found.add("big", BIG)
    found.add("new", b"under the active key", SECOND)
    (found.root / "empty").touch()
    found.plaintexts["empty"] = b""
    return found


@pytest.mark.parametrize(
    "edited",
    [
        {"plaintext": "encrypt"},
        {"content_keys": "replace"},
        {"content_cipher": "aes-256-gcm-hkdf"},
        {"exclude": ["x"]},
    ],
    ids=lambda each: next(iter(each)),
)
def test_a_position_is_none_where_files_are_to_be_something_else(
    tree: Tree, edited: dict[str, Any]
) -> None:
    """Those before it would be left as they are; how fast it goes does not matter."""
    before = tree.with_it(lambda found: found.order)
    tree.options = {"files_per_second": 5}
    assert tree.with_it(lambda found: found.order) == before
    tree.options = edited
    assert tree.with_it(lambda found: found.order) != before


def without_empty(tree: Tree) -> None:
    (tree.root / "empty").unlink()
    del tree.plaintexts["empty"]


def test_a_pass_wraps_every_header_anew_and_touches_nothing_else(tree: Tree) -> None:
    """Content, inode and time stay, of the old key nothing; a second pass writes nothing."""
    before = {each: (each.stat(), each.read_bytes()) for each in tree.root.rglob("*")
              if each.is_file()}  # fmt: skip
    assert tree.census() == {1: 21, 2: 1, 0: 0, -1: 0}
    assert tree.run().count == 0
    assert tree.census() == {1: 0, 2: 22, 0: 0, -1: 0}
    for path, (status, data) in before.items():
        now = path.stat()
        assert (now.st_ino, now.st_mtime_ns) == (status.st_ino, status.st_mtime_ns), path
        assert path.read_bytes()[HEADER:] == data[HEADER:]
    assert (tree.root / "empty").stat().st_size == 0
    changed = {each: each.stat().st_ctime_ns for each in before}
    tree.run()
    assert {each: each.stat().st_ctime_ns for each in before} == changed
    without_empty(tree)
    tree.check(only(SECOND))


def test_a_file_whose_content_key_may_be_known_is_encrypted_anew(tree: Tree) -> None:
    """Also after it was wrapped anew: who has an old copy has the content key. So the census says.

    A file that began under a later key is none of them.
    """
    without_empty(tree)
    tree.run()
    old = {each: (each.read_bytes(), each.stat()) for each in tree.root.rglob("*")
           if each.is_file()}  # fmt: skip
    tree.exposure = replace(tree.exposure, compromised=frozenset({1}))
    assert tree.census() == {1: 21, 2: 1, 0: 0, -1: 0}
    assert tree.run().count == 0
    assert tree.census() == {1: 0, 2: 22, 0: 0, -1: 0}
    tree.check(only(SECOND))
    for path, (data, status) in old.items():
        kept = path.name == "new"
        header, was = read_header(path.read_bytes(), KEYS), read_header(data, KEYS)
        assert (header.content == was.content) is kept
        assert (path.read_bytes()[HEADER:] == data[HEADER:]) is kept
        assert path.stat().st_mtime_ns == status.st_mtime_ns


def test_a_key_that_was_compromised_in_between_exposes_what_began_before_it(tree: Tree) -> None:
    """And not what began after it, though the census counts for a key that is destroyed."""
    without_empty(tree)
    tree.run()
    tree.run(LATER)
    tree.exposure = replace(tree.exposure, compromised=frozenset({2}))
    later = KeySet.of([FIRST, THIRD], active=3)
    assert tree.census(later) == {1: 0, 2: 22, 3: 0, 0: 0, -1: 0}
    tree.add("newest", b"newest", THIRD)
    tree.run(later)
    assert tree.census(later) == {1: 0, 3: 23, 0: 0, -1: 0}
    tree.check(only(THIRD))


def test_content_keys_are_replaced_at_each_rotation_if_asked_for(tree: Tree) -> None:
    """Once: what has begun under the active key stays."""
    without_empty(tree)
    tree.options["content_keys"] = "replace"
    contents = {each: read_header((tree.root / each).read_bytes(), KEYS).content
                for each in tree.plaintexts}  # fmt: skip
    assert tree.census() == {1: 21, 2: 1, 0: 0, -1: 0}
    tree.run()
    assert tree.census() == {1: 0, 2: 22, 0: 0, -1: 0}
    tree.check(only(SECOND))
    for name, content in contents.items():
        now = read_header((tree.root / name).read_bytes(), KEYS).content
        assert (now == content) is (name == "new")


def damage(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_what_does_not_open_is_listed_and_never_touched(tree: Tree) -> None:
    """By its path; the others are done, and every one counts as left under each old key."""
    without_empty(tree)
    wrong = {
        "plain": b"readable",
        "short": sealed(b"x")[:700],
        "other": sealed(b"x", key_of(Algorithm.AES_256_GCM, 9)),
        "zeros": bytes(5000),
    }
    for name, data in wrong.items():
        (tree.root / name).write_bytes(data)
    passed = tree.run()
    assert passed.count == 4
    words = [each.words(()) for each in passed.quarantined]
    assert [each.partition(":")[0] for each in words] == [
        str(tree.root / each) for each in ("other", "plain", "short", "zeros")
    ]
    assert "names key 9, which is not at hand" in words[0]
    assert {name: (tree.root / name).read_bytes() for name in wrong} == wrong
    tally = tree.with_it(lambda found: found.tally(KEYS))
    assert (tally.left(1), tally.unopened, tally.by_version[2]) == (4, 4, 22)


def test_damaged_content_is_noticed_where_it_is_encrypted_anew(tree: Tree) -> None:
    """It stays as it is, and is listed; nothing is left beside it."""
    without_empty(tree)
    damage(tree.root / "big", HEADER + 40_000)
    damaged = (tree.root / "big").read_bytes()
    tree.exposure = replace(tree.exposure, compromised=frozenset({1}))
    passed = tree.run()
    [quarantined] = passed.quarantined
    assert quarantined.words(()) == (
        f"{tree.root}/big: its content does not open: it was altered or cut short"
    )
    assert (tree.root / "big").read_bytes() == damaged
    assert tree.census() == {1: 1, 2: 21, 0: 0, -1: 0}
    assert not list(tree.root.rglob("*.certrotd-tmp"))


@pytest.mark.parametrize("plaintext", ["refuse", "encrypt", "leave"])
def test_plaintext_is_refused_encrypted_or_left(tree: Tree, plaintext: str) -> None:
    """As the operator says; what may be damaged ciphertext is never encrypted."""
    without_empty(tree)
    tree.options["plaintext"] = plaintext
    picture = b"\xff\xd8\xff\xe0" + random.Random(1).randbytes(100_000)
    for name, data in (("text", b"readable"), ("picture", picture)):
        (tree.root / name).write_bytes(data)
        os.chmod(tree.root / name, 0o604)
    (tree.root / "damaged").write_bytes(sealed(b"x")[:700])
    (tree.root / "zeros").write_bytes(bytes(600) + b"x")
    expected = {"refuse": (0, 4), "encrypt": (2, 2), "leave": (2, 2)}[plaintext]
    census = tree.census()
    assert (census[0], census[-1]) == expected
    assert tree.run().count == expected[1]
    if plaintext == "encrypt":
        for name, data in (("text", b"readable"), ("picture", picture)):
            assert unsealed(tree.root / name, only(SECOND)) == data
            assert stat.S_IMODE((tree.root / name).stat().st_mode) == 0o604
        assert tree.census()[0] == 0
    else:
        assert (tree.root / "picture").read_bytes() == picture


@pytest.mark.parametrize("planted", ["directory", "link"])
def test_what_others_plant_in_the_way_holds_up_no_other_file(tree: Tree, planted: str) -> None:
    """Where a temporary file would be: it is no file of certrotd's, and stays."""
    without_empty(tree)
    tree.options["content_keys"] = "replace"
    path = tree.root / "0/0"
    way = path.with_name(rewriting._temporary_of(path.name))
    way.mkdir() if planted == "directory" else way.symlink_to("/dev/null")
    [quarantined] = tree.run().quarantined
    assert (
        quarantined.words(()) == f"{path}: {way.name} is in its way, and certrotd did not write it"
    )
    assert tree.census()[1] == 1
    way.rmdir() if planted == "directory" else way.unlink()
    assert tree.run().count == 0
    tree.check(only(SECOND))


def test_a_temporary_file_of_another_user_is_left_to_it(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may write one into a directory that all may write to."""
    without_empty(tree)
    planted = tree.root / f".0123456789abcdef{TEMPORARY}"
    planted.write_bytes(b"")

    def refused(_folder: int, name: str) -> None:
        assert name == planted.name
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(files, "sweep", refused)
    assert tree.run().count == 0
    planted.unlink()
    tree.check(only(SECOND))


def test_a_write_of_others_wins(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a file is opened, and while its content is written; it is looked at again."""
    without_empty(tree)
    tree.exposure = replace(tree.exposure, compromised=frozenset({1}))
    renew, theirs = Rewrite.fill, {"0/0": b"theirs", "big": b"small now"}

    def racing(how: Rewrite, old: int, new: int) -> None:
        renew(how, old, new)
        name = os.path.relpath(os.readlink(f"/proc/self/fd/{old}"), tree.root)
        if name in theirs:
            tree.add(name, theirs.pop(name))
        if name == "1/1":
            os.unlink(tree.root / name)
            tree.plaintexts.pop(name)

    monkeypatch.setattr(Rewrite, "fill", racing)
    assert tree.run().count == 0
    assert not theirs
    assert tree.census()[1] == 0
    tree.check(only(SECOND))


def test_a_header_that_others_write_meanwhile_is_never_emptied(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody overwrites the file between the two slots: the slot that was used is now theirs."""
    without_empty(tree)
    pwrite, path = os.pwrite, tree.root / "big"
    other = sealed(b"theirs, in place")

    def racing(handle: int, data: bytes, at: int) -> int:
        done = pwrite(handle, data, at)
        if at == SLOT and os.readlink(f"/proc/self/fd/{handle}") == str(path) and other:
            path.write_bytes(other)
            monkeypatch.setattr(os, "pwrite", pwrite)
        return done

    monkeypatch.setattr(os, "pwrite", racing)
    tree.run()
    assert unsealed(path, only(SECOND)) == b"theirs, in place"


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("compromised", [frozenset(), frozenset({1})])
def test_killed_at_each_system_call_a_file_opens_and_the_next_pass_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compromised: frozenset[int]
) -> None:
    """Whatever it was about to do; no temporary file stays."""
    calls = ("pwrite", "fsync", "rename", "utime", "fchmod", "unlink", "write", "fchown")
    left = [0]

    def killing(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*arguments: Any, **named: Any) -> Any:
            if left[0] == 0:
                if name in ("pwrite", "write"):  # a part of it was written
                    real(arguments[0], bytes(arguments[1])[:100], *arguments[2:])
                raise Killed
            left[0] -= 1
            return real(*arguments, **named)

        return call

    survived = False
    for number in range(100):
        tree = Tree(tmp_path / str(number))
        tree.exposure = replace(tree.exposure, compromised=compromised)
        tree.add("a", b"one")
        tree.add("b", b"other" * 10_000)
        with monkeypatch.context() as patch:
            left[0] = number
            for each in calls:
                patch.setattr(os, each, killing(each))
            # a kill leaves the temporary file
            patch.setattr(rewriting, "_removed", lambda *_: None)
            try:
                tree.run()
                survived = True
            except Killed:
                pass
        for name, plaintext in tree.plaintexts.items():
            assert unsealed(tree.root / name) == plaintext, (number, name)
        assert tree.run().count == 0
        assert tree.census() == {1: 0, 2: 2, 0: 0, -1: 0}
        tree.check(only(SECOND))
        if survived:
            break
    assert survived
    assert number > 8


def test_a_file_that_may_not_be_read_or_written_is_listed_and_the_rest_is_done(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, which is no matter of one file, ends the pass."""
    without_empty(tree)
    real_open = os.open

    def refusing(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if path == "5" or (path == "7" and flags & os.O_RDWR):
            raise PermissionError(13, "Permission denied")
        return real_open(path, flags, *more, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refusing)
        passed = tree.run()
        assert sorted(each.words(()) for each in passed.quarantined) == [
            f"{tree.root}/1/7: it cannot be written: Permission denied",
            f"{tree.root}/2/5: it cannot be read: Permission denied",
        ]
        assert tree.census() == {1: 1, 2: 20, 0: 0, -1: 1}

    def not_mine(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(os, "utime", not_mine)
        before = (tree.root / "1/7").read_bytes()
        assert tree.run().count == 2
        assert (tree.root / "1/7").read_bytes() == before

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(DiskTrouble, match="No space"):
        tree.run()


def test_a_file_with_several_names_is_wrapped_anew_but_not_replaced(tree: Tree) -> None:
    """One inode has one header; a rename would leave the other name with the old content."""
    without_empty(tree)
    os.link(tree.root / "big", tree.root / "zz")
    tree.plaintexts["zz"] = BIG
    assert tree.run().count == 0
    tree.check(only(SECOND))
    tree.exposure = replace(tree.exposure, compromised=frozenset({1}))
    passed = tree.run()
    assert ["hard links" in each.why for each in passed.quarantined] == [True, True]


def test_a_root_that_is_no_directory_of_its_own_forbids_it(tree: Tree) -> None:
    """A link, a file; a root that is away is waited for."""

    def codes() -> list[str]:
        return tree.with_it(lambda found: [e.code for e in found.dataset.findings()])  # type: ignore[no-any-return]

    assert codes() == []
    real = tree.root
    tree.root = real.with_name("link")
    tree.root.symlink_to(real)
    assert codes() == ["link"]
    tree.root = real / "big"
    assert codes() == ["kind"]
    tree.root = real / "gone"
    assert codes() == []
    with pytest.raises(DiskTrouble, match="gone"):
        tree.run()
    tree.root.mkdir()
    with pytest.raises(NeedsOperator, match="no file in"):
        tree.run()


def test_memory_and_batches_are_bounded(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch ends where its files are large; a walk that goes on reads no directory again."""
    monkeypatch.setattr(files, "_BUDGET", 1000)
    scans = []
    scandir = os.scandir

    def scanning(folder: int) -> Any:
        scans.append(folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", scanning)

    def use(found: Opened) -> list[int]:
        sizes, after = [], None
        while rows := found.dataset.rows(after, 1000, ()):
            sizes.append(len(rows))
            after = rows[-1].key
        return sizes

    assert tree.with_it(use) == [1] * 22
    assert len(scans) == 4
    tried = tree.with_it(
        lambda found: trial(found.dataset, found.form, KEYS, Pace(5), ManualClock(NOW))
    )
    assert (tried.rows, tried.seconds) == (22, 0.0)


def test_small_files_of_a_codec_are_replaced_whole(tmp_path: Path) -> None:
    """Tink's begin with their key's id, so that the census reads five bytes of each."""
    root = tmp_path / "small"
    root.mkdir()
    for number in range(10):
        bound = f"app/{number}".encode()
        (root / str(number)).write_bytes(Tink().encrypt(b"v%d" % number, FIRST, bound))
    (root / "large").write_bytes(b"\x01" + bytes(files.WHOLE))
    tree = Tree(root)
    tree.options = {"codec": "tink", "associated_data": "app/{path}"}
    passed = tree.run()
    assert [each.why for each in passed.quarantined] == [
        f"it is larger than {files.WHOLE:,} bytes, which are read whole"
    ]
    (root / "large").unlink()
    tally = tree.with_it(lambda found: found.tally(KEYS))
    assert (tally.by_version, tally.method) == ({1: 0, 2: 10}, BY_BEGINNING)
    for number in range(10):
        data = (root / str(number)).read_bytes()
        assert Tink().decrypt(data, SECOND, f"app/{number}".encode()) == b"v%d" % number
    assert tree.with_it(lambda found: found.dataset.remaining([data[:5]])) == 0


def test_tokens_of_fernet_keep_their_time(tmp_path: Path) -> None:
    """Their keys are found by trial; binary files are no plaintext of theirs."""
    root = tmp_path / "tokens"
    root.mkdir()
    old, new = key_of(Algorithm.FERNET, 1), key_of(Algorithm.FERNET, 2)
    (root / "token").write_bytes(FernetTokens(lambda: 1000).encrypt(b"x", old))
    (root / "binary").write_bytes(b"\xff\xfe")
    (root / "text").write_bytes(b"readable")
    tree = Tree(root)
    tree.options = {"codec": "fernet", "plaintext": "encrypt"}
    keys = KeySet.of([old, new], active=2)
    assert [each.words(()).partition(":")[0] for each in tree.run(keys).quarantined] == [
        f"{root}/binary"
    ]
    assert tree.census(keys) == {1: 0, 2: 2, 0: 0, -1: 1}
    assert FernetTokens().decrypt((root / "token").read_bytes(), new) == b"x"
    import base64

    from cryptography.fernet import Fernet

    fernet = Fernet(base64.urlsafe_b64encode(new.material.reveal()))
    assert fernet.extract_timestamp((root / "token").read_bytes()) == 1000


def test_files_of_another_cipher_are_encrypted_anew(tmp_path: Path) -> None:
    """Also those under the active key; what they hold, and their times, stay."""
    tree = Tree(tmp_path)
    paths = [tree.add("old", b"one"), tree.add("present", BIG, SECOND)]
    times = [path.stat().st_mtime_ns for path in paths]
    tree.options["content_cipher"] = "aes-256-gcm-hkdf"
    assert tree.run().count == 0
    headers = [read_header(path.read_bytes(), KEYS) for path in paths]
    assert [each.cipher for each in headers] == [Cipher.AES_256_GCM_HKDF] * 2
    assert [unsealed(path) for path in paths] == [b"one", BIG]
    assert [path.stat().st_mtime_ns for path in paths] == times
    before = [path.stat().st_ino for path in paths]
    assert tree.run().count == 0
    assert [path.stat().st_ino for path in paths] == before, "once is enough"
