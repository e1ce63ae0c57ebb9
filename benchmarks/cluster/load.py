"""A steady load: so many requests a second, each over a TLS connection of its own."""

import asyncio
import math
import ssl
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

_TIMEOUT = 5.0
_REQUEST = b"GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"


@dataclass
class Outcome:
    """How many requests were sent, why some failed, and how long the slowest took in seconds."""

    sent: int = 0
    slowest: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def failed(self) -> int:
        """How many failed."""
        return self.failures.total()


class Load:
    """Clients that verify the certificate; they keep to their times, however long answers take.

    It is a thread of the calling thread's network. rate: requests a second. most: so many at most.
    """

    def __init__(
        self,
        address: tuple[str, int],
        host: str,
        roots: Path,
        *,
        rate: float,
        most: float = math.inf,
    ) -> None:
        self._address = address
        self._host = host
        self._trusting = ssl.create_default_context(cafile=roots)
        self._rate = rate
        self._most = most
        self._end = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.outcome = Outcome()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()

    def await_sent(self, number: int) -> None:
        """Returns once so many requests were sent."""
        while self.outcome.sent < number:
            time.sleep(0.05)

    async def _run(self) -> None:
        began = time.monotonic()
        running: set[asyncio.Task[None]] = set()
        while not self._end.is_set() and self.outcome.sent < self._most:
            task = asyncio.create_task(self._request())
            running.add(task)
            task.add_done_callback(running.discard)
            self.outcome.sent += 1
            due = began + self.outcome.sent / self._rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await asyncio.gather(*running)

    async def _request(self) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(_TIMEOUT):
                status = await self._status()
            if status != b"200":
                self.outcome.failures[f"status {status!r}"] += 1
        except (OSError, TimeoutError, EOFError) as error:
            self.outcome.failures[type(error).__name__] += 1
        self.outcome.slowest = max(self.outcome.slowest, time.monotonic() - began)

    async def _status(self) -> bytes:
        reader, writer = await asyncio.open_connection(
            *self._address, ssl=self._trusting, server_hostname=self._host
        )
        try:
            writer.write(_REQUEST % self._host.encode())
            answer = await reader.read()
        finally:
            writer.close()
        return answer.split(b" ", 2)[1] if answer.endswith(b"here\n") else answer[:20]
