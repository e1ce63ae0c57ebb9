"""Workers of Dask: some on this machine, or those of a scheduler that is there.

Whoever reaches a scheduler of Dask can have it run anything, so nothing goes over a network, or
between users of one machine, without TLS in which both sides have certificates.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from certrotd.errors import Failure, NeedsOperator, Transient, UsageError
from certrotd.extras import how_to_install

CLOSED_WITHIN = 60
FOUND_WITHIN = 30
"""So many seconds a scheduler, and a first worker of it, may take to be found."""
_CERTIFICATES = "DASK_DISTRIBUTED__COMM__TLS__CA_FILE and …__TLS__CLIENT__CERT and __KEY name them"
Function = Callable[..., Any]


def check_address(address: str) -> None:
    """Raise UsageError for the address of a scheduler that is none, or that is not safe."""
    try:
        parts = urlsplit(address)
        whole = parts.scheme in ("tls", "tcp") and parts.hostname and parts.port
    except ValueError:
        whole = False
    if not whole:
        raise UsageError(
            f"{address} is no scheduler", hint="as in tls://scheduler.example.com:8786"
        )
    if parts.scheme == "tcp" and not _is_loopback(parts.hostname or ""):
        raise UsageError(
            f"{address} is without TLS: whoever reaches it runs programs on every worker",
            hint=f"start scheduler and workers with certificates, and name it tls://{parts.netloc}",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class DaskWorkers:
    """What calls a function in other processes: ``number`` of them here, or those at ``address``.

    The function is one of a module, which every worker has; what it is called with and what it
    returns goes over the network.
    """

    def __init__(self, function: Function, *, number: int = 0, address: str = "") -> None:
        if address:
            check_address(address)
        if importlib.util.find_spec("distributed") is None:
            raise NeedsOperator("Dask is not installed", hint=how_to_install("cluster"))
        self._function = function
        self._number = number
        self._address = address
        self._cluster: Any = None
        self._client: Any = None
        self._calls: list[tuple[Any, Any]] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except Exception as error:  # noqa: BLE001  # whatever a library of many parts raises
            self.__exit__(None, None, None)
            raise _failure(error, self._address) from None
        return self

    def _start(self) -> None:
        from distributed import Client, LocalCluster
        from distributed.security import Security

        for each in [n for n in logging.root.manager.loggerDict if n.startswith("distributed")]:
            logging.getLogger(each).setLevel(logging.CRITICAL)  # whatever ends is told by ended()
        if self._address:
            secure = self._address.startswith("tls")
            security = Security(require_encryption=True) if secure else None
            self._client = Client(
                self._address, security=security, timeout=FOUND_WITHIN, set_as_default=False
            )
            self._client.wait_for_workers(1, timeout=FOUND_WITHIN)
            return
        self._cluster = LocalCluster(
            n_workers=self._number,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            protocol="tls://",  # other users of this machine have a loopback, too
            security=True,
            dashboard_address=None,
            memory_limit=None,
            silence_logs=logging.CRITICAL,
        )
        self._client = Client(self._cluster, set_as_default=False)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for each in (self._client, self._cluster):
            try:
                if each is not None:
                    each.close(timeout=CLOSED_WITHIN)
            except Exception as failure:  # noqa: BLE001  # what was done is done
                words = _words(failure)
                logging.getLogger(__name__).warning("workers of Dask did not end: %s", words)
        self._client = self._cluster = None
        self._calls = []

    @property
    def count(self) -> int:
        """How many workers there are, or are to be."""
        if not self._address:
            return self._number
        told = self._client.scheduler_info(n_workers=-1)  # all of them; nothing once it is closed
        return len(told.get("workers", ()))

    def call(self, label: Any, *arguments: Any) -> None:
        """Have a worker call the function, again by another if that one is lost.

        Raises Failure.
        """
        try:
            future = self._client.submit(self._function, *arguments, pure=False)
        except Exception as error:  # noqa: BLE001  # whatever a library of many parts raises
            raise Transient(f"Dask takes no more work: {_words(error)}") from None
        self._calls.append((label, future))

    def ended(self) -> Sequence[tuple[Any, Any]]:
        """Of the calls that have ended since: their labels, and what they returned or a Failure."""
        over = [(label, future) for label, future in self._calls if future.done()]
        self._calls = [(label, future) for label, future in self._calls if not future.done()]
        return [(label, _result(future)) for label, future in over]


def _result(future: Any) -> Any:
    if future.status == "finished":
        return future.result()
    if future.status == "error":
        error = future.exception()
        return Transient(f"a worker of Dask ended: {type(error).__name__}")
    return Transient("a worker of Dask, or its scheduler, is gone")


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _failure(error: Exception, address: str) -> Failure:
    """Why workers were not to be had."""
    if isinstance(error, Failure):
        return error
    words = _words(error)
    if isinstance(error, OSError | TimeoutError):
        where = f"the scheduler at {address}, or a worker of it," if address else "a worker"
        return Transient(f"{where} cannot be reached: {words}")
    hint = _CERTIFICATES if address.startswith("tls") else ""
    return NeedsOperator(f"Dask does not start: {words}", hint=hint)
