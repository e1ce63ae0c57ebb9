"""A small HTTP server that is bounded in everything: connections, bytes, and time.

One request a connection, a thread for each, and at most CONNECTIONS of them: others wait to be
accepted. SLOTS are answered at once. Health needs no slot, so slow readers never use up the
connections that it needs. Nothing here is shared with the scheduler but the board.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus

from certrotd.clock import Clock, Deadline
from certrotd.config.http import HttpEntry
from certrotd.daemon.http.connection import MAX_HEAD, Connection
from certrotd.daemon.http.listener import clean_up, listen, place
from certrotd.daemon.http.request import Request, RequestRefused
from certrotd.daemon.http.response import Response
from certrotd.errors import Failure
from certrotd.observers import Log
from certrotd.rotation.unexpected import as_failure

SLOTS = 16
CONNECTIONS = 64
HEALTH = frozenset({"/livez", "/readyz"})
"""What takes neither time nor room, and is answered without a slot."""
READ = 2.0
QUEUE = 1.0
WRITE = 30.0
LINGER = 1.0
RETRY = 10.0
_NAP = 0.5
_END = 5.0  # more than all that the thread waits for when it is told to end
_MOMENT = 0.001


class HttpServer:
    """Answers at the place of ``entry``; as long as that is taken, it is tried now and then."""

    def __init__(
        self, entry: HttpEntry, answer: Callable[[Request], Response], clock: Clock, log: Log
    ) -> None:
        self._entry = entry
        self._answer = answer
        self._clock = clock
        self._log = log
        # who reaches a Unix socket is no browser that was led astray
        self._hosts = frozenset(entry.hosts) if place(entry).startswith("http") else None
        self._closing = threading.Event()
        self._slots = threading.BoundedSemaphore(SLOTS)
        self._connections = threading.BoundedSemaphore(CONNECTIONS)
        self._listener: socket.socket | None = None
        self._trouble = ""
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    def start(self) -> None:
        """Listen, or say why not and go on trying."""
        self._open()
        self._thread.start()

    def close(self) -> None:
        """Accept nothing any more; answers that are on their way go on."""
        self._closing.set()
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # which wakes accept()
        self._thread.join(_END)
        if self._listener is not None:
            self._listener.close()
            clean_up(self._entry)

    def _open(self) -> None:
        try:
            self._listener = listen(self._entry)
        except Failure as failure:
            if str(failure) != self._trouble:
                self._trouble = str(failure)
                words = f"no status page: {failure}; it is tried again every {RETRY:.0f} s"
                self._log("error", "http.unavailable", words)
        else:
            self._trouble = ""
            self._log("info", "http.listening", f"the status page is at {place(self._entry)}")

    def _serve(self) -> None:
        while not self._closing.is_set():
            if self._listener is None:
                if not self._closing.wait(RETRY):
                    self._open()
            elif self._connections.acquire(timeout=_NAP):
                self._accept(self._listener)

    def _accept(self, listener: socket.socket) -> None:
        """Start a thread for the next connection, which frees its place when it ends."""
        try:
            connection = listener.accept()[0]
        except OSError as error:
            self._connections.release()
            if not self._closing.wait(_NAP):  # no file descriptor left, say: it may pass
                self._once(f"a connection could not be accepted: {error.strerror or error}")
            return
        try:
            threading.Thread(target=self._meet, args=(connection,), daemon=True).start()
        except RuntimeError:  # the system has no thread to give
            connection.close()
            self._connections.release()

    def _meet(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._converse(connection)
        except Exception as error:  # noqa: BLE001  # a defect ends one answer, and is reported
            self._once(str(as_failure(error, "finish an answer")))
        finally:
            self._connections.release()

    def _converse(self, connection: socket.socket) -> None:
        http = Connection(self._hosts)
        with contextlib.ExitStack() as until_sent:
            try:
                request = self._read(connection, http)
                if request is None:
                    return
                if request.path not in HEALTH:
                    until_sent.enter_context(self._slot())
                answer = self._answered(request)
            except RequestRefused as refused:
                answer = Response(f"{refused}\n", status=refused.status)
            deadline = Deadline(self._clock, WRITE)
            for piece in http.written(answer):
                if not _sent(connection, piece, deadline):
                    return
        if answer.status != HTTPStatus.REQUEST_TIMEOUT:
            self._part(connection)

    @contextlib.contextmanager
    def _slot(self) -> Iterator[None]:
        """Wait for a slot and have it for the time of the block. Raises RequestRefused."""
        if not self._slots.acquire(timeout=QUEUE):
            raise RequestRefused(503, "too many are being answered: ask again later")
        try:
            yield
        finally:
            self._slots.release()

    def _read(self, connection: socket.socket, http: Connection) -> Request | None:
        """The request; None if the client is gone. Raises RequestRefused."""
        deadline = Deadline(self._clock, READ)
        try:
            while data := _received(connection, http.room, deadline):
                if request := http.take(data):
                    return request
        except TimeoutError:
            raise RequestRefused(
                HTTPStatus.REQUEST_TIMEOUT, "the request did not end in time"
            ) from None
        except OSError:
            pass
        return None

    def _part(self, connection: socket.socket) -> None:
        """Wait for the client to hang up: what it sent unread would take the answer from it."""
        deadline = Deadline(self._clock, LINGER)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
            while _received(connection, MAX_HEAD, deadline):
                pass

    def _answered(self, request: Request) -> Response:
        try:
            return self._answer(request)
        except RequestRefused:
            raise
        except Exception as error:  # noqa: BLE001  # a defect of one wing is an answer too
            failure = as_failure(error, f"answer {request.path}")
            self._once(f"a request could not be answered: {failure}")
            return Response(f"{failure}\n", status=500)

    def _once(self, words: str) -> None:
        if words != self._trouble:
            self._trouble = words
            self._log("error", "http.failed", words)


def _received(connection: socket.socket, most: int, deadline: Deadline) -> bytes:
    """What has come, at most so many bytes; none if the client hung up. Raises OSError."""
    if deadline.passed:
        raise TimeoutError
    connection.settimeout(max(_MOMENT, deadline.remaining))
    return connection.recv(most)


def _sent(connection: socket.socket, piece: bytes, deadline: Deadline) -> bool:
    """Whether the client took it in time."""
    try:
        connection.settimeout(max(_MOMENT, deadline.remaining))
        connection.sendall(piece)
    except OSError:
        return False
    return True


class Web:
    """The server as the configuration has it at the moment: none, one, or one elsewhere."""

    def __init__(self, answer: Callable[[Request], Response], clock: Clock, log: Log) -> None:
        self._answer = answer
        self._clock = clock
        self._log = log
        self._entry: HttpEntry | None = None
        self._server: HttpServer | None = None

    def use(self, entry: HttpEntry | None) -> None:
        """Serve like this from now on; what stays the same goes on undisturbed."""
        if entry == self._entry:
            return
        self.close()
        self._entry = entry
        if entry is not None:
            self._server = HttpServer(entry, self._answer, self._clock, self._log)
            self._server.start()

    def close(self) -> None:
        """No server any more."""
        if self._server is not None:
            self._server.close()
        self._entry = self._server = None
