"""The cut-over: an application that holds one key is stopped while its data and key change.

Everything behind the savepoint PROVEN is undone if it fails: the data under the key before, that
key in the outputs, the application started, and seen to read. Whatever a crash cuts off is gone on
with. Behind COMMITTED the application reads under the new key, and there is only forward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from certrotd.audit.record import Happened
from certrotd.errors import Failure, NeedsOperator, ProofFailed, Transient
from certrotd.keyring.delivery import Delivery
from certrotd.keyring.keyring import Keyring
from certrotd.keyring.material import KeySet
from certrotd.keyring.states import State
from certrotd.keys import originals
from certrotd.keys.delivering import deliver
from certrotd.keys.policy import CUSTODIANS, HELD, id_of
from certrotd.keys.reencrypting import Passes, check, quarantined
from certrotd.keys.steps import BEFORE, tell
from certrotd.keys.world import Application, World
from certrotd.rotation.engine import Stopped
from certrotd.rotation.step import JSON, Done, Journaled, Later, Ledger, NotYet, Observed
from certrotd.wording import span

T = TypeVar("T")
HOLD_AFTER_UNDO = timedelta(days=1)
"""A cut-over that was undone does not stop the application again by itself before."""
DATABASE_SECONDS = 60.0
"""So long a database that is away is waited for, while the application is stopped."""
SOON = 0.5
STOPPED_AT, STARTED_AT, DOWNTIME = "stopped_at", "started_at", "downtime"
"""The facts: when it was first stopped, when it was started with the new key, and for how long
nobody could use it, in words."""


def application_of(world: World) -> Application:
    """What is cut over; raises NeedsOperator where the configuration has it no more."""
    if world.application is None:
        raise NeedsOperator(
            "the configuration no longer says how the application is stopped and started",
            hint="put cutover back: the rotation goes on from where it is",
        )
    return world.application


def keys_under(keyring: Keyring, version: int, held: int | None = None) -> KeySet:
    """Every key, of which that of ``version`` encrypts; the application has the ``held`` one."""
    every = keyring.every_key()
    return KeySet.of(every.keys.values(), active=version, held=held or every.active)


def _held(world: World, keyring: Keyring) -> int:
    """The version that the application has: what it writes unmarked is under that one.

    As its outputs say, because a machine that restarts may start it while they still, or again,
    differ from the states of the keyring.
    """
    versions = {key.material: key.version for key in keyring.every_key()}
    found: set[int | None] = set()
    for outlet in world.outlets:
        if (there := outlet.imported()) is not None:
            found.add(versions.get(there.keys[there.encrypting].material))
    if len(found) > 1 or None in found:
        raise NeedsOperator("the outputs do not have one key of the keyring: nobody knows which")
    return next((each for each in found if each), keyring.every_key().active)


@dataclass(frozen=True)
class Prove(Journaled):
    """While the application runs: every value opens, and nothing else is seen to be in the way."""

    datasets: tuple[str, ...]
    version: int
    kind = "prove"
    can_kill = False

    def do(self, world: World, ledger: Ledger) -> Done:
        keyring, application = world.keyring(), application_of(world)
        delivery = Delivery.of(keyring)
        for outlet in world.outlets:
            if (words := outlet.differs(delivery)) is not None:
                raise NeedsOperator(f"{outlet.name} is not as it was delivered: {words}")
        application.check()
        if (words := application.reads()) is not None:
            raise ProofFailed(f"the application does not show that it reads now: {words}")
        begun, rows = world.clock.monotonic(), 0
        for name in self.datasets:
            with _opened(world, ledger, name, self.version) as passes:
                check(name, passes.opened, room=True)
                originals.read(name, passes.opened)  # there is room for them
                rows += passes.rehearsed()
        seconds = round(world.clock.monotonic() - begun, 1)
        return Done({"rows": rows, "rehearsed_in_seconds": seconds})

    def undo(self, world: World, ledger: Ledger) -> None:
        pass  # it only looked


@dataclass(frozen=True)
class AwaitWindow(Journaled):
    """The maintenance window is open: what came before may have taken longer than it."""

    kind = "await-window"
    can_kill = False

    def do(self, world: World, ledger: Ledger) -> Done | NotYet:
        return self.poll(world, ledger) or Done()

    def poll(self, world: World, ledger: Ledger) -> NotYet | None:  # noqa: ARG002
        """As Polled.poll."""
        now, window = world.clock.now(), world.window
        if window is None or (opens := window.opens_at(now)) <= now:
            return None
        return NotYet(opens, f"waits for its window, {window}, to stop the application")

    def undo(self, world: World, ledger: Ledger) -> None:
        pass  # it only waited


@dataclass(frozen=True)
class Stop(Journaled):
    """The application stopped; undone, it runs with the key before, and reads."""

    kind = "stop"

    def do(self, world: World, ledger: Ledger) -> Done:
        application = application_of(world)
        if STOPPED_AT not in ledger.facts:
            ledger.note(**{STOPPED_AT: world.clock.now().isoformat()})
        world.fence()
        application.stop()
        if application.stopped() is False:
            raise NeedsOperator("the application runs, though it was stopped")
        return Done()

    def undo(self, world: World, ledger: Ledger) -> None:
        application = application_of(world)
        world.fence()
        application.start()
        _await_reading(world, application)
        held = (world.clock.now() + HOLD_AFTER_UNDO).isoformat()
        gone = originals.forgotten(ledger)
        ledger.note(**{HELD: held, DOWNTIME: _downtime(world, ledger)[1], **gone})

    def observe(self, world: World, ledger: Ledger) -> Observed:
        """Something else may have started it, such as a restart of the machine."""
        if STARTED_AT in ledger.facts:
            return Observed.UNKNOWN
        return Observed.DONE if application_of(world).stopped() else Observed.NOT_DONE


@dataclass(frozen=True)
class ReencryptAll(Journaled):
    """A dataset under the key of ``version``, which is not active yet; undone, under the active."""

    dataset: str
    version: int
    kind = "re-encrypt-all"
    can_kill = False

    def do(self, world: World, ledger: Ledger) -> Done:
        return self._under(world, ledger, self.version, goes_on=False)

    def undo(self, world: World, ledger: Ledger) -> None:
        _stop_again(world)
        active = world.keyring().versions.active
        assert active is not None, "a cut-over begins with an active key"
        self._under(world, ledger, active.number, goes_on=True)

    def _under(self, world: World, ledger: Ledger, version: int, *, goes_on: bool) -> Done:
        def passes() -> Done:
            with _opened(world, ledger, self.dataset, version, goes_on=goes_on) as passing:
                keys, opened = passing.keys, passing.opened
                if goes_on:
                    new = keys.keys[self.version]
                    originals.put_back(ledger, self.dataset, opened, keys, new)
                else:
                    originals.keep(ledger, self.dataset, opened)
                return passing.all(keys)

        try:
            return _while_away(world, passes)
        except Later as failure:
            raise NeedsOperator(failure.message, hint="stop whatever else writes to it") from None


@dataclass(frozen=True)
class SwapKey(Journaled):
    """The new version active, and the only key in the outputs; undone, the one before."""

    version: int
    why: str
    custodians: tuple[str, ...] = ()
    kind = "swap-key"

    def do(self, world: World, ledger: Ledger) -> Done:
        if application_of(world).stopped() is False:
            raise NeedsOperator("the application runs, though it was stopped")
        now, number = world.clock.now(), self.version
        state = world.keyring().versions.version(number).state
        if state is State.PRE_ACTIVE:
            world.move(
                lambda all_: all_.distribute(number, at=now, why=self.why).activate(
                    number, at=now, why=self.why
                )
            )
        elif state is not State.ACTIVE:
            world.move(lambda all_: all_.activate(number, at=now, why=self.why))
        tell(world, ledger)
        files = deliver(world, world.keyring(), ledger)
        told = {str(path): digest for path, digest in files.items()}
        before = ledger.facts.get(CUSTODIANS)
        owned = {CUSTODIANS: [*self.custodians], BEFORE: before}
        return Done({"activated": number, "files": told, **owned})

    def undo(self, world: World, ledger: Ledger) -> None:
        _while_away(world, lambda: _mark_written(world, self.version))
        active = world.keyring().versions.active
        if active is not None and active.number == self.version:
            now = world.clock.now()
            world.move(lambda all_: all_.rollback(at=now, why="its cut-over was undone"))
        tell(world, ledger)
        deliver(world, world.keyring())
        if BEFORE in ledger.facts:
            ledger.note(**{CUSTODIANS: ledger.facts[BEFORE]})

    def observe(self, world: World, ledger: Ledger) -> Observed:  # noqa: ARG002
        keyring = world.keyring()
        if keyring.versions.version(self.version).state is not State.ACTIVE:
            return Observed.NOT_DONE
        delivery = Delivery.of(keyring)
        if any(outlet.differs(delivery) is not None for outlet in world.outlets):
            return Observed.NOT_DONE
        return Observed.UNKNOWN  # what it answers is needed after a crash, too


@dataclass(frozen=True)
class Start(Journaled):
    """The application started with the new key; undone, stopped."""

    kind = "start"

    def do(self, world: World, ledger: Ledger) -> Done:
        application = application_of(world)
        if STARTED_AT not in ledger.facts:
            ledger.note(**{STARTED_AT: world.clock.now().isoformat()})
        world.fence()
        application.start()
        return Done()

    def undo(self, world: World, ledger: Ledger) -> None:  # noqa: ARG002
        world.fence()
        application_of(world).stop()


@dataclass(frozen=True)
class ProbeReading(Journaled):
    """The application shows that it reads what was re-encrypted."""

    version: int
    kind = "probe"

    def do(self, world: World, ledger: Ledger) -> Done:
        _await_reading(world, application_of(world))
        seconds, words = _downtime(world, ledger)
        world.fence()
        rows = ledger.facts.get("rows")
        details: dict[str, JSON] = {"version": self.version, "seconds": seconds, "rows": rows}
        subject = str(id_of(world.name))
        world.record(Happened("keyring.cut_over", subject, ledger.rotation, details))
        return Done({DOWNTIME: words, **originals.forgotten(ledger)})

    def undo(self, world: World, ledger: Ledger) -> None:
        pass  # it only asked


def _stop_again(world: World) -> None:
    """A restart of the machine may have started it."""
    application = application_of(world)
    if not application.stopped():
        world.fence()
        application.stop()


def _mark_written(world: World, version: int) -> None:
    """What the application wrote under the key of ``version`` proves it, before it has another one.

    Of datasets whose ciphertext does not by itself; and only while the application has that key.
    """
    from certrotd.datasets.reencryption import Pass

    for place in world.datasets.values():
        with place.open() as opened:
            if not opened.form.by_construction or _held(world, world.keyring()) != version:
                continue
            _stop_again(world)
            keys = keys_under(world.keyring(), version, version)
            form = replace(opened.form, marks_all=True)
            Pass(opened.dataset, form, keys, world.clock, opened.pace, world.fence).run()


@contextmanager
def _opened(
    world: World, ledger: Ledger, name: str, version: int, *, goes_on: bool = False
) -> Iterator[Passes]:
    place = world.datasets.get(name)
    if place is None:
        raise NeedsOperator(f"the configuration has no dataset {name} any more")
    keyring = world.keyring()
    with place.open() as opened:
        held = _held(world, keyring) if opened.form.by_construction else None
        keys = keys_under(keyring, version, held)
        yield Passes(world, ledger, name, opened, place, keys, goes_on=goes_on)


def _while_away(world: World, act: Callable[[], T]) -> T:
    """Try again while a database is away, but not for long: the application is stopped."""
    begun = world.clock.monotonic()
    while True:
        try:
            return act()
        except (Stopped, Later):
            raise
        except Transient:
            if world.clock.monotonic() - begun >= DATABASE_SECONDS:
                raise
            world.clock.sleep(SOON)


def _await_reading(world: World, application: Application) -> None:
    """Raises ProofFailed if it does not read in the time that it has."""
    begun = world.clock.monotonic()
    while (words := application.reads()) is not None:
        if world.clock.monotonic() - begun >= application.within:
            raise ProofFailed(f"the application does not show that it reads: {words}")
        world.clock.sleep(SOON)


def _downtime(world: World, ledger: Ledger) -> tuple[float, str]:
    """For how many seconds it was not to be used, and the same in words."""
    since = datetime.fromisoformat(str(ledger.facts[STOPPED_AT]))
    took = max(timedelta(0), world.clock.now() - since)
    seconds = round(took.total_seconds(), 1)
    shown = f"{seconds} s" if took < timedelta(minutes=2) else span(took)
    return seconds, f"the application was stopped for {shown}"


def rehearsed(world: World, name: str) -> int:
    """How many rows of a dataset a cut-over would re-encrypt; each is, in memory, by a key of none.

    Raises Failure for what does not open, and as the dataset.
    """
    from certrotd.datasets.reencryption import Pass

    keyring, place = world.keyring(), world.datasets[name]
    key = world.inlets.key(keyring)
    every = keyring.every_key()
    keys = KeySet.of([*every.keys.values(), key], active=key.version, held=every.active)
    with place.open() as opened:
        check(name, opened, room=True)
        passing = Pass(opened.dataset, opened.form, keys, world.clock, opened.pace, writes=False)
        passed = passing.run()
        if passed.count:
            raise quarantined(name, opened, passed, "mend or delete them first")
        if not passed.seen:
            opened.tally(keys)
    return passed.seen


def problems(world: World) -> Iterator[Failure]:
    """Everything that a cut-over would be refused for before it begins, values apart."""
    application = application_of(world)
    for look in (application.check, lambda: _reads(application)):
        try:
            look()
        except Failure as failure:
            yield failure
    for name, place in world.datasets.items():
        try:
            with place.open() as opened:
                check(name, opened, room=True)
        except Failure as failure:
            yield failure


def _reads(application: Application) -> None:
    if (words := application.reads()) is not None:
        raise ProofFailed(f"the application does not show that it reads now: {words}")
