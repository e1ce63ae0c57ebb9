"""Who is at work on a state that several daemons share: one of them, or one for each shard.

The Lease DAEMON_LOCK is held alone by a daemon that looks after everything, and shared by those
that have a shard each, whose own Lease is DAEMON_LOCK/NUMBER. How many shards there are is in the
document ``shards``, and is changed by whoever holds DAEMON_LOCK alone: so daemons that count
differently are never at work at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.errors import LockHeld, NeedsOperator
from certrotd.state.directory import DAEMON_LOCK
from certrotd.state.ports import Lease, State
from certrotd.state.shard import ALL, Shard
from certrotd.state.typed import TypedDocument

if TYPE_CHECKING:  # a command has none
    from certrotd.observers import Observer

WHAT = "the state in the cluster"


@dataclass(frozen=True)
class Led:
    """What a daemon looks after for as long as ``check`` raises nothing."""

    shard: Shard
    leases: Sequence[Lease]

    def check(self) -> None:
        """Raise Fenced if one of the Leases is another's by now."""
        for lease in self.leases:
            lease.check()


class Leading:
    """The Leases of daemons on one state, of which there are as many at work as ``shards``."""

    def __init__(self, state: State, shards: int) -> None:
        self._state = state
        self._shards = shards
        self._counted = TypedDocument(state.document("shards"), _parsed, _rendered)

    @contextmanager
    def lead(self, first: int = 1) -> Iterator[Led]:
        """Look after all, or a shard that is free, the ``first`` one if it is, for a block.

        Raises LockHeld, DiskTrouble.
        """
        with ExitStack() as held:
            if self._shards == 1:
                yield Led(ALL, [held.enter_context(self._state.lock(DAEMON_LOCK, WHAT))])
                return
            self._agree()
            begin = Shard(first, self._shards)
            # whoever stands by reads alone: it would be in the way of those who renew
            free = next((each for each in (begin, *begin.others) if not self.led(each)), None)
            if free is None:
                raise LockHeld(WHAT, holder=f"each of the {self._shards} shards has its daemon")
            among = held.enter_context(self._state.lock(DAEMON_LOCK, WHAT, shared=True))
            if (counted := self._counted.read()) != self._shards:
                raise LockHeld(WHAT, holder=f"daemons with {counted or 'no'} shards")
            yield Led(free, [among, held.enter_context(self._state.lock(_name(free), str(free)))])

    def led(self, shard: Shard) -> bool:
        """Whether a daemon looks after it; raises DiskTrouble."""
        name = DAEMON_LOCK if shard.of == 1 else _name(shard)
        return self._state.holder(name) is not None

    def shard_of(self, subject: str) -> Shard:
        """The one that has that subject."""
        every = Shard(1, self._shards)
        return next(each for each in (every, *every.others) if each.has(subject))

    def _agree(self) -> None:
        """Have it written how many shards there are; raises LockHeld while others count otherwise.

        What is no number is kept aside.
        """
        counted = self._counted.read()
        if counted == self._shards:
            return
        try:
            with self._state.lock(DAEMON_LOCK, WHAT):
                self._counted.write(self._shards)
        except LockHeld as held:
            others = f"daemons with {counted} shards" if counted else "a daemon without shards"
            raise LockHeld(WHAT, holder=f"{others}: {held.holder}") from held


class Neighbours:
    """Tells of shards that nobody leads: each daemon looks as far as the next one that is led.

    So one that is led is looked at by one daemon, and one that is not is told of by one. A shard
    is told of when it is found so twice: whoever takes over needs a moment.
    """

    def __init__(self, shard: Shard, led: Callable[[Shard], bool], observer: Observer) -> None:
        self._shard = shard
        self._led = led
        self._observer = observer
        self._missed: set[Shard] = set()
        self._told: set[Shard] = set()

    def look(self) -> None:
        """Look once; repeatable. Raises Failure where nobody can tell, and then tells nothing."""
        missed = set()
        for other in self._shard.others:
            if self._led(other):
                break
            missed.add(other)
        for other in (missed & self._missed) - self._told:
            why = NeedsOperator(
                f"no daemon looks after {other}: what is in it is not renewed",
                hint="run as many replicas as there are shards",
            )
            self._observer.trouble(str(other), why)
        for other in self._told - missed:
            self._observer.calmed(str(other))
        self._told = missed & (self._missed | self._told)
        self._missed = missed


def _name(shard: Shard) -> str:
    return f"{DAEMON_LOCK}/{shard.number}"


def _parsed(data: bytes) -> int:
    return int(data)


def _rendered(shards: int) -> bytes:
    return str(shards).encode()
