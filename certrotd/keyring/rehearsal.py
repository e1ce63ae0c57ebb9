"""What a rehearsal of a compromise came to: a key replaced, and data re-encrypted, in copies."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from certrotd.errors import InvalidInput
from certrotd.wording import span, stamp

SUCCEEDED, UNSUCCESSFUL = "keyring.rehearsed", "keyring.rehearsal_failed"
"""The events of the audit log."""


class Late(StrEnum):
    """The codes of what is wrong with the last rehearsal."""

    NEVER = "rehearsal-never"
    OVERDUE = "rehearsal-overdue"
    FAILED = "rehearsal-failed"


@dataclass(frozen=True, slots=True)
class RehearsedDataset:
    """A dataset of which ``rows`` of ``of`` were copied, and re-encrypted in so many seconds."""

    name: str
    rows: int
    of: int
    bytes: int
    seconds: float

    @property
    def expected(self) -> timedelta:
        """How long the whole dataset takes at that rate."""
        seconds = self.seconds * self.of / self.rows if self.rows else 0.0
        return timedelta(seconds=min(seconds, 10**9))


@dataclass(frozen=True)
class Rehearsed:
    """A rehearsal at ``at``, of a compromise of the key ``version``.

    ``replaced_in`` is after how many seconds every output had the new key, ``seconds`` how long all
    of it took. ``left_out`` are the datasets that only a program counts. ``problems`` says in
    words what failed.
    """

    keyring: str
    at: datetime
    version: int
    replaced_in: float
    seconds: float
    datasets: tuple[RehearsedDataset, ...] = ()
    left_out: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def succeeded(self) -> bool:
        """Whether an emergency would have been over in that way."""
        return not self.problems

    @property
    def event(self) -> str:
        """What the audit log calls it."""
        return SUCCEEDED if self.succeeded else UNSUCCESSFUL

    @property
    def expected(self) -> timedelta:
        """How long everything stored takes, at the rates of the copies, one after the other."""
        return sum((each.expected for each in self.datasets), timedelta(0))

    def __str__(self) -> str:
        if self.problems:
            return f"failed: {self.problems[0]}"
        rows = sum(each.rows for each in self.datasets)
        return (
            f"a new key in {self.replaced_in:.1f} s, {rows:,} rows in {self.seconds:.1f} s; "
            f"everything takes about {span(self.expected)}"
        )

    def to_json(self) -> dict[str, Any]:
        """As state, the audit log and ``--json`` have it; lengths of time in seconds."""
        return {
            "keyring": self.keyring,
            "at": self.at.isoformat(),
            "version": self.version,
            "replaced_in": self.replaced_in,
            "seconds": self.seconds,
            "expected": round(self.expected.total_seconds(), 1),
            "datasets": [asdict(each) for each in self.datasets],
            "left_out": list(self.left_out),
            "problems": list(self.problems),
        }

    @classmethod
    def from_json(cls, told: Any) -> Rehearsed:
        """What to_json() told; raises InvalidInput for anything else."""
        try:
            at = datetime.fromisoformat(told["at"])
            if at.tzinfo is None:
                raise ValueError("no time zone")
            return cls(
                str(told["keyring"]),
                at,
                int(told["version"]),
                float(told["replaced_in"]),
                float(told["seconds"]),
                tuple(_dataset(each) for each in told["datasets"]),
                tuple(map(str, told["left_out"])),
                tuple(map(str, told["problems"])),
            )
        except (KeyError, ValueError, TypeError, AttributeError):
            raise InvalidInput("what is kept of the last rehearsal cannot be read") from None


def _dataset(told: Any) -> RehearsedDataset:
    return RehearsedDataset(
        str(told["name"]),
        int(told["rows"]),
        int(told["of"]),
        int(told["bytes"]),
        float(told["seconds"]),
    )


def missed(
    last: Rehearsed | None, *, every: timedelta, since: datetime, now: datetime
) -> tuple[Late, str] | None:
    """What is wrong with the last rehearsal of a keyring that is there since then; else None."""
    if last is None:
        if now - since <= every:
            return None
        return Late.NEVER, "a compromise was never rehearsed"
    if not last.succeeded:
        return Late.FAILED, f"the rehearsal of {stamp(last.at)} failed: {last.problems[0]}"
    if not timedelta(0) <= now - last.at <= every:
        return Late.OVERDUE, f"the last rehearsal is of {stamp(last.at)}"
    return None
