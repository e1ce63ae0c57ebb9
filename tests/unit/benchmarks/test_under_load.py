"""What a client meets under load is counted as what it is: nothing that failed passes for less."""

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.under_load import HOST, Clients, Counts
from tests.parts.pki import make_leaf, make_root

HEAD = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n"
WHOLE = HEAD + f"{HOST}\n".encode()
RESET = struct.pack("ii", 1, 0)


@contextmanager
def answering(tmp_path: Path, second: bytes) -> Iterator[tuple[int, Path]]:
    """A server that answers once on each connection; of another answer it sends this and resets."""
    root = make_root()
    roots = tmp_path / "roots.pem"
    roots.write_bytes(root.fullchain_pem)
    chain, key = make_leaf(root, HOST).write(tmp_path, "leaf")
    trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trusted.load_cert_chain(chain, key)
    ports, listening, done = list[int](), threading.Event(), threading.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(WHOLE)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(second)
            await asyncio.sleep(0.1)
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()

    async def serve() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=trusted)
        ports.append(server.sockets[0].getsockname()[1])
        listening.set()
        async with server:
            while not done.is_set():
                await asyncio.sleep(0.02)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert listening.wait(60)
        yield ports[0], roots
    finally:
        done.set()
        thread.join()


def counted(tmp_path: Path, second: bytes) -> Counts:
    """What clients of that server counted."""
    with answering(tmp_path, second) as (port, roots), Clients(port, roots) as clients:
        clients.await_requests(60)
    return clients.counts


def test_an_answer_that_breaks_off_is_a_failed_request(tmp_path: Path) -> None:
    """On a kept connection too, where it is not the same as one that is being closed."""
    for second in (b"HTTP/1", WHOLE[:-3]):
        found = counted(tmp_path, second)
        assert found.failures
        assert not found.repeated


def test_a_kept_connection_that_is_closed_before_an_answer_is_no_failure(tmp_path: Path) -> None:
    """The request is sent once more, and counted by itself."""
    found = counted(tmp_path, b"")
    assert found.repeated
    assert not found.failures
