"""A key in a service that outlives processes, and the processes that rotate it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count

from certrotd.clock import ManualClock
from certrotd.errors import Failure
from certrotd.kek.managed.port import KeyVersion, ManagedState, RotationsUsedUp
from certrotd.lifecycle.attempts import attempts_of
from certrotd.lifecycle.decision import DAEMON, Asked
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.runner import Runner
from certrotd.managed_keys.checks import ManagedKeyCheck
from certrotd.managed_keys.document import seen_in
from certrotd.managed_keys.policy import Policy, Seen, Standing
from certrotd.managed_keys.steps import World
from certrotd.managed_keys.subject import ManagedKeyFound, ManagedKeySubject
from certrotd.state.ports import History, Journal, Lease
from certrotd.state.typed import TypedDocument
from tests.fakes.audit import MemoryAudit
from tests.fakes.state import MemoryState

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = Policy("orders", "AWS KMS", "AWS KMS eu-central-1", "the key")


class Killed(BaseException):
    """The process is gone: nothing of it answers this."""


@dataclass
class MemoryManagedKey:
    """ManagedKey, in memory.

    ``away`` is raised by every call, ``lost`` after a change is made. ``retired`` are the versions
    that it was told to be the oldest to decrypt. With
    ``after_look`` something happens as soon as the key was looked at. ``slow``: a version appears
    only when appear() is called. ``deaf`` to what is set. ``refuses`` is raised by retire_before().
    """

    clock: ManualClock
    state: ManagedState
    away: BaseException | None = None
    lost: BaseException | None = None
    after_look: Callable[[], None] = lambda: None
    slow: bool = False
    deaf: bool = False
    refuses: BaseException | None = None
    retired: list[str] = field(default_factory=list)
    rotated: int = 0
    described: int = 0

    def describe(self) -> ManagedState:
        """As ManagedKey.describe."""
        if self.away is not None:
            raise self.away
        self.described += 1
        state = self.state
        self.after_look()
        return state

    def rotate(self, present: str) -> None:
        """As ManagedKey.rotate."""
        if self.away is not None:
            raise self.away
        if self.state.present.id != present or self.state.rotating:
            return
        if self.state.rotations_left == 0:
            raise RotationsUsedUp("it was rotated 25 times")
        self.rotated += 1
        left = self.state.rotations_left
        self.state = replace(self.state, rotations_left=None if left is None else left - 1)
        if not self.slow:
            self.appear()
        self._lose()

    def appear(self) -> None:
        """A new version is there."""
        versions = self.state.versions
        made = KeyVersion(str(int(versions[-1].id) + 1), self.clock.now())
        self.state = replace(self.state, versions=(*versions, made), rotating=False)

    def set_period(self, period: timedelta | None) -> None:
        """As ManagedKey.set_period."""
        if self.away is not None:
            raise self.away
        if not self.deaf:
            self.state = replace(self.state, period=period)
        self._lose()

    def retire_before(self, version: str) -> None:
        """As Retires.retire_before."""
        if self.away is not None:
            raise self.away
        if self.refuses is not None:
            raise self.refuses
        self.retired.append(version)
        if not self.deaf:
            self.limit(version)
        self._lose()

    def limit(self, version: str) -> None:
        """Somebody has it decrypt from this version on."""
        first = [each.id for each in self.state.versions].index(version)
        versions = enumerate(self.state.versions)
        made = tuple(replace(each, decrypts=index >= first) for index, each in versions)
        self.state = replace(self.state, versions=made, min_decryption_version=int(version))

    def trim(self, version: str) -> None:
        """Somebody destroys what is older than this version."""
        first = [each.id for each in self.state.versions].index(version)
        self.limit(version)
        versions = self.state.versions[first:]
        self.state = replace(self.state, versions=versions, min_available_version=int(version))

    def _lose(self) -> None:
        lost, self.lost = self.lost, None
        if lost is not None:
            raise lost


@dataclass
class Bench:
    """One managed key of the configuration, as processes that come and go have it."""

    policy: Policy = POLICY
    state: MemoryState = field(default_factory=MemoryState)
    clock: ManualClock = field(default_factory=lambda: ManualClock(BEGIN))
    audit: MemoryAudit = field(default_factory=MemoryAudit)
    heard: list[Failure | None] = field(default_factory=list)
    ids: Iterable[int] = field(default_factory=count)
    configured: str = "one"

    def __post_init__(self) -> None:
        first = KeyVersion("1", BEGIN)
        self.key = MemoryManagedKey(self.clock, ManagedState("aws-kms", "the key", (first,)))

    # what a managed key of the configuration is

    @property
    def journal(self) -> Journal:
        return self.state.journal(str(self.policy.id))

    @property
    def history(self) -> History:
        return self.journal.history

    def document(self) -> TypedDocument[Seen]:
        return seen_in(self.state.document("managed-keys/orders"))

    def lock(self) -> AbstractContextManager[Lease]:
        return self.state.lock(str(self.policy.id), "managed key orders")

    def configuration(self) -> str:
        return self.configured

    def world(self) -> World:
        return World(self.key, self.policy.key, self.document(), self.clock, self.heard.append)

    def look(self) -> Standing:
        return Standing(
            self.document().peek(), attempts_of(self.history.last(), self.configuration())
        )

    # what tests do with it

    @property
    def subject(self) -> ManagedKeySubject:
        return ManagedKeySubject(self)

    @property
    def found(self) -> ManagedKeyFound:
        """What a look finds now."""
        return self.subject.look(now=self.clock.now())

    @property
    def runner(self) -> Runner:
        """That of a new process."""
        return Runner(
            self.clock, lambda: 0.5, lambda: f"rotation-{next(iter(self.ids))}", audit=self.audit
        )

    def rotate(self, asked: Asked = DAEMON) -> Report:
        """Whatever is due."""
        return self.subject.rotate(self.runner, asked)

    def tick(self, after: timedelta) -> Report:
        """What the daemon does that much later."""
        self.clock.advance(after)
        return self.rotate()

    def check(self) -> ManagedKeyCheck:
        """What watches it."""
        return ManagedKeyCheck(
            self.policy,
            lambda: self.key,
            self.document,
            3600.0,
            lambda: self.state.flying(str(self.policy.id)),
            lambda: self.state.wake(str(self.policy.id)),
            self.clock,
        )
