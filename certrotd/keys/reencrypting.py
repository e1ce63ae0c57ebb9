"""The step that brings a dataset under the active key, and the census that tells what is left."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from certrotd.errors import NeedsOperator, Transient, listed
from certrotd.rotation.engine import Stopped
from certrotd.rotation.step import Done, Journaled, Later, Ledger
from certrotd.wording import count

if TYPE_CHECKING:
    from certrotd.datasets.census import Tally
    from certrotd.datasets.configured import Opened
    from certrotd.datasets.port import Dataset
    from certrotd.datasets.reencryption import Pass, Passed, Position
    from certrotd.keyring.keyring import Keyring
    from certrotd.keyring.material import KeySet
    from certrotd.keys.world import World

PASSES = 3
"""After so many passes what is left is still written under an old key."""
KEEP_EVERY = 1.0
"""A checkpoint so many seconds after the one before: what a crash cuts off is looked at again."""
ADVISED = 10
"""So often during a pass the dataset is asked what people should do for it."""
AGAIN = timedelta(minutes=2)
_SET_ASIDE = Done({"set aside": "a compromised key is replaced first; then it goes on"})
Open = Callable[[], AbstractContextManager["Opened"]]


class Overtaken(Exception):  # nothing is wrong
    """Something more urgent waits; what was re-encrypted stays so."""


@dataclass(frozen=True)
class Reencryptable:
    """A dataset that certrotd itself reads and writes; ``counted`` keeps a census of it."""

    open: Open
    counted: Callable[[Tally, datetime], None]


@dataclass(frozen=True)
class Reencrypt(Journaled):
    """Every value of a dataset under the active key; each batch is a transaction of its own.

    Undoing it would be a re-encryption, too, and the keys before still decrypt: what is done stays.
    """

    dataset: str
    kind = "re-encrypt"
    can_kill = False

    def do(self, world: World, ledger: Ledger) -> Done:
        from certrotd.keys.sharding import passes_of

        place = world.datasets.get(self.dataset)
        if place is None:
            raise NeedsOperator(f"the configuration has no dataset {self.dataset} any more")
        if "kept" not in ledger.facts:
            ledger.note(kept="what was re-encrypted stays so")
        try:
            if world.overtaken():
                return _SET_ASIDE
            with place.open() as opened:
                keyring = world.keyring()
                check(self.dataset, opened, staged=not _in_emergency(keyring))
                keys = keyring.key_set()
                passes = Passes(world, ledger, self.dataset, opened, place, keys, gives_way=True)
                return passes_of(passes).all(keyring.every_key())
        except Overtaken:
            return _SET_ASIDE
        except (Stopped, Later):
            raise
        except Transient as failure:
            wait = failure.retry_after or AGAIN
            raise Later(failure.message, hint=failure.hint, retry_after=wait) from failure

    def undo(self, world: World, ledger: Ledger) -> None:
        pass  # both keys decrypt


def check(name: str, opened: Opened, *, staged: bool = False, room: bool = False) -> None:
    """Raise NeedsOperator for what forbids to re-encrypt a dataset.

    ``staged``: while the application runs, and reads with both keys; ``room``: a lack of it
    forbids it, too.
    """
    for finding in opened.findings(staged=staged):
        if finding.fatal or (room and finding.code == "room"):
            raise NeedsOperator(f"{name} is not re-encrypted: {finding.words}")


def _in_emergency(keyring: Keyring) -> bool:
    """Whether a key that others may know has still to go: its rows do not wait for a search."""
    known = (each.number for each in keyring.versions.all if each.compromised)
    return any(keyring.entries[each].secret is not None for each in known)


@dataclass(frozen=True)
class Passes:
    """Passes over an ``opened`` dataset, until a census finds nothing but what ``keys`` encrypt.

    ``goes_on``: also once the process was told to stop, as an undo does. ``gives_way``: it
    raises Overtaken where something more urgent waits.
    """

    world: World
    ledger: Ledger
    dataset: str
    opened: Opened
    place: Reencryptable
    keys: KeySet
    goes_on: bool = False
    gives_way: bool = False

    def all(self, every: KeySet) -> Done:
        """As many as it takes; ``every`` key is what the census knows. Raises Failure, or Later."""
        left = 0
        for number in range(PASSES):
            passed = self._pass(number)
            at = self.world.clock.now()
            tally = self.opened.tally(every)
            self.place.counted(tally, at)
            left = self.opened.left(tally, self.keys.active)
            if not left:
                under = {str(version): count for version, count in tally.by_version.items()}
                census = {"under": under, "plaintext": tally.plaintext, "by": tally.method}
                values = count(tally.by_version.get(self.keys.active, 0), "value")
                census["told"] = f"{values} of {self.dataset} under version {self.keys.active}"
                if tally.indexes:
                    census["blind indexes"] = {str(v): n for v, n in tally.indexes.items()}
                return Done({f"census of {self.dataset}": census})
            if passed.count >= left:
                lists = f"certrotd keys reencrypt {self.world.name} --dry-run lists them"
                hint = f"the old keys stay for them; {lists}"
                raise quarantined(self.dataset, self.opened, replace(passed, count=left), hint)
        raise Later(
            f"{left:,} values of {self.dataset} are under an old key after {PASSES} passes",
            hint="something still writes there: have it read its keys again",
            retry_after=AGAIN,
        )

    def rehearsed(self) -> int:
        """Read, open and encrypt everything, and write nothing; how many rows that were.

        Raises NeedsOperator for values that could not be re-encrypted, or where there are none.
        """
        passed = self._pass(1, writes=False)
        if passed.count:
            hint = f"certrotd keys reencrypt {self.world.name} --dry-run lists more"
            raise quarantined(self.dataset, self.opened, passed, hint)
        if not passed.seen:
            self.opened.tally(self.keys)
        return passed.seen

    def _before(self) -> Callable[[], None]:
        """What comes before every batch and every write, and raises what ends the pass."""
        world, looked = self.world, self.world.clock.monotonic()

        def before() -> None:
            nonlocal looked
            world.fence()
            if self.gives_way and world.clock.monotonic() - looked >= KEEP_EVERY:
                looked = world.clock.monotonic()
                if world.overtaken():
                    raise Overtaken
            if world.clock.stopping() and not self.goes_on:
                raise Stopped("the process was told to stop")

        return before

    def _pass(self, number: int, *, writes: bool = True) -> Passed:
        """The pass of that number; the first one goes on where a crash has cut it off."""
        from certrotd.datasets.keys import key_from_json
        from certrotd.datasets.reencryption import Pass, Position
        from certrotd.datasets.replica_lag import waiting

        keys, opened = self.keys, self.opened
        pace, clock, before = opened.pace, self.world.clock, self._before()
        passing = Pass(opened.dataset, opened.form, keys, clock, pace, before, writes=writes)
        if not writes:
            return passing.run()
        position, kept = Position(), self.ledger.kept if number == 0 else {}
        after: Any = kept.get("after")
        here = [keys.active, opened.order]
        if after is not None and [kept.get("active"), kept.get("order")] == here:
            position = Position(key_from_json(after), int(str(kept["seen"])))
            passing.messages, passing.size = (int(str(kept[each])) for each in ("messages", "size"))
        left = opened.dataset.remaining(passing.done)
        self.check_limit(left)
        kept_at = Checkpoints(self, passing, position, position.seen + left)
        replicas = opened.replicas if self.gives_way else None

        def keep(now: Position) -> None:
            kept_at.reached(now)
            for lag in waiting(replicas, clock):
                kept_at.write(f"waiting: {lag.words}")
                before()

        for _ in waiting(replicas, clock):
            before()
        try:
            return passing.run(position, keep)
        finally:
            if passing.messages:
                self.count(passing.messages, passing.size)
                passing.messages = passing.size = 0
                kept_at.write()

    def check_limit(self, rows: int) -> None:
        """Raise NeedsOperator where the active key would encrypt more than it may."""
        entry = self.world.keyring().entries.get(self.keys.active)
        used, most = entry.use.messages if entry is not None else 0, self.world.messages
        if used + rows > most:
            raise NeedsOperator(
                f"re-encrypting {rows:,} rows of {self.dataset} would take key version "
                f"{self.keys.active} over the {most:,} messages that it may encrypt",
                hint="raise rotate.messages, or have several keyrings for the data",
            )

    def count(self, messages: int, size: int) -> None:
        """Add what was encrypted to what the keyring counts; at worst twice after a crash."""
        active, at = self.keys.active, self.world.clock.now()

        def counted(keyring: Keyring) -> Keyring:
            if active not in keyring.entries:
                return keyring
            return keyring.counted(active, messages, size, at=at)

        self.world.change(counted)


class Checkpoints:
    """How far a pass has come, made durable at intervals, and what the active key encrypted."""

    def __init__(self, passes: Passes, passing: Pass, begun: Position, total: int) -> None:
        self._passes = passes
        self._pass = passing
        self._now = begun
        self._total = total
        self._advice = Advice(passes.opened.dataset, begun.seen, total)
        self._last = passes.world.clock.monotonic()

    def reached(self, now: Position) -> None:
        """Take note of it."""
        self._now = now
        if self._passes.world.clock.monotonic() - self._last >= KEEP_EVERY:
            self.write()

    def write(self, words: str | None = None) -> None:
        """Make it durable, with what people should know: those words, or advice."""
        from certrotd.datasets.keys import key_to_json

        now, passing = self._now, self._pass
        self._last = self._passes.world.clock.monotonic()
        key = key_to_json(now.after) if now.after is not None else None
        told: dict[str, Any] = {"after": key, "seen": now.seen, "active": self._passes.keys.active}
        told |= {"messages": passing.messages, "size": passing.size}
        told["order"] = self._passes.opened.order
        told["advice"] = words or self._advice.at(now.seen)
        self._passes.ledger.checkpoint(told, done=now.seen, total=max(self._total, now.seen))


class Advice:
    """What people should do for a dataset while it is rewritten, of which ``seen`` rows are."""

    def __init__(self, dataset: Dataset, seen: int, total: int) -> None:
        self._dataset = dataset
        self._asked = seen
        self._total = total
        self._words: str | None = None

    def at(self, seen: int) -> str | None:
        """In words, as of the last tenth of all rows; raises Failure."""
        from certrotd.datasets.port import Advising

        if isinstance(self._dataset, Advising) and (seen - self._asked) * ADVISED >= self._total:
            self._asked, self._words = seen, self._dataset.advice()
        return self._words


def quarantined(name: str, opened: Opened, passed: Passed, hint: str) -> NeedsOperator:
    """What a pass over a dataset left alone, as a failure."""
    fields = opened.dataset.fields
    words = listed((each.words(fields) for each in passed.quarantined), most=3)
    return NeedsOperator(
        f"{count(passed.count, 'value')} of {name} cannot be re-encrypted: {words}", hint=hint
    )
