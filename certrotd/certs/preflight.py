"""What is looked at before a rotation spends or changes anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

from certrotd.certs.target_ports import Cautious, Precheck, Target
from certrotd.certs.troubles import noting_trouble
from certrotd.certs.world import World
from certrotd.errors import Failure, failed
from certrotd.pki.generation import Checked
from certrotd.rotation.step import Done, Journaled, Ledger

Finding = Failure | tuple[str, Checked]
"""What would fail, or the name of a target and what it tells of its look."""


@runtime_checkable
class Foresight(Protocol):
    """A step that can tell ahead what it, or the rotation, would fail for."""

    def problems(self, world: World) -> Iterator[Failure]:
        """All of it, changing nothing of a dry world."""
        ...


@dataclass(frozen=True)
class PreflightStep(Journaled):
    """Everything that can fail without the CA fails here, before an order is spent.

    ``issuer`` and ``names`` are those of the order to come; empty when none will be placed.
    ``programs``: targets run theirs on this host to look, and those may end the process. Else
    there is nothing to remember of a look.
    """

    issuer: str | None
    names: tuple[str, ...]
    solver: str | None
    targets: tuple[str, ...]
    programs: bool = True
    kind = "preflight"

    @property
    def announced(self) -> bool:  # type: ignore[override]
        """As Step.announced."""
        return self.programs

    @noting_trouble(registering=True)
    def do(self, world: World, ledger: Ledger) -> Done:  # noqa: ARG002
        shown: dict[str, Any] = {}
        nobody: list[Any] = []
        for found in self._findings(world):
            if isinstance(found, Failure):
                raise found
            name, looked = found
            if looked.shown:
                shown[name] = dict(looked.shown)
            if looked.nobody:
                nobody.append(name)
        facts: dict[str, Any] = {"shown": shown, "nobody": nobody}
        return Done({key: value for key, value in facts.items() if value})

    def undo(self, world: World, ledger: Ledger) -> None:
        pass  # it only looked

    def problems(self, world: World, *, due: bool = True) -> Iterator[Failure]:
        """Everything that would make the rotation fail, as far as it can be told by now.

        Of what is not ``due`` only the files that will be read and the programs that will be run
        are looked for: nothing is run for it, and nobody is asked.
        """
        for found in self._findings(world, due=due):
            if isinstance(found, Failure):
                yield found

    def _findings(self, world: World, *, due: bool = True) -> Iterator[Finding]:
        if due:
            yield from failed(partial(world.store.check, world.name, dry=world.dry))
        yield from world.installer.problems(dry=world.dry or not due)
        live = world.store.look(world.name, thorough=True).live
        whole = live is not None and live.facts is not None and live.damaged is None
        for name in self.targets:
            yield from _of_target(world, name, running=due and whole and not world.awaiting)
        if self.issuer is not None:
            yield from world.unready(self.issuer, self.names, self.solver, ask=due)


def _of_target(world: World, name: str, *, running: bool) -> Iterator[Finding]:
    """What is found of a target, which is asked itself if it is to be ``running``.

    Before the first certificate, and while the live one is damaged, a target is only made ready:
    its secrets are read and its programs looked for. It is not asked: a service may be waiting for
    the very files its configuration names.
    """
    try:
        bound = world.target(name)
    except Failure as failure:
        yield failure
        return
    if bound is None:
        return
    if running:
        yield _checked(world, name, bound.target)
    elif isinstance(bound.target, Precheck):
        yield from failed(bound.target.precheck)
    for endpoint in (*bound.endpoints, *bound.own):
        yield from failed(partial(world.prober.check, endpoint))


def _checked(world: World, name: str, target: Target) -> Finding:
    try:
        if not isinstance(target, Cautious):
            target.check()
            return name, Checked()
        found = target.checked()
    except Failure as failure:
        return failure
    for line in found.warnings:
        world.remark(f"target {name}: {line}")
    return name, found
