"""The example wing: token files that services read, replaced when they are old.

``tokens.json`` beside the state directory says which: ``{"api": {"every": 86400, "rows": 100}}``. A
rotation writes the next token, waits until the consumer has acknowledged it (its hash stands in
``NAME.ack``), re-encrypts so many rows, a minute each, and puts it in place. Nothing outside this
file knows of it but its name in daemon/wings.py.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from certrotd.audit.record import Happened
from certrotd.clock import Clock
from certrotd.config.model import Config
from certrotd.errors import Failure
from certrotd.id import Id
from certrotd.lifecycle.alert import Alert, AlertEvent, Resolved
from certrotd.lifecycle.attempts import backoff
from certrotd.lifecycle.decision import Action, Asked, Decision, Postpone, Tried, Wait
from certrotd.lifecycle.details import Cell, Consumer, Details
from certrotd.lifecycle.gate import Gate
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.runner import Run, Runner
from certrotd.lifecycle.subject import Fate, Unlimited, Validity
from certrotd.lifecycle.view import View
from certrotd.lifecycle.wing import Build, Check, PlainWing, Premises, Terms
from certrotd.rotation.engine import Outcome, Parked
from certrotd.rotation.flight import Flight
from certrotd.rotation.step import (
    JSON,
    Done,
    Journaled,
    Ledger,
    NotYet,
    Observed,
    Plan,
    Savepoint,
    Step,
)
from certrotd.state.ports import History, Journal, Lease

KIND = "token"
LONG = timedelta(days=30)
ROW = 60.0


@dataclass(frozen=True, slots=True)
class Replace(Action):
    """Put another token in the place of the one that is there."""

    act: ClassVar[str] = "replace"


@dataclass
class Place:
    """What a rotation acts upon: the files of one token, and the time."""

    path: Path
    clock: Clock
    check: Callable[[], None] = lambda: None

    @property
    def next(self) -> Path:
        return self.path.with_suffix(".next")

    @property
    def acknowledged(self) -> bool:
        """Whether the consumer has the next token."""
        try:
            said = self.path.with_suffix(".ack").read_text().strip()
        except FileNotFoundError:
            return False
        return said == digest(self.next)


@dataclass(frozen=True)
class Generate(Journaled):
    """Write the next token, readable by its owner alone."""

    token: str
    kind = "generate"

    def do(self, place: Place, ledger: Ledger) -> Done:
        place.check()
        with open(place.next, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(self.token)
        return Done()

    def undo(self, place: Place, ledger: Ledger) -> None:
        place.next.unlink(missing_ok=True)

    def observe(self, place: Place, ledger: Ledger) -> Observed:
        return Observed.DONE if place.next.exists() else Observed.NOT_DONE


@dataclass(frozen=True)
class Await(Journaled):
    """Wait for the consumer, for days perhaps."""

    kind = "await"

    def do(self, place: Place, ledger: Ledger) -> Done | NotYet:
        return self.poll(place, ledger) or Done()

    def poll(self, place: Place, ledger: Ledger) -> NotYet | None:
        if place.acknowledged:
            return None
        again = place.clock.now() + timedelta(hours=1)
        return NotYet(again, "waits for the acknowledgement of its consumer")

    def undo(self, place: Place, ledger: Ledger) -> None:
        pass


@dataclass(frozen=True)
class Reencrypt(Journaled):
    """A minute for each row, and a checkpoint after it."""

    rows: int
    kind = "re-encrypt"

    def do(self, place: Place, ledger: Ledger) -> Done:
        done = int(str(ledger.kept.get("row", 0)))
        for row in range(done + 1, self.rows + 1):
            place.check()
            place.clock.sleep(ROW)
            ledger.checkpoint({"row": row}, done=row, total=self.rows)
        return Done({"rows": self.rows})

    def undo(self, place: Place, ledger: Ledger) -> None:
        pass


@dataclass(frozen=True)
class Switch(Journaled):
    """The next token takes the place of the one that is there."""

    kind = "switch"

    def do(self, place: Place, ledger: Ledger) -> Done:
        place.check()
        if place.next.exists():
            now = place.clock.now().timestamp()
            os.utime(place.next, (now, now))
            os.replace(place.next, place.path)
        return Done({"fingerprint": digest(place.path)})

    def undo(self, place: Place, ledger: Ledger) -> None:
        raise AssertionError("nothing after the switch is undone")


STEPS: Mapping[str, Any] = {each.kind: each for each in (Generate, Await, Reencrypt, Switch)}


@dataclass(frozen=True, slots=True)
class TokenFound:
    """Found, of a token: since when it is there, and what its history says."""

    subject: Token
    since: datetime | None
    last: Mapping[str, Any] | None
    now: datetime

    claim: ClassVar[None] = None
    passed: ClassVar[None] = None
    next_version: ClassVar[str] = ""
    remark: ClassVar[str] = ""
    version: ClassVar[None] = None

    @property
    def failures(self) -> int:
        return int(self.last["failures"]) if self.last else 0

    @property
    def failed_at(self) -> datetime | None:
        return datetime.fromisoformat(self.last["ended"]) if self.last and self.failures else None

    @property
    def failure(self) -> str:
        return str(self.last["failure"]) if self.last and self.failures else ""

    @property
    def condition(self) -> str:
        return "missing" if self.since is None else ""

    @property
    def validity(self) -> Validity | None:
        return Validity(self.since, self.since + LONG) if self.since else None

    @property
    def names(self) -> Sequence[str]:
        return ()

    @property
    def renewal(self) -> tuple[datetime, str] | None:
        return (self.since + self.subject.every, "its age") if self.since else None

    @property
    def decision(self) -> Decision:
        return self.decide(Asked(), now=self.now)

    def decide(self, asked: Asked, *, now: datetime) -> Decision:
        if asked.forced:
            return Replace("forced by hand", code="forced")
        if self.since is None:
            return Replace("there is no token yet", code="first")
        if now < (due := self.since + self.subject.every):
            return Wait("it is young", due, "not_due", planned=due)
        old = Replace("it is old", code="old")
        if self.failures and self.failed_at and not asked.by_hand:
            again = self.failed_at + backoff(self.failures, None)
            if now < again:
                return Postpone(f"after a failure: {self.failure}", again, old, Gate.BACKOFF)
        return old

    def explain(self, *, now: datetime) -> Sequence[Tried]:
        decision = self.decide(Asked(), now=now)
        return [Tried(decision.code, True, decision.why)]

    def steps(self) -> Sequence[str]:
        return list(STEPS)

    def problems(self, decision: Decision, flight: Flight | None) -> Iterator[Failure]:
        if not self.subject.place.path.parent.is_dir():
            yield Failure(f"{self.subject.place.path.parent} is no directory")

    def consumers(self, *, ask: bool = False) -> Sequence[Consumer]:
        there = self.since is not None
        return [Consumer("service", "ok" if there else "has none", there)]

    def to_json(self, *, ask: bool = False) -> dict[str, Any]:
        return {"path": str(self.subject.place.path)}

    def details(self) -> Details:
        return Details([("Path", Cell(str(self.subject.place.path), code=True))])

    def alerts(self, view: View) -> Sequence[AlertEvent]:
        key, subject = f"late/{view.id}", view.id
        if view.flight is None or view.flight.since is None:
            return [Resolved(key, f"{subject}: nothing waits any more.", subject)]
        days = (view.now - view.flight.since).days
        if days < 3:
            return []
        what = f"{subject} waits since {view.flight.since:%Y-%m-%d}: {view.flight.why}."
        title = f"{subject}: its consumer does not acknowledge the new token"
        return [
            Alert(
                kind="attempts_running_out",
                severity="warning",
                key=key,
                title=title,
                what=what,
                todo=f"Have it read the token, or: certrotd cancel {subject}",
                subject=subject,
                cause="late",
            )
        ]


@dataclass(frozen=True)
class Token(Unlimited):
    """Subject and Rotatable, of one token."""

    id: Id
    place: Place
    every: timedelta
    rows: int
    premises: Premises

    names: ClassVar[Sequence[str]] = ()

    @property
    def fate(self) -> Fate:
        return Fate("tokens", self.id.name)

    @property
    def journal(self) -> Journal:
        return self.premises.state.journal(str(self.id))

    @property
    def history(self) -> History:
        return self.journal.history

    def look(self, *, now: datetime, thorough: bool = False) -> TokenFound:
        try:
            since = datetime.fromtimestamp(self.place.path.stat().st_mtime, UTC)
        except FileNotFoundError:
            since = None
        return TokenFound(self, since, self.history.last(), now)

    def unseen(self) -> TokenFound:
        return TokenFound(self, None, None, self.premises.clock.now())

    def rotate(self, runner: Runner, asked: Asked) -> Report:
        return runner.rotate(self, asked)

    def cancel(self, runner: Runner) -> Report:
        return runner.cancel(self)

    def lock(self) -> AbstractContextManager[Lease]:
        return self.premises.lock(str(self.id), f"token {self.id.name}", None)

    def configuration(self) -> str:
        return f"{self.every} {self.rows}"

    def world(self, check: Callable[[], None]) -> Place:
        return Place(self.place.path, self.place.clock, check)

    def rebuild(self, kind: str, intent: Mapping[str, JSON]) -> Step[Place]:
        step: Step[Place] = STEPS[kind].rebuild(intent)
        return step

    def recorded(self, line: Mapping[str, Any]) -> Sequence[Happened]:
        return ()

    def in_context(self, failure: Failure) -> Failure:
        return failure

    def sweep(self, world: Place) -> None:
        world.next.unlink(missing_ok=True)

    def meanwhile(self, run: Run[Place], parked: Parked) -> tuple[Outcome, Failure | None]:
        return parked, None

    def act(self, run: Run[Place], recovered: Outcome | None) -> Report:
        decision = self.look(now=run.runner.clock.now()).decide(
            run.asked, now=run.runner.clock.now()
        )
        if not isinstance(decision, Action):
            return Report(self.id, decision, None, recovered)
        return run.once(decision, partial(self._plan, decision), recovered)

    def _plan(self, decision: Action, rotation: str) -> Plan[Place]:
        token = hashlib.sha256(rotation.encode()).hexdigest()
        first = decision.code == "first"
        return (
            Generate(token),
            *(() if first else (Await(), Reencrypt(self.rows))),
            Savepoint("committed", forward_only=True),
            Switch(),
        )


@dataclass
class Tokens(PlainWing):
    """Wing, of tokens."""

    subjects: Sequence[Token]

    kind: ClassVar[str] = KIND
    slots: ClassVar[int] = 1
    terms: ClassVar[Terms] = Terms((Replace.act,))

    def checks(self) -> Sequence[Check]:
        return ()


def build(config: Config, premises: Premises) -> Tokens:
    """As Build."""
    entries = json.loads((config.state_dir.parent / "tokens.json").read_text())
    return Tokens(
        [
            Token(
                Id(KIND, name),
                Place(config.state_dir.parent / name, premises.clock),
                timedelta(seconds=entry["every"]),
                entry.get("rows", 0),
                premises,
            )
            for name, entry in entries.items()
        ]
    )


BUILD: Build = build


def digest(path: Path) -> str:
    """What a consumer acknowledges a token by."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
