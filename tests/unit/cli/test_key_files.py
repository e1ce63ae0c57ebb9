"""``certrotd keys encrypt`` and ``decrypt``, as a person uses them."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from certrotd.codecs.stream_header import MAGIC
from tests.unit.cli.ring import Host, host

__all__ = ["host"]  # a fixture
CONTENT = os.urandom(3_000_000)


@pytest.fixture
def file(host: Host) -> Path:
    """A file, and a keyring with a key."""
    host("rotate", "key/orders")
    path = host.place / "files" / "dump"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    os.chmod(path, 0o644)
    os.utime(path, (1e9, 1e9))
    return path


def sealed(file: Path) -> Path:
    return file.with_name("dump.crd")


def there(file: Path) -> set[str]:
    return set(os.listdir(file.parent))


def test_a_file_is_encrypted_and_comes_back_for_its_owner_alone(host: Host, file: Path) -> None:
    """Also after a rotation; times stay, nothing is printed to standard output."""
    assert host.keys("encrypt", "orders", str(file)) == ""
    assert f"{sealed(file)}: encrypted under version 1 of orders" in host.err
    assert sealed(file).read_bytes().startswith(MAGIC)
    assert file.read_bytes() == CONTENT
    assert stat.S_IMODE(sealed(file).stat().st_mode) == 0o644
    host("keys", "rotate", "orders", "--reason", "test")
    file.unlink()
    assert host.keys("decrypt", "orders", str(sealed(file))) == ""
    assert f"{file}: decrypted by version 1 of orders" in host.err
    assert file.read_bytes() == CONTENT
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.stat().st_mtime == sealed(file).stat().st_mtime == 1e9
    host.keys("encrypt", "orders", str(file), "--overwrite")
    assert "version 2" in host.err
    assert there(file) == {"dump", "dump.crd"}


def test_who_decrypted_what_is_in_the_audit_log(host: Host, file: Path) -> None:
    """Once all of it was authenticated, and before it can be read."""
    host.keys("encrypt", "orders", str(file))
    host.keys("decrypt", "orders", str(sealed(file)), "-o", str(file.with_name("copy")))
    records = json.loads(host("audit", "show", "--json"))
    [found] = [each for each in records if each["event"] == "keyring.file_decrypted"]
    assert found["subject"] == "key/orders"
    assert (found["details"]["file"], found["details"]["version"]) == (str(sealed(file)), 1)
    assert found["details"]["by"]


def test_nothing_is_overwritten_unless_it_is_asked_for(host: Host, file: Path) -> None:
    """In either direction; also in its own place."""
    host.keys("encrypt", "orders", str(file))
    before = sealed(file).read_bytes()
    for act, path in (("encrypt", file), ("decrypt", sealed(file))):
        host("keys", act, "orders", str(path))
        assert host.code == 1
        assert "is there already" in host.err
    assert sealed(file).read_bytes() == before
    assert file.read_bytes() == CONTENT
    host.keys("encrypt", "orders", str(file), "--output", str(file), "--overwrite")
    assert file.read_bytes().startswith(MAGIC)
    host.keys("decrypt", "orders", str(file), "--output", str(file), "--overwrite")
    assert file.read_bytes() == CONTENT
    assert there(file) == {"dump", "dump.crd"}


def test_what_fails_leaves_nothing_and_the_other_files_are_done(host: Host, file: Path) -> None:
    """Damaged content, a file of somebody else's, one that is not there, a pipe."""
    host.keys("encrypt", "orders", str(file))
    good = sealed(file).read_bytes()
    names = {"cut.crd": good[:-1], "plain.crd": b"no file of ours", "good.crd": good}
    for name, data in names.items():
        (file.parent / name).write_bytes(data)
    os.mkfifo(file.parent / "pipe.crd")
    (file.parent / "folder.crd").mkdir()
    wrong = ("gone.crd", "pipe.crd", "folder.crd")
    every = [str(file.parent / each) for each in (*names, *wrong)]
    host("keys", "decrypt", "orders", *every)
    assert host.code == 1
    refused = ("no such file", "not a regular", "it is a folder: name its files")
    for words in ("altered or cut short", "no encrypted file", *refused):
        assert words in host.err, words
    assert (file.parent / "good").read_bytes() == CONTENT
    assert there(file) == {"dump", "dump.crd", *names, "pipe.crd", "folder.crd", "good"}
    host(
        "keys", "encrypt", "orders", str(file.parent / "good.crd"), str(file.parent / "folder.crd")
    )
    assert "good.crd: it is encrypted already" in host.err
    assert "folder.crd: it is a folder" in host.err
    assert not (file.parent / "good.crd.crd").exists()


def test_what_cannot_be_meant_is_refused(host: Host, file: Path) -> None:
    """Before any file is opened."""
    assert "does not end in .crd" in host.refused("decrypt", "orders", str(file))
    told = host.refused("encrypt", "orders", str(file), str(file), "-o", "x")
    assert "--output names one file" in told
    assert "has no key yet" in host.refused("encrypt", "users", str(file), code=1)
    host.config["keyrings"]["tokens"] = {"algorithm": "fernet"}
    host("rotate", "key/tokens")
    host("keys", "encrypt", "tokens", str(file))
    assert host.code == 1
    assert "no fernet keys" in host.err
    assert there(file) == {"dump"}


def test_a_file_system_without_hard_links_does(
    host: Host, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of most memory sticks; nothing is overwritten there either."""

    def none(*_: object, **_named: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", none)
    host.keys("encrypt", "orders", str(file))
    assert sealed(file).read_bytes().startswith(MAGIC)
    host("keys", "encrypt", "orders", str(file))
    assert (host.code, "is there already" in host.err) == (1, True)
    assert there(file) == {"dump", "dump.crd"}


def test_a_device_is_not_replaced_and_a_directory_is_no_file(host: Host, file: Path) -> None:
    """Root could replace /dev/null by a file."""
    pipe = file.with_name("pipe")
    os.mkfifo(pipe)
    host("keys", "encrypt", "orders", str(file), "--output", str(pipe), "--overwrite")
    assert (host.code, "pipe is there, and no regular file" in host.err) == (1, True)
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    for told in ((".",), ("",), (str(file), "--output", ".")):
        host("keys", "encrypt", "orders", *told)
        assert (host.code, ". is a directory" in host.err) == (2, True)
    assert there(file) == {"dump", "pipe"}
