"""nginx under a steady load, and its certificate rotated again and again: does any request fail?

Fresh connections come at a fixed rate, each with a full handshake that verifies the certificate.
Beside them a few connections are kept open and asked again and again, as browsers and proxies do.
A reload of nginx closes those when they are idle. A request that meets this before the first byte
of an answer is sent once more over a new connection, as RFC 9112 §9.3.1 has clients do; that is
counted by itself, and what fails after it, or anywhere else, is a failed request.
"""

import asyncio
import hashlib
import os
import ssl
import statistics
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives import hashes

from benchmarks.listing import CERTROTD
from benchmarks.measure import run
from tests.parts import Parts
from tests.parts.site import Site

HOST = "www.bench.test"
ROTATIONS = 50
RATE = 40.0
"""Fresh connections a second."""
KEPT = 8
PAUSE = 0.1
"""Seconds between two requests of a kept connection."""
_TIMEOUT = 10.0
_REQUEST = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: %s\r\n\r\n"
_ANSWER = f"{HOST}\n".encode()


@dataclass(frozen=True)
class Result:
    """What clients met during the rotations, and how long these took, in seconds.

    ``repeated`` requests met a connection that nginx was closing. ``on_wire`` is from the swap of
    the files to the end of the first handshake that showed the new leaf.
    """

    rotations: int
    handshakes: int
    requests: int
    repeated: int
    failed: int
    why: dict[str, int]
    seconds: float
    rotation_median: float
    rotation_worst: float
    on_wire_median: float
    on_wire_worst: float
    slowest_request: float


@dataclass
class Counts:
    """``seen`` is when each leaf was shown first, by its SHA-256."""

    handshakes: int = 0
    requests: int = 0
    repeated: int = 0
    slowest: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)
    seen: dict[str, float] = field(default_factory=dict)


class _Closed(Exception):
    """The connection ended before the first byte of an answer."""


class Clients:
    """All clients, in a thread of their own, until the end of the block."""

    def __init__(self, port: int, roots: Path) -> None:
        self._port = port
        self._trusting = ssl.create_default_context(cafile=roots)
        self._end = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.counts = Counts()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()

    def await_requests(self, more: int) -> None:
        """Returns once so many more requests were answered."""
        wanted = self.counts.requests + more
        while self.counts.requests < wanted and not self.counts.failures:
            time.sleep(0.02)

    async def _run(self) -> None:
        began, begun = time.monotonic(), 0
        kept = [asyncio.create_task(self._keep()) for _ in range(KEPT)]
        fresh: set[asyncio.Task[None]] = set()
        while not self._end.is_set():
            task = asyncio.create_task(self._fresh())
            fresh.add(task)
            task.add_done_callback(fresh.discard)
            begun += 1
            await asyncio.sleep(max(0.0, began + begun / RATE - time.monotonic()))
        await asyncio.gather(*kept, *fresh)
        await asyncio.sleep(PAUSE)  # what is closing still gets its turn

    async def _fresh(self) -> None:
        with _Counted(self.counts):
            async with asyncio.timeout(_TIMEOUT):
                reader, writer = await self._connect()
                try:
                    await self._ask(reader, writer, "close")
                finally:
                    writer.close()

    async def _keep(self) -> None:
        open_: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while not self._end.is_set():
            with _Counted(self.counts):
                held, open_ = open_, None
                async with asyncio.timeout(_TIMEOUT):
                    open_ = await self._again(held)
            await asyncio.sleep(PAUSE)
        if open_ is not None:
            open_[1].close()

    async def _again(
        self, open_: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """One request over a kept connection, or a new one; the connection if it stays open."""
        if open_ is not None and open_[0].at_eof():
            open_[1].close()
            open_ = None  # nginx has closed it between two requests, and said so in time
        if open_ is not None:
            with suppress(_Closed):
                return await self._kept(*open_)
            self.counts.repeated += 1
        return await self._kept(*await self._connect())

    async def _kept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """One request; the connection if it stays open."""
        stays = False
        try:
            stays = await self._ask(reader, writer, "keep-alive")
        finally:
            if not stays:
                writer.close()
        return (reader, writer) if stays else None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._trusting, server_hostname=HOST
        )
        self.counts.handshakes += 1
        leaf = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        self.counts.seen.setdefault(hashlib.sha256(leaf).hexdigest(), time.time())
        return reader, writer

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wish: str
    ) -> bool:
        """One request and its whole answer; whether the connection stays open after it."""
        writer.write((_REQUEST % wish).encode())
        try:
            first = await reader.readexactly(1)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise _Closed from None
        head = first + await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(len(_ANSWER))
        if not head.startswith(b"HTTP/1.1 200 ") or body != _ANSWER:
            raise ValueError(f"answer {head[:12]!r}")
        return b"connection: keep-alive" in head.lower()


class _Counted:
    """Counts a request by how it ends."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> bool:
        counts = self._counts
        counts.requests += 1
        counts.slowest = max(counts.slowest, time.monotonic() - self._began)
        if kind is None or not issubclass(kind, Exception):
            return False
        counts.failures[f"{kind.__name__}: {error}"[:80]] += 1
        return True


def measure(directory: Path, *, rotations: int = ROTATIONS) -> Result:
    """Rotates so many times; each begins once some requests were answered after the last."""
    took, on_wire = [], []
    with ExitStack() as stack:
        site = Site(directory / "site")
        site.internal()
        site.certificate("web", HOST)
        parts = Parts(directory / "parts", stack)
        nginx = site.serve(parts, {HOST: "web"})
        rotate: list[str | Path] = [
            CERTROTD,
            "-c",
            site.path,
            "rotate",
            "web",
            "--force",
            "--quiet",
        ]
        site.write()
        live = site.store / "web" / "live"
        clients = stack.enter_context(Clients(nginx.port, site.state / "internal/ca/root.pem"))
        clients.await_requests(100)
        began = time.monotonic()
        for _ in range(rotations):
            cost = run(rotate, log=directory / "rotate.log")
            took.append(cost.wall)
            swapped = os.lstat(live).st_ctime
            leaf = site.leaf("web").fingerprint(hashes.SHA256()).hex()
            while leaf not in clients.counts.seen and not clients.counts.failures:
                time.sleep(0.01)
            on_wire.append(clients.counts.seen.get(leaf, time.time()) - swapped)
            clients.await_requests(20)
        seconds = time.monotonic() - began
    counts = clients.counts
    return Result(
        rotations=rotations,
        handshakes=counts.handshakes,
        requests=counts.requests,
        repeated=counts.repeated,
        failed=counts.failures.total(),
        why=dict(counts.failures),
        seconds=seconds,
        rotation_median=statistics.median(took),
        rotation_worst=max(took),
        on_wire_median=statistics.median(on_wire),
        on_wire_worst=max(on_wire),
        slowest_request=counts.slowest,
    )


def show(found: Result) -> None:
    """Prints it as a table."""
    print(f"\nnginx under load, its certificate rotated {found.rotations} times:\n")
    print(f"  TLS handshakes, each verified    {found.handshakes:7,}")
    print(f"  requests, {KEPT} kept connections    {found.requests:7,}   in {found.seconds:.0f} s")
    print(f"  of them failed                   {found.failed:7,}   at most 0")
    print(f"  sent again: nginx was closing    {found.repeated:7,}")
    print(f"  the slowest request              {found.slowest_request * 1000:7.0f} ms")
    print(
        f"  a rotation, from start to proof  {found.rotation_median:7.2f} s"
        f"   (median; {found.rotation_worst:.2f} s at worst)"
    )
    print(
        f"  from the swap to the wire        {found.on_wire_median * 1000:7.0f} ms"
        f"  (median; {found.on_wire_worst * 1000:.0f} ms at worst)"
    )
    for why, times in found.why.items():
        print(f"  FAILED {times} times: {why}")
