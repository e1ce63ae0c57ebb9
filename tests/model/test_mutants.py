"""Negative controls: defects put in on purpose, each found by the invariant that forbids it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from certrotd.certs import authorize, deploy, issue, plan, renewing, rotate, staging
from certrotd.clock import Deadline
from certrotd.lifecycle import audited, report
from certrotd.rotation import engine, journaled_rotation, recovery, rollback
from certrotd.rotation.journaled_rotation import JournaledRotation
from certrotd.rotation.recovery import Status
from certrotd.rotation.step import Done, Observed
from certrotd.state.ports import Lease
from tests.fakes.journal import LateJournal, MemoryJournal
from tests.fakes.world import MemoryWorld
from tests.model.explore import Explorer
from tests.model.monitor import Violation
from tests.model.scenarios import ALL, deterministic

Mutate = Callable[[pytest.MonkeyPatch], None]


def acts_before_it_writes(patch: pytest.MonkeyPatch) -> None:
    """The intent is journaled when the act is over."""
    real = engine.Engine._act

    def act(self: Any, index: int, look_first: bool) -> Any:
        rotation = self._rotation
        write, late = rotation.write, []

        def later(record: dict[str, Any], *, sync: bool) -> None:
            if record["t"] == "try":
                late.append((record, sync))
                return
            if late and record["t"] == "done":
                write(*late[0][:1], sync=late[0][1])
            write(record, sync=sync)

        rotation.write = later
        try:
            return real(self, index, look_first)
        finally:
            del rotation.write

    patch.setattr(engine.Engine, "_act", act)


def undoes_by_deleting(patch: pytest.MonkeyPatch) -> None:
    """Copies are removed instead of put back."""

    def undo(self: Any, world: Any, ledger: Any) -> None:
        world.installer._act("restore nothing", files=())

    patch.setattr(deploy.Install, "undo", undo)


def does_not_tell_the_targets_again(patch: pytest.MonkeyPatch) -> None:
    """The old files are back, and nobody reads them."""
    patch.setattr(deploy.Baseline, "undo", lambda *_: None)


def goes_back_to_anything(patch: pytest.MonkeyPatch) -> None:
    """The previous generation is put back even if it has expired."""
    patch.setattr(deploy, "_no_way_back", lambda *_: None)


def drops_what_it_cannot_store(patch: pytest.MonkeyPatch) -> None:
    """A store that fails after the issuance is a failure like any other."""

    @contextmanager
    def kept(*_: str) -> Iterator[None]:
        yield

    for module in (issue, staging):
        patch.setattr(module, "keeping", kept)


def orders_again_after_a_crash(patch: pytest.MonkeyPatch) -> None:
    """The journaled order is forgotten, and so is what was staged for it."""
    patch.setattr(issue.Obtain, "observe", lambda *_: Observed.UNKNOWN)
    for module in (issue, authorize):
        patch.setattr(module, "order_at_hand", _always_new)


def _always_new(issuer: str, names: Any, world: Any, ledger: Any, **_: Any) -> Any:
    if world.order is None:
        world.order = world.issuer(issuer).order(names, deadline=Deadline(world.clock, 1))
    return world.order


def gives_up_what_it_cannot_fetch(patch: pytest.MonkeyPatch) -> None:
    """A certificate that could not be fetched is taken not to have been issued."""
    patch.setattr(issue.Obtain, "_keeping", lambda _self, trouble, *_: trouble)


def believes_what_was_built_on_sand(patch: pytest.MonkeyPatch) -> None:
    """Of what was put back unrecorded, only the step that can be seen is done again."""
    real = recovery.apply

    def apply(progress: Any, record: Any) -> Any:
        if record["t"] == "lost":
            return progress.at(record["i"], Status.UNTRIED)
        return real(progress, record)

    patch.setattr(journaled_rotation, "apply", apply)
    patch.setattr(recovery, "apply", apply)


def puts_back_without_looking(patch: pytest.MonkeyPatch) -> None:
    """A record whose sync failed is taken to be absent."""
    real = rollback.undo_unrecorded

    def put_back(rotation: Any, world: Any) -> None:
        rotation.read = lambda: True
        real(rotation, world)

    patch.setattr(engine, "undo_unrecorded", put_back)


def forgets_records_left_behind(patch: pytest.MonkeyPatch) -> None:
    """A rotation knows nothing of the TXT records of the one before."""
    for module in (renewing, rotate):
        patch.setattr(module, "carried", lambda _attempts: {})


def is_content_with_being_stuck(patch: pytest.MonkeyPatch) -> None:
    """What is not finished is not reported as failed."""
    patch.setattr(report, "GOOD", frozenset(report.Verdict))


def journals_the_key(patch: pytest.MonkeyPatch) -> None:
    """A step notes what must never leave the store."""
    real = issue.StageKey.do

    def do(self: Any, world: Any, ledger: Any) -> Done:
        done = real(self, world, ledger)
        ledger.note(key=world.store.staged_key(world.name, self.generation).decode())
        return done

    patch.setattr(issue.StageKey, "do", do)


def undoes_oldest_first(patch: pytest.MonkeyPatch) -> None:
    """Targets are told to read the old files before these are back."""

    def backwards(progress: Any, failed: Any, savepoints: Any) -> Any:
        for index in range(progress.saved + 1, len(progress.items)):
            if progress.items[index] is not Status.UNTRIED:
                return recovery.Undo(index)
        to = savepoints[progress.saved].name if progress.saved >= 0 else ""
        return recovery.Close(finished=False, to=to, because=failed.why)

    patch.setattr(recovery, "_backwards", backwards)


def leaves_the_audit_log_open(patch: pytest.MonkeyPatch) -> None:
    """What became of a rotation that a crash cut off is never recorded."""
    patch.setattr(audited.Audited, "settle", lambda _self: None)


def lets_two_in(patch: pytest.MonkeyPatch) -> None:
    """The lock does not exclude."""
    real = MemoryWorld._lock

    @contextmanager
    def lock(self: Any) -> Iterator[Lease]:
        self.locked = False
        with real(self) as lease:
            yield lease

    patch.setattr(MemoryWorld, "_lock", lock)


def never_removes_its_journal(patch: pytest.MonkeyPatch) -> None:
    """A closed rotation stays in flight."""
    patch.setattr(MemoryJournal, "clear", lambda _self: None)


def reads_copies_before_they_are_whole(patch: pytest.MonkeyPatch) -> None:
    """A target is told while its copies are being replaced."""
    real = deploy.Install.do

    def do(self: Any, world: Any, ledger: Any) -> Done:
        installer = world.installer._inner  # behind the fence
        act = installer._act

        def tell_in_between(what: str, **changes: Any) -> None:
            act(what, **changes)
            if what == "install the key":
                world.target("mail-copies").target.apply()

        installer._act = tell_in_between
        try:
            return real(self, world, ledger)
        finally:
            del installer._act

    patch.setattr(deploy.Install, "do", do)


def switches_to_half_a_generation(patch: pytest.MonkeyPatch) -> None:
    """A generation is sealed and live before what the CA sent has been verified."""
    real = plan.renewal

    def renewal(*args: Any, **kwargs: Any) -> Any:
        steps = list(real(*args, **kwargs))
        seal = next(i for i, step in enumerate(steps) if isinstance(step, issue.Seal))
        [swap] = [step for step in steps if isinstance(step, deploy.Swap)]
        steps.insert(seal, _Blind(swap.generation))
        return tuple(steps)

    rebuild = plan.rebuild
    patch.setattr(plan, "renewal", renewal)
    patch.setattr(
        plan,
        "rebuild",
        lambda kind, intent: _Blind(**intent) if kind == "blind" else rebuild(kind, intent),
    )


class _Blind:
    kind = "blind"
    can_kill = True
    announced = True

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.intent = {"generation": generation}

    def do(self, world: Any, ledger: Any) -> Done:
        world.store._act(world.name, "switch", live=self.generation)
        return Done()

    def undo(self, world: Any, ledger: Any) -> None: ...

    def observe(self, world: Any, ledger: Any) -> Any:
        return Observed.UNKNOWN


@pytest.mark.parametrize(
    ("mutate", "scenario", "invariants"),
    [
        (acts_before_it_writes, "renewal", {"I5", "I6"}),
        (undoes_by_deleting, "renewal", {"I1", "I5"}),
        (does_not_tell_the_targets_again, "renewal", {"I5"}),
        (goes_back_to_anything, "renewal_after_expiry", {"I1"}),
        (drops_what_it_cannot_store, "renewal", {"I2", "I3"}),
        (orders_again_after_a_crash, "renewal", {"I3"}),
        (gives_up_what_it_cannot_fetch, "renewal", {"I3"}),
        (believes_what_was_built_on_sand, "renewal", {"I5", "I7"}),
        (puts_back_without_looking, "renewal", {"I8"}),
        (forgets_records_left_behind, "renewal", {"I6"}),
        (is_content_with_being_stuck, "renewal", {"I5"}),
        (journals_the_key, "renewal", {"I6"}),
        (undoes_oldest_first, "deployment", {"I1", "I4", "I5"}),
        (leaves_the_audit_log_open, "deployment", {"I9"}),
        (lets_two_in, "deployment", {"I0"}),
        (never_removes_its_journal, "deployment", {"I5"}),
        (reads_copies_before_they_are_whole, "renewal", {"I1"}),
        (switches_to_half_a_generation, "renewal", {"I1"}),
    ],
)
def test_a_defect_is_found(
    mutate: Mutate, scenario: str, invariants: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checker that finds nothing in a broken floor says nothing of a sound one."""
    mutate(monkeypatch)
    with deterministic(), pytest.raises(Violation) as found:
        Explorer(ALL[scenario]()).explore(1)
    assert found.value.invariant in invariants


@pytest.mark.parametrize("journal", [MemoryJournal, LateJournal])
def test_an_intent_that_waits_in_memory_is_found(
    monkeypatch: pytest.MonkeyPatch, journal: type[MemoryJournal]
) -> None:
    """TXT records that are created before it is durable where they will be."""
    real = JournaledRotation.write

    def write(self: Any, record: dict[str, Any], *, sync: bool) -> None:
        intent = record["t"] in ("try", "note") and self.title(record["i"]) == "authorize"
        real(self, record, sync=sync and not intent)

    monkeypatch.setattr(JournaledRotation, "write", write)
    with deterministic():
        scenario = ALL["renewal"]()
        scenario.world.journals = journal
        with pytest.raises(Violation) as found:
            Explorer(scenario).explore(1)
    assert found.value.invariant == "I6"
