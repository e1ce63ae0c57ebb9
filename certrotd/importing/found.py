"""What an installation of another ACME client holds, in words that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from certrotd.errors import Failure, InvalidInput, one_line
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.keys import PrivateKey
from certrotd.rotation.unexpected import as_failure

MOST_LINES = 20


class Fate(StrEnum):
    """What becomes of something that was found."""

    TAKEN = "taken over"
    UNNEEDED = "not needed"
    BY_HAND = "by hand"
    STAYS = "stays"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Row:
    """One thing that was found: in which file, what, and what becomes of it."""

    where: str
    what: str
    fate: Fate
    note: str

    def __post_init__(self) -> None:
        for name in ("where", "what", "note"):
            object.__setattr__(self, name, one_line(getattr(self, name)))


class AtLine(InvalidInput):
    """Something in a line of a settings file is not what it must be; ``where`` names the file."""

    def __init__(self, where: str, line: int, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.place = f"{where}:{line}"


@dataclass(frozen=True)
class FoundAccount:
    """An account at a CA, with its key."""

    where: str
    directory: str
    contact: tuple[str, ...]
    key: PrivateKey = field(repr=False)


@dataclass(frozen=True)
class Solver:
    """A solver of certrotd's: ``options`` as in the configuration, ``secrets`` by dotted option."""

    name: str
    options: Mapping[str, Any]
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Hook:
    """A command that a shell runs after a renewal, with the variables it expects."""

    where: str
    command: str
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pair:
    """A key and a certificate where they are now, and the files that services may read.

    ``chain`` is given where ``certificate`` is the leaf alone. ``read`` are paths by kind, as
    under ``install``.
    """

    privkey: Path
    certificate: Path
    chain: Path | None
    facts: CertificateFacts
    read: Mapping[str, Path]
    modes: Mapping[str, Any]


@dataclass(frozen=True)
class FoundCertificate:
    """A certificate that can be taken over; ``stays`` says why it cannot be renewed here."""

    name: str
    where: str
    pair: Pair
    directory: str
    account: FoundAccount | None
    issuer: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    solver: Solver | None = None
    hooks: Sequence[Hook] = ()
    stays: str = ""


@dataclass
class Installation:
    """Everything found below one path; ``rows`` say what becomes of each setting."""

    client: str
    path: Path
    certificates: list[FoundCertificate] = field(default_factory=list)
    accounts: list[FoundAccount] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def take(self, where: str, read: Callable[[], FoundCertificate]) -> None:
        """Add the certificate that ``read`` finds, or a row that says why there is none."""
        try:
            self.certificates.append(read())
        except Exception as error:  # noqa: BLE001  # one must not stop the others
            self.fail(where, "certificate", error)

    def fail(self, where: str, what: str, error: Exception) -> None:
        """Note what could not be read, and why, with the line where that is known."""
        place = error.place if isinstance(error, AtLine) else where
        if isinstance(error, FileNotFoundError):
            note = f"{error.filename} is not there"
        else:
            note = str(as_failure(error, f"read {where}"))
        self.say(place, what, Fate.PROBLEM, note)

    def listed(self, where: str, names: Callable[[], list[str]]) -> list[str]:
        """The ``names`` in a folder; none, and a row that says why, where it cannot be listed."""
        try:
            return names()
        except (Failure, OSError) as error:
            self.fail(where, "folder", error)
            return []

    def unread(self, where: str, lines: Sequence[int], note: str) -> None:
        """Note lines that could not be read, by their numbers alone: they may hold secrets."""
        for number in lines[:MOST_LINES]:
            self.say(f"{where}:{number}", "line", Fate.PROBLEM, note)
        if (more := len(lines) - MOST_LINES) > 0:
            self.say(where, "lines", Fate.PROBLEM, f"{note}; {more} more are like this")

    def say(self, where: str, what: str, fate: Fate, note: str) -> None:
        """Note what becomes of something."""
        self.rows.append(Row(where, what, fate, note))
