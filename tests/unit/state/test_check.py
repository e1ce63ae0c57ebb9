"""A state that its owner cannot read or write is found out before a renewal needs it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from certrotd.state.check import full, sweep_state, unwritable
from tests.parts import locate
from tests.unit.cli.test_service_user import as_root
from tests.unit.stores.unprivileged import plain_user

SHARED = ("audit/head.json", "audit/audit.jsonl", "accounts/ca/account.key", "alerts.json")


@pytest.fixture
def root() -> None:
    """Only root can be somebody else."""
    locate.require_root()


@pytest.fixture
def state() -> Iterator[Path]:
    """A state directory as it is after some rotations, and a user whose rights count."""
    with plain_user() as directory:
        state = directory / "state"
        for each in (*SHARED, "locks/web.lock", "certificates/web/live"):
            path = state / each
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(0o600)
        yield state


def found(state: Path) -> str:
    return str(unwritable(state, state / "certificates") or "")


def test_a_state_of_its_owner_is_in_order(state: Path) -> None:
    """The control; and what a careful administrator lets nobody write is only read."""
    (state / "accounts/ca/account.key").chmod(0o400)
    assert found(state) == ""
    assert unwritable(state / "new", state / "new" / "certificates") is None


def test_foreign_files_in_the_state_directory_are_ignored(root: None, state: Path) -> None:
    """The lost+found of a file system of its own, and what root keeps beside the log."""
    with as_root():
        for each in ("lost+found", "audit.old"):
            (state / each).mkdir(0o700)
        (state / "audit/copy.gz").touch(0o600)
    assert found(state) == ""
    sweep_state(state)
    with as_root():
        assert found(state) == ""


@pytest.mark.parametrize("path", [".", "audit", "journal", "wake", "certificates"])
def test_a_directory_that_may_not_be_written_is_named(state: Path, path: str) -> None:
    (state / "journal").mkdir()
    (state / "wake").mkdir()
    assert found(state) == ""
    (state / path).chmod(0o500)
    said = found(state)
    assert f"{state / path} belongs to " in said
    assert "cannot be used by " in said
    assert "nothing rotates" in said
    assert f"chmod u+rwX {state / path}" in said
    (state / path).chmod(0o700)
    assert found(state) == ""


@pytest.mark.parametrize("path", SHARED)
def test_a_file_of_root_in_the_state_of_the_service_is_named_with_the_cure(
    root: None,  # before the user changes
    state: Path,
    path: str,
) -> None:
    """Both to the service and to root who asks for its status."""
    with as_root():
        os.chown(state / path, 0, 0)
    said = found(state)
    with as_root():
        by_root = found(state)
    assert f"{state / path} belongs to root and cannot be used by nobody: " in said
    assert f"chown -R nobody: {state}" in said
    assert by_root == said
    with as_root():
        os.chown(state / path, 65534, 65534)
        assert found(state) == ""
    assert found(state) == ""


def test_a_log_that_may_only_be_read_is_named(state: Path) -> None:
    """It is appended to in place; what is replaced by a rename need not be writable."""
    (state / "alerts.json").chmod(0o400)
    assert found(state) == ""
    (state / "audit/audit.jsonl").chmod(0o400)
    assert "audit.jsonl belongs to " in found(state)


def test_another_user_is_advised_to_run_as_the_owner_and_never_to_change_the_owner(
    root: None, state: Path
) -> None:
    """``su joe -c 'certrotd status'``: what he is told to do as root must not end the service."""
    with as_root():
        for path in (state, *state.rglob("*")):
            os.chown(path, 0, 0)
        state.chmod(0o700)
    said = unwritable(state, state / "certificates")
    assert said is not None
    assert said.message == f"{state} belongs to root and cannot be used by nobody"
    assert said.hint == "run this as root"
    with as_root():
        os.chown(state, 1, 1)
    said = unwritable(state, state / "certificates")
    assert said is not None
    assert said.hint == "run this as root, or as daemon: runuser -u daemon -- certrotd …"
    with as_root():
        os.chown(state, 65534, 65534)
    assert f"chown -R nobody: {state}" in found(state)  # the control: it is his


def test_a_folder_that_is_removed_while_it_is_looked_at_is_no_trouble(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of the requests for a look goes with the last of them."""
    folder = state / "wake/certificate"
    folder.mkdir(parents=True)
    real = os.access

    def access(path: str, *arguments: Any, **more: Any) -> bool:
        if path == str(folder):
            folder.rmdir()
        return real(path, *arguments, **more)

    monkeypatch.setattr("certrotd.state.check.os.access", access)
    assert found(state) == ""
    assert not folder.exists()


def test_a_guest_is_not_told_that_he_may_not_write_as_if_the_disk_were_full(
    root: None, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner's daemon may, and rotates what is due; without room nobody does."""
    (state / "certificates").chmod(0o500)
    assert "Permission denied" in str(full(state, state / "certificates"))  # the control: it is his
    with as_root():
        os.chown(state, 0, 0)
        state.chmod(0o755)
    assert full(state, state / "certificates") is None
    with as_root():
        state.chmod(0o777)
    monkeypatch.setattr("certrotd.state.check.ROOM", 2**62)
    assert "No space left" in str(full(state))


def test_a_state_directory_that_is_not_there_yet_is_nobodys(tmp_path: Path) -> None:
    """It is looked for where it would be made."""
    assert full(tmp_path / "state", tmp_path / "state/certificates") is None
