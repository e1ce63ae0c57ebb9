"""A store on disk, and a disk without its slowness."""

import os
from pathlib import Path

import pytest

from certrotd.stores.local import LocalStore


@pytest.fixture
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is synced when is one test's subject; for the others it only takes time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """An empty store."""
    return LocalStore(tmp_path / "store")
