"""The system calls of one run, as strace tells them, and where a run can be broken off."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# Every call that changes something below a directory; an openat counts where it may create.
MUTATING = (
    "openat",
    *("write", "pwrite64", "writev", "pwritev", "fsync", "fdatasync", "ftruncate", "truncate"),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"),
    *("unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "mknod", "mknodat"),
    *("chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat", "lchown", "fallocate"),
)
_CALL = re.compile(r"(\d+) +(\w+)\((.*)")
_ARGUMENT = re.compile(r'\w+<([^>]*)>|"([^"]*)"')
_QUIET = ("strace", "-f", "-q", "-o", "/dev/null", "-e", "signal=none")


@dataclass(frozen=True)
class Point:
    """One call of the thread that rotates: the ``ordinal``-th with that name, about ``path``."""

    call: str
    ordinal: int
    path: str

    def inject(self, fault: str) -> list[str]:
        """How strace makes that happen there: ``signal=KILL`` or ``error=ENOSPC``."""
        tampering = f"inject={self.call}:{fault}:when={self.ordinal}"
        return [*_QUIET, "-e", f"trace={self.call}", "-e", tampering]


@dataclass(frozen=True)
class Line:
    """One call of the thread that rotates, below the site, in the order they were made."""

    call: str
    ordinal: int
    paths: tuple[str, ...]
    mutates: bool


def lines(log: str, below: Path) -> Iterator[Line]:
    """The calls about files below a directory, by the one thread that makes any of them.

    The numbers that strace counts by are those of all its calls of that name, wherever to.
    """
    counted: Counter[tuple[str, str]] = Counter()
    rotating: set[str] = set()
    everything = [match.groups() for match in map(_CALL.match, log.splitlines()) if match]
    for thread, call, rest in everything:
        if call == "openat" and "/journal/" in rest:
            rotating.add(thread)
    assert len(rotating) == 1, f"threads with a journal: {rotating}"
    programs = {thread for thread, _, rest in everything if "/told." in rest}
    for thread, call, rest in everything:
        counted[thread, call] += 1
        paths = tuple(_paths(rest, below))
        if not paths or thread in programs:
            continue
        mutates = call != "openat" or "O_CREAT" in rest
        assert thread in rotating or not mutates, f"another thread changes files: {call}({rest}"
        if thread in rotating:
            yield Line(call, counted[thread, call], paths, mutates)


def points(trace: Sequence[Line]) -> list[Point]:
    """Where a run can be broken off."""
    return [Point(each.call, each.ordinal, each.paths[-1]) for each in trace if each.mutates]


def _paths(arguments: str, below: Path) -> Iterator[str]:
    """The files a call is about, relative to a directory: ``4</site/etc>, "tls.key"`` is one."""
    folder = ""
    for described, name in _ARGUMENT.findall(arguments.split(" = ")[0]):
        if described:
            yield from _within(folder, below)  # it was not the folder of a name
            folder = described
        elif name.startswith("/"):
            yield from _within(name, below)
            folder = ""
        elif name and folder:
            yield from _within(f"{folder}/{name}", below)
            folder = ""
    yield from _within(folder, below)


def _within(path: str, below: Path) -> Iterator[str]:
    if path.startswith(f"{below}/"):
        yield path.removeprefix(f"{below}/")
