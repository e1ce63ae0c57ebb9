"""Heartbeats in a directory that others write to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from certrotd.files.disktrouble import DiskTrouble
from certrotd.keyring.heartbeat import MAX_BYTES, Heartbeat
from certrotd.keyserver import heartbeat_files
from certrotd.keyserver.heartbeat_files import file_name, find, forget
from tests.unit.client.sealed import NOW


def beat(instance: int = 1) -> Heartbeat:
    """Of the client shop."""
    return Heartbeat("orders", "shop", f"{instance:016x}", NOW, "0" * 64)


def put(directory: Path, told: Heartbeat, name: str = "") -> Path:
    """It as a file."""
    path = directory / (name or file_name(told))
    path.write_bytes(told.render())
    path.chmod(0o640)
    return path


def test_every_heartbeat_of_a_directory_is_found(tmp_path: Path) -> None:
    """With the user whose file it is; other files are nobody's heartbeat."""
    put(tmp_path, beat(1))
    put(tmp_path, beat(2))
    (tmp_path / "README").write_text("no heartbeat")
    put(tmp_path, beat(3), ".shop.0000000000000003.json.certrotd-tmp")
    put(tmp_path, beat(3), ".hidden.json")
    found = find(tmp_path)
    assert [each.heartbeat for each in found.heartbeats] == [beat(1), beat(2)]
    assert {each.uid for each in found.heartbeats} == {os.geteuid()}
    assert found.failures == ()


def test_what_is_no_heartbeat_is_named_and_the_others_are_found(tmp_path: Path) -> None:
    """Whoever may write there harms nobody but themselves."""
    put(tmp_path, beat(1))
    put(tmp_path, beat(2), "shop.0000000000000003.json")
    put(tmp_path, beat(4)).chmod(0o666)
    (tmp_path / "large.json").write_bytes(b" " * (MAX_BYTES + 1))
    (tmp_path / "link.json").symlink_to(tmp_path / file_name(beat(1)))
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "text.json").write_text("{}")
    found = find(tmp_path)
    assert [each.heartbeat for each in found.heartbeats] == [beat(1)]
    words = "\n".join(map(str, found.failures))
    assert len(found.failures) == 7
    for name in ("large", "link", "folder", "pipe", "text", "000003"):
        assert f"{name}.json" in words
    assert "another process" in words
    assert "written by everybody" in words


def test_no_more_files_are_read_than_there_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory full of them does not stop the daemon."""
    monkeypatch.setattr(heartbeat_files, "MOST", 3)
    for number in range(5):
        put(tmp_path, beat(number))
    assert len(find(tmp_path).heartbeats) == 3


def test_a_process_that_ends_meanwhile_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the listing and the reading."""

    def gone(*_arguments: object, **_more: object) -> None:
        raise FileNotFoundError

    put(tmp_path, beat())
    monkeypatch.setattr(heartbeat_files, "read_status", gone)
    assert find(tmp_path) == heartbeat_files.Found((), ())


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """No heartbeats would be no consumers."""
    with pytest.raises(DiskTrouble, match="none"):
        find(tmp_path / "none")


def test_an_instance_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    """It was killed, and could not do so itself; again is fine."""
    put(tmp_path, beat(1))
    put(tmp_path, beat(2))
    forget(tmp_path, beat(1))
    forget(tmp_path, beat(1))
    assert [each.heartbeat for each in find(tmp_path).heartbeats] == [beat(2)]
