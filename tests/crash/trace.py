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
_ROTATION = re.compile(r"\d{8}T\d{6}-[0-9a-f]{8}")


@dataclass(frozen=True)
class Point:
    """One call about ``path``: the ``ordinal``-th of its name that has to do with ``match``.

    ``match`` is the path that strace selects by: the call's own, or its folder's where the name is
    relative to that. It is None where it has the rotation's own number in it, which the next run
    will not have: then the ordinal is that among all calls of its name and thread. Both paths are
    relative to the site.
    """

    call: str
    ordinal: int
    match: str | None
    path: str

    def inject(self, site: Path, fault: str) -> list[str]:
        """How strace makes that happen there: ``signal=KILL`` or ``error=ENOSPC``."""
        tampering = f"inject={self.call}:{fault}:when={self.ordinal}"
        selected = [] if self.match is None else ["-P", str(site / self.match)]
        traced = ["-e", f"trace={self.call}", "-e", tampering]
        return [
            "strace",
            "-f",
            "-q",
            "-o",
            str(_log(site)),
            "-e",
            "signal=none",
            *selected,
            *traced,
        ]

    def was_hit(self, site: Path) -> bool:
        """Whether an error was put there, by strace's log, which is taken away."""
        log = _log(site)
        text = log.read_text()
        log.unlink()
        return "(INJECTED)" in text


def _log(site: Path) -> Path:
    return site.with_name(f"{site.name}.strace")


@dataclass(frozen=True)
class Call:
    """One call by the thread that rotates; ``paths`` are relative to the site.

    ``clear`` is false where another thread makes a call that its point stands for, too, before.
    """

    name: str
    point: Point
    paths: tuple[str, ...]
    mutates: bool
    clear: bool


def calls(log: str, site: Path) -> Iterator[Call]:
    """The calls about files of a site, in their order; nobody but one thread may make changes."""
    made = [match.groups() for match in map(_CALL.match, log.splitlines()) if match]
    programs = {thread for thread, _, rest in made if "/told." in rest}
    counted: Counter[tuple[str, str]] = Counter()
    matched: Counter[tuple[str, str, str]] = Counter()
    changing: set[str] = set()
    for thread, name, rest in made:
        counted[thread, name] += 1
        seen = {path for pair in _arguments(rest) for path in pair if path}
        for path in seen:
            matched[thread, name, path] += 1
        found = [pair for pair in _arguments(rest) if f"{site}/" in pair[0]]
        if not found or thread in programs:
            continue
        path = found[-1][0].removeprefix(f"{site}/")
        selector, clear = found[0][1], True  # of two paths, strace selects by the first
        if _ROTATION.search(selector):
            before = [count for (tid, of), count in counted.items() if of == name and tid != thread]
            clear = counted[thread, name] > max(before, default=0)
            point = Point(name, counted[thread, name], None, path)
        else:
            number = matched[thread, name, selector]
            point = Point(name, number, selector.removeprefix(f"{site}/"), path)
        # what is in a lock says who held it last, and is read by people alone
        mutates = not path.endswith("lock") and (name != "openat" or "O_CREAT" in rest)
        changing |= {thread} if mutates else set()
        paths = tuple(path.removeprefix(f"{site}/") for path, _ in found)
        yield Call(name, point, paths, mutates, clear)
    assert len(changing) == 1, f"{len(changing)} threads change files"


def points(trace: Sequence[Call]) -> list[Point]:
    """Where a run can be broken off."""
    changes = [call for call in trace if call.mutates]
    assert all(call.clear for call in changes), [call for call in changes if not call.clear]
    return [call.point for call in changes]


def _arguments(text: str) -> list[tuple[str, str]]:
    """The files a call is about, each with the path that ``strace -P`` knows it by.

    ``4</site/etc>, "tls.key"`` is the file /site/etc/tls.key, known by its folder.
    """
    found: list[tuple[str, str]] = []
    folder = ""
    for described, name in _ARGUMENT.findall(text.split(" = ")[0]):
        if described:
            if folder:
                found.append((folder, folder))  # it was not the folder of a name
            folder = described
        elif name.startswith("/"):
            found.append((name, name))
            folder = ""
        elif name and folder:
            found.append((f"{folder}/{name}", folder))
            folder = ""
    return [*found, (folder, folder)] if folder else found
