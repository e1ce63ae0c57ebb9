"""Target ``docker``: containers get a signal, run a program, or are restarted, one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from certrotd.clock import Clock, Deadline, SystemClock
from certrotd.config.context import Context
from certrotd.config.docker import ContainerProbeEntry, DockerEntry
from certrotd.containers.awaiting import await_working, settled
from certrotd.containers.chosen import Chosen, Task
from certrotd.containers.container import Container, crash
from certrotd.containers.engine import Denied, DockerEngine, Engine, Gone, tls_of
from certrotd.containers.fitness import Fitness, Telling, is_stale, raise_paused
from certrotd.containers.older import CERTIFICATE, Copy, Survey
from certrotd.containers.probing import ContainerProbe
from certrotd.errors import Failure, NeedsOperator, raise_first
from certrotd.files.reading import read_file
from certrotd.pki.generation import Behind, Checked, LiveCertificate
from certrotd.process import Ran

FILES = (CERTIFICATE, "privkey.pem")
_ENDING = ("removing", "dead")
"""A container that is as good as gone."""


@dataclass(frozen=True)
class DockerTarget:
    """Those of one ``engine``; ``timeout`` is in seconds for each of them.

    Those that do not run are left alone: they read their files when they start. One that is started
    again and again is told only if it runs on. Each other one is proven by ``probes`` before the
    next is told. ``fence`` comes before each act, and raises Fenced once another process may be at
    work on the same.
    """

    engine: Engine
    chosen: Chosen
    telling: Telling = field(default_factory=Telling)
    copy: Copy | None = None
    timeout: float = 60.0
    probes: tuple[ContainerProbe, ...] = ()
    clock: Clock = field(default_factory=SystemClock, repr=False)
    fence: Callable[[], None] = lambda: None
    together = True

    def precheck(self) -> None:
        """As Precheck.precheck: the engine answers."""
        self.engine.ping()

    def fenced(self, check: Callable[[], None]) -> DockerTarget:
        """As Fenceable.fenced."""
        return replace(self, fence=check)

    def check(self) -> None:
        """As Target.check."""
        self.checked_for(())

    def checked_for(self, certificates: Sequence[LiveCertificate]) -> Checked:
        """As InformedCautious.checked_for: each that runs can be told, and would notice.

        What is shown is which run since when, and which are seen to serve what is live: an undo
        has them running again, and asks no more of them.
        """
        found = self.chosen.tasks(self.engine, certificates)
        running = [each for each in found if each.container.is_running and not self._loops(each)]
        raise_first([*self._fitness.unfit(found), *self._fitness.unseen(running)])
        for each in running:
            self._writable(each)
            # else known only after the swap
            if self.telling.command is not None and self.telling.check is None:
                self.engine.may_run(each.name)
            if self.telling.signal is not None:
                self.engine.may_kill(each.name)
            self._run(each.name, self.telling.check)
        others = {each.name: self._fitness.other(each) for each in running}
        shown = {
            "running": {each.name: each.container.started for each in running},
            "served": [name for name, other in others.items() if other is None and self.probes],
        }
        warnings = [*self._fitness.warnings(found), *filter(None, others.values())]
        return Checked(warnings, shown, nobody=not running)

    def apply(self) -> None:
        """As Target.apply."""
        self.apply_for(())

    def apply_for(self, certificates: Sequence[LiveCertificate]) -> None:
        """As Informed.apply_for: the first that fails ends it."""
        for each in self.chosen.tasks(self.engine, certificates):
            raise_paused(each.container)
            if self._loops(each):
                self._tell_looping(each)
            elif each.container.is_running:
                self._tell(each)

    def revert_for(
        self, certificates: Sequence[LiveCertificate], shown: Mapping[str, Any]
    ) -> Sequence[str]:
        """As InformedRevertible.revert_for: the last one first, each whatever becomes of others.

        One that ran before and does not run now is started again; one that is gone has nothing to
        be put back, nor has one that would have been restarted and was not.
        """
        known = shown.get("running")
        ran: Mapping[str, str] = known if isinstance(known, dict) else {}
        served = set(shown.get("served") or ())
        failed: dict[str, Failure] = {}
        gone = {*ran, *self.chosen.names}
        for each in reversed(self.chosen.tasks(self.engine, certificates, failed)):
            try:
                if known is not None and each.name not in ran and self._loops(each):
                    self._tell_looping(each, back=True)
                else:
                    self._put_back(each, ran, proves=each.name in served)
                if each.container.status not in _ENDING:
                    gone.discard(each.name)
            except Gone:
                continue  # meanwhile
            except Failure as failure:
                failed[each.name] = failure
        raise_first(failed.values())
        return [f"the container {name} is gone" for name in sorted(gone)]

    def behind_for(self, certificates: Sequence[LiveCertificate]) -> Sequence[Behind]:
        """As InformedTrailing.behind_for: of those that run.

        One that cannot be looked at is among them, and keeps nobody from the others.
        """
        failed: dict[str, Failure] = {}
        behind: list[Behind] = []
        for each in self.chosen.tasks(self.engine, certificates, failed):
            try:
                works = each.container.is_running and not self._loops(each)
                if works and (found := self._survey.older(each)):
                    behind.append(found)
            except Gone:
                continue  # meanwhile
            except Failure as failure:
                failed[each.name] = failure
        if failed:
            self.engine.ping()  # without an engine it is no matter of some
        unseen = "cannot be looked at: {}"
        return behind + [
            Behind(name, unseen.format(why), f"docker inspect {name}")
            for name, why in failed.items()
        ]

    def catch_up_for(self, certificates: Sequence[LiveCertificate], names: Sequence[str]) -> None:
        """As InformedTrailing.catch_up_for: one that ended since reads its files when it starts."""
        failed: dict[str, Failure] = {}
        for each in self.chosen.tasks(self.engine, certificates, failed):
            if each.name in names and each.container.is_running:
                self._tell(each)
        raise_first(failed[name] for name in names if name in failed)

    @property
    def source(self) -> str:
        """As Announcing.source: the engine."""
        return self.engine.host

    def starts(self) -> Iterator[str]:
        """As Announcing.starts."""
        return self.engine.starts()

    @property
    def _fitness(self) -> Fitness:
        return Fitness(self._survey, self.telling, self.clock)

    def _loops(self, task: Task) -> bool:
        return self._fitness.loops(task)

    @property
    def _survey(self) -> Survey:
        return Survey(
            self.engine,
            self.copy,
            self.probes,
            self.timeout,
            self.clock,
            restarts=self.telling.restarts,
            anew=self.telling.anew,
        )

    def _put_back(self, task: Task, ran: Mapping[str, str], *, proves: bool) -> None:
        found = task.container
        if self.telling.anew or found.status in _ENDING:
            return  # it was not told, or is as good as gone
        raise_paused(found)
        if found.is_running and crash(found, found) is None:
            if self.telling.restarts and ran.get(task.name) == found.started:
                self._put(task)
                return  # it was not restarted since
            try:
                self._tell(task, back=True, proves=proves)
            except Denied:
                if not (proves and self.probes):
                    raise
                self._prove(task, proves=True)  # it was not told forth either, as far as is seen
        elif task.name in ran or found.status == "restarting":
            self._put(task)
            self._restart(found)
            self._prove(task, proves=proves)

    def _tell(self, task: Task, *, back: bool = False, proves: bool = True) -> None:
        """Tell one, and wait until it works and is proven; ``back``: whatever its check says."""
        if self.telling.anew:
            return
        found = task.container
        self._put(task)
        if not back:
            self._run(task.name, self.telling.check)
        if self.telling.restarts:
            self._restart(found)
        else:
            self.fence()
            if self.telling.signal is not None:
                self.engine.kill(task.name, self.telling.signal)
            self._run(task.name, self.telling.command)
            self._await(found, "told")
            if self.copy is None:
                raise_first([is_stale(found, mount) for mount in self._survey.stale(task)])
        self._prove(task, proves=proves)

    def _tell_looping(self, task: Task, *, back: bool = False) -> None:
        """Tell one that is started again and again only if it runs on this time.

        Else it reads its files when it starts: those are put ``back`` in any case.
        """
        if found := settled(self.engine, task.container, self.clock):
            self._tell(replace(task, container=found), back=back, proves=not back)
        elif back:
            self._put(task)

    def _prove(self, task: Task, *, proves: bool) -> None:
        """Where it is reached by now: a start may give it another address or port."""
        if not (proves and self.probes):
            return
        now = replace(task, container=self.engine.get(task.name))
        for probe in self.probes:
            probe.proven(now)

    def _restart(self, found: Container) -> None:
        self.fence()
        self.engine.restart(found.name, max(1, int(self.timeout / 2)))
        self._await(replace(found, restarts=0), "restarted")

    def _await(self, before: Container, since: str) -> None:
        await_working(self.engine, before, since=since, timeout=self.timeout, clock=self.clock)

    def _writable(self, task: Task) -> None:
        folders = [self.copy.of(each) for each in task.certificates] if self.copy else []
        if hidden := next(filter(task.container.in_tmpfs, folders), None):
            raise NeedsOperator(
                f"{hidden} in the container {task.name} is in a tmpfs: an engine writes beside it",
                hint="name another folder in copy_to, or a volume",
            )
        self._put(task, {})

    def _put(self, task: Task, files: Mapping[str, bytes] | None = None) -> None:
        """Write what is live into it, or these files."""
        if self.copy is None:
            return
        for each in task.certificates:
            new = files if files is not None else _files(each)
            self.fence()
            self.engine.put(task.name, self.copy.of(each), new, self.copy.owner)

    def _run(self, name: str, argv: Sequence[str] | None) -> None:
        if argv is None:
            return
        self.fence()
        ended = self.engine.run(name, argv, Deadline(self.clock, self.timeout))
        if ended.code:
            said = Ran(ended.code, ended.output).tail
            raise NeedsOperator(
                f"{' '.join(argv)} in the container {name} ended with exit code {ended.code}{said}"
            )


def _files(certificate: LiveCertificate) -> Mapping[str, bytes]:
    return {name: read_file(Path(certificate.live) / name, limit=2**20) for name in FILES}


def build(entry: DockerEntry, context: Context) -> DockerTarget:
    """The target of a configuration entry."""
    copy = entry.copy_to
    timeout = entry.timeout.total_seconds()
    services = (each.partition("/") for each in entry.services)
    return DockerTarget(
        DockerEngine(entry.host, tls_of(entry.tls), timeout),
        Chosen(
            entry.containers,
            tuple((project, name) for project, _, name in services),
            entry.labelled,
            entry.mounting,
        ),
        Telling(
            entry.signal if entry.mode == "signal" else None,
            entry.command,
            entry.check,
            entry.mode == "recreate",
        ),
        Copy(str(copy.folder), copy.owner) if copy else None,
        timeout,
        tuple(_probe(each, entry.host, context) for each in entry.container_probe),
        context.clock,
    )


def _probe(entry: ContainerProbeEntry, host: str, context: Context) -> ContainerProbe:
    return ContainerProbe(
        entry.port,
        urlsplit(host).hostname or "127.0.0.1",
        entry.via == "published",
        partial(context.prove, entry),
        partial(context.look, entry),
    )
