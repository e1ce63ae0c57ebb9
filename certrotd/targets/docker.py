"""Target ``docker``: containers get a signal, run a program, or are restarted, one by one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from certrotd.clock import Clock, Deadline, SystemClock
from certrotd.config.context import Context
from certrotd.config.docker import DockerEntry
from certrotd.containers.awaiting import await_working
from certrotd.containers.container import LABEL, PROJECT, SERVICE, Container, Mount, crash
from certrotd.containers.engine import MAX_OUTPUT, DockerEngine, Engine, Gone, tls_of
from certrotd.errors import Failure, NeedsOperator, one_line, raise_first
from certrotd.files.reading import read_file
from certrotd.pki.generation import Checked, LiveCertificate

FILES = ("fullchain.pem", "privkey.pem")
_RESTARTS = "use mode: restart, or mount the folder above it: {}"


@dataclass(frozen=True)
class Telling:
    """How a container is told: by a ``signal``, by ``command``, or without both by a restart.

    ``check`` has to succeed in it before.
    """

    signal: str | None = None
    command: tuple[str, ...] | None = None
    check: tuple[str, ...] | None = None

    @property
    def restarts(self) -> bool:
        """Whether it is started anew, and so reads all it mounts anew."""
        return self.signal is None and self.command is None


@dataclass(frozen=True)
class Chosen:
    """Which containers: by name, of Compose's ``services``, by label, by what they mount."""

    names: tuple[str, ...] = ()
    services: tuple[tuple[str, str], ...] = ()
    labelled: bool = False
    mounting: bool = False


@dataclass(frozen=True)
class Copy:
    """The folder in each container that the files are written to, and whose they are there."""

    folder: str
    owner: int = 0


@dataclass(frozen=True)
class DockerTarget:
    """Those of one ``engine``; ``timeout`` is in seconds for each of them.

    Those that do not run are left alone: they read their files when they start. ``fence`` comes
    before each act, and raises Fenced once another process may be at work on the same.
    """

    engine: Engine
    chosen: Chosen
    telling: Telling = Telling()
    copy: Copy | None = None
    timeout: float = 60.0
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

        What was running is what is shown: an undo has it running again.
        """
        found = self._found(certificates)
        running = [each for each in found if each.is_running]
        raise_first([*self._unfit(found), *self._unseen(running, certificates)])
        for each in running:
            self._run(each, self.telling.check)
        return Checked(list(self._warnings(found)), {"running": [each.name for each in running]})

    def apply(self) -> None:
        """As Target.apply."""
        self.apply_for(())

    def apply_for(self, certificates: Sequence[LiveCertificate]) -> None:
        """As Informed.apply_for: the first that fails ends it."""
        for each in self._found(certificates):
            if each.is_running:
                self._tell(each, certificates)

    def revert_for(self, certificates: Sequence[LiveCertificate], shown: Mapping[str, Any]) -> None:
        """As InformedRevertible.revert_for: the last one first, each whatever becomes of others.

        One that ran before and does not run now is started again; one that is gone has nothing to
        be put back.
        """
        ran = {str(each) for each in shown.get("running") or ()}
        failures: list[Failure] = []
        for each in reversed(self._found(certificates, gone=True)):
            try:
                if each.is_running and crash(each, each) is None:
                    self._tell(each, certificates, back=True)
                elif each.name in ran or each.status == "restarting":
                    self._put(each, certificates)
                    self._restart(each)
            except Failure as failure:
                failures.append(failure)
        raise_first(failures)

    def _found(
        self, certificates: Sequence[LiveCertificate], *, gone: bool = False
    ) -> list[Container]:
        """Each once; raises Gone for a name that is none, unless some may be ``gone``."""
        found: dict[str, Container] = {}
        for name in self.chosen.names:
            with suppress(Gone) if gone else nullcontext():
                found.setdefault(name, self.engine.get(name))
        for project, service in self.chosen.services:
            labels = {PROJECT: project, SERVICE: service}
            found |= _new(self.engine.find(labels), found)
        if self.chosen.labelled:
            labelled = self.engine.find({LABEL: ""})
            its = [e for e in labelled if any(e.has(each.certificate) for each in certificates)]
            found |= _new(its, found)
        if self.chosen.mounting:
            folders = [_folder(each) for each in certificates]
            everything = self.engine.find({})
            its = [e for e in everything if any(e.mounts_of(folder) for folder in folders)]
            found |= _new(its, found)
        return list(found.values())

    def _unfit(self, found: Sequence[Container]) -> Iterator[Failure]:
        for each in found:
            if each.status == "paused":
                yield NeedsOperator(
                    f"the container {each.name} is paused", hint=f"docker unpause {each.name}"
                )
            elif each.status in ("restarting", "running") and (why := crash(each, each)):
                yield NeedsOperator(
                    f"the container {each.name} does not work already: {why}",
                    hint=f"docker logs {each.name}",
                )

    def _unseen(
        self, running: Sequence[Container], certificates: Sequence[LiveCertificate]
    ) -> Iterator[Failure]:
        """That a container would read the former files, however it is told."""
        for each in running:
            if self.copy is None and not self.telling.restarts:
                for live in certificates:
                    if pinned := each.pinned(live.live):
                        yield NeedsOperator(
                            f"the container {each.name} mounts {pinned.source}: until it is "
                            "restarted it keeps the generation with which it was started",
                            hint=_RESTARTS.format(_folder(live)),
                        )
                for mount in self._stale(each):
                    yield _is_stale(each, mount)

    def _stale(self, found: Container) -> Iterator[Mount]:
        """Mounts of a single file that is another one in the container than here by now.

        Whoever replaces a file by a new one gives it another inode; a mount keeps the first. A
        container without cat tells nothing.
        """
        for mount in found.mounts:
            if here := _pem(mount.source):
                # not by the engine's archive, which follows the mount anew
                deadline = Deadline(self.clock, self.timeout)
                there = self.engine.run(found.name, ("cat", mount.place), deadline)
                if there.code == 0 and there.output != here:
                    yield mount

    def _warnings(self, found: Sequence[Container]) -> Iterator[str]:
        if not found:
            yield "it finds no container: nobody is told"
        for each in found:
            if not each.is_running:
                yield f"the container {each.name} is {each.status}: it is left alone"

    def _tell(
        self, found: Container, certificates: Sequence[LiveCertificate], *, back: bool = False
    ) -> None:
        """Tell one, and wait until it works; ``back``: whatever its check says."""
        self._put(found, certificates)
        if not back:
            self._run(found, self.telling.check)
        if self.telling.restarts:
            self._restart(found)
            return
        self.fence()
        if self.telling.signal is not None:
            self.engine.kill(found.name, self.telling.signal)
        self._run(found, self.telling.command)
        self._await(found, "told")
        if self.copy is None:
            raise_first([_is_stale(found, mount) for mount in self._stale(found)])

    def _restart(self, found: Container) -> None:
        self.fence()
        self.engine.restart(found.name, max(1, int(self.timeout / 2)))
        self._await(replace(found, restarts=0), "restarted")

    def _await(self, before: Container, since: str) -> None:
        await_working(self.engine, before, since=since, timeout=self.timeout, clock=self.clock)

    def _put(self, found: Container, certificates: Sequence[LiveCertificate]) -> None:
        if self.copy is None:
            return
        for each in certificates:
            files = {name: read_file(Path(each.live) / name, limit=2**20) for name in FILES}
            self.fence()
            self.engine.put(found.name, self.copy.folder, files, self.copy.owner)

    def _run(self, found: Container, argv: Sequence[str] | None) -> None:
        if argv is None:
            return
        self.fence()
        ended = self.engine.run(found.name, argv, Deadline(self.clock, self.timeout))
        if ended.code:
            lines = ended.output.decode("utf-8", "replace").strip().splitlines()
            said = f": {one_line(lines[-1])}" if lines else ""
            raise NeedsOperator(
                f"{' '.join(argv)} in the container {found.name} ended with exit code "
                f"{ended.code}{said}"
            )


def _new(found: Sequence[Container], known: Mapping[str, Container]) -> dict[str, Container]:
    return {each.name: each for each in found if each.name not in known}


def _folder(certificate: LiveCertificate) -> str:
    """The certificate's folder, which stays whatever is live in it."""
    return str(Path(certificate.live).parent)


def _pem(path: str) -> bytes:
    """What is in a file of this host that holds certificates or keys; else nothing."""
    try:
        found = read_file(Path(path), limit=MAX_OUTPUT) if os.path.isfile(path) else b""
    except (OSError, Failure):
        return b""
    return found if b"-----BEGIN " in found else b""


def _is_stale(found: Container, mount: Mount) -> NeedsOperator:
    return NeedsOperator(
        f"the container {found.name} has another file at {mount.place} than {mount.source}: that "
        "was replaced, and a mount of a single file keeps the first one",
        hint="mount its folder, write it with install and in_place, or use mode: restart",
    )


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
        Telling(entry.signal if entry.mode == "signal" else None, entry.command, entry.check),
        Copy(str(copy.folder), copy.owner) if copy else None,
        timeout,
        context.clock,
    )
