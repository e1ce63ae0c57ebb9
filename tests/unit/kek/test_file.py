"""The KEK in a file: made once, for its owner alone, and never read through a link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from certrotd.files import writing
from certrotd.files.disktrouble import DiskTrouble
from certrotd.kek import file
from certrotd.kek.credential import CredentialKek
from certrotd.kek.port import KekUnavailable, Unfit


def test_a_kek_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """In a folder of its own, whatever the umask; nothing else is left beside it."""
    made = file.make(tmp_path / "keks" / "main")
    assert made.path.stat().st_mode & 0o7777 == 0o600
    assert made.path.parent.stat().st_mode & 0o7777 == 0o700
    assert [each.name for each in made.path.parent.iterdir()] == ["main"]
    assert len(made.path.read_bytes()) == 32


@pytest.mark.parametrize("there", ["kek", "link"])
def test_a_kek_is_never_made_over_anything(tmp_path: Path, there: str) -> None:
    """Everything that the other one has wrapped would be lost."""
    path = tmp_path / "kek"
    if there == "kek":
        kept = file.make(path).path.read_bytes()
    else:
        path.symlink_to("gone")
    with pytest.raises(Unfit, match="there is something at"):
        file.make(path)
    if there == "kek":
        assert path.read_bytes() == kept
    assert [each.name for each in tmp_path.iterdir()] == ["kek"]


def test_a_full_disk_leaves_no_part_of_a_kek(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is said to be full."""

    def full(handle: int, data: bytes) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(writing, "write_all", full)
    with pytest.raises(DiskTrouble, match="No space left"):
        file.make(tmp_path / "kek")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610])
def test_a_kek_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    """For its group, too: no service but certrotd needs it."""
    made = file.make(tmp_path / "kek")
    made.path.chmod(mode)
    with pytest.raises(Unfit, match="by others than its owner"):
        made.wrap(b"key", {})
    made.path.chmod(0o400)
    assert made.unwrap(made.wrap(b"key", {}), {}) == b"key"


def test_a_kek_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns it can make it readable."""
    made = file.make(tmp_path / "kek")
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    if made.path.stat().st_uid:
        with pytest.raises(Unfit, match="belongs to user"):
            made.wrap(b"key", {})
    else:
        assert made.wrap(b"key", {}), "what root owns is trusted"
        os.chown(made.path, 4712, -1)
        with pytest.raises(Unfit, match="belongs to user 4712"):
            made.wrap(b"key", {})


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_kek_of_another_length_is_refused(tmp_path: Path, size: int) -> None:
    """A text editor adds a newline."""
    made = file.make(tmp_path / "kek")
    made.path.write_bytes(b"k" * size)
    with pytest.raises(Unfit, match=r"bytes"):
        made.describe()


def test_a_link_to_a_kek_is_refused(tmp_path: Path) -> None:
    """Whoever may write the folder could point it anywhere."""
    file.make(tmp_path / "real")
    (tmp_path / "kek").symlink_to("real")
    with pytest.raises(Unfit, match="is a symbolic link"):
        file.FileKek(tmp_path / "kek").describe()


def test_a_fifo_is_no_kek(tmp_path: Path) -> None:
    """And nobody waits for what it would say."""
    os.mkfifo(tmp_path / "kek")
    with pytest.raises(Unfit, match="not a regular file"):
        file.FileKek(tmp_path / "kek").describe()


def test_a_kek_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    """Its volume may be mounted later; a new one would be no help."""
    with pytest.raises(KekUnavailable, match="is not there") as refused:
        file.FileKek(tmp_path / "kek").describe()
    assert "mount or restore it" in refused.value.hint


def test_a_kek_on_a_failing_disk_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it wrapped is as good as before."""
    made = file.make(tmp_path / "kek")

    def failing(path: object, flags: int) -> int:
        raise OSError(5, os.strerror(5))

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", failing)
        with pytest.raises(KekUnavailable, match="Input/output error"):
            made.describe()


def test_a_credential_of_the_same_bytes_unwraps_what_the_file_wrapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moving a KEK into a credential is no rotation."""
    made = file.make(tmp_path / "kek")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert CredentialKek("kek").unwrap(made.wrap(b"key", {}), {}) == b"key"
    assert CredentialKek("kek").describe().id == made.describe().id
