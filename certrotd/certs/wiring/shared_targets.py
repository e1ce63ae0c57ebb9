"""Targets that certificates share: told by one rotation at a time, and once for several at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from certrotd.certs.target_ports import (
    Fenceable,
    Informed,
    InformedCautious,
    InformedRevertible,
    Precheck,
    Target,
)
from certrotd.certs.trailing import InformedTrailing
from certrotd.clock import Deadline, SystemClock
from certrotd.errors import Failure, Transient
from certrotd.pki.generation import Behind, Checked, LiveCertificate
from certrotd.state.ports import Lease

GATHER = 2.0
"""For how many seconds a target waits for other certificates that are about to need it."""

Tell = Callable[[Sequence[LiveCertificate], Lease], None]
"""Tells a target of certificates, while its own lock is held."""
TargetLock = Callable[[], AbstractContextManager[Lease]]


@dataclass
class _Group:
    """Certificates for which a target reloads in one go."""

    members: list[LiveCertificate] = field(default_factory=list)
    told: threading.Event = field(default_factory=threading.Event)
    failure: Exception | None = None


class Groups:
    """The rotations that are under way in this process, and their groups by target.

    Telling a target has it read the files of all its certificates. So whoever has swapped before
    it begins is served by it, and need not tell it again: the first to come waits for those that
    are under way to the same target, at most ``gather`` seconds, and tells it for all of them.
    """

    def __init__(self, *, gather: float = GATHER) -> None:
        self._gather = gather
        self._changed = threading.Condition()
        self._underway: dict[str, Sequence[str]] = {}
        self._joined: set[tuple[str, str]] = set()
        self._open: dict[str, _Group] = {}

    @contextmanager
    def rotating(self, certificate: str, targets: Sequence[str]) -> Iterator[None]:
        """Within the block, a certificate is rotated that has these targets."""
        with self._changed:
            self._underway[certificate] = targets
        try:
            yield
        finally:
            with self._changed:
                del self._underway[certificate]
                self._joined -= {(certificate, target) for target in targets}
                self._changed.notify_all()

    def tell(
        self,
        target: str,
        about: LiveCertificate,
        lock: TargetLock,
        tell: Tell,
    ) -> None:
        """Have ``target`` told, under ``lock``, by this thread or for it by another one.

        What fails, fails for all of the group.
        """
        with self._changed:
            self._joined.add((about.certificate, target))
            group = self._open.get(target)
            leads = group is None
            group = self._open.setdefault(target, _Group())
            group.members.append(about)
            self._changed.notify_all()
        if leads:
            self._lead(target, group, lock, tell)
            return
        group.told.wait()
        if group.failure is not None:
            raise group.failure

    def _lead(
        self,
        target: str,
        group: _Group,
        lock: TargetLock,
        tell: Tell,
    ) -> None:
        group.failure = Transient(
            f"the reload of {target} was interrupted"
        )  # unless told otherwise
        try:
            self._await_others(target)
            with lock() as lease:
                self._close(target)  # who comes now may have swapped too late
                tell(tuple(group.members), lease)
            group.failure = None
        except Exception as error:
            group.failure = error
            raise
        finally:
            self._close(target, group)
            group.told.set()

    def _close(self, target: str, group: _Group | None = None) -> None:
        with self._changed:
            if group is None or self._open.get(target) is group:
                self._open.pop(target, None)

    def _await_others(self, target: str) -> None:
        deadline = Deadline(SystemClock(), self._gather)
        with self._changed:
            while self._expected(target) and not deadline.passed:
                self._changed.wait(deadline.remaining)

    def _expected(self, target: str) -> bool:
        """Whether another certificate is under way to this target."""
        return any(
            target in targets and (certificate, target) not in self._joined
            for certificate, targets in self._underway.items()
        )


class SharedTarget:
    """A target for one certificate, told by one rotation at a time, in whatever process."""

    def __init__(
        self,
        target: Target,
        lock: TargetLock,
        *,
        name: str,
        about: Callable[[], LiveCertificate],
        groups: Groups,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._target = target
        self._lock = lock
        self._name = name
        self._about = about
        self._groups = groups
        self._check = check

    def fenced(self, check: Callable[[], None]) -> SharedTarget:
        """As Fenceable.fenced."""
        return SharedTarget(
            self._target,
            self._lock,
            name=self._name,
            about=self._about,
            groups=self._groups,
            check=check,
        )

    def check(self) -> None:
        """As Target.check."""
        self.checked()

    def checked(self) -> Checked:
        """As Cautious.checked; what fails is asked again while no certificate's files change."""
        try:
            return self._checked()
        except Failure:
            with self._lock():
                return self._checked()

    def _checked(self) -> Checked:
        if isinstance(self._target, InformedCautious):
            return self._target.checked_for((self._about(),))
        self._target.check()
        return Checked()

    def precheck(self) -> None:
        if isinstance(self._target, Precheck):
            self._target.precheck()

    def apply(self) -> None:
        """As Target.apply, for this certificate and those that come together with it."""
        about, target = self._about(), self._target
        if isinstance(target, Informed) and not target.together:
            with self._lock() as lease:
                self._tell((about,), lease)
        else:
            self._groups.tell(self._name, about, self._lock, self._tell)

    def revert(self, shown: Mapping[str, Any]) -> Sequence[str]:
        """As Revertible.revert; a target without that power is told again."""
        if not isinstance(self._target, InformedRevertible):
            self.apply()
            return ()
        with self._lock() as lease:
            target = self._held_by(lease)
            assert isinstance(target, InformedRevertible), "it was"
            return target.revert_for((self._about(),), shown)

    def behind(self) -> Sequence[Behind]:
        """As Trailing.behind; nobody is, of a target without that power."""
        if not isinstance(self._target, InformedTrailing):
            return ()
        return self._target.behind_for((self._about(),))

    def catch_up(self, names: Sequence[str]) -> None:
        """As Trailing.catch_up."""
        with self._lock() as lease:
            target = self._held_by(lease)
            if isinstance(target, InformedTrailing):
                target.catch_up_for((self._about(),), names)

    def _tell(self, members: Sequence[LiveCertificate], lease: Lease) -> None:
        target = self._held_by(lease)
        if isinstance(target, Informed):
            target.apply_for(members)
        else:
            target.apply()

    def _held_by(self, lease: Lease) -> Target:
        """The target while both locks are held, that of the rotation and its own."""

        def check() -> None:
            self._check()
            lease.check()

        return self._target.fenced(check) if isinstance(self._target, Fenceable) else self._target
