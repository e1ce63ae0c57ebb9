"""The files below some directories, in an order that stays, and no link followed.

Files are ordered by the names of their directories and their own, so that a walk goes on behind any
file, be it there or not. Of a directory at most NAMES names are in memory at a time.
"""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from certrotd.datasets.port import CutShort, Key
from certrotd.errors import NeedsOperator
from certrotd.files.disktrouble import DiskTrouble, explained
from certrotd.files.rewriting import is_temporary
from certrotd.files.writing import TEMPORARY

NAMES = 10_000
DEEPEST = 100
LONGEST = 2000
"""In bytes: a checkpoint has room for it."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Found(NamedTuple):
    """A file: its name in the directory that ``folder`` is a handle of until the next is found."""

    key: Key
    folder: int
    name: str


@dataclass(frozen=True)
class FileTree:
    """Files below ``roots`` whose path there matches a pattern of ``include``, none of ``exclude``.

    In a pattern, ``*`` and ``?`` stand within a name, and ``**`` for any number of directories.
    Unless it ``may_be_empty``, a root without any file is not believed: nothing may be mounted.
    """

    roots: Sequence[Path]
    include: Sequence[str] = ("**",)
    exclude: Sequence[str] = ()
    may_be_empty: bool = False

    def walk(self, after: Key | None = None) -> Iterator[Found]:
        """Every file behind ``after``; raises DiskTrouble, CutShort and NeedsOperator."""
        names = [str(each) for each in self.roots]
        first = names.index(str(after[0])) if after is not None and after[0] in names else 0
        for number, root in enumerate(names[first:]):
            within = number == 0 and after is not None and after[0] == root
            behind = tuple(str(after[1]).split("/")) if within and after is not None else ()
            empty = not within
            with self._root(root) as folder:
                for path, inner, name in _seen(_below(folder, root, "", behind)):
                    if not name.endswith(TEMPORARY) and self._matches(path):
                        empty = False
                        yield Found((root, path), inner, name)
            if empty and not self.may_be_empty:
                raise NeedsOperator(
                    f"there is no file in {root}",
                    hint="is nothing mounted there? If it may be empty: may_be_empty: true",
                )

    def covers(self, key: Key) -> bool:
        """Whether a file, which need not be there, would be found by walk()."""
        root, path = map(str, key)
        whole = f"{root}/{path}"
        inner = (whole[len(each) + 1 :] for each in map(str, self.roots) if _is_in(whole, each))
        return any(map(self._matches, inner))

    def temporaries(self) -> Iterator[Found]:
        """What rewriting left in any directory, whatever the patterns; raises as walk()."""
        for root in map(str, self.roots):
            with self._root(root) as folder:
                for path, inner, name in _below(folder, root, "", ()):
                    if is_temporary(name):
                        yield Found((root, path), inner, name)

    @contextmanager
    def found(self, key: Key) -> Iterator[Found | None]:
        """One file of a walk again, None if its directory is gone; raises DiskTrouble."""
        root, path = map(str, key)
        *folders, name = path.split("/")
        opened: list[int] = []
        try:
            with explained(f"read {root}/{path}"), suppress(FileNotFoundError, NotADirectoryError):
                opened.append(os.open(root, _DIRECTORY))
                for each in folders:
                    opened.append(os.open(each, _DIRECTORY, dir_fd=opened[-1]))
            there = len(opened) == len(folders) + 1
            yield Found(key, opened[-1], name) if there else None
        finally:
            for handle in opened:
                os.close(handle)

    @contextmanager
    def _root(self, root: str) -> Iterator[int]:
        with explained(f"read {root}"):
            folder = os.open(root, _DIRECTORY)
        try:
            yield folder
        finally:
            os.close(folder)

    def _matches(self, path: str) -> bool:
        wanted, left_out = self._patterns
        return wanted.match(path) is not None and left_out.match(path) is None

    @cached_property
    def _patterns(self) -> tuple[re.Pattern[str], re.Pattern[str]]:
        return _any(self.include), _any(self.exclude)


def _is_in(path: str, root: str) -> bool:
    return path.startswith(f"{root.rstrip('/')}/")


def _seen(found: Iterator[tuple[str, int, str]]) -> Iterator[tuple[str, int, str]]:
    """What is found; raises CutShort where one of the directories cannot be read."""
    try:
        yield from found
    except DiskTrouble as trouble:
        raise CutShort(trouble.message, hint=trouble.hint) from trouble


def _below(
    folder: int, root: str, prefix: str, after: tuple[str, ...]
) -> Iterator[tuple[str, int, str]]:
    """The path of each file in a directory, a handle of the directory it is in, and its name."""
    if prefix.count("/") > DEEPEST:
        raise NeedsOperator(f"{root}/{prefix} is more than {DEEPEST} directories deep")
    for name, is_folder in _names(folder, f"{root}/{prefix}", after[0] if after else ""):
        path = prefix + name
        if len(os.fsencode(path)) > LONGEST:
            raise NeedsOperator(f"a path is longer than {LONGEST} bytes: {root}/{path}")
        begun = bool(after) and name == after[0]
        if not is_folder:
            if not begun:
                yield path, folder, name
            continue
        inner = _folder(folder, name, f"{root}/{path}")
        if inner is None:
            continue
        try:
            yield from _below(inner, root, f"{path}/", after[1:] if begun else ())
        finally:
            os.close(inner)


def _folder(folder: int, name: str, path: str) -> int | None:
    """A handle of a directory; None if it is gone, or a link took its place."""
    with explained(f"read {path}"), suppress(FileNotFoundError, NotADirectoryError):
        return os.open(name, _DIRECTORY, dir_fd=folder)
    return None


def _names(folder: int, path: str, first: str) -> Iterator[tuple[str, bool]]:
    """The names of files and directories from ``first`` on, in order; and whether of the latter."""
    last = ""
    while True:
        with explained(f"read {path}"), os.scandir(folder) as entries:
            wanted = (
                (each.name, each.is_dir(follow_symlinks=False))
                for each in entries
                if each.name >= first
                and each.name > last
                and (each.is_dir(follow_symlinks=False) or each.is_file(follow_symlinks=False))
            )
            some = heapq.nsmallest(NAMES, wanted)
        yield from some
        if len(some) < NAMES:
            return
        last = some[-1][0]


def _any(patterns: Sequence[str]) -> re.Pattern[str]:
    """What matches any of the patterns, and nothing if there is none."""
    every = "|".join(f"(?:{_expression(each)})" for each in patterns)
    return re.compile(every or "(?!)", re.DOTALL)


def _expression(pattern: str) -> str:
    parts = pattern.split("/")
    found = ""
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "**":
            found += ".+" if last else "(?:[^/]+/)*"
        else:
            found += "".join(map(_character, part)) + ("" if last else "/")
    return rf"{found}\Z"


def _character(each: str) -> str:
    return {"*": "[^/]*", "?": "[^/]"}.get(each) or re.escape(each)
