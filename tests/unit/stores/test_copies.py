"""A copy that is no longer what was installed is known by a look at the file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from certrotd.files.disktrouble import DiskTrouble
from certrotd.pki.generation import CertificateState
from certrotd.stores.copies import copies_of, displaced
from certrotd.stores.install import Copies, FileInstaller
from tests.parts import pki

PAIR = pki.make_leaf(pki.make_intermediate(pki.make_root()), "a.example.test")


@pytest.fixture
def entry(tmp_path: Path) -> Copies:
    """A key and a chain that have been installed."""
    paths = {"privkey": "web.key", "fullchain": "web.crt", "pkcs12": "web.p12"}
    entry = Copies({shape: tmp_path / name for shape, name in paths.items()})
    install(entry, tmp_path)
    return entry


def install(entry: Copies, folder: Path) -> None:
    """The pair, where the entry says."""
    FileInstaller("web", (entry,), folder / "kept").install(PAIR.key_pem, PAIR.fullchain_pem, "r1")


def test_an_installed_copy_is_in_order_and_stays_so(entry: Copies) -> None:
    """Whatever is asked of it: reading it, and keeping what is known of it in a file."""
    known = copies_of([entry])
    entry.paths["privkey"].read_bytes()
    assert displaced([entry], known) is None
    assert (
        displaced(
            [entry], CertificateState.from_json(CertificateState(copies=known).to_json()).copies
        )
        is None
    )
    assert displaced([], {}) is None


def _grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\n")


def _older(path: Path) -> None:
    os.utime(path, (1, 1))


def _link(path: Path) -> None:
    path.rename(path.with_suffix(".old"))
    path.symlink_to(path.with_suffix(".old"))


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Path.unlink, "is gone"),
        (lambda path: shutil.rmtree(path.parent), "web.key is gone"),
        (_grow, "was changed"),
        (_older, "was changed"),
        (_link, "is a symbolic link"),
        (_directory, "is a directory"),
        (_pipe, "is no longer a file"),
        (lambda path: path.chmod(0o600), "has mode 0600, not 0644"),
    ],
    ids=[
        "removed",
        "with its folder",
        "longer",
        "another",
        "a link",
        "a directory",
        "a pipe",
        "mode",
    ],
)
def test_a_copy_that_somebody_changed_is_reported(
    entry: Copies, change: Callable[[Path], object], said: str
) -> None:
    """Configuration management, a reboot of a tmpfs, a mistyped rm."""
    known = copies_of([entry])
    path = entry.paths["fullchain"]
    change(path)
    found = displaced([entry], known)
    assert found is not None
    assert found.endswith(said)
    assert said.startswith("web") or str(path) in found


def test_an_owner_that_somebody_changed_is_reported(
    entry: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service that reads it could not any more."""
    known = copies_of([entry])
    real = os.lstat

    def others(path: str) -> os.stat_result:
        found = list(real(path))
        found[4] = 4711
        return os.stat_result(found)

    monkeypatch.setattr(os, "lstat", others)
    ids = f"{os.geteuid()}:{os.getegid()}"
    said = f"web.key belongs to 4711:{os.getegid()}, not to {ids}"
    assert str(displaced([entry], known)).endswith(said)


def test_a_path_that_was_followed_by_a_file_is_gone_below_it(entry: Copies, tmp_path: Path) -> None:
    """A file where its folder was is no reason to stumble."""
    known = copies_of([entry])
    below = Copies({"privkey": tmp_path / "web.crt" / "key"})
    copy = known[str(tmp_path / "web.key")]
    assert str(displaced([below], {str(tmp_path / "web.crt" / "key"): copy})).endswith("is gone")


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"owner": "nobody"}, "web.key"),
        ({"group": "nogroup"}, "web.key"),
        ({"mode": 0o640}, "web.key"),
        ({"cert_mode": 0o600}, "web.crt"),
        ({"in_place": True}, "web.key"),
        ({"pkcs12_cipher": "legacy"}, "web.p12"),
    ],
    ids=lambda value: str(value),
)
def test_a_copy_that_is_asked_for_otherwise_is_reported(
    entry: Copies, changes: dict[str, object], path: str
) -> None:
    """A changed configuration takes effect now, not at the next renewal."""
    known = copies_of([entry])
    changed = replace(entry, **changes)  # type: ignore[arg-type]
    found = displaced([changed], known)
    assert found is not None
    assert found.endswith(f"{path} is to be installed otherwise")


def test_a_changed_format_at_the_same_path_is_reported(entry: Copies) -> None:
    """A chain without its leaf, where there was one with it."""
    known = copies_of([entry])
    changed = replace(entry, paths={"chain": entry.paths["fullchain"]})
    assert "to be installed otherwise" in str(displaced([changed], known))


def test_a_new_path_is_reported(entry: Copies, tmp_path: Path) -> None:
    """In an entry there was, or in a new one beside it."""
    known = copies_of([entry])
    moved = replace(entry, paths={**entry.paths, "fullchain": tmp_path / "new.crt"})
    assert displaced([moved], known) == f"{tmp_path / 'new.crt'} is not yet installed"
    more = Copies({"combined": tmp_path / "all.pem"})
    assert displaced([entry, more], known) == f"{tmp_path / 'all.pem'} is not yet installed"
    install(moved, tmp_path)
    assert displaced([moved], copies_of([moved])) is None


def test_a_copy_that_may_not_be_looked_at_is_believed_to_be_in_order(
    entry: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing by any user must not see trouble where there is none; a rotation says so."""
    known = copies_of([entry])

    def refuse(_path: str) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "lstat", refuse)
    assert displaced([entry], known) is None
    with pytest.raises(DiskTrouble, match=r"cannot look at .*web\.key: Permission denied"):
        copies_of([entry])
