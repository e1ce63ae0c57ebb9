"""A key that is destroyed is in no backup within reach any more, and the proof names the others."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certrotd.errors import Transient
from certrotd.escrow.backup import header_of, sealed_backup
from certrotd.escrow.place import FileBackups
from certrotd.keyring.proof import EVENT
from certrotd.keyring.states import State
from certrotd.keys import escrow
from certrotd.keys.destroying import PURGED
from certrotd.rotation.engine import Parked
from tests.unit.escrow.samples import AT, keys, payments
from tests.unit.keys.rings import DAY, FORCED, Rings, keyring_of

RECIPIENT, IDENTITY = keys()


@pytest.fixture
def rings(tmp_path: Path) -> Rings:
    """Version 1 is withheld, and may be destroyed at once."""
    place = tmp_path / "host"
    place.mkdir(mode=0o700)
    rings = Rings(place)
    backup: dict[str, Any] = {"directory": str(tmp_path / "disk/backups")}
    (tmp_path / "disk").mkdir()
    rings.orders.update(
        backup={**backup, "recipients": list(RECIPIENT.recipients), "copies": {"tapes": "90d"}},
        drains={"cookies": "1d"},
        grace="0d",
        watch="1h",
    )
    rings.done()
    rings.done(FORCED)
    rings.clock.advance(2 * DAY)
    with rings.site() as site:
        assert escrow.drilled(keyring_of(site), site.audit, IDENTITY).succeeded
    rings.done()
    rings.done()
    assert rings.states()[1] is State.DISABLED
    rings.clock.advance(timedelta(hours=2))
    return rings


def backups(rings: Rings) -> dict[str, set[int]]:
    """The versions whose keys each backup has, by its name."""
    with rings.keyring() as keyring:
        place = keyring.backups
        assert place is not None
        return {each.name: set(header_of(place.read(each)).live) for each in place.list()}


def record(rings: Rings, event: str) -> Any:
    [found] = [each for each in rings.records() if each.event == event]
    return found.details


def test_no_backup_has_the_key_that_was_destroyed(rings: Rings) -> None:
    """One without it is made first; the audit log has what was removed, and where copies live."""
    before = backups(rings)
    assert len(before) == 2
    assert all(1 in each for each in before.values())
    rings.done()
    assert rings.states() == {1: State.DESTROYED, 2: State.ACTIVE}
    assert list(backups(rings).values()) == [{2}]
    proof = record(rings, EVENT)
    assert {Path(each).name for each in proof["backups"]} == before.keys()
    until = rings.clock.now() + 90 * DAY
    assert proof["copies"] == {"tapes": until.isoformat()}
    purged = record(rings, PURGED)
    assert {Path(each).name for each in purged["removed"]} == before.keys()
    assert all(len(digest) == 64 for digest in purged["removed"].values())
    assert purged["unreadable"] == []


def test_backups_out_of_reach_delay_the_destruction(rings: Rings, tmp_path: Path) -> None:
    """Their disk is not mounted: the key stays until it is."""
    (tmp_path / "disk").rename(tmp_path / "unplugged")
    rings.rotate()
    assert rings.states()[1] is State.DISABLED
    [version] = [each for each in rings.view().to_json()["versions"] if each["version"] == 1]
    assert [each["code"] for each in version["lacking"]] == ["backups-unreachable"]
    (tmp_path / "unplugged").rename(tmp_path / "disk")
    rings.done()
    assert rings.states()[1] is State.DESTROYED


def test_a_removal_that_is_cut_off_is_gone_on_with(
    rings: Rings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is destroyed already: nothing is undone, and the record has all that was removed."""
    names, remove = set(backups(rings)), FileBackups.remove
    gone: list[str] = []

    def failing(self: FileBackups, kept: Any) -> None:
        if gone:
            raise Transient("the disk does not answer")
        gone.append(kept.name)
        remove(self, kept)

    with monkeypatch.context() as patch:
        patch.setattr(FileBackups, "remove", failing)
        report = rings.rotate()
    assert isinstance(report.last, Parked)
    assert "the disk does not answer" in report.last.why
    assert rings.states()[1] is State.DESTROYED
    rings.clock.advance(timedelta(minutes=2))
    rings.rotate()
    assert set(map(frozenset, backups(rings).values())) == {frozenset({2})}
    assert {Path(each).name for each in record(rings, PURGED)["removed"]} == names


def test_nothing_is_removed_before_there_is_a_backup_without_the_key(
    rings: Rings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was said to be written has to be there."""
    before = backups(rings)
    with monkeypatch.context() as patch:
        patch.setattr("certrotd.keys.managed.ConfiguredKeyring.back_up", lambda *_: "nowhere")
        report = rings.rotate()
    assert isinstance(report.last, Parked)
    assert "is not of the keyring as it is" in report.last.why
    assert backups(rings) == before


def test_what_another_keyring_made_or_nobody_can_read_stays_and_is_named(rings: Rings) -> None:
    """It may be the only one."""
    with rings.keyring() as keyring:
        assert keyring.backups is not None
        place = keyring.backups.directory
        found = keyring.store.read()
        assert found is not None
    other = sealed_backup(payments(), RECIPIENT, at=AT).replace(b'"payments"', b'"orders"')
    foreign = place / "orders.r0000000001.20260101T000000Z.backup"
    foreign.write_bytes(other)
    damaged = place / "orders.r0000000002.20260101T000000Z.backup"
    damaged.write_bytes(b"damaged")
    rings.done()
    assert foreign.exists()
    assert damaged.exists()
    unreadable = record(rings, PURGED)["unreadable"]
    assert len(unreadable) == 2
    assert json.dumps(unreadable).count("it was not made by this keyring, or changed") == 1
    proof = record(rings, EVENT)
    assert proof["unreadable_backups"] == unreadable
    assert not {foreign.name, damaged.name} & {Path(each).name for each in proof["backups"]}
