"""Where a keyring is kept: replaced as it was read or not at all, and never made anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certrotd.clock import ManualClock
from certrotd.kek import file
from certrotd.keyring.document import Replayed, Unreadable
from certrotd.keyring.keyring import empty
from certrotd.keyring.material import Material
from certrotd.keys.keyring_store import KeyringLost, KeyringStore
from certrotd.state.directory import StateDirectory
from certrotd.state.ports import Conflict, State
from tests.fakes.kek import MemoryKek
from tests.fakes.state import MemoryState
from tests.unit.keyring.test_document import payments

NOW = datetime(2026, 6, 1, tzinfo=UTC)
NAME, MARK = "keyrings/payments", "keyring-revisions/payments"
Make = Callable[[], KeyringStore]


@pytest.fixture(params=["directory", "memory"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> State:
    if request.param == "memory":
        return MemoryState()
    return StateDirectory(tmp_path, command="certrotd test", now=lambda: NOW)


@pytest.fixture
def process(state: State) -> Make:
    """Another process that keeps the same keyring, at each call."""
    keks = {"main": MemoryKek(ManualClock(NOW))}
    return lambda: KeyringStore("payments", state.document(NAME), state.document(MARK), keks)


def test_a_keyring_is_written_and_read_by_another_process(process: Make) -> None:
    """Before the first write there is none; each write is a revision."""
    assert process().read() is None
    found = process().create(payments())
    assert found.keyring.revision == 1
    assert process().write(found.keyring, found).keyring.revision == 2
    again = process().read()
    assert again is not None
    assert again.keyring.revision == 2
    assert again.keyring.key_set() == payments().key_set()


def test_a_write_that_another_process_was_quicker_with_conflicts(process: Make) -> None:
    """A lost update of a keyring is a lost key."""
    store = process()
    found = store.create(payments())
    newer = process().write(found.keyring, found)
    with pytest.raises(Conflict):
        store.write(found.keyring, found)
    with pytest.raises(Conflict, match="is there already"):
        store.create(payments())
    again = store.read()
    assert again is not None
    assert again.keyring == newer.keyring


def test_an_unreadable_keyring_is_never_replaced(process: Make, state: State) -> None:
    """Whatever is asked for, the document stays as it is."""
    found = process().create(payments())
    document = state.document(NAME)
    kept = document.read()
    assert kept is not None
    document.write(cut := kept.data[:-1])
    for act in (
        process().read,
        lambda: process().create(empty("payments", Material(bytes(32)))),
    ):
        with pytest.raises(Unreadable, match="no key is made in its place"):
            act()
    with pytest.raises(Conflict):
        process().write(found.keyring, found)
    content = document.read()
    assert content is not None
    assert content.data == cut


def test_an_older_document_is_noticed_by_every_process(process: Make, state: State) -> None:
    """By one that has just started, too."""
    store = process()
    found = store.create(payments())
    old = state.document(NAME).read()
    assert old is not None
    store.write(found.keyring, found)
    state.document(NAME).write(old.data)
    for each in (store, process()):
        with pytest.raises(Replayed, match="revision 1, and revision 2 was there before"):
            each.read()


def test_a_mark_that_was_deleted_does_not_make_a_running_process_forget(
    process: Make, state: State, tmp_path: Path
) -> None:
    """It knows what it has read."""
    store = process()
    found = store.create(payments())
    old = state.document(NAME).read()
    assert old is not None
    store.write(found.keyring, found)
    state.document(NAME).write(old.data)
    state.document(MARK).set_aside()
    with pytest.raises(Replayed):
        store.read()


def test_a_keyring_that_is_gone_is_not_begun_anew(process: Make, state: State) -> None:
    """Somebody has deleted or moved it."""
    process().create(payments())
    state.document(NAME).set_aside()
    for act in (process().read, lambda: process().create(payments())):
        with pytest.raises(KeyringLost, match="is gone, and the keyring payments has been at"):
            act()


@pytest.mark.parametrize("text", [b"", b"{}", b'{"revision": "2"}'])
def test_a_damaged_mark_is_reported(process: Make, state: State, text: bytes) -> None:
    """It could have hidden that an old keyring was put back."""
    process().create(payments())
    state.document(MARK).write(text)
    with pytest.raises(Unreadable, match="does not say the highest revision"):
        process().read()


def test_a_mark_that_a_crash_left_behind_is_no_matter(process: Make, state: State) -> None:
    """The keyring was written, and then the power went."""
    found = process().create(payments())
    process().write(found.keyring, found)
    state.document(MARK).write(json.dumps({"revision": 1}).encode())
    again = process().read()
    assert again is not None
    assert again.keyring.revision == 2


def test_something_else_in_the_place_of_a_keyring_is_reported(tmp_path: Path) -> None:
    """A directory, as a container runtime makes for a file that is not there."""
    state = StateDirectory(tmp_path, command="certrotd test", now=lambda: NOW)
    store = KeyringStore("payments", state.document(NAME), state.document(MARK), {})
    Path(state.document(NAME).place).mkdir(parents=True)
    with pytest.raises(Unreadable, match="is not a regular file"):
        store.read()


def test_a_keyring_under_a_kek_in_a_file_has_no_key_on_the_disk(tmp_path: Path) -> None:
    """The embedded default, with nothing but files."""
    state = StateDirectory(tmp_path / "state", command="certrotd test", now=lambda: NOW)
    keks = {"main": file.make(tmp_path / "kek")}
    store = KeyringStore("payments", state.document(NAME), state.document(MARK), keks)
    store.create(payments())
    path = Path(state.document(NAME).place)
    assert path.stat().st_mode & 0o777 == 0o600
    every = b"".join(each.read_bytes() for each in tmp_path.rglob("*") if each.is_file())
    for key in payments().key_set():
        assert key.material.reveal() not in every
        assert key.material.reveal().hex().encode() not in every
