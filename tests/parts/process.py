"""Starting, watching and stopping the real servers that tests run against."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

Transport = Literal["tcp", "udp", "both"]

# Below the range the kernel draws outgoing ports from, so that no client takes one in between.
_PORTS = range(10_000, 32_768)


class ServerFailed(Exception):
    """A real server did not start or ended by itself; the message carries the end of its log."""


def free_port(kind: Transport = "tcp", *hosts: str) -> int:
    """Reserves for this process a port that is free on every host (default: 127.0.0.1)."""
    while True:
        port = secrets.choice(_PORTS)
        if _reserve(port) and _is_free(port, kind, hosts or ("127.0.0.1",)):
            return port


def _reserve(port: int) -> bool:
    reservation = socket.socket(socket.AF_UNIX)
    try:
        # a name that is no file's (unix(7), abstract): nothing of it stays behind
        reservation.bind(f"\0certrotd-test-port-{port}")
    except OSError:
        reservation.close()
        return False
    # held until this process ends, and gone with it: two test workers never draw the same port
    reservation.detach()
    return True


def _is_free(port: int, kind: Transport, hosts: Sequence[str]) -> bool:
    types = {"tcp": [socket.SOCK_STREAM], "udp": [socket.SOCK_DGRAM]}.get(
        kind, [socket.SOCK_STREAM, socket.SOCK_DGRAM]
    )
    try:
        for host in hosts:
            for type_ in types:
                with socket.socket(socket.AF_INET, type_) as probe:
                    probe.bind((host, port))
    except OSError:
        return False
    return True


def wait_until(condition: Callable[[], bool], *, within: float = 60.0, what: str = "") -> None:
    """Returns once the condition holds and raises TimeoutError if it does not within the time.

    The time is for what never comes: it says nothing about how fast a machine has to be.
    """
    deadline = time.monotonic() + within
    late = False
    while not condition():
        if late:
            raise TimeoutError(f"not within {within} s: {what or condition}")
        time.sleep(0.02)
        late = time.monotonic() > deadline  # and once more: this process may have been stopped


def descriptors() -> set[str]:
    """What this process has open; what is there later and not now, was left open since.

    Other tests' threads may close theirs meanwhile: a number of files would tell less.
    """
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
    return found


class Server(ABC):
    """One real server in a directory of its own; a subclass says how it is run.

    It dies with the thread that started it (PR_SET_PDEATHSIG), so that a killed pytest leaves
    nothing behind: start servers from the test's main thread.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.log_file = directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """The program and its arguments; it must stay in the foreground."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers; an OSError means not yet."""

    def environment(self) -> Mapping[str, str]:
        """What to add to the environment of the process."""
        return {}

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._process is None:
            raise ServerFailed(f"{type(self).__name__} is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Starts the server and waits until it answers."""
        if self.is_running:
            raise ServerFailed(f"{type(self).__name__} is running already")
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env={**os.environ, **self.environment()},
                start_new_session=True,
            )
        try:
            wait_until(self._answers, what=f"{type(self).__name__} answers")
        except BaseException as error:
            self.stop()
            if isinstance(error, TimeoutError):
                raise ServerFailed(f"{error}\n{self.tail()}") from None
            raise
        return self

    def _answers(self) -> bool:
        if not self.is_running:
            raise ServerFailed(f"{type(self).__name__} ended by itself\n{self.tail()}")
        with contextlib.suppress(OSError):
            return self.is_ready()
        return False

    def stop(self) -> None:
        """Ends the server: SIGTERM, and after 20 s SIGKILL for it and its own children."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGCONT)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            _kill_group(process)

    def kill(self) -> None:
        """Ends the server and its own children at once, as a crash would."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            _kill_group(process)

    def restart(self) -> Self:
        """Stops and starts the server on the same addresses."""
        self.stop()
        return self.start()

    def pause(self) -> None:
        """Lets the server accept connections and answer nothing until `resume`."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Ends a `pause`."""
        os.killpg(self.pid, signal.SIGCONT)

    def tail(self, lines: int = 30) -> str:
        """The end of the server's log."""
        if not self.log_file.exists():
            return "(no log)"
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()


def _kill_group(leader: subprocess.Popen[bytes]) -> None:
    """Kills a session's leader and its children, and waits for the children's sockets to close."""
    os.killpg(leader.pid, signal.SIGKILL)
    leader.wait()
    wait_until(lambda: not _is_alive(leader.pid), what="the children of a killed server are gone")


def _is_alive(group: int) -> bool:
    """Whether a process group has a member that is no zombie: not every init reaps at once.

    A process whose first thread has ended is a zombie with other threads, which may hold sockets.
    """
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # pid (comm) state ppid pgrp …, where comm may hold spaces and brackets.
            state, _parent, member_of = stat.read_text().rpartition(")")[2].split()[:3]
            if int(member_of) != group:
                continue
            if state not in "ZX" or len(os.listdir(stat.parent / "task")) > 1:
                return True
    return False
