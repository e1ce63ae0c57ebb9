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

if TYPE_CHECKING:
    from certrotd.datasets.census import Tally
    from certrotd.datasets.configured import Opened
    from certrotd.datasets.port import Dataset
    from certrotd.datasets.reencryption import Passed, Position
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
                if tally.indexes:
                    census["blind indexes"] = {str(v): n for v, n in tally.indexes.items()}
                return Done({f"census of {self.dataset}": census})
            if passed.count >= left:
                hint = (
                    "the old keys stay for them; certrotd keys reencrypt NAME --dry-run lists more"
                )
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
        from certrotd.datasets.keys import key_from_json, key_to_json
        from certrotd.datasets.reencryption import Pass, Position

        world, ledger, keys, opened = self.world, self.ledger, self.keys, self.opened
        pace, clock, before = opened.pace, world.clock, self._before()
        passing = Pass(opened.dataset, opened.form, keys, clock, pace, before, writes=writes)
        position, kept = Position(), ledger.kept if number == 0 else {}
        after: Any = kept.get("after")
        if after is not None and kept.get("active") == keys.active:
            position = Position(key_from_json(after), int(str(kept["seen"])))
        total = position.seen + opened.dataset.remaining(passing.done)
        last, advice = world.clock.monotonic(), Advice(opened.dataset, position.seen, total)

        def keep(now: Position) -> None:
            nonlocal last
            if world.clock.monotonic() - last < KEEP_EVERY:
                return
            last = world.clock.monotonic()
            key = key_to_json(now.after) if now.after is not None else None
            words = advice.at(now.seen)
            told = {"after": key, "seen": now.seen, "active": keys.active, "advice": words}
            ledger.checkpoint(told, done=now.seen, total=max(total, now.seen))

        return passing.run(position, keep)


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
        f"{passed.count:,} values of {name} cannot be re-encrypted: {words}", hint=hint
    )
