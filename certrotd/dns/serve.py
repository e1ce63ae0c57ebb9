"""The responder's sockets: one thread, UDP and TCP, every limit stated.

What to answer is a function of the packet, given by the caller. An address that another process
holds is waited for, so that whoever is left takes over when the first one ends.
"""

from __future__ import annotations

import errno
import ipaddress
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

from certrotd.address import Address
from certrotd.clock import Clock

AnswerQuery = Callable[[bytes, bool], bytes | None]
"""The reply to a packet (and whether it came over UDP); None for silence."""

MAX_CONNECTIONS = 64
IDLE_SECONDS = 5.0
MAX_QUERY = 4096
"""Octets of one query over TCP; what a resolver asks is a tenth of that."""

_PACKETS_PER_TURN = 64
MAX_QUERIES = 1000
"""Of one connection: whoever has more to ask connects again, behind the others."""

_RETRY_BIND = 0.25
_LENGTH = struct.Struct("!H")
# Linux's number; the socket module has no name for it before Python 3.14.
_IP_PKTINFO = 8
_PKTINFO_SPACE = 128


class DnsServer:
    """Answers on ``addresses`` from :meth:`start` until :meth:`close`."""

    def __init__(self, addresses: tuple[Address, ...], answer: AnswerQuery, clock: Clock) -> None:
        self._answer = answer
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._waiting = list(addresses)
        self._connections: dict[socket.socket, _Connection] = {}
        self._wake, self._woken = socket.socketpair()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dns-responder", daemon=True)

    def start(self) -> None:
        """Bind what is free and begin to answer; raises OSError for an address that cannot be ours.

        An address in use stays in :attr:`waiting` and is tried four times a second.
        """
        self._bind_waiting()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread.start()

    @property
    def waiting(self) -> tuple[Address, ...]:
        """The addresses that some other process holds at the moment."""
        return tuple(self._waiting)

    def close(self) -> None:
        """Stop answering and free the addresses."""
        self._closing.set()
        if self._thread.ident is not None:
            self._wake.send(b"\0")
            self._thread.join()
        for key in tuple(self._selector.get_map().values()):
            self._drop(key.fileobj)
        self._selector.close()
        self._wake.close()
        self._woken.close()

    def _bind_waiting(self) -> None:
        for address in tuple(self._waiting):
            try:
                udp, tcp = _bound(address)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
                raise
            self._selector.register(udp, selectors.EVENT_READ, self._on_udp)
            self._selector.register(tcp, selectors.EVENT_READ, self._on_tcp)
            self._waiting.remove(address)

    def _run(self) -> None:
        while not self._closing.is_set():
            patience = _RETRY_BIND if self._waiting else IDLE_SECONDS
            found = self._selector.select(patience)
            # UDP first: most resolvers ask that way, and it must not wait for who pipelines by TCP
            for key, _events in sorted(found, key=lambda each: each[0].data != self._on_udp):
                sock = key.fileobj
                # A connection that was evicted earlier in this turn has no number any more.
                if key.data is not None and isinstance(sock, socket.socket) and sock.fileno() >= 0:
                    key.data(sock)
            self._drop_idle()
            if self._waiting:
                # Not ours for another reason now, a removed interface say: the next turn tries.
                with suppress(OSError):
                    self._bind_waiting()

    def _on_udp(self, sock: socket.socket) -> None:
        for packet, control, sender in islice(_packets(sock), _PACKETS_PER_TURN):
            reply = self._answer(packet, True)
            if reply is not None:
                # A lost reply and a refused one look the same to the asker: it asks again.
                with suppress(OSError):
                    sock.sendmsg([reply], control, 0, sender)

    def _on_tcp(self, listener: socket.socket) -> None:
        try:
            sock, _sender = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._evict()
                self._clock.sleep(0.05)
            return
        if len(self._connections) >= MAX_CONNECTIONS:
            self._evict()
        sock.setblocking(False)
        self._connections[sock] = _Connection(self._clock.monotonic())
        self._selector.register(sock, selectors.EVENT_READ, self._on_connection)

    def _on_connection(self, sock: socket.socket) -> None:
        """Answer one query: what else the client asks waits in the kernel for its next turn."""
        connection = self._connections[sock]
        try:
            if not connection.unsent:
                self._read(sock, connection)
            while connection.unsent:
                del connection.unsent[: sock.send(connection.unsent)]
        except BlockingIOError:
            pass
        except (OSError, _Unwelcome):
            return self._drop(sock)
        if connection.asked >= MAX_QUERIES and not connection.unsent:
            return self._drop(sock)
        # While a reply waits, nothing more is read: a client that never reads costs 64 KiB.
        wanted = selectors.EVENT_WRITE if connection.unsent else selectors.EVENT_READ
        self._selector.modify(sock, wanted, self._on_connection)
        return None

    def _read(self, sock: socket.socket, connection: _Connection) -> None:
        """Read one query and put its reply in ``unsent``; BlockingIOError before it is whole."""
        while missing := connection.missing:
            octets = sock.recv(missing)
            if not octets:
                raise _Unwelcome
            connection.received += octets
        reply = self._answer(bytes(connection.received[_LENGTH.size :]), False)
        if reply is None:
            raise _Unwelcome
        connection.received.clear()
        connection.unsent += _LENGTH.pack(len(reply)) + reply
        connection.seen = self._clock.monotonic()
        connection.asked += 1

    def _evict(self) -> None:
        """Make room: the connection that has been quiet the longest goes (RFC 7766 §6.2.3)."""
        if self._connections:
            self._drop(min(self._connections, key=lambda sock: self._connections[sock].seen))

    def _drop_idle(self) -> None:
        now = self._clock.monotonic()
        for sock, connection in tuple(self._connections.items()):
            if now - connection.seen >= IDLE_SECONDS:
                self._drop(sock)

    def _drop(self, sock: object) -> None:
        if isinstance(sock, socket.socket):
            self._connections.pop(sock, None)
            self._selector.unregister(sock)
            sock.close()


class _Unwelcome(Exception):
    """A TCP client is done, or sent what no resolver would: the connection ends."""


@dataclass
class _Connection:
    """One TCP client; ``seen`` is when its last whole query came, on the monotonic clock.

    ``asked`` is how many it has had answered.
    """

    seen: float
    asked: int = 0
    received: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)

    @property
    def missing(self) -> int:
        """How many octets a query and its length still lack (RFC 1035 §4.2.2)."""
        if len(self.received) < _LENGTH.size:
            return _LENGTH.size - len(self.received)
        length: int = _LENGTH.unpack_from(self.received)[0]
        if length > MAX_QUERY:
            raise _Unwelcome
        return _LENGTH.size + length - len(self.received)


def _bound(address: Address) -> tuple[socket.socket, socket.socket]:
    """A UDP and a TCP socket at ``address``, or neither; raises OSError."""
    udp = socket.socket(address.family, socket.SOCK_DGRAM)
    tcp = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        # TCP only: a UDP address could be shared with a stranger. TCP waits out old connections.
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for sock in (udp, tcp):
            if address.family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address.host, address.port))
            sock.setblocking(False)
        if is_wildcard(address):
            _learn_destination(udp)
        tcp.listen(MAX_CONNECTIONS)
    except OSError:
        udp.close()
        tcp.close()
        raise
    return udp, tcp


def is_wildcard(address: Address) -> bool:
    """Whether ``address`` stands for all addresses of the machine."""
    return ipaddress.ip_address(address.host).is_unspecified


def _learn_destination(udp: socket.socket) -> None:
    """Have packets tell which of our addresses they came to: the reply must leave from there."""
    if udp.family == socket.AF_INET6:
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        udp.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)


_Control = list[tuple[int, int, bytes]]
_Sender = tuple[str, int] | tuple[str, int, int, int]


def _packets(sock: socket.socket) -> Iterator[tuple[bytes, _Control, _Sender]]:
    """What waits in ``sock``, each with what sends the reply from the address that was asked."""
    while True:
        try:
            packet, control, _flags, sender = sock.recvmsg(65535, _PKTINFO_SPACE)
        except BlockingIOError:
            return
        except OSError:
            return  # an ICMP error about an earlier reply; the next turn goes on
        yield packet, [_returned(*item) for item in control], sender


def _returned(level: int, kind: int, octets: bytes) -> tuple[int, int, bytes]:
    """The received packet-info, made into the one that picks the source of a reply (ip(7))."""
    if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
        _index, local, _destination = struct.unpack("=i4s4s", octets[:12])
        return level, kind, struct.pack("=i4s4s", 0, local, b"\0" * 4)
    # IPv6: the same structure serves both ways, and link-local needs its interface index.
    return level, kind, octets
