"""The directories certrotd works in: the same ones all the time, or nothing is done."""

from pathlib import Path

from certrotd.daemon.ground import Ground


def test_the_directories_there_were_at_the_start_are_sound_ground(tmp_path: Path) -> None:
    """The control, and a directory that is made later is one from then on."""
    state, store = tmp_path / "state", tmp_path / "store"
    state.mkdir()
    ground = Ground([state, store])
    assert ground.trouble() is None
    store.mkdir()
    assert ground.trouble() is None
    store.rmdir()
    assert str(store) in str(ground.trouble())


def test_a_reload_is_no_way_to_make_a_wrong_directory_the_right_one(tmp_path: Path) -> None:
    """What is looked for after it is what was there before it; a new place is new ground."""
    state, store = tmp_path / "state", tmp_path / "store"
    state.mkdir()
    first = Ground([state])
    state.rename(tmp_path / "away")
    state.mkdir()
    store.mkdir()
    assert f"{state} is another directory" in str(Ground([state, store], first).trouble())
    assert Ground([store], first).trouble() is None


def test_a_directory_that_is_gone_is_said_until_it_is_back(tmp_path: Path) -> None:
    """A file system may be unmounted, and mounted again."""
    state, away = tmp_path / "state", tmp_path / "away"
    state.mkdir()
    ground = Ground([state])
    state.rename(away)
    assert f"{state} is gone: nothing is rotated" in str(ground.trouble())
    state.mkdir()
    assert f"{state} is another directory than at the start" in str(ground.trouble())
    state.rmdir()
    away.rename(state)
    assert ground.trouble() is None
