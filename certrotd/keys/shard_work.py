"""What a worker does with one shard: the same in this process, in one of Dask and in a pod.

A task names what is to be done, and has no key material: each worker opens the keyring itself.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from certrotd.clock import Clock
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.keyring.keyring import Keyring
from certrotd.keyring.material import KeySet

if TYPE_CHECKING:  # what only datasets need is loaded for them
    from certrotd.datasets.configured import Opened
    from certrotd.datasets.reencryption import Passed, Position
    from certrotd.datasets.shards import Books, Lease, Shard
    from certrotd.keys.stored_data import StoredData

T = TypeVar("T")

RENEW = 4.0
"""A lease is renewed so often, in seconds, however long a batch takes."""


class TimeUp(Exception):  # nothing is wrong
    """The part that was asked for is done, and more is not to be done without being asked."""


@dataclass(frozen=True)
class Task:
    """A shard to work on: that of a ``run`` in the table, or (no ``run``) one told here.

    The latter is what is behind ``after`` and up to ``high``, for so many ``seconds``; keys are
    as key_to_json gives them. ``active`` is the key version that it comes under, ``workers`` how
    many share the pace, and ``of`` is work_of() where it was begun.
    """

    dataset: str
    number: int
    active: int
    run: str = ""
    after: Any = None
    high: Any = None
    seen: int = 0
    seconds: float = 0.0
    workers: int = 1
    of: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it goes to a worker."""
        return asdict(self)


@dataclass(frozen=True)
class Answer:
    """What became of a task, in JSON too: ``done`` if the shard is, ``failed`` if not, and why.

    ``free`` says whether the worker had it at all. The rest is as of Task and Passed.
    """

    done: bool = False
    free: bool = True
    failed: str = ""
    hint: str = ""
    again: bool = True
    after: Any = None
    seen: int = 0
    left_alone: int = 0
    listed: tuple[Any, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As it goes back."""
        return asdict(self)

    @classmethod
    def of(cls, failure: Failure) -> Answer:
        """That it failed; ``again`` if trying again may help."""
        again = isinstance(failure, Transient)
        return cls(failed=failure.message, hint=failure.hint, again=again)


def perform(stored: StoredData, task: Task, clock: Clock, holder: str) -> Answer:
    """Do a task with the keys that this process opens; raises Failure."""
    keyring = stored.keyring()
    keys = keyring.key_set()
    if keys.active != task.active:
        raise Transient(
            f"version {keys.active} of the keyring is active here, and {task.active} is asked for"
        )
    with stored.open(task.dataset) as opened:
        check_work(task.of, work_of(opened, keyring, keys.active), task.dataset)
        if not task.run:
            return _stretch(task, opened, keys, clock)
        from certrotd.datasets.shards import Run

        checkpoints = divisible(opened).checkpoints(label_of(keyring.name, task.dataset))
        lease = checkpoints.take(Run(task.run, task.active), task.number, holder)
        if lease is None:
            return Answer(free=False)
        work_on(lease, opened, keys, clock)
        return Answer(done=True)


def work_of(opened: Opened, keyring: Keyring, active: int) -> str:
    """What tells the work on a dataset under a key from that of another configuration or keyring.

    A copy of a keyring that went its own way has another key of the same number.
    """
    told = f"{opened.order}/{keyring.entries[active].fingerprint}"
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def of_run(name: str) -> str:
    """work_of() where a run was begun, by its name."""
    return name.rpartition(".")[2]


def check_work(asked: str, own: str, dataset: str) -> None:
    """Raise NeedsOperator unless a worker would do what is asked."""
    if asked != own:
        raise NeedsOperator(
            f"this worker has another configuration of {dataset}, or another key of that number",
            hint="all workers need the same configuration, and the keyring as it is",
        )


def label_of(keyring: str, dataset: str) -> str:
    """What the checkpoints of a dataset are kept under."""
    return f"{keyring}/{dataset}"


def divisible(opened: Opened) -> Any:
    """The dataset, as one that several workers re-encrypt."""
    from certrotd.datasets.shards import Divisible

    assert isinstance(opened.dataset, Divisible), "it is a table"
    return opened.dataset


def work_on(
    lease: Lease,
    opened: Opened,
    keys: KeySet,
    clock: Clock,
    before: Callable[[], None] = lambda: None,
    told: Callable[[], None] = lambda: None,
) -> None:
    """Re-encrypt a shard to its end; raises LeaseLost, what ``before`` raises, and Failure.

    ``told`` comes after each batch. Whatever ends it, the shard is free for others at once.
    """
    from certrotd.datasets.shards import shared

    pace = shared(opened.pace, lambda: lease.holders)

    def keep(position: Position) -> None:
        lease.keep(position)
        told()

    try:
        with _renewing(lease):
            lease.finish(_passed(lease.shard, opened, keys, clock, pace, before, keep, lease))
    except BaseException:
        with suppress(Failure):
            lease.release()
        raise


def _passed(
    shard: Shard,
    opened: Opened,
    keys: KeySet,
    clock: Clock,
    pace: Any,
    before: Callable[[], None],
    keep: Callable[[Position], None],
    books: Books | None = None,
) -> Passed:
    from certrotd.datasets.reencryption import Pass
    from certrotd.datasets.replica_lag import waiting

    def kept(position: Position) -> None:
        keep(position)
        for _ in waiting(opened.replicas, clock):
            before()

    part = divisible(opened).part(shard.part, books)
    for _ in waiting(opened.replicas, clock):
        before()
    return Pass(part, opened.form, keys, clock, pace, before).run(shard.position, kept)


@contextmanager
def _renewing(lease: Lease) -> Iterator[None]:
    """Renew the lease beside the work; once it is lost, the next batch finds that out itself."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(RENEW):
            with suppress(Failure):
                lease.renew()

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _stretch(task: Task, opened: Opened, keys: KeySet, clock: Clock) -> Answer:
    """As far as the time reaches: where nobody keeps a lease, none lasts longer than that."""
    from certrotd.datasets.keys import key_from_json, key_to_json
    from certrotd.datasets.reencryption import Position
    from certrotd.datasets.shards import Part, Shard, shared

    end = clock.monotonic() + task.seconds
    after = None if task.after is None else key_from_json(task.after)
    high = None if task.high is None else key_from_json(task.high)
    begun = reached = Position(after, task.seen)
    pace = shared(opened.pace, lambda: task.workers)

    def before() -> None:
        if reached is not begun and clock.monotonic() >= end:  # one batch at least
            raise TimeUp

    def keep(position: Position) -> None:
        nonlocal reached
        reached = position

    shard = Shard(task.number, Part(after, high), begun)
    try:
        passed = _passed(shard, opened, keys, clock, pace, before, keep)
    except TimeUp:
        told = None if reached.after is None else key_to_json(reached.after)
        return Answer(after=told, seen=reached.seen)
    listed = tuple([key_to_json(e.key), e.field, e.why] for e in passed.quarantined[:20])
    return Answer(done=True, seen=passed.seen, left_alone=passed.count, listed=listed)


def task_of(told: Mapping[str, Any]) -> Task:
    """A task as it was sent; raises as answer_of()."""
    return _of_this_version(Task, told, "what is asked of this worker")


def answer_of(told: Mapping[str, Any]) -> Answer:
    """An answer as it came back; raises NeedsOperator for one of another version of certrotd."""
    return _of_this_version(Answer, told, "what a worker answers")


def _of_this_version(kind: type[T], told: Mapping[str, Any], what: str) -> T:
    try:
        return kind(**told)
    except TypeError:
        raise NeedsOperator(
            f"{what} is of another version of certrotd",
            hint="install the same version on every machine",
        ) from None
