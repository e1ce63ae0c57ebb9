"""A rehearsal of ``keys compromise``: the same decisions, plans and steps, on copies of everything.

The copy of the keyring is in a scratch directory, wrapped by its KEKs; outputs are rendered and
written nowhere; no consumer is told, no application stopped. Of what is live nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from certrotd.config.connect import unconnected
from certrotd.config.datasets import DatasetEntry, SqlDatasetEntry
from certrotd.config.file_datasets import FilesDatasetEntry
from certrotd.errors import Failure, NeedsOperator
from certrotd.keyring.keyring import Keyring
from certrotd.keyring.material import KeySet
from certrotd.keyring.rehearsal import Rehearsed, RehearsedDataset
from certrotd.keys.case import Case
from certrotd.keys.census import Census, census_in
from certrotd.keys.decision import Reencrypt
from certrotd.keys.keyring_store import KeyringStore
from certrotd.keys.outlet import FileOutlet
from certrotd.keys.outlets import AnyOutlet
from certrotd.keys.plan import plan_of, rebuild
from certrotd.keys.policy import Attempts, Policy, Standing
from certrotd.keys.reencrypting import Reencryptable
from certrotd.keys.rotation import compromise
from certrotd.keys.sealed_outlet import SealedFile
from certrotd.keys.stored_data import StoredData
from certrotd.keys.world import World
from certrotd.lifecycle.decision import DAEMON, Action
from certrotd.outputs.port import Contents, Placed, Present
from certrotd.rotation.engine import Engine, Finished, Parked, RolledBack, Stuck
from certrotd.state.directory import StateDirectory
from certrotd.state.scratch import scratch_state

if TYPE_CHECKING:  # what only datasets need is loaded for them
    from certrotd.datasets.configured import Opened
    from certrotd.datasets.port import Row
    from certrotd.datasets.scratch import Contents as Held
    from certrotd.datasets.scratch import Copy, Draw, Limits

WHY = "a rehearsal"


def is_rehearsed(entry: DatasetEntry) -> TypeGuard[SqlDatasetEntry | FilesDatasetEntry]:
    """Whether it is copied: not if a program or an API server re-encrypts it.

    Nor if only a cut-over knows the keys of its values.
    """
    if isinstance(entry, SqlDatasetEntry):
        return not entry.by_construction
    return isinstance(entry, FilesDatasetEntry)


class Stopping(Exception):  # nothing is wrong
    """The process was told to stop: the rehearsal says nothing."""


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal works on.

    ``policy`` is the keyring's, ``world`` its own, of which nothing is used that acts on anything
    live. ``entries`` are its datasets, ``directory`` is empty.
    """

    policy: Policy
    world: World
    keyring: Keyring
    outlets: Sequence[AnyOutlet]
    entries: Mapping[str, DatasetEntry]
    limits: Limits
    directory: Path
    draw: Draw

    def run(self) -> Rehearsed:
        """Carry it out; what fails is in what it came to. Raises Stopping."""
        clock, at = self.world.clock, self.world.clock.now()
        begun = clock.monotonic()
        active = self.keyring.versions.active
        assert active is not None, "there is a key to be replaced"
        stage = _Stage(self, scratch_state(self.directory, now=clock.now))
        problems: list[str] = []
        try:
            with ExitStack() as stack:
                for words in stage.play(stack, active.number):
                    problems.append(words)  # those before a failure count, too
        except Failure as failure:
            problems.append(str(failure))
        return Rehearsed(
            self.policy.name,
            at,
            active.number,
            round(stage.replaced_in, 3),
            round(clock.monotonic() - begun, 3),
            tuple(stage.done),
            tuple(n for n, e in sorted(self.entries.items()) if not is_rehearsed(e)),
            tuple(problems),
        )


class _Stage:
    """The copies, while a rehearsal runs."""

    def __init__(self, rehearsal: Rehearsal, state: StateDirectory) -> None:
        self._of = rehearsal
        self._clock = rehearsal.world.clock
        self._state = state
        self._census = census_in(state.document("census/copy"))
        self._copies: dict[str, Copy] = {}
        self._store: KeyringStore = rehearsal.world.store.elsewhere(
            state.document("keyrings/copy"), state.document("marks/copy")
        )
        self.policy = replace(
            rehearsal.policy, waves=(), window=None, reencrypted=frozenset(), enabled=True
        )
        self._stored = _CopiedData(
            rehearsal.entries,
            self._store,
            self._census,
            unconnected,
            lambda name: state.document(f"rewritings/{name}"),
            self._clock,
            copies=self._copies,
        )
        self._outlets: Sequence[AnyOutlet] = ()
        self.replaced_in = 0.0
        self.done: list[RehearsedDataset] = []

    def play(self, stack: ExitStack, number: int) -> Iterator[str]:
        """Replace the key ``number``, re-encrypt the copies, and look; what is wrong then."""
        self._copy_data(stack)
        every = enumerate(self._of.outlets)
        self._outlets = [_unwritten(each, self._state, n) for n, each in every]
        self._store.create(self._of.keyring)
        before = {name: self._looked(name, self._every()) for name in self._copies}
        for name, (_, held) in before.items():
            if held.unopened:
                why = next(iter(held.unopened.values()))
                yield f"{len(held.unopened):,} values of {name} open with no key: {why}"
        begun = self._clock.monotonic()
        self._carry_out(compromise(number, WHY, self._case()))
        self.replaced_in = self._clock.monotonic() - begun
        for name, copy in self._copies.items():
            self._carry_out(Reencrypt(WHY, datasets=(name,)))
            took = round(self._stored.seconds.get(name, 0.0), 3)
            self.done.append(RehearsedDataset(name, copy.rows, copy.of, copy.size, took))
            yield from self._wrong(name, number, *before[name])
        if left := self._case().stored:
            yield f"{left[0][0]} would be re-encrypted once more: its census is not zero"

    def _copy_data(self, stack: ExitStack) -> None:
        from certrotd.datasets.scratch import copied

        for number, (name, entry) in enumerate(sorted(self._of.entries.items())):
            if not is_rehearsed(entry):
                continue
            directory = self._of.directory / f"dataset-{number}"
            made = copied(name, entry, self._of.limits, directory, self._of.draw)
            self._copies[name] = stack.enter_context(made)
        self.policy = replace(self.policy, reencrypted=frozenset(self._copies))

    def _every(self) -> KeySet:
        return self._keyring().every_key()

    def _keyring(self) -> Keyring:
        found = self._store.read()
        assert found is not None, "it was copied"
        return found.keyring

    def _looked(self, name: str, keys: KeySet) -> tuple[list[Row], Held]:
        from certrotd.datasets.scratch import contents, rows_of

        with self._stored.open(name) as opened:
            rows = rows_of(opened)
            return rows, contents(opened, rows, keys)

    def _wrong(self, name: str, old: int, rows: list[Row], before: Held) -> Iterator[str]:
        """What is not as it has to be of a dataset that was re-encrypted."""
        from certrotd.datasets.scratch import contents

        active = self._keyring().key_set().encrypting
        alone = KeySet.of([active], active=active.version)
        with self._stored.open(name) as opened:
            if left := opened.tally(self._every()).left(old):
                yield f"{left:,} values of {name} are left under version {old}"
            stale = contents(opened, rows, alone)
        for place, held in before.held.items():
            if held.version is not None and place in stale.held:
                yield f"old ciphertext of {name} opens with the new key alone"
                break
        now = self._looked(name, alone)[1]
        if now.unopened:
            yield f"{len(now.unopened):,} values of {name} do not open with the new key alone"
        for place, held in before.held.items():
            after = now.held.get(place)
            if after is None or after.digest != held.digest:
                yield f"values of {name} are not what they were"
                break
            if held.content is not None and after.content == held.content:
                yield f"files of {name} have the content keys that others may know"
                break

    def _carry_out(self, action: Action) -> None:
        """By the same steps as the real one; raises NeedsOperator where they do not end well."""
        about = str(self.policy.id)
        engine = Engine(
            self._state.journal(about),
            self._world(),
            rebuild,
            self._clock.now,
            stopping=self._clock.stopping,
        )
        outcome = engine.begin(WHY, about, action.why, plan_of(self._case(), action))
        match outcome:
            case Finished():
                return
            case Parked() | RolledBack() if self._clock.stopping():
                raise Stopping
            case Parked(why=why):
                raise NeedsOperator(f"it would wait: {why}")
            case RolledBack(because=because):
                raise NeedsOperator(f"it would be undone there: {because}")
            case Stuck(because=because, undo_failed=why):
                raise NeedsOperator(f"it would be undone ({because}), and that fails: {why}")

    def _case(self) -> Case:
        found = self._store.inspect()
        assert found is not None, "it was copied"
        census = self._census.read() or Census()
        standing = Standing(
            versions=found.versions,
            revision=found.revision,
            keks=found.keks,
            uses={number: each.use for number, each in found.entries.items()},
            ids={number: each.id for number, each in found.entries.items()},
            census=census.counts,
        )
        return Case(self.policy, standing, Attempts(), self._clock.now(), DAEMON)

    def _world(self) -> World:
        live = self._of.world
        return World(
            name=live.name,
            clock=live.clock,
            store=self._store,
            inlets=live.inlets,
            outlets=self._outlets,
            datasets=self._stored.reencryptable(),
            application=_Stands() if live.application is not None else None,
            escrow=live.escrow,
            patience=0.0,
        )


@dataclass(frozen=True)
class _CopiedData(StoredData):
    """The copies in the place of the datasets, and for how many seconds steps had each open."""

    copies: Mapping[str, Copy] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def open(self, name: str) -> AbstractContextManager[Opened]:
        return self.copies[name].open(self.exposure)

    def reencryptable(self) -> Mapping[str, Reencryptable]:
        every = super().reencryptable()
        return {n: replace(each, open=partial(self._timed, n)) for n, each in every.items()}

    @contextmanager
    def _timed(self, name: str) -> Iterator[Opened]:
        begun = self.clock.monotonic()
        try:
            with self.open(name) as opened:
                yield opened
        finally:
            took = self.clock.monotonic() - begun
            self.seconds[name] = self.seconds.get(name, 0.0) + took


@dataclass(frozen=True)
class _Unwritten:
    """OutputPlace, of what stands at an output's paths, and would after each write."""

    output: Placed
    contents: dict[Path, bytes | None] = field(repr=False)

    def present(self) -> Present:
        found: dict[Path, bytes | None] = {}
        while new := [path for path in self.output.paths(found) if path not in found]:
            found |= {path: self.contents.get(path) for path in new}
        return found

    def problems(self, *, dry: bool = False) -> Iterator[Failure]:  # noqa: ARG002
        return iter(())

    def findings(self) -> Iterator[str]:
        return iter(())

    def write(self, contents: Contents, *, over: Present) -> None:
        self.contents.update({**dict.fromkeys(over), **contents})

    def set_aside(self, mark: str) -> Sequence[Path]:  # noqa: ARG002
        return ()

    def sweep(self) -> None:
        """Nothing is left."""


def _unwritten(outlet: AnyOutlet, state: StateDirectory, number: int) -> AnyOutlet:
    """The outlet as it is now, which is written nowhere; raises Failure."""
    contents = dict(outlet.files.present())
    if not isinstance(outlet, FileOutlet):
        return replace(outlet, files=_Unwritten(SealedFile(outlet.path), contents))
    written = state.document(f"written/{number}")
    if (remembered := outlet.written.read()) is not None:
        written.write(remembered.data)
    return replace(outlet, files=_Unwritten(outlet.output, contents), written=written)


class _Stands:
    """Application, in the place of one that must not be stopped for a rehearsal."""

    within = 0.0

    def __init__(self) -> None:
        self._is_stopped = False

    def check(self) -> None:
        """It could be stopped, as far as the rehearsal tells."""

    def stop(self) -> None:
        self._is_stopped = True

    def start(self) -> None:
        self._is_stopped = False

    def stopped(self) -> bool:
        return self._is_stopped

    def reads(self) -> str | None:
        return None
