"""Clients of the vendors' SDKs: one for each process, which logs no request."""

from __future__ import annotations

import logging
import os

import pytest

from certrotd.kek.vendor_client import VendorClient, hush


def test_a_client_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making one takes half a second; a forked process makes its own."""
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return len(made)

    client = VendorClient()
    assert [client.get(make), client.get(make)] == [1, 1]
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert [client.get(make), client.get(make)] == [2, 2]
    assert repr(client) == "<client>"


def test_a_client_that_could_not_be_made_is_tried_again() -> None:
    """The settings may be mended meanwhile."""
    client = VendorClient()

    def fail() -> None:
        raise OSError("no settings")

    with pytest.raises(OSError, match="no settings"):
        client.get(fail)
    assert client.get(lambda: 3) == 3


def test_a_logger_is_hushed_and_never_made_louder() -> None:
    """Somebody may have silenced it altogether."""
    quiet, loud = (logging.getLogger(f"certrotd-test.{name}") for name in ("quiet", "loud"))
    quiet.setLevel(logging.CRITICAL)
    loud.setLevel(logging.DEBUG)
    hush(quiet.name, loud.name)
    assert (quiet.level, loud.level) == (logging.CRITICAL, logging.WARNING)
