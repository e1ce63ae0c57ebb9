"""What is managed, as the rooms above see it: a Subject, and what a look at it found.

Each wing (certificates, keys) has subjects of one kind. Nothing above a wing knows more of them
than this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from certrotd.errors import Failure
from certrotd.id import Id
from certrotd.lifecycle.decision import Asked, Decision, Tried
from certrotd.lifecycle.gate import Held
from certrotd.value import value

if TYPE_CHECKING:
    from certrotd.lifecycle.alert import AlertEvent
    from certrotd.lifecycle.attempts import Attempts
    from certrotd.lifecycle.details import Consumer, Details
    from certrotd.lifecycle.managed import Managed
    from certrotd.lifecycle.report import Report
    from certrotd.lifecycle.runner import Runner
    from certrotd.lifecycle.view import View
    from certrotd.pki.revocation import Revocation, RevocationAsked
    from certrotd.rotation.flight import Flight
    from certrotd.state.ports import History, Journal


CLOCK_SKEW = timedelta(minutes=5)
"""By so much may the clock of whoever issued something be ahead of ours."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What a subject shares with others: where that hangs, all of them do.

    ``service`` is a CA or a database, ``part`` a registered domain or a dataset there.
    """

    service: str
    part: str


@value
class Validity:
    """From when until when what is in use may be used."""

    not_before: datetime
    not_after: datetime


class Seen(Protocol):
    """What a look at a subject found: values.

    ``failures`` in a row, the last one at ``failed_at`` because of ``failure``. ``condition`` is a
    word of view.STATES for what is wrong with it whatever is due and whenever it ends, or empty;
    ``version`` is what is in use, by number. ``passed`` is a moment that has passed by somebody
    else's word. ``next_version`` says that a newer one is ready and not in use. ``remark`` is worth
    knowing and asks for nothing.
    """

    @property
    def failures(self) -> int: ...

    @property
    def failed_at(self) -> datetime | None: ...

    @property
    def failure(self) -> str: ...

    @property
    def condition(self) -> str: ...

    @property
    def validity(self) -> Validity | None: ...

    @property
    def version(self) -> int | None: ...

    @property
    def passed(self) -> datetime | None: ...

    @property
    def names(self) -> Sequence[str]:
        """What it is for: DNS names, datasets."""
        ...

    @property
    def renewal(self) -> tuple[datetime, str] | None:
        """When it is replaced by its schedule, and by which rule; None if that is not known."""
        ...

    @property
    def next_version(self) -> str: ...

    @property
    def remark(self) -> str: ...


class Decided(Protocol):
    """What a wing decides by what was seen.

    ``decision`` is None where nothing could be found. ``claim`` is what it takes of an account
    elsewhere, None if nothing; only its subject reads it.
    """

    @property
    def decision(self) -> Decision | None: ...

    @property
    def claim(self) -> Any: ...

    def decide(self, asked: Asked, *, now: datetime) -> Decision:
        """The decision for somebody who asks."""
        ...

    def explain(self, *, now: datetime) -> Sequence[Tried]:
        """Every rule that was tried for the decision, and why it matched or not."""
        ...

    def steps(self) -> Sequence[str]:
        """The titles of the steps that the decision would be carried out by."""
        ...

    def problems(self, decision: Decision, flight: Flight | None) -> Iterable[Failure]:
        """Everything that carrying it out would fail for, as far as it can be told.

        Raises Failure and OSError.
        """
        ...


class Shown(Protocol):
    """What people and programs are shown of it, besides what every View has."""

    def consumers(self, *, ask: bool = False) -> Sequence[Consumer]:
        """Who uses it, and what they have; ``ask`` them now."""
        ...

    def to_json(self, *, ask: bool = False) -> dict[str, Any]:
        """For listings; moments stay moments."""
        ...

    def details(self) -> Details:
        """For its page."""
        ...

    def alerts(self, view: View) -> Sequence[AlertEvent]:
        """The alerts that it raises, and those that are over."""
        ...


class Found(Seen, Decided, Shown, Protocol):
    """A subject as its wing found it, and what comes of that."""


class Subject(Protocol):
    """One thing to keep fresh."""

    @property
    def id(self) -> Id: ...

    @property
    def fate(self) -> Fate: ...

    @property
    def names(self) -> Sequence[str]:
        """What people may call it besides its own name."""
        ...

    @property
    def journal(self) -> Journal: ...

    @property
    def history(self) -> History: ...

    def look(self, *, now: datetime, thorough: bool = False) -> Found:
        """What there is, and what is due; raises Failure and OSError.

        A ``thorough`` look reads everything that is in use.
        """
        ...

    def unseen(self) -> Found:
        """What is known without a look."""
        ...

    def reserve(self, claim: Any, *, now: datetime) -> Held | None:
        """Set aside what ``claim`` takes, or say until when there is none; raises Failure."""
        ...

    def release(self) -> None:
        """Give back what was set aside, and wait for no more."""
        ...

    def foresee(self, claim: Any, *, now: datetime) -> Held | None:
        """As reserve(), as far as files tell, and nothing is set aside."""
        ...

    def rotate(self, runner: Runner, asked: Asked) -> Report:
        """Bring it up to date; what goes wrong ends in the report, never beyond."""
        ...

    def cancel(self, runner: Runner) -> Report:
        """Undo the rotation in flight to its last savepoint."""
        ...


class Tries(Protocol):
    """Who has the attempts at it since the last success."""

    @property
    def attempts(self) -> Attempts: ...


class OfAttempts:
    """Of a Found: what its ``attempts`` say."""

    __slots__ = ()

    @property
    def failures(self: Tries) -> int:
        """As Seen.failures."""
        return self.attempts.failures

    @property
    def failed_at(self: Tries) -> datetime | None:
        """As Seen.failed_at."""
        return self.attempts.at

    @property
    def failure(self: Tries) -> str:
        """As Seen.failure."""
        return self.attempts.why


class OfManaged:
    """Of a Subject: what the configuration has of it."""

    __slots__ = ()
    managed: Managed

    @property
    def id(self) -> Id:
        """As Subject.id."""
        return self.managed.policy.id

    @property
    def names(self) -> Sequence[str]:
        """As Subject.names."""
        return ()

    @property
    def journal(self) -> Journal:
        """As Subject.journal."""
        return self.managed.journal

    @property
    def history(self) -> History:
        """As Subject.history."""
        return self.managed.history


class Unlimited:
    """Of a Subject that takes nothing of an account elsewhere: nothing is set aside for it."""

    __slots__ = ()

    def reserve(self, claim: None, *, now: datetime) -> Held | None:  # noqa: ARG002
        """As Subject.reserve."""
        return None

    def foresee(self, claim: None, *, now: datetime) -> Held | None:  # noqa: ARG002
        """As Subject.foresee."""
        return None

    def release(self) -> None:
        """As Subject.release."""


@runtime_checkable
class Reversible(Protocol):
    """A subject that a person can take back to an earlier version."""

    def rollback(self, runner: Runner, to: int | None) -> Report:
        """To that version, or to the newest usable earlier one."""
        ...


@dataclass(frozen=True, slots=True)
class RevocationForeseen:
    """What it means to revoke a ``version``, in lines for whoever is to confirm it."""

    version: int
    effects: tuple[str, ...]


@runtime_checkable
class Revocable(Protocol):
    """A subject with versions that somebody else has signed, and can revoke."""

    def foresee_revocation(
        self, version: int | None, reason: str, *, at_once: bool, now: datetime
    ) -> RevocationForeseen:
        """What it means to revoke that version (None: the one in use); raises NeedsOperator."""
        ...

    def revoke(self, runner: Runner, asked: RevocationAsked) -> Report:
        """Replace the version if it is in use, and have it revoked.

        What could not be revoked after the replacement is among revocations(); asked for again, it
        is revoked alone.
        """
        ...

    def revocations(self) -> Mapping[int, Revocation]:
        """What is revoked or is to be, by version; raises Failure."""
        ...


@dataclass(frozen=True, slots=True)
class DeletionForeseen:
    """What deleting a subject removes and what stays, in lines; ``version`` is the one in use.

    ``unknown`` is what could not be found out of who uses it.
    """

    version: int | None
    goes: tuple[str, ...]
    stays: tuple[str, ...]
    unknown: tuple[str, ...] = ()


@runtime_checkable
class Deletable(Protocol):
    """A subject that a person can delete."""

    @property
    def enabled(self) -> bool:
        """Whether the configuration asks for it: then it would be made anew."""
        ...

    def foresee_deletion(self) -> DeletionForeseen:
        """What it means; NeedsOperator where it is in use, or a rotation of it in flight."""
        ...

    def delete(self, runner: Runner) -> Report:
        """Remove it, or finish that."""
        ...


@runtime_checkable
class Follows(Protocol):
    """A subject that may have something to do once another one was rotated."""

    @property
    def after(self) -> Id:
        """The other one."""
        ...


def followers(subjects: Iterable[Subject]) -> Mapping[Id, Sequence[Subject]]:
    """Who follows whom."""
    found: dict[Id, list[Subject]] = {}
    for each in subjects:
        if isinstance(each, Follows):
            found.setdefault(each.after, []).append(each)
    return found
