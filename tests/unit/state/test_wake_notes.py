"""Requests for a look are files: none is lost, and nothing else is taken for one."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from certrotd.files.disktrouble import DiskTrouble
from certrotd.state import wake_notes
from certrotd.state.wake_notes import WakeNotes, leave_note

WEB = "certificate/web"


@pytest.fixture
def notes(tmp_path: Path) -> WakeNotes:
    return WakeNotes(tmp_path, "certificate")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "wake/certificate"


def before(
    monkeypatch: pytest.MonkeyPatch, where: Any, name: str, act: Callable[[], object]
) -> None:
    """Do something just before the next call of that function, once."""
    real = getattr(where, name)

    def call(*arguments: Any, **more: Any) -> Any:
        monkeypatch.setattr(where, name, real)
        act()
        return real(*arguments, **more)

    monkeypatch.setattr(where, name, call)


def test_a_note_is_readable_by_its_owner_alone(tmp_path: Path, folder: Path) -> None:
    """As everything in the state directory, whatever the umask."""
    mask = os.umask(0)
    try:
        leave_note(tmp_path, WEB)
    finally:
        os.umask(mask)
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (folder.parent, folder, folder / "web")]
    assert modes == [0o700, 0o700, 0o600]


def test_nothing_is_listed_while_there_is_no_note(
    notes: WakeNotes, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon asks every second, for months; the folder is there only with notes in it."""
    leave_note(tmp_path, WEB)
    assert notes.take() == {WEB}
    assert not folder.exists()
    monkeypatch.setattr(os, "scandir", None)
    assert notes.take() == frozenset()


def test_a_note_left_after_the_listing_is_taken_the_next_time(
    notes: WakeNotes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is not removed with it."""
    leave_note(tmp_path, WEB)
    before(monkeypatch, os, "rmdir", lambda: leave_note(tmp_path, "certificate/www"))
    assert notes.take() == {WEB}
    assert notes.take() == {"certificate/www"}


def test_a_note_renewed_before_it_is_removed_counts_for_the_look_that_follows(
    notes: WakeNotes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that is renewed afterwards for another look."""
    leave_note(tmp_path, WEB)
    before(monkeypatch, os, "unlink", lambda: leave_note(tmp_path, WEB))
    before(monkeypatch, os, "rmdir", lambda: leave_note(tmp_path, WEB))
    assert notes.take() == {WEB}
    assert notes.take() == {WEB}
    assert notes.take() == frozenset()


def test_a_note_whose_folder_is_removed_just_then_is_left_in_a_new_one(
    notes: WakeNotes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon takes the last note there, and the folder with it."""
    leave_note(tmp_path, "certificate/www")
    before(monkeypatch, wake_notes, "_create", notes.take)
    leave_note(tmp_path, WEB)
    assert notes.take() == {WEB}


def test_a_note_is_never_made_in_a_removed_folder(
    notes: WakeNotes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is open already when the daemon takes the last note and removes it."""
    leave_note(tmp_path, "certificate/www")
    real = os.open

    def opened(path: Any, *arguments: Any, **more: Any) -> int:
        if path == "web":
            monkeypatch.setattr(os, "open", real)
            assert notes.take() == {"certificate/www"}
        return real(path, *arguments, **more)

    monkeypatch.setattr(os, "open", opened)
    leave_note(tmp_path, WEB)
    assert notes.take() == {WEB}


def test_two_daemons_take_each_note_once(
    notes: WakeNotes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a state directory whose lock file somebody removed."""
    other = WakeNotes(tmp_path, "certificate")
    leave_note(tmp_path, WEB)
    taken: list[frozenset[str]] = []
    before(monkeypatch, os, "unlink", lambda: taken.append(other.take()))
    assert notes.take() == frozenset()
    assert taken == [{WEB}]


@pytest.mark.parametrize("name", ["..web", "Web", "web (copy)", ".web.certrotd-tmp", "w" * 65])
def test_a_file_of_another_name_is_skipped(notes: WakeNotes, folder: Path, name: str) -> None:
    """It is nobody's id; whoever put it there may remove it."""
    folder.mkdir(parents=True)
    (folder / name).touch()
    (folder / "web").touch()
    assert notes.take() == {WEB}
    assert [each.name for each in folder.iterdir()] == [name]
    assert notes.take() == frozenset()


def _link(path: Path) -> None:
    path.symlink_to("../../precious")


@pytest.mark.parametrize(
    ("make", "refusal"),
    [
        (Path.mkdir, "Is a directory"),
        (_link, "Too many levels of symbolic links"),
        (os.mkfifo, "No such device or address"),
    ],
)
def test_what_is_no_file_is_no_note(
    notes: WakeNotes, tmp_path: Path, folder: Path, make: Callable[[Path], None], refusal: str
) -> None:
    """It stays where it is; who wants to leave a note there is told, and waits for nobody."""
    (tmp_path / "precious").write_text("all of it")
    folder.mkdir(parents=True)
    make(folder / "web")
    assert notes.take() == frozenset()
    with pytest.raises(DiskTrouble, match=f"cannot leave the note .*/wake/{WEB}: {refusal}"):
        leave_note(tmp_path, WEB)
    leave_note(tmp_path, "certificate/www")
    assert notes.take() == {"certificate/www"}
    assert (tmp_path / "precious").read_text() == "all of it"
    assert [each.name for each in folder.iterdir()] == ["web"]


def test_a_link_in_place_of_the_folder_is_refused(
    notes: WakeNotes, tmp_path: Path, folder: Path
) -> None:
    """Else it would be the files of another folder that are removed."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "web").touch()
    folder.parent.mkdir()
    folder.symlink_to(elsewhere)
    with pytest.raises(OSError, match="Not a directory"):
        notes.take()
    with pytest.raises(DiskTrouble, match="Not a directory"):
        leave_note(tmp_path, "certificate/www")
    assert [each.name for each in elsewhere.iterdir()] == ["web"]


def test_what_was_taken_before_an_error_is_not_lost(
    notes: WakeNotes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails half-way through: the note that is gone is in the next answer."""
    leave_note(tmp_path, WEB)
    leave_note(tmp_path, "certificate/www")
    real = os.unlink
    removed: list[str] = []

    def unlink(name: str, **more: Any) -> None:
        if removed:
            monkeypatch.setattr(os, "unlink", real)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        removed.append(name)
        real(name, **more)

    monkeypatch.setattr(os, "unlink", unlink)
    with pytest.raises(OSError, match="Input/output error"):
        notes.take()
    assert notes.take() == {WEB, "certificate/www"}


def test_a_folder_that_is_gone_every_time_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody tries for ever, and nobody is told that a note is there which is not."""
    tries = []

    def gone(path: Path) -> None:
        tries.append(path)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(wake_notes, "_create", gone)
    with pytest.raises(DiskTrouble, match="cannot leave the note"):
        leave_note(tmp_path, WEB)
    assert len(tries) == 5


def test_a_full_disk_is_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other try makes room."""

    def full(path: Path) -> None:
        monkeypatch.undo()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(wake_notes, "_create", full)
    with pytest.raises(DiskTrouble, match="No space left"):
        leave_note(tmp_path, WEB)
