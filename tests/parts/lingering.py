"""An old worker of nginx that takes one more connection after a reload, as on a busy machine."""

import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from os import kill
from pathlib import Path

from tests.parts.nginx import Nginx
from tests.parts.process import wait_until

Takes = Callable[[], AbstractContextManager[None]]


@contextmanager
def starved(nginx: Nginx) -> Iterator[Takes]:
    """Within it the workers there are now stand still; what it gives is for after their end.

    Within that the new ones stand still, until the first connection that comes is taken by an old
    one, which was told to end, and hears of both at once.
    """
    old = nginx.workers()
    _stop(old)

    @contextmanager
    def takes() -> Iterator[None]:
        new = nginx.workers() - old
        assert new, "there was no reload"
        _stop(new)
        try:
            with ThreadPoolExecutor(1) as pool:
                taken = pool.submit(_take, nginx, old, new)
                yield
                taken.result()
        finally:
            _signal(new, signal.SIGCONT)

    try:
        yield takes
    finally:
        _signal(old, signal.SIGCONT)


def _take(nginx: Nginx, old: set[int], new: set[int]) -> None:
    wait_until(lambda: waiting(nginx.port) > 0, what="a connection waits")
    _signal(old, signal.SIGCONT)
    wait_until(
        # The client may open its next one before anybody has looked: no old one is left for that.
        lambda: waiting(nginx.port) == 0 or not nginx.workers() & old,
        what="an old worker takes it",
    )
    _signal(new, signal.SIGCONT)


def _stop(pids: Iterable[int]) -> None:
    """Stops processes, and returns once they stand still.

    Until then one still waits in epoll_wait(2), and under EPOLLEXCLUSIVE the kernel tells of a
    connection whoever waits there, and nobody else.
    """
    _signal(pids, signal.SIGSTOP)
    wait_until(lambda: all(_stands_still(pid) for pid in pids), what="the workers stand still")


def _stands_still(pid: int) -> bool:
    """Whether a process is stopped, by proc_pid_stat(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # an old one ends as soon as it can
            kill(pid, number)


def waiting(port: int) -> int:
    """How many connections wait to be accepted on a listening port of 127.0.0.1 (proc(5))."""
    listening = f"0100007F:{port:04X} 00000000:0000 0A "
    for line in Path("/proc/net/tcp").read_text().splitlines():
        if listening in line:
            return int(line.split()[4].partition(":")[2], 16)
    raise AssertionError(f"nobody listens on port {port}")
