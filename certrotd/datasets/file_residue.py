"""Undeclared ciphertext in files: below the roots of datasets, and where the operator says.

The beginning of each file is read, and text is searched for values within it, as in dumps of
databases and in configuration files.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from certrotd.clock import Deadline
from certrotd.datasets.file_tree import FileTree, Found
from certrotd.datasets.residue import MOST_BYTES, SAMPLE, Residue, Scanned, Signatures
from certrotd.errors import Failure

HEAD = 1024 * 1024
"""So much of a file is read, in bytes."""
MOST_FOUND = 100
"""So many files are listed; the rest is counted with the last."""
_DOLLAR = b"$"
LONGEST_WORD = re.compile(rb"[A-Za-z0-9+/=_\-.:{}$,\"]+")


@dataclass(frozen=True)
class Files:
    """Files below ``roots`` that none of ``declared`` has."""

    roots: Sequence[Path]
    declared: Sequence[FileTree]

    def scanned(self, signatures: Signatures, deadline: Deadline) -> Scanned:
        """Look at every file until the deadline."""
        whole, files = Scanned(), 0
        for root in self.roots:
            try:
                for found in FileTree([root], may_be_empty=True).walk():
                    place = "/".join(map(str, found.key))
                    if deadline.passed:
                        return whole + Scanned(files=files, unfinished=(f"{place} and others",))
                    if any(tree.covers(found.key) for tree in self.declared):
                        continue
                    files += 1
                    try:
                        data = _head(found)
                    except OSError as error:
                        words = f"{place}: {error.strerror}"
                        if len(whole.unreadable) == MOST_FOUND:
                            words = "and other files"
                        if len(whole.unreadable) <= MOST_FOUND:
                            whole += Scanned(unreadable=(words,))
                        continue
                    seen, what = signatures.judged(_values(data, signatures))
                    if seen and len(whole.found) < MOST_FOUND:
                        whole += Scanned(found=(Residue(place, seen, what),))
            except Failure as failure:  # nor was anything behind it seen
                whole += Scanned(unfinished=(f"{root}: {failure.message}",))
        return whole + Scanned(files=files)


def _values(data: bytes, signatures: Signatures) -> Iterator[bytes]:
    """What of a file may be ciphertext: its beginning, and words of text that begin like some."""
    yield data[:MOST_BYTES]
    beginnings = [each for each in signatures.beginnings if each.isascii() and _is_text(each[:1])]
    if not beginnings:
        return
    places = re.finditer(b"|".join(rb"(?<![A-Za-z0-9])" + re.escape(b) for b in beginnings), data)
    for number, place in enumerate(places):
        if number == SAMPLE:
            return
        if place.group().startswith(_DOLLAR):  # what follows is on several lines
            yield data[place.start() : place.start() + MOST_BYTES]
        elif place.start() and (word := LONGEST_WORD.match(data, place.start())):
            yield word.group().rstrip(b'",:')[:MOST_BYTES]


def _is_text(first: bytes) -> bool:
    return first.isalnum() or first == _DOLLAR


def _head(found: Found) -> bytes:
    """The first bytes of a file; none of one that is gone, or no file any more."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        handle = os.open(found.name, flags, dir_fd=found.folder)
    except FileNotFoundError:
        return b""
    try:
        return os.read(handle, HEAD) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
    finally:
        os.close(handle)
