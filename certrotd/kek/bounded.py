"""A deadline for calls that have none of their own, as those of the vendors' SDKs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeVar, cast

from certrotd.clock import Deadline
from certrotd.kek.port import KekUnavailable

MAX_CALLS = 32
"""Of the whole process, as threads are: a call that hangs cannot be ended, only counted."""

_calls = threading.BoundedSemaphore(MAX_CALLS)
T = TypeVar("T")


def within(deadline: Deadline, what: str, call: Callable[[Deadline], T]) -> T:
    """What ``call`` returns or raises; KekUnavailable, which names ``what``, at the deadline.

    The timeouts of an SDK are those of one read: looking up a name, finding credentials and an
    answer that drips are not bounded by them. A call that is late is left behind in its thread.
    """
    seconds, calls = deadline.remaining, _calls
    late = KekUnavailable(f"{what} did not answer within {seconds:.3g} s")
    done: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            done.put((call(deadline), None))
        except BaseException as error:  # noqa: BLE001  # raised again by whoever waits
            done.put((None, error))
        finally:
            calls.release()

    if not calls.acquire(timeout=seconds):
        raise late
    try:
        threading.Thread(target=run, name=f"ask {what}", daemon=True).start()
    except RuntimeError as error:
        calls.release()
        raise KekUnavailable(f"{what} was not asked: {error}") from None
    try:
        result, failure = done.get(timeout=deadline.remaining)
    except Empty:
        raise late from None
    if failure is not None:
        try:
            raise failure
        finally:
            del failure  # it knows of this frame
    return cast(T, result)
