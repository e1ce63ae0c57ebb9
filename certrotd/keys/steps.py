"""The steps by which a keyring is brought from one state to the next, and every consumer told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from certrotd.assessment.transitions import Asked, happened
from certrotd.consumers.port import Expected
from certrotd.errors import Failure, NeedsOperator, listed
from certrotd.keyring.delivery import Delivery
from certrotd.keyring.keyring import Keyring, empty
from certrotd.keyring.states import State
from certrotd.keys.confirming import check_confirmed, confirms, lacking_of
from certrotd.keys.delivering import apply, deliver, keep_aside
from certrotd.keys.policy import CUSTODIANS, id_of
from certrotd.keys.world import World
from certrotd.rotation.engine import Stopped
from certrotd.rotation.step import Done, Journaled, Ledger, NotYet, Observed

ASK_AGAIN = timedelta(minutes=1)
MOVES, BY_HAND, ACTOR, BEFORE = "moves", "by_hand", "actor", "custodians_before"
"""The facts: how many transitions of each version are in the audit log, who asked, and who had
access to the key before."""
SOON = 0.5
_ON_ITS_WAY = (State.PRE_ACTIVE, State.SECONDARY)


@dataclass(frozen=True)
class Generate(Journaled):
    """Make the key of a version: wrapped and durable before anybody has it.

    What is undone keeps it: nobody has it yet, and the next rotation takes it.
    """

    version: int
    why: str
    kind = "generate"

    def do(self, world: World, ledger: Ledger) -> Done:
        found = world.store.read()  # one that cannot be read is never begun anew
        if found is None:
            world.create(lambda: self._with(world, empty(world.name, world.inlets.seal())))
        elif self.version not in found.keyring.entries:
            world.change(lambda keyring: self._with(world, keyring))
        tell(world, ledger)
        entry = world.keyring().entries[self.version]
        return Done({"version": self.version, "fingerprint": entry.fingerprint, "id": entry.id})

    def undo(self, world: World, ledger: Ledger) -> None:
        pass

    def _with(self, world: World, keyring: Keyring) -> Keyring:
        if self.version in keyring.entries:
            return keyring
        versions = keyring.versions.generate(at=world.clock.now(), why=self.why)
        if versions.next_number - 1 != self.version:
            raise NeedsOperator(
                f"version {versions.next_number - 1} would be next, not {self.version}",
                hint="another process changed the keyring: the rotation begins anew",
            )
        return keyring.added(world.inlets.key(keyring), versions)


@dataclass(frozen=True)
class Escrow(Journaled):
    """Back the keyring up before a new key protects anything."""

    kind = "escrow"

    def do(self, world: World, ledger: Ledger) -> Done:  # noqa: ARG002
        if world.escrow is None:
            raise NeedsOperator(
                "the configuration no longer says where the keyring is backed up",
                hint="say so under backup, or cancel the rotation",
            )
        world.fence()
        return Done({"backup": world.escrow(world.keyring())})

    def undo(self, world: World, ledger: Ledger) -> None:
        pass  # one more backup does no harm


@dataclass(frozen=True)
class DeliverBack(Journaled):
    """Nothing, and, as its undo, every output and consumer as the keyring is by then.

    It comes before a change of states because undoing goes backwards: the states are back when the
    outputs are written again.
    """

    kind = "deliver-back"

    def do(self, world: World, ledger: Ledger) -> Done:  # noqa: ARG002
        return Done({"told": [], "files": {}})

    def undo(self, world: World, ledger: Ledger) -> None:
        told, files = ledger.facts.get("told"), ledger.facts.get("files")
        keyring = world.keyring()
        if keyring.versions.active is None or not (files or told):
            return  # no consumer has had anything
        expected = Expected(world.name, Delivery.of(keyring).hash, deliver(world, keyring))
        first: Failure | None = None
        for name in told if isinstance(told, list) else ():
            try:
                apply(world, name, back=True)
            except Stopped:
                raise
            except Failure as failure:
                if not confirms(world, name, expected):
                    first = first or failure  # the others are not left with the new one for that
        if first is not None:
            raise first


@dataclass(frozen=True)
class Distribute(Journaled):
    """Let consumers decrypt with a version, before any encrypts with it."""

    version: int
    why: str
    kind = "distribute"

    def do(self, world: World, ledger: Ledger) -> Done:
        now = world.clock.now()
        state = world.keyring().versions.version(self.version).state
        if state is not State.SECONDARY:
            world.move(lambda all_: all_.distribute(self.version, at=now, why=self.why))
        tell(world, ledger)
        return Done()

    def undo(self, world: World, ledger: Ledger) -> None:
        secondary = world.keyring().versions.secondary
        if secondary is not None and secondary.number == self.version:
            now = world.clock.now()
            world.move(lambda all_: all_.rollback(at=now, why="its rotation was undone"))
        tell(world, ledger)

    def observe(self, world: World, ledger: Ledger) -> Observed:  # noqa: ARG002
        versions = world.keyring().versions
        state = versions.version(self.version).state
        return Observed.NOT_DONE if state is State.PRE_ACTIVE else Observed.DONE


@dataclass(frozen=True)
class Activate(Journaled):
    """Encrypt with the secondary version from now on; the active one only decrypts.

    Days may have passed since the last consumer confirmed, and the configuration may be another:
    each is asked once more. Where one lacks the version, its rotation is told to everybody anew.
    ``custodians`` have access to it from now on.
    """

    version: int
    why: str
    custodians: tuple[str, ...] = ()
    kind = "activate"

    def do(self, world: World, ledger: Ledger) -> Done:
        now, versions = world.clock.now(), world.keyring().versions
        if versions.version(self.version).state is not State.ACTIVE:
            if versions.active is not None:
                check_confirmed(world)
            world.move(lambda all_: all_.activate(self.version, at=now, why=self.why))
        tell(world, ledger)
        before = ledger.facts.get(CUSTODIANS)
        return Done({"activated": self.version, CUSTODIANS: [*self.custodians], BEFORE: before})

    def undo(self, world: World, ledger: Ledger) -> None:
        active = world.keyring().versions.active
        if active is not None and active.number == self.version and active.before is not None:
            now = world.clock.now()
            world.move(lambda all_: all_.rollback(at=now, why="its activation was undone"))
        tell(world, ledger)
        if BEFORE in ledger.facts:
            ledger.note(**{CUSTODIANS: ledger.facts[BEFORE]})

    def observe(self, world: World, ledger: Ledger) -> Observed:  # noqa: ARG002
        state = world.keyring().versions.version(self.version).state
        return Observed.NOT_DONE if state in _ON_ITS_WAY else Observed.DONE


@dataclass(frozen=True)
class Move(Journaled):
    """One transition of one version, by the name of the act in keyring.states."""

    act: str
    version: int
    why: str
    kind = "move"

    def do(self, world: World, ledger: Ledger) -> Done:
        now = world.clock.now()
        wanted = _AFTER[self.act]
        if world.keyring().versions.version(self.version).state not in wanted:
            match self.act:
                case "retire":
                    world.move(lambda all_: all_.retire(self.version, at=now, why=self.why))
                case "disable":
                    world.move(lambda all_: all_.disable(self.version, at=now, why=self.why))
                case "restore":
                    world.move(lambda all_: all_.restore(self.version, at=now, why=self.why))
                case "compromise":
                    world.move(lambda all_: all_.compromise(self.version, at=now, why=self.why))
        tell(world, ledger)
        return Done({self.act: self.version})

    def undo(self, world: World, ledger: Ledger) -> None:
        if self.act != "disable":
            return  # nothing that consumers see changed
        if world.keyring().versions.version(self.version).state is State.DISABLED:
            now = world.clock.now()
            why = "a consumer could not be told that it is withheld"
            world.move(lambda all_: all_.restore(self.version, at=now, why=why))
        tell(world, ledger)


_AFTER: Mapping[str, tuple[State, ...]] = {
    "retire": (State.RETIRED, State.DISABLED),
    "disable": (State.DISABLED,),
    "restore": (State.DECRYPT_ONLY,),
    "compromise": (State.COMPROMISED, State.DESTROYED),
}


@dataclass(frozen=True)
class GoBack(Journaled):
    """Undo the last step of the newest rotation; ``moves`` are the transitions before it."""

    moves: int
    why: str
    kind = "go-back"

    def do(self, world: World, ledger: Ledger) -> Done:
        now = world.clock.now()
        if world.keyring().versions.moves == self.moves:
            world.move(lambda all_: all_.rollback(at=now, why=self.why))
        tell(world, ledger)
        return Done()

    def undo(self, world: World, ledger: Ledger) -> None:
        pass  # forward only; the engine never comes here


@dataclass(frozen=True)
class Rewrap(Journaled):
    """Every key wrapped by the present version of each configured KEK, and by no other."""

    kind = "rewrap"

    def do(self, world: World, ledger: Ledger) -> Done:  # noqa: ARG002
        after = world.change(world.store.rewrapped)
        return Done({"revision": after.revision, "keks": sorted(after.seal.by)})

    def undo(self, world: World, ledger: Ledger) -> None:
        pass  # the keys are the same, and each KEK that is configured opens them


@dataclass(frozen=True)
class KeepAside(Journaled):
    """Move what something else has written into an output out of the way, and keep it."""

    kind = "keep-aside"

    def do(self, world: World, ledger: Ledger) -> Done:  # noqa: ARG002
        return Done({"aside": keep_aside(world)})

    def undo(self, world: World, ledger: Ledger) -> None:
        pass  # what was strange stays kept; the outputs are written anew at the next look


@dataclass(frozen=True)
class Deliver(Journaled):
    """Every output says what the keyring is now.

    One that something changed or removed meanwhile is written anew, and everybody told again.
    """

    stage: str
    kind = "deliver"

    def do(self, world: World, ledger: Ledger) -> Done:
        files = deliver(world, world.keyring(), ledger)
        shown = {str(path): digest for path, digest in files.items()}
        return Done({"files": shown, "told": []})

    def undo(self, world: World, ledger: Ledger) -> None:
        pass  # what stands before it delivers back

    def observe(self, world: World, ledger: Ledger) -> Observed:  # noqa: ARG002
        delivery = Delivery.of(world.keyring())
        as_it_was = all(outlet.differs(delivery) is None for outlet in world.outlets)
        # never done: what it answers, the hashes, is needed after a crash, too
        return Observed.UNKNOWN if as_it_was else Observed.NOT_DONE


@dataclass(frozen=True)
class Apply(Journaled):
    """One consumer made to read its keys again."""

    consumer: str
    kind = "apply"

    def do(self, world: World, ledger: Ledger) -> Done:
        told = ledger.facts.get("told")
        names = list(told) if isinstance(told, list) else []
        if self.consumer not in names:
            ledger.note(told=[*names, self.consumer])
        apply(world, self.consumer)
        return Done()

    def undo(self, world: World, ledger: Ledger) -> None:
        pass


@dataclass(frozen=True)
class Await(Journaled):
    """Every consumer of a wave confirms which keys it has; without that nothing goes on."""

    consumers: tuple[str, ...]
    stage: str
    kind = "await"
    can_kill = False

    def do(self, world: World, ledger: Ledger) -> Done | NotYet:
        begun, expected = world.clock.monotonic(), _expected(world, ledger)
        while (waits := self._waits(world, expected)) is not None:
            if world.clock.monotonic() - begun >= world.patience:
                return waits
            world.clock.sleep(SOON)
        return Done()

    def poll(self, world: World, ledger: Ledger) -> NotYet | None:
        """As Polled.poll."""
        return self._waits(world, _expected(world, ledger))

    def _waits(self, world: World, expected: Expected) -> NotYet | None:
        lacking = lacking_of(world, self.consumers, expected)
        if not lacking:
            return None
        words = f"waits for the acknowledgement of {listed(lacking, most=3)}"
        return NotYet(world.clock.now() + ASK_AGAIN, words)

    def undo(self, world: World, ledger: Ledger) -> None:
        pass  # it only asked


def tell(world: World, ledger: Ledger) -> None:
    """Have the audit log know every transition since the rotation began, each once.

    After a crash between the two, one may be there twice, and none is missing.
    """
    facts = ledger.facts
    known = facts.get(MOVES)
    counts: dict[str, int] = dict(known) if isinstance(known, dict) else {}
    asked = Asked(bool(facts.get(BY_HAND)), str(facts.get(ACTOR) or ""))
    after = dict(counts)
    for version in world.keyring().versions.all:
        number = str(version.number)
        new = version.transitions[int(counts.get(number, 0)) :]
        for transition in new:
            world.fence()
            subject = id_of(world.name)
            told = happened(subject, version.number, transition, ledger.rotation, asked)
            world.record(told)
        after[number] = len(version.transitions)
    if after != counts:
        ledger.note(**{MOVES: after})


def _expected(world: World, ledger: Ledger) -> Expected:
    """What consumers are to have; a KEK is asked for it."""
    files = ledger.facts.get("files")
    known = dict(files) if isinstance(files, dict) else {}
    shown = {Path(path): str(known[path]) for path in known}
    return Expected(world.name, Delivery.of(world.keyring()).hash, shown)
