"""From the configuration to subjects that can be looked at and rotated."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.clock import Clock, Deadline, SystemClock
from certrotd.config.load import load
from certrotd.config.model import Config
from certrotd.daemon.home import Home
from certrotd.daemon.wings import wings_of
from certrotd.errors import Failure, LockHeld
from certrotd.files.disktrouble import DiskTrouble
from certrotd.id import Id
from certrotd.kube.patience import READING
from certrotd.lifecycle.inventory import Inventory, look_at_all
from certrotd.lifecycle.subject import Subject
from certrotd.lifecycle.view import View
from certrotd.lifecycle.wing import AskedService, Premises, Wing
from certrotd.rotation.unexpected import as_failure
from certrotd.scheduling.offline_gates import with_gates
from certrotd.state.check import full, unwritable
from certrotd.state.format import require_current
from certrotd.state.lock import NoLease
from certrotd.state.ports import Lease
from certrotd.wording import span

if TYPE_CHECKING:  # what only rotating needs
    from certrotd.audit.log import AuditLog
    from certrotd.kube.api import Api
    from certrotd.kube.connecting import Connections
    from certrotd.lifecycle.runner import Runner
    from certrotd.rotation.engine import Event

LOCK_PATIENCE = 10.0
"""So many seconds a command waits while another process works on the same subject."""
_QUIETLY = 1.0  # a look of the daemon is over by then, and nobody needs to hear of it


class Site:
    """One configuration wired up; what its wings have is shared by all rotations.

    ``patience`` is as of a Home that it makes itself. Of a ``dry`` one nothing is written, locks
    and adapters included. ``lock_patience`` is how many seconds it waits for the lock of a subject,
    and ``listen`` hears for whom.
    """

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock,
        command: str,
        home: Home | None = None,
        patience: float | None = None,
        lock_patience: float = 0.0,
        listen: Callable[[str], None] = lambda _line: None,
        dry: bool = False,
        audit_damaged: Callable[[str], None] = lambda _why: None,
        ca_time: Callable[[datetime], None] = lambda _moment: None,
        asked_service: AskedService = lambda _subject, _issuer, _failure: None,
    ) -> None:
        self._dry = dry
        self._lock_patience = lock_patience
        self.config = config
        self.clock = clock
        self._listen = listen
        self._audit_damaged = audit_damaged
        self._command = command
        self.home = home or Home(config, command=command, now=clock.now, patience=patience)
        self.state = self.home.state
        self._flying: frozenset[str] | None = None
        premises = Premises(
            state=self.state,
            clock=clock,
            lock=self.lock,
            in_flight=self.flying,
            audit=lambda: self.audit,
            connect=self._connect,
            remark=listen,
            heard_time=ca_time,
            asked_service=asked_service,
            dry=dry,
        )
        self.wings = wings_of(config, premises)
        self.inventory = Inventory(self.wings)

    @property
    def kinds(self) -> Sequence[str]:
        """What is managed."""
        return [wing.kind for wing in self.wings]

    def wing(self, kind: str) -> Wing:
        """The wing of a kind."""
        return next(wing for wing in self.wings if wing.kind == kind)

    def close(self) -> None:
        """Let go of sockets and threads of the wings that have any."""
        for wing in self.wings:
            wing.close()

    def look(self, subjects: Sequence[Subject]) -> Iterator[View]:
        """Where each stands, with what holds back what is due, as far as files tell."""
        now = self.clock.now()
        views = list(look_at_all(subjects, now=now, in_flight=self.in_flight))
        return with_gates(views, self.state, self.full(), now=now)

    @property
    def directories(self) -> tuple[Path, ...]:
        """Those that everything is kept in, that of the state first."""
        return self.home.local.path, *(path for wing in self.wings for path in wing.directories)

    def unwritable(self) -> Failure | None:
        """What is wrong with the directories."""
        return unwritable(*self.directories)

    def full(self) -> Failure | None:
        """Why there is no room for a rotation; None if there is."""
        return full(*self.directories)

    def problems(self) -> Iterator[Failure]:
        """What would keep any rotation from keeping its books; nothing is changed."""
        for problem in self.state.problems(self.kinds):
            yield problem
            return
        if (hindered := self.unwritable()) is not None:
            yield hindered

    def prepare(self) -> None:
        """Make the state directory, and look after it; only what writes there needs it.

        Raises as StateDirectory.prepare() does.
        """
        if words := self.home.local.prepare():
            self._listen(words)
        for what, job in self.upkeep.items():
            try:
                job()
            except (Failure, OSError) as error:
                self._listen(f"{what}: {as_failure(error, f'look after {what}')}")

    @property
    def upkeep(self) -> Mapping[str, Callable[[], object]]:
        """Jobs to do at the start and now and then, by what each is about."""
        return {
            "the audit log": lambda: self.audit.check(),
            "what a kill left": self.home.local.sweep,
        }

    @cached_property
    def audit(self) -> AuditLog:
        """Where every rotation is written down; one for all threads, which queue in it."""
        from certrotd.audit.log import AuditLog, to_stderr

        return AuditLog(
            self.config.state_dir / "audit",
            clock=self.clock,
            command=self._command,
            damaged=self._audit_damaged,
            copy=to_stderr if self.config.log.audit else lambda _lines: None,
        )

    def _connect(self, kubeconfig: Path | None, context: str | None) -> Api:
        """As Premises.connect."""
        return self._connections.api(kubeconfig, context)

    @cached_property
    def _connections(self) -> Connections:
        from certrotd.kube.connecting import Connections

        return Connections(self.clock, os.environ, self.home.rights, self.home.patience)

    def runner(
        self,
        listen: Callable[[Event], None],
        stopping: Callable[[], bool],
        *,
        hands_over: bool = False,
    ) -> Runner:
        """What rotates the subjects; ``hands_over`` as of Engine."""
        import random

        from certrotd.lifecycle.runner import Runner

        return Runner(
            clock=self.clock,
            draw=random.random,  # spreads load; nothing secret depends on it
            new_id=self._new_id,
            listen=listen,
            stopping=stopping,
            hands_over=hands_over,
            audit=self.audit,
        )

    def _new_id(self) -> str:
        """A rotation's id: sortable by time, unique."""
        import secrets

        return f"{self.clock.now():%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"

    def in_flight(self, subject: Id) -> bool:
        """Whether a rotation of it is under way or waits to be finished.

        As it was when it was asked first; raises DiskTrouble.
        """
        if self._flying is None:
            self._flying = self.state.in_flight()
        return str(subject) in self._flying

    def flying(self, subject: Id) -> bool:
        """As ``in_flight``, as it is now."""
        return self.state.flying(str(subject))

    def unlisted(self) -> Failure | None:
        """Why nobody knows what is in flight; None if it can be known."""
        try:
            self.state.in_flight()
        except DiskTrouble as failure:
            return failure
        return None

    @contextmanager
    def lock(
        self, name: str, what: str, wait: float | None, *, shared: bool = False
    ) -> Iterator[Lease]:
        """The lock of that name; ``what`` it protects, in words, and seconds to wait for it.

        If that is None, this site's patience counts.
        """
        if self._dry:
            yield NoLease()
            return
        patience = self._lock_patience if wait is None else 0.0
        quietly = min(patience, _QUIETLY) if wait is None else wait
        with ExitStack() as held:

            def take(seconds: float) -> Lease:
                deadline = Deadline(self.clock, seconds)
                return held.enter_context(self.state.lock(name, what, wait=deadline, shared=shared))

            try:
                lease = take(quietly)
            except LockHeld as refused:
                if patience <= quietly:
                    raise
                self._listen(waits_for(refused, patience))
                lease = take(patience - quietly)
            yield lease


def waits_for(refused: LockHeld, seconds: float) -> str:
    """What is said before such a wait."""
    return f"{refused.message}; waits up to {span(timedelta(seconds=seconds))}"


def looking(path: Path, command: str) -> AbstractContextManager[Site]:
    """As open_site(), for a command that only looks, before somebody who waits for an answer."""
    return open_site(path, clock=SystemClock(), command=command, patience=READING)


@contextmanager
def open_site(
    path: Path,
    *,
    clock: Clock,
    command: str,
    listen: Callable[[str], None] = lambda _line: None,
    dry: bool = False,
    writes: bool = False,
    patience: float | None = None,
    lock_patience: float | None = None,
) -> Iterator[Site]:
    """The site of a configuration file, closed at the end of the block.

    One that ``writes`` waits for locks, LOCK_PATIENCE unless another is given. Raises
    ConfigInvalid, and NeedsOperator unless it ``writes`` (prepare() does) and the state directory
    has another format.
    """
    config = load(path).config
    if dry or not writes:
        require_current(config.state_dir)
    if lock_patience is None:
        lock_patience = LOCK_PATIENCE if writes else 0.0
    site = Site(
        config,
        clock=clock,
        command=command,
        listen=listen,
        dry=dry,
        patience=patience,
        lock_patience=lock_patience,
        audit_damaged=lambda why: listen(f"the audit log is damaged: {why}"),
    )
    try:
        yield site
    finally:
        site.close()
