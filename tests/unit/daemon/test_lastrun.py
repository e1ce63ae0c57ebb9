"""The time of the last run on disk."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from certrotd.daemon.lastrun import LastRun
from certrotd.files.disktrouble import DiskTrouble

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def test_it_is_read_back(tmp_path: Path) -> None:
    """By the next process."""
    said: list[str] = []
    assert LastRun(tmp_path, said.append).read() is None
    LastRun(tmp_path, said.append).keep(NOW)
    assert (LastRun(tmp_path, said.append).read(), said) == (NOW, [])
    assert (tmp_path / "clock.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"{", b'{"version": 2, "last_run": "2026-06-01"}'])
def test_something_else_is_kept_aside_and_said(tmp_path: Path, content: bytes) -> None:
    """A file of a newer version, or of nobody, is not overwritten."""
    said: list[str] = []
    (tmp_path / "clock.json").write_bytes(content)
    assert LastRun(tmp_path, said.append).read() is None
    assert (tmp_path / "clock.json.unreadable").read_bytes() == content
    assert len(said) == 1


def test_a_directory_that_is_gone_is_a_failure_of_the_disk(tmp_path: Path) -> None:
    """It is told, and orders go on."""
    with pytest.raises(DiskTrouble):
        LastRun(tmp_path / "gone", print).keep(NOW)
