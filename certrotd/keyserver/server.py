"""Gives keyrings to the processes that may read them, and hears their heartbeats.

Everything is bounded: connections, also of one user, their bytes and their time. A thread for each
connection ends with it. Keys are in answers alone: nothing that is reported holds any.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from certrotd.clock import Clock, Deadline
from certrotd.errors import Failure, InvalidInput
from certrotd.id import is_name
from certrotd.keyring import heartbeat
from certrotd.keyring.heartbeat import Heartbeat
from certrotd.keyserver.listener import Listener
from certrotd.keyserver.wire import MAX_ANSWER, MAX_REQUEST, Provided, Refusal, frame, receive, send

CONNECTIONS = 64
OF_ONE_USER = 16
"""Fewer than CONNECTIONS, so that no user takes the places of the others."""
READ = 2.0
WRITE = 5.0
_NAP = 0.5
_END = 5.0
_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end, as the kernel tells (SO_PEERCRED of unix(7))."""

    pid: int
    uid: int
    gid: int


@dataclass(frozen=True)
class Answers:
    """What a server asks of the daemon; each is called from several threads.

    ``provide`` raises a Failure while the keyring cannot be read. ``heard`` is told each heartbeat
    and ``left`` the last one of an instance that ends, of peers that may read its keyring.
    """

    may_read: Callable[[str, Peer], bool]
    provide: Callable[[str], Provided]
    heard: Callable[[Heartbeat, Peer], None]
    left: Callable[[Heartbeat, Peer], None]


class _Refused(Exception):
    def __init__(self, code: Refusal, why: str) -> None:
        super().__init__(why)
        self.code = code


class KeyServer:
    """Serves at ``path``, a socket of ``mode``; ``report`` is told in one line what goes wrong."""

    def __init__(
        self,
        path: Path,
        answers: Answers,
        *,
        clock: Clock,
        report: Callable[[str], None],
        mode: int = 0o660,
    ) -> None:
        self._path = path
        self._answers = answers
        self._clock = clock
        self._report = report
        self._mode = mode
        self._closing = threading.Event()
        self._places = threading.BoundedSemaphore(CONNECTIONS)
        self._lock = threading.Lock()
        self._by_user: Counter[int] = Counter()
        self._listener: Listener | None = None
        self._thread: threading.Thread | None = None
        self._reported = ""

    def start(self) -> None:
        """Listen, and answer from a thread; raises as Listener."""
        listener = self._listener = Listener(self._path, mode=self._mode)
        self._thread = threading.Thread(
            target=self._serve, args=(listener.socket,), name="keyserver", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Accept nothing any more, and take the socket away; answers on their way go on."""
        self._closing.set()
        if self._listener is None or self._thread is None:
            return
        with contextlib.suppress(OSError):
            self._listener.socket.shutdown(socket.SHUT_RDWR)  # which wakes accept()
        self._thread.join(_END)
        self._listener.close()
        self._listener = self._thread = None

    def _serve(self, listener: socket.socket) -> None:
        while not self._closing.is_set():
            if self._places.acquire(timeout=_NAP):
                self._accept(listener)

    def _accept(self, listener: socket.socket) -> None:
        """Start a thread for the next connection, which frees its place when it ends."""
        try:
            connection = listener.accept()[0]
        except OSError as error:
            self._places.release()
            if not self._closing.wait(_NAP):  # no file descriptor left, say: it may pass
                self._once(f"a connection could not be accepted: {error.strerror or error}")
            return
        try:
            threading.Thread(
                target=self._meet, args=(connection,), name="keyserver-answer", daemon=True
            ).start()
        except RuntimeError:  # the system has no thread to give
            connection.close()
            self._places.release()

    def _meet(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError):  # then the client is gone, or too slow
                self._converse(connection, _peer(connection))
        finally:
            self._places.release()

    def _converse(self, connection: socket.socket, peer: Peer) -> None:
        """Read a request and answer it; the user's place is taken until the client has it all."""
        try:
            with self._place_of(peer):
                answer = self._answer(connection, peer)
                send(connection, answer, Deadline(self._clock, WRITE))
        except _Refused as refused:
            send(connection, _refusal(refused), Deadline(self._clock, READ))

    def _answer(self, connection: socket.socket, peer: Peer) -> bytes:
        """The answer to the request that comes; raises OSError or TimeoutError if none comes."""
        try:
            request = receive(connection, Deadline(self._clock, READ), most=MAX_REQUEST)
            return frame(self._answered(request, peer), most=MAX_ANSWER)
        except _Refused as refused:
            return _refusal(refused)
        except InvalidInput as error:
            return _refusal(_Refused(Refusal.MALFORMED, error.message))
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001  # a defect ends one answer, and is reported
            # its words and its traceback may hold what was being sent
            self._once(f"a request could not be answered: {type(error).__name__}")
            return _refusal(_Refused(Refusal.UNAVAILABLE, "the server cannot answer"))

    def _answered(self, request: Mapping[str, Any], peer: Peer) -> Mapping[str, Any]:
        match request:
            case {"op": "keyring", "keyring": str(name), "have": have, "revision": revision}:
                self._permit(name, peer)
                return self._keyring(name, (have, revision))
            case {"op": "heartbeat" | "leave" as op, "heartbeat": told}:
                beat = heartbeat.read(told)
                self._permit(beat.keyring, peer)
                self._tell(
                    self._answers.heard if op == "heartbeat" else self._answers.left, beat, peer
                )
                return {"heard": True}
        raise _Refused(Refusal.MALFORMED, "there is no such request")

    def _permit(self, name: str, peer: Peer) -> None:
        if not is_name(name) or not self._answers.may_read(name, peer):
            raise _Refused(
                Refusal.FORBIDDEN,
                "there is no such keyring, or the user of this process may not read it",
            )

    def _keyring(self, name: str, has: tuple[object, object]) -> Mapping[str, Any]:
        try:
            found = self._answers.provide(name)
        except Failure as failure:
            self._once(f"the keyring {name} cannot be given: {failure}")
            raise _Refused(Refusal.UNAVAILABLE, "the server cannot read the keyring") from None
        if has == (found.delivery.hash, found.revision):
            return {"unchanged": True}
        return found.render()

    def _tell(self, hear: Callable[[Heartbeat, Peer], None], beat: Heartbeat, peer: Peer) -> None:
        try:
            hear(beat, peer)
        except Failure as failure:
            self._once(f"a heartbeat of {beat.client} is lost: {failure}")
            raise _Refused(Refusal.UNAVAILABLE, "the server cannot keep the heartbeat") from None

    @contextlib.contextmanager
    def _place_of(self, peer: Peer) -> Iterator[None]:
        """A place of those that the peer's user may have; raises _Refused."""
        with self._lock:
            if self._by_user[peer.uid] >= OF_ONE_USER:
                raise _Refused(Refusal.BUSY, "too many connections of this user are open")
            self._by_user[peer.uid] += 1
        try:
            yield
        finally:
            with self._lock:
                self._by_user[peer.uid] -= 1
                if not self._by_user[peer.uid]:
                    del self._by_user[peer.uid]

    def _once(self, words: str) -> None:
        if words != self._reported:
            self._reported = words
            self._report(words)


def _peer(connection: socket.socket) -> Peer:
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return Peer(*_CREDENTIALS.unpack(data))


def _refusal(refused: _Refused) -> bytes:
    return frame({"refused": refused.code.value, "why": str(refused)}, most=MAX_ANSWER)
