"""What a test finds around it, whatever the machine it runs on has."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_PROXIES = ("https_proxy", "http_proxy", "all_proxy", "no_proxy")


@contextmanager
def usual() -> Iterator[None]:
    """No proxy, which could not reach servers on loopback, and files that others may read."""
    umask = os.umask(0o022)
    try:
        with pytest.MonkeyPatch.context() as patched:
            for name in _PROXIES:
                patched.delenv(name, raising=False)
                patched.delenv(name.upper(), raising=False)
            yield
    finally:
        os.umask(umask)
