"""Failures that say what happened, who can do something about it, and when to try again."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Failure(Exception):
    """Anything certrotd reports to a person: one line of what, and a hint of what to do.

    ``message`` is a single printable line (control characters of hostile input are escaped);
    ``hint`` is what the reader can do about it, or empty. ``at_ca``: a CA was being asked.
    """

    at_ca = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = one_line(message)
        self.hint = one_line(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class Transient(Failure):
    """The same act may succeed later without anybody's help.

    ``retry_after`` is the least time to wait before the next try, where the other side named one.
    """

    def __init__(
        self, message: str, *, hint: str = "", retry_after: timedelta | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class NeedsOperator(Failure):
    """Trying again will not help until somebody changes something."""


class InvalidInput(Failure):
    """Something read from outside (a PEM, a DNS answer, a name) is not what it must be."""


class UsageError(InvalidInput):
    """A command was called with something that it cannot be about."""


class ProofFailed(Failure):
    """What is served is not what should be served."""


class LockHeld(Failure):
    """Another process works on the same thing; ``holder`` says which.

    After ``free_after`` it is free, unless its holder is still there; None if nobody can tell.
    """

    def __init__(self, what: str, *, holder: str, free_after: timedelta | None = None) -> None:
        super().__init__(f"{what} is in use by {holder}", hint="wait for it, or stop it")
        self.holder = holder
        self.free_after = free_after


@dataclass(frozen=True)
class ConfigProblem:
    """One thing wrong in a configuration file, at a 1-based line (0: the file as a whole)."""

    file: Path
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else f"{self.file}"
        return one_line(
            f"{where}: {self.path}: {self.message}" if self.path else f"{where}: {self.message}"
        )


class ConfigInvalid(Failure):
    """The configuration cannot be used; every problem found is listed, not just the first."""

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(p) for p in self.problems))


def failed(look: Callable[[], object]) -> Iterator[Failure]:
    """The Failure that ``look`` raises, if any: for looks that are to find everything wrong."""
    try:
        look()
    except Failure as failure:
        yield failure


def raise_first(problems: Iterable[Failure]) -> None:
    """Raise the first of ``problems``, and look for no more."""
    for problem in problems:
        raise problem


_MACHINE = {
    errno.EMFILE: "raise the limit of open files",
    errno.ENFILE: "raise the limit of open files",
    errno.ENOMEM: "the machine is out of memory",
    errno.EIO: "the disk reports an error; look at the kernel log",
    errno.ESTALE: "the file server lost it: mount it again",
}


def of_the_machine(error: OSError) -> str:
    """What to do where the machine is to blame, and not what was asked of it; else empty."""
    return _MACHINE.get(error.errno or 0, "")


def printable(text: str) -> str:
    """``text`` on one line: a newline becomes a space, other control characters are escaped."""
    if text.isprintable():
        return text
    flat = " ".join(text.splitlines())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in flat)


def one_line(text: str) -> str:
    """``text`` made printable and cut at 2,000 characters, fit for one log line.

    A newline is what the CA's problem documents may have.
    """
    shown = printable(text)
    return shown if len(shown) <= 2000 else shown[:1999] + "…"


def listed(names: Iterable[str], *, most: int = 5) -> str:
    """A few of ``names`` for a message, and how many more there are."""
    every = list(names)
    shown = ", ".join(every[:most])
    return f"{shown} and {len(every) - most} more" if len(every) > most else shown
