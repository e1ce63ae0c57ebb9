"""Files of another program: only those in its folder that nobody else can write."""

import os
from pathlib import Path

import pytest

from certrotd.errors import InvalidInput, NeedsOperator, UsageError
from certrotd.importing.reading import MAX_FILE, Reader
from tests.unit.importing.trees import put, reader


def test_links_are_followed_within_the_folder_alone(tmp_path: Path) -> None:
    """certbot's live/ consists of links; one that leaves it may lead anywhere."""
    root = tmp_path / "root"
    put(root / "archive" / "a", "inside")
    put(tmp_path / "secret", "outside")
    (root / "in").symlink_to("archive/a")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(tmp_path)
    assert reader(root).text(root / "in") == "inside"
    for path in (root / "out", root / "folder" / "secret", root / ".." / "secret"):
        with pytest.raises(InvalidInput, match="outside"):
            reader(root).read(path)
    with pytest.raises(InvalidInput, match="outside"):
        reader(root).names(root / "folder")


def test_files_that_others_can_write_are_refused(tmp_path: Path) -> None:
    """They choose commands that run as certrotd's user, and paths that it writes."""
    put(tmp_path / "conf", "x", mode=0o646)
    with pytest.raises(NeedsOperator, match="written by others"):
        reader(tmp_path).read(tmp_path / "conf")
    put(tmp_path / "open" / "conf", "x")
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(NeedsOperator, match="written by others"):
        reader(tmp_path).read(tmp_path / "open" / "conf")


def test_files_of_another_user_are_refused(tmp_path: Path) -> None:
    """root imports the home of a user: what that user can change is not for root to run."""
    put(tmp_path / "conf", "x")
    users = {os.geteuid()}
    if os.geteuid() == 0:
        os.chown(tmp_path / "conf", 12345, 12345)
    else:
        users = set()
    with pytest.raises(NeedsOperator, match="belongs to"):
        Reader(tmp_path, users=users, groups=()).read(tmp_path / "conf")


def test_what_is_no_text_file_of_a_sane_size_is_refused(tmp_path: Path) -> None:
    """Neither waited for nor loaded."""
    put(tmp_path / "large", b"a" * (MAX_FILE + 1))
    put(tmp_path / "binary", b"a\0b")
    os.mkfifo(tmp_path / "fifo", 0o600)
    for name in ("large", "binary", "fifo"):
        with pytest.raises(InvalidInput):
            reader(tmp_path).text(tmp_path / name)
    with pytest.raises(InvalidInput, match="absolute"):
        reader(tmp_path).named(Path("relative.ini"))
    with pytest.raises(UsageError, match="not a directory"):
        reader(tmp_path / "nothing")
    assert reader(tmp_path).names(tmp_path / "nothing") == []
