"""Which containers can be told, and would notice: what is said of them before anything changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from certrotd.clock import Clock
from certrotd.containers.chosen import Task, folder
from certrotd.containers.container import Container, Mount, crash, gives_up, loops, recreation
from certrotd.containers.older import Survey
from certrotd.errors import Failure, NeedsOperator, Transient, failed

_RESTARTS = "use mode: restart, or mount the folder above it: {}"


@dataclass(frozen=True)
class Telling:
    """How a container is told: by a ``signal``, by ``command``, or without both by a restart.

    ``check`` has to succeed in it before. ``anew``: it is not told, for it has to be made anew.
    """

    signal: str | None = None
    command: tuple[str, ...] | None = None
    check: tuple[str, ...] | None = None
    anew: bool = False

    @property
    def restarts(self) -> bool:
        """Whether it is started anew, and so reads all it mounts anew."""
        return self.signal is None and self.command is None and not self.anew


@dataclass(frozen=True)
class Fitness:
    """Of containers that are told in a way, by what a ``survey`` of them shows."""

    survey: Survey
    telling: Telling
    clock: Clock

    def loops(self, task: Task) -> bool:
        """Whether its restart policy starts it again and again."""
        return loops(task.container, self.clock.now().timestamp())

    def unfit(self, found: Sequence[Task]) -> Iterator[Failure]:
        """That one is paused, or runs and does not work."""
        for task in found:
            each = task.container
            yield from failed(partial(raise_paused, each))
            asked = each.is_running and not self.loops(task)
            if asked and (why := crash(each, each)):
                yield NeedsOperator(
                    f"the container {each.name} does not work already: {why}",
                    hint=f"docker logs {each.name}",
                )

    def unseen(self, running: Sequence[Task]) -> Iterator[Failure]:
        """That a container would read the former files, however it is told."""
        if self.survey.copy is not None or self.telling.restarts or self.telling.anew:
            return
        for each in running:
            for live in each.certificates:
                if pinned := each.container.pinned(live.live):
                    yield NeedsOperator(
                        f"the container {each.name} mounts {pinned.source}: until it is "
                        "restarted it keeps the generation with which it was started",
                        hint=_RESTARTS.format(folder(live)),
                    )
            for mount in self.survey.stale(each):
                yield is_stale(each.container, mount)

    def other(self, task: Task) -> str | None:
        """That it does not serve what is live, in words; raises where it cannot be looked at."""
        for probe in self.survey.probes:
            try:
                words = probe.other(task)
            except Transient as failure:
                raise NeedsOperator(failure.message, hint=failure.hint) from None
            if words is not None:
                return f"the container {task.name} {words}, not the live one"
        return None

    def warnings(self, found: Sequence[Task]) -> Iterator[str]:
        """That one is left alone, or needs something else of somebody."""
        if not found:
            yield "it finds no container: nobody is told"
        for each in found:
            if self.loops(each):
                yield (
                    f"the container {each.name} is started again and again (docker logs "
                    f"{each.name}): it is left alone until it runs on"
                )
                continue
            if not each.container.is_running:
                yield f"the container {each.name} is {each.container.status}: it is left alone"
                continue
            if each.container.passing and self.telling.restarts:
                yield (
                    f"the container {each.name} was made with --rm: if it ends after its restart, "
                    "the engine removes it, and no undo starts it again"
                )
            if self.telling.signal and gives_up(each.container, self.telling.signal):
                yield (
                    f"the container {each.name} is not started by its restart policy when it ends "
                    f"after {self.telling.signal}: give it a stop signal (--stop-signal, "
                    "stop_signal), or use mode: exec"
                )
            places = list(self.survey.embedding(each))
            if places or self.telling.anew:
                what = f"has a certificate in {' and '.join(places)}" if places else "is not told"
                yield (
                    f"the container {each.name} {what}: make it anew afterwards "
                    f"({recreation(each.container)})"
                )


def raise_paused(found: Container) -> None:
    """It is neither told nor restarted: whoever holds it, such as a backup, lets it go on."""
    if found.status == "paused":
        raise NeedsOperator(
            f"the container {found.name} is paused", hint=f"docker unpause {found.name}"
        )


def is_stale(found: Container, mount: Mount) -> NeedsOperator:
    """That a file in it is not the one that is mounted."""
    return NeedsOperator(
        f"the container {found.name} has another file at {mount.place} than {mount.source}: that "
        "was replaced, and a mount of a single file keeps the first one",
        hint="mount its folder, write it with install and in_place, or use mode: restart",
    )
