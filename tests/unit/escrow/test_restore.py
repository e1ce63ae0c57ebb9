"""Restoring loses no key, brings none back to life, and lets no retired one encrypt again."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from certrotd.clock import ManualClock
from certrotd.errors import Failure
from certrotd.escrow.backup import opened_backup, sealed_backup
from certrotd.escrow.drill import drill
from certrotd.escrow.place import FileBackups, newest
from certrotd.escrow.restore import Destruction, NotRestored, Restored, restored
from certrotd.kek import file
from certrotd.keyring.document import opened, sealed
from certrotd.keyring.keyring import Entry, Keyring, Wrapped, empty
from certrotd.keyring.material import Algorithm, DataKey, Material
from certrotd.keyring.states import Code, State
from certrotd.keys.keyring_store import KeyringStore
from certrotd.state.directory import StateDirectory
from tests.fakes.kek import MemoryKek
from tests.unit.escrow.samples import (
    AT,
    DAY,
    NOW,
    activated,
    at_revision,
    destroyed,
    keys,
    payments,
)
from tests.unit.keyring.versions import FRESH, proof

BACKUP = at_revision(payments(), 4)


def states(found: Restored) -> dict[int, State]:
    return {each.number: each.state for each in found.keyring.versions.all}


def test_a_new_host_goes_on_where_the_backup_ends() -> None:
    """By file, by identity, and wrapped by the KEK of that host."""
    to, by = keys()
    backup = opened_backup(sealed_backup(BACKUP, to, at=AT), by)
    found = restored(backup, at=AT)
    assert found.notes == ()
    keks = {"new": MemoryKek(ManualClock(NOW), "new")}
    data, after = sealed(found.keyring, keks)
    again = opened(data, keks, name="payments", place="there").keyring
    assert again.revision == after.revision == 5
    assert again.key_set() == payments().key_set()
    assert again.versions == BACKUP.versions


def test_a_lost_host_is_restored_from_a_file_onto_another(tmp_path: Path) -> None:
    """Its state and its KEK are gone; what it encrypted is read, and a drill succeeds."""
    to, by = keys()

    def host(name: str) -> tuple[KeyringStore, FileBackups]:
        state = StateDirectory(tmp_path / name, command="certrotd test", now=lambda: NOW)
        keks = {"file": file.make(tmp_path / f"{name}.kek")}
        kept, mark = (state.document(f"{each}/payments") for each in ("keyrings", "marks"))
        store = KeyringStore("payments", kept, mark, keks)
        return store, FileBackups(tmp_path / "mnt", "payments", 3, tmp_path / name)

    store, backups = host("old")
    there = store.create(payments()).keyring
    backups.put(sealed_backup(there, to, at=AT))
    old = there.key(2)
    box = AESGCM(old.material.reveal()).encrypt(b"n" * 12, b"4111", b"")
    shutil.rmtree(tmp_path / "old")
    (tmp_path / "old.kek").unlink()

    store, backups = host("new")
    kept = newest(backups)
    assert kept is not None
    found = restored(opened_backup(backups.read(kept), by), at=AT)
    store.create(found.keyring)
    again = store.read()
    assert again is not None
    assert again.keyring.revision == there.revision + 1
    key = again.keyring.key(2)
    assert AESGCM(key.material.reveal()).decrypt(b"n" * 12, box, b"") == b"4111"
    assert drill(backups, by, again.keyring, at=AT).succeeded


def test_the_revision_is_the_highest_that_is_known() -> None:
    """Every process that remembers a revision takes the restored keyring for the newest."""
    assert restored(BACKUP, known=2, at=AT).keyring.revision == 4
    assert restored(BACKUP, known=9, at=AT).keyring.revision == 9
    present = at_revision(BACKUP, 12)
    assert restored(BACKUP, present=present, anew=True, known=9, at=AT).keyring.revision == 12


def test_a_newer_keyring_that_can_be_read_is_not_replaced() -> None:
    """Unless somebody says so; one that is older is."""
    present = at_revision(BACKUP, 5)
    with pytest.raises(NotRestored, match=r"of revision 5, newer than the backup's 4"):
        restored(BACKUP, present=present, at=AT)
    assert restored(BACKUP, present=present, anew=True, at=AT).keyring.revision == 5
    assert restored(BACKUP, present=at_revision(BACKUP, 3), at=AT).keyring.revision == 4


def test_a_version_that_was_destroyed_since_stays_destroyed() -> None:
    """By what the present keyring knows; the backup has its key still."""
    present = destroyed(BACKUP, 1, revision=6)
    assert BACKUP.entries[1].secret is not None
    found = restored(BACKUP, present=present, anew=True, at=AT)
    assert found.keyring.entries[1].secret is None
    assert found.keyring.versions.version(1) == present.versions.version(1)
    assert found.notes == ("version 1 was destroyed after the backup, and stays destroyed",)


@pytest.mark.parametrize("number", [1, 2])
def test_a_destruction_in_the_audit_log_is_repeated(number: int) -> None:
    """Where the keyring is lost, the log still knows; whatever state the version had then."""
    gone = Destruction(number, AT, "asked by hand")
    found = restored(BACKUP, destroyed=[gone, gone], at=AT + DAY)
    version = found.keyring.versions.version(number)
    assert found.keyring.entries[number].secret is None
    assert (version.state, version.since) == (State.DESTROYED, AT)
    assert "asked by hand; recorded again when a backup was restored" in version.transitions[-1].why
    assert version.transitions[: len(BACKUP.versions.version(number).transitions)] == (
        BACKUP.versions.version(number).transitions
    )
    wanted = 2 if number == 2 else 1  # without version 2 nothing encrypts
    assert len(found.notes) == wanted


def test_a_destroyed_version_that_the_backup_never_had_is_told() -> None:
    """Its number is not to be given to another key by surprise."""
    found = restored(BACKUP, destroyed=[Destruction(7, AT, "asked")], at=AT)
    assert found.notes == ("version 7 was destroyed, and the backup is from before it",)


def test_what_was_destroyed_before_the_backup_is_nothing_new() -> None:
    """No note, no further transition."""
    backup = destroyed(BACKUP, 1, revision=6)
    found = restored(backup, destroyed=[Destruction(1, AT, "asked")], at=AT)
    assert found.notes == ()
    assert found.keyring.versions == backup.versions


def test_a_key_that_is_newer_than_the_backup_is_kept() -> None:
    """Ciphertext under it exists; the one before encrypts again."""
    present = activated(BACKUP, revision=8)
    found = restored(BACKUP, present=present, anew=True, at=AT)
    assert states(found) == {1: State.DECRYPT_ONLY, 2: State.ACTIVE, 3: State.DECRYPT_ONLY}
    assert found.keyring.key(3) == present.key(3)
    last = found.keyring.versions.version(3).transitions[-1]
    assert (last.code, last.at) == (Code.ROLLED_BACK, AT)
    assert last.why == "a backup of revision 4 was restored"
    assert found.notes == ("version 3 is newer than the backup, and is kept",)


def test_a_newer_key_that_nobody_has_yet_stays_so() -> None:
    """It was never given to a consumer."""
    key = DataKey(3, Algorithm.AES_256_GCM, Material(b"3" * 32), id="v3")
    present = BACKUP.added(key, BACKUP.versions.generate(at=NOW, why="due"))
    found = restored(BACKUP, present=at_revision(present, 5), anew=True, at=AT)
    assert states(found)[3] is State.PRE_ACTIVE


def test_a_retired_key_never_encrypts_again() -> None:
    """Though it did when the backup was made: then no key encrypts, which is said."""
    backup = at_revision(empty("payments", BACKUP.seal.material), 0)
    backup = activated(backup, revision=1)
    present = activated(backup, revision=2)
    present = at_revision(present.moved(present.versions.retire(1, at=NOW, why="census 0")), 3)
    found = restored(backup, present=present, anew=True, at=AT)
    assert states(found) == {1: State.RETIRED, 2: State.DECRYPT_ONLY}
    assert "no version encrypts: rotate to a new key" in found.notes[-1]


def test_a_compromised_key_stays_compromised() -> None:
    """A restore does not make a secret of it again."""
    versions = BACKUP.versions.compromise(2, at=NOW, why="in a log")
    present = at_revision(BACKUP.moved(versions), 5)
    found = restored(BACKUP, present=present, anew=True, at=AT)
    assert states(found)[2] is State.COMPROMISED


def test_a_key_that_was_active_since_is_not_withdrawn_altogether() -> None:
    """In the backup nobody had it; by now there is ciphertext under it."""
    key = DataKey(3, Algorithm.AES_256_GCM, Material(b"3" * 32), id="v3")
    backup = BACKUP.added(key, BACKUP.versions.generate(at=NOW, why="due"))
    versions = backup.versions.distribute(3, at=NOW, why="given")
    versions = versions.activate(3, at=NOW, why="acknowledged")
    present = at_revision(backup.moved(versions), 7)
    found = restored(backup, present=present, anew=True, at=AT)
    assert states(found) == {1: State.DECRYPT_ONLY, 2: State.ACTIVE, 3: State.DECRYPT_ONLY}


def test_counters_go_on() -> None:
    """Messages since the backup count towards the limit of the key."""
    present = at_revision(BACKUP.counted(2, 10, 1000, at=AT), 5)
    found = restored(BACKUP, present=present, anew=True, at=AT)
    assert found.keyring.entries[2].use.messages == 10


def apart() -> tuple[Keyring, Keyring]:
    """Two keyrings that went on from one backup: in the first, version 1 encrypts again."""
    back = BACKUP.versions.rollback(at=AT, why="undone")
    return at_revision(BACKUP.moved(back), 5), activated(BACKUP, revision=6)


def test_keyrings_that_went_apart_are_brought_together() -> None:
    """No two keys encrypt, whichever of them is the backup."""
    one, other = apart()
    found = restored(other, present=one, at=AT)
    assert states(found) == {1: State.DECRYPT_ONLY, 2: State.DECRYPT_ONLY, 3: State.ACTIVE}
    found = restored(one, present=other, anew=True, at=AT)
    assert states(found) == {1: State.ACTIVE, 2: State.DECRYPT_ONLY, 3: State.DECRYPT_ONLY}


def test_what_either_of_two_keyrings_knows_of_a_key_counts() -> None:
    """Destroyed or compromised in the backup, and not in the keyring that is there."""
    one, other = apart()
    gone = destroyed(other, 1, revision=9)
    found = restored(gone, present=one, at=AT)
    assert states(found)[1] is State.DESTROYED
    assert found.keyring.entries[1].secret is None
    known = at_revision(other.moved(other.versions.compromise(1, at=NOW, why="in a log")), 9)
    found = restored(known, present=one, at=AT)
    assert states(found)[1] is State.COMPROMISED
    assert found.keyring.versions.version(1).compromised


def test_a_key_that_encrypts_in_both_goes_on_encrypting() -> None:
    """It was replaced and put back since the backup."""
    present = activated(BACKUP, revision=6)
    present = at_revision(present.moved(present.versions.rollback(at=AT, why="undone")), 7)
    found = restored(BACKUP, present=present, anew=True, at=AT)
    assert states(found) == {1: State.DECRYPT_ONLY, 2: State.ACTIVE, 3: State.DECRYPT_ONLY}


def test_a_key_that_was_taken_back_is_not_called_unused() -> None:
    """In the backup nobody had it; it encrypted, and was rolled back to secondary since."""
    key = DataKey(3, Algorithm.AES_256_GCM, Material(b"3" * 32), id="v3")
    backup = BACKUP.added(key, BACKUP.versions.generate(at=NOW, why="due"))
    given_ = backup.moved(backup.versions.distribute(3, at=NOW, why="given"))
    found = restored(backup, present=at_revision(given_, 6), anew=True, at=AT)
    assert states(found)[3] is State.PRE_ACTIVE
    used = given_.versions.activate(3, at=NOW, why="acknowledged").rollback(at=NOW, why="undone")
    found = restored(backup, present=at_revision(given_.moved(used), 8), anew=True, at=AT)
    assert states(found)[3] is State.DECRYPT_ONLY


def test_a_backup_of_another_keyring_is_refused() -> None:
    """By name, by seal, or by a key that differs; whatever is said explicitly."""
    seal = replace(BACKUP, seal=Wrapped(Material(b"\x01" * 32)))
    for other in (replace(BACKUP, name="users"), seal):
        with pytest.raises(NotRestored, match="is of another keyring"):
            restored(other, present=BACKUP, anew=True, at=AT)
    made = DataKey(2, Algorithm.AES_256_GCM, Material(b"\x07" * 32), id="v2")
    key = Entry.of(made, BACKUP.seal.material)
    differs = replace(BACKUP, entries={**BACKUP.entries, 2: key})
    with pytest.raises(NotRestored, match="version 2 of the backup is another key"):
        restored(differs, present=BACKUP, anew=True, at=AT)


def test_keys_whose_ids_collide_are_refused() -> None:
    """One ciphertext would name two keys."""
    entry = replace(BACKUP.entries[1], id="v3")
    backup = replace(BACKUP, entries={**BACKUP.entries, 1: entry})
    with pytest.raises(NotRestored, match="does not fit the keyring: two keys"):
        restored(backup, present=activated(BACKUP, revision=8), anew=True, at=AT)


def test_a_slot_that_a_newer_key_took_is_its_own() -> None:
    """The key that had it in the backup was destroyed since."""
    key = DataKey(3, Algorithm.AES_256_GCM, Material(b"3" * 32), id="v1")
    present = destroyed(BACKUP, 1, revision=5)
    present = present.added(key, present.versions.generate(at=NOW, why="due"))
    found = restored(BACKUP, present=present, anew=True, at=AT)
    assert found.keyring.key(3).id == "v1"


ACTS = ("generate", "distribute", "activate", "rollback", "retire", "restore", "disable",
        "compromise", "destroy", "adopt")  # fmt: skip


def acted(keyring: Keyring, act: str, number: int) -> Keyring:
    """One more act of a life, or none where it is not allowed."""
    versions = keyring.versions
    try:
        match act:
            case "generate" | "adopt":
                new = versions.next_number
                key = DataKey(new, Algorithm.AES_256_GCM, Material(os.urandom(32)), id=f"v{new}")
                moved = (
                    versions.generate(at=NOW, why="due")
                    if act == "generate"
                    else versions.adopt(active=versions.active is None, at=NOW, why="found")
                )
                keyring = keyring.added(key, moved)
            case "rollback":
                keyring = keyring.moved(versions.rollback(at=NOW, why="undone"))
            case "destroy":
                gone = versions.destroy(number, proof(NOW), FRESH, at=NOW, why="asked")
                keyring = keyring.moved(gone)
            case _:
                keyring = keyring.moved(getattr(versions, act)(number, at=NOW, why="said"))
    except Failure:
        return keyring
    return at_revision(keyring, keyring.revision + 1)


life = st.lists(st.tuples(st.sampled_from(ACTS), st.integers(1, 4)), max_size=25)


@given(life, life, life, st.booleans(), st.booleans())
def test_whatever_a_keyring_went_through_its_backup_restores(
    before: list[tuple[str, int]],
    after: list[tuple[str, int]],
    apart: list[tuple[str, int]],
    readable: bool,
    diverged: bool,
) -> None:
    """The backup of any moment over any later keyring, or over one that went on from a restore."""
    keyring = empty("payments", Material(b"s" * 32))
    for act, number in before:
        keyring = acted(keyring, act, number)
    backup = keyring
    if diverged:
        for act, number in apart:
            backup = acted(backup, act, number)
    for act, number in after:
        keyring = acted(keyring, act, number)
    gone = [
        Destruction(each.number, each.since, "asked")
        for each in keyring.versions.in_state(State.DESTROYED)
    ]
    present = keyring if readable else None
    try:
        found = restored(
            backup, present=present, known=keyring.revision, destroyed=gone, anew=True, at=AT
        )
    except NotRestored:
        assert diverged  # two keys of one number, or of one id
        return
    again = found.keyring
    assert again.revision >= max(backup.revision, keyring.revision)
    for version in again.versions.all:
        number = version.number
        in_backup = backup.entries.get(number)
        in_present = keyring.entries.get(number) if readable else None
        if any(each.number == number for each in keyring.versions.in_state(State.DESTROYED)):
            assert version.state is State.DESTROYED
            assert again.entries[number].secret is None
        elif version.state is not State.DESTROYED:
            assert (in_backup or in_present) is not None
        if present is not None and not diverged and number in keyring.entries:
            now = keyring.versions.version(number)
            assert version.transitions[: len(now.transitions)] == now.transitions
            if now.compromised:
                assert version.compromised
        if in_backup and in_backup.secret is None:
            assert version.state is State.DESTROYED
    expected = backup.entries.keys() | (keyring.entries.keys() if readable else set())
    assert again.entries.keys() == expected
    sealed(again, {"main": MemoryKek(ManualClock(NOW))})
