"""A store on disk, and a disk without its slowness."""

import os
from pathlib import Path

import pytest

from certrotd.stores.local import LocalStore
from tests.builders import seal


@pytest.fixture
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is synced when is one test's subject; for the others it only takes time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """An empty store."""
    return LocalStore(tmp_path / "store")


@pytest.fixture
def one_live(store: LocalStore) -> None:
    """The store has one generation, which is live."""
    seal(store, 1)
    store.switch("web", 1)


@pytest.fixture
def folder(store: LocalStore) -> Path:
    """The directory of generation 1."""
    return store.root / "web" / "generations" / "000001"


def generations(store: LocalStore) -> list[str]:
    """Everything beside each other under generations/."""
    return sorted(path.name for path in (store.root / "web" / "generations").iterdir())
