"""What a test finds around it, whatever the machine it runs on has."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

_PROXIES = ("https_proxy", "http_proxy", "all_proxy", "no_proxy")
_look_up = socket.getaddrinfo


def _with_localhost(host: str, *args: Any, **options: Any) -> object:
    return _look_up("127.0.0.1" if host == "localhost" else host, *args, **options)


@contextmanager
def usual() -> Iterator[None]:
    """No proxy, which could not reach servers on loopback, and files that others may read.

    And a ``localhost``, where the machine has no /etc/hosts that says what it is.
    """
    umask = os.umask(0o022)
    try:
        with pytest.MonkeyPatch.context() as patched:
            for name in _PROXIES:
                patched.delenv(name, raising=False)
                patched.delenv(name.upper(), raising=False)
            try:
                socket.getaddrinfo("localhost", 0)
            except socket.gaierror:
                patched.setattr(socket, "getaddrinfo", _with_localhost)
            yield
    finally:
        os.umask(umask)
