"""Files below directories: all of them, each once, in an order that stays, and nothing outside."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from certrotd.datasets.file_tree import DEEPEST, FileTree
from certrotd.datasets.port import CutShort
from certrotd.errors import NeedsOperator
from certrotd.files.disktrouble import DiskTrouble


def make(root: Path, *paths: str) -> None:
    for each in paths:
        (root / each).parent.mkdir(parents=True, exist_ok=True)
        (root / each).write_bytes(os.fsencode(each))


def paths(tree: FileTree, after: tuple[str, str] | None = None) -> list[str]:
    return [str(each.key[1]) for each in tree.walk(after)]


def test_every_file_comes_once_and_any_of_them_is_gone_on_behind(tmp_path: Path) -> None:
    """Directories and files are ordered together, by name; also behind one that is gone."""
    make(tmp_path, "b", "a.txt", "a/z", "a/b/c", "a-b/x", "c/é", "c/\udcff")
    tree = FileTree([tmp_path])
    every = paths(tree)
    assert every == ["a/b/c", "a/z", "a-b/x", "a.txt", "b", "c/é", "c/\udcff"]
    for number, each in enumerate(every):
        assert paths(tree, (str(tmp_path), each)) == every[number + 1 :]
    os.unlink(tmp_path / "a/z")
    assert paths(tree, (str(tmp_path), "a/z")) == every[2:]
    assert paths(tree, (str(tmp_path), "a/b/nothing")) == every[2:]
    assert paths(tree, (str(tmp_path), "b/was/a/directory")) == every[5:]


def test_a_directory_with_more_names_than_are_kept_is_walked_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same order."""
    monkeypatch.setattr("certrotd.datasets.file_tree.NAMES", 7)
    make(tmp_path, *(f"d{n % 3}/f{n}" for n in range(100)), *(f"e{n}" for n in range(30)))
    tree = FileTree([tmp_path])
    every = paths(tree)
    assert len(every) == len(set(every)) == 130
    assert every == sorted(every)
    after = random.Random(1).choice(every)
    assert paths(tree, (str(tmp_path), after)) == every[every.index(after) + 1 :]


def test_several_roots_come_one_after_the_other(tmp_path: Path) -> None:
    """As they are configured."""
    make(tmp_path, "two/a", "one/b")
    tree = FileTree([tmp_path / "two", tmp_path / "one"])
    assert paths(tree) == ["a", "b"]
    assert paths(tree, (str(tmp_path / "two"), "a")) == ["b"]
    assert paths(tree, (str(tmp_path / "one"), "b")) == []
    assert paths(tree, ("/another", "b")) == ["a", "b"]


def test_a_root_without_a_file_is_not_believed_unless_it_may_be_empty(tmp_path: Path) -> None:
    """A disk that is not mounted would look like nothing being left; one of several, too."""
    make(tmp_path, "one/a")
    (tmp_path / "two").mkdir()
    roots = [tmp_path / "one", tmp_path / "two"]
    with pytest.raises(NeedsOperator, match=r"no file in .*/two"):
        paths(FileTree(roots))
    assert paths(FileTree(roots, may_be_empty=True)) == ["a"]
    with pytest.raises(DiskTrouble, match="gone"):
        paths(FileTree([tmp_path / "gone"], may_be_empty=True))


def test_no_link_is_followed_and_nothing_but_files_is_found(tmp_path: Path) -> None:
    """Links to files and directories, inside and out; pipes; and temporary files."""
    make(tmp_path, "root/a", "root/d/b", "outside/secret", "root/.x.certrotd-tmp")
    root = tmp_path / "root"
    (root / "to-file").symlink_to(tmp_path / "outside/secret")
    (root / "to-folder").symlink_to(tmp_path / "outside")
    (root / "within").symlink_to("d")
    os.mkfifo(root / "pipe")
    assert paths(FileTree([root])) == ["a", "d/b"]
    (tmp_path / "link").symlink_to(root)
    with pytest.raises(DiskTrouble):
        paths(FileTree([tmp_path / "link"]))


def test_a_directory_that_becomes_a_link_is_left_out(tmp_path: Path) -> None:
    """Between reading its name and opening it; and of a file that is found again."""
    make(tmp_path, "root/a", "root/d/b", "outside/b")
    tree = FileTree([tmp_path / "root"])
    walk = tree.walk()
    first = next(walk)
    assert first.key[1] == "a"
    os.rename(tmp_path / "root/d", tmp_path / "away")
    (tmp_path / "root/d").symlink_to(tmp_path / "outside")
    assert list(walk) == []
    with tree.found((str(tmp_path / "root"), "d/b")) as found:
        assert found is None


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (["**"], [], ["a.enc", "a.txt", "d/a.enc", "d/e/b.enc", "x[1]"]),
        (["*.enc"], [], ["a.enc"]),
        (["**/*.enc"], [], ["a.enc", "d/a.enc", "d/e/b.enc"]),
        (["d/**"], [], ["d/a.enc", "d/e/b.enc"]),
        (["d/*"], [], ["d/a.enc"]),
        (["**/e/**"], [], ["d/e/b.enc"]),
        (["**/?.enc"], ["**/a.*"], ["d/e/b.enc"]),
        (["a.txt", "x[1]"], [], ["a.txt", "x[1]"]),
        (["**"], ["**"], []),
    ],
)
def test_patterns_choose_files(
    tmp_path: Path, include: list[str], exclude: list[str], expected: list[str]
) -> None:
    """Of the path below the root."""
    make(tmp_path, "a.enc", "a.txt", "d/a.enc", "d/e/b.enc", "x[1]")
    assert paths(FileTree([tmp_path], include, exclude, may_be_empty=True)) == expected


def test_a_directory_that_cannot_be_read_ends_the_walk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in it would be missing in a census."""
    make(tmp_path, "a", "d/b")
    scandir = os.scandir

    def refused(folder: int) -> object:
        if os.readlink(f"/proc/self/fd/{folder}").endswith("/d"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(CutShort, match=r"/d/?: Permission denied"):
        paths(FileTree([tmp_path]))


def test_what_is_too_deep_or_too_long_is_said(tmp_path: Path) -> None:
    """And is not left out."""
    make(tmp_path, "/".join(["d"] * (DEEPEST + 2)) + "/f")
    with pytest.raises(NeedsOperator, match="directories deep"):
        paths(FileTree([tmp_path]))
    make(tmp_path / "long", "/".join(["n" * 200] * 10) + "/f")
    with pytest.raises(NeedsOperator, match="longer than"):
        paths(FileTree([tmp_path / "long"]))


def test_a_walk_that_is_left_closes_its_directories(tmp_path: Path) -> None:
    """Each level has a handle."""
    make(tmp_path, "a/b/c/d")
    before = len(os.listdir("/proc/self/fd"))
    walk = FileTree([tmp_path]).walk()
    next(walk)
    assert len(os.listdir("/proc/self/fd")) > before
    walk.close()  # type: ignore[attr-defined]
    assert len(os.listdir("/proc/self/fd")) == before
