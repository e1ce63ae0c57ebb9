"""The directories certrotd works in: the same ones all the time, or nothing is done."""

from pathlib import Path

from certrotd.daemon.mount_guard import MountGuard


def test_the_directories_there_were_at_the_start_are_sound_ground(tmp_path: Path) -> None:
    """The control, and a directory that is made later is one from then on."""
    state, store = tmp_path / "state", tmp_path / "store"
    state.mkdir()
    mount_guard = MountGuard([state, store])
    assert mount_guard.trouble() is None
    store.mkdir()
    assert mount_guard.trouble() is None
    store.rmdir()
    assert str(store) in str(mount_guard.trouble())


def test_a_reload_is_no_way_to_make_a_wrong_directory_the_right_one(tmp_path: Path) -> None:
    """What is looked for after it is what was there before it; a new place is a new directory."""
    state, store = tmp_path / "state", tmp_path / "store"
    state.mkdir()
    first = MountGuard([state])
    state.rename(tmp_path / "away")
    state.mkdir()
    store.mkdir()
    assert f"{state} is another directory" in str(MountGuard([state, store], first).trouble())
    assert MountGuard([store], first).trouble() is None


def test_a_directory_that_is_gone_is_reported_until_it_is_back(tmp_path: Path) -> None:
    """A file system may be unmounted, and mounted again."""
    state, away = tmp_path / "state", tmp_path / "away"
    state.mkdir()
    mount_guard = MountGuard([state])
    state.rename(away)
    assert f"{state} is gone: nothing rotates" in str(mount_guard.trouble())
    state.mkdir()
    assert f"{state} is another directory than at the start" in str(mount_guard.trouble())
    state.rmdir()
    away.rename(state)
    assert mount_guard.trouble() is None
