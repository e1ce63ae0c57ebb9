"""A compromise is rehearsed on copies: by the real steps, and nothing that is live changes."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certrotd.datasets.streamed import StreamValues
from certrotd.errors import LockHeld, NeedsOperator
from certrotd.keyring.rehearsal import Rehearsed
from certrotd.keyring.states import State
from certrotd.keys import rehearsals
from certrotd.keys.reencrypting import Reencrypt
from certrotd.keys.rehearsing import Stopping
from certrotd.lifecycle.view import View
from certrotd.rotation.step import Done
from tests.unit.keys.rings import DAY, FORCED, Rings, everything_in, keyring_of, script
from tests.unit.keys.stored import ROWS, Stored


class Rehearsing(Stored):
    """With rehearsals of some rows."""

    def rehearse(self) -> Rehearsed:
        with self.site() as site:
            return rehearsals.rehearsed(keyring_of(site), site.audit)

    def findings(self) -> dict[str, str]:
        """What a look of the daemon's finds about rehearsals."""
        with self.site() as site:
            keyring = keyring_of(site)
            found = rehearsals.rehearse_when_due(keyring, site.audit)
            return {each.kind: each.words for each in found}

    def live(self) -> dict[str, tuple[int, int, bytes]]:
        """All that a rehearsal must leave as it is."""
        every = everything_in(self.place)
        own = ("state/audit", "state/rehearsal", "state/locks", "certrotd.yaml", "state")
        return {
            path: told
            for path, told in every.items()
            if path != "state" and not path.startswith(own[:3]) and path != own[3]
        }


@pytest.fixture
def stored(tmp_path: Path) -> Rehearsing:
    return Rehearsing(tmp_path)


def test_a_rehearsal_says_how_long_an_emergency_takes_and_changes_nothing(
    stored: Rehearsing,
) -> None:
    """Some rows and files are copied, re-encrypted under a key that nobody is given, and gone."""
    before = stored.live()
    found = stored.rehearse()
    assert found.succeeded, found
    assert (found.version, found.left_out) == (1, ("archive",))
    assert {each.name: (each.rows, each.of) for each in found.datasets} == {
        "rows": (10, ROWS),
        "docs": (3, 3),
    }
    assert all(each.bytes for each in found.datasets)
    assert stored.live() == before
    assert list((stored.place / "state/rehearsal").iterdir()) == []
    record = stored.records()[-1]
    assert (record.event, Rehearsed.from_json(record.details)) == ("keyring.rehearsed", found)
    assert stored.findings() == {}
    view: View = stored.view()
    assert view.to_json()["rehearsed"]["version"] == 1
    facts = dict(view.found.details().facts)
    assert "a new key in" in facts["Emergency rehearsed"].note


def test_a_kek_that_is_still_to_be_made_fails_no_rehearsal(stored: Rehearsing) -> None:
    """It was added to the configuration, and the keyring not written since."""
    stored.config["keks"]["other"] = {"type": "file", "path": str(stored.place / "kek2")}
    found = stored.rehearse()
    assert found.succeeded, found


def test_nothing_of_others_is_removed_where_copies_are_made(tmp_path: Path) -> None:
    """Though it is called as the keyring; what a rehearsal that was killed left there is."""
    scratch = tmp_path / "scratch"
    for folder in ("orders", "certrotd-rehearsal-orders"):
        (scratch / folder).mkdir(parents=True)
        (scratch / folder / "file").write_bytes(b"x")
    stored = Rehearsing(tmp_path, rehearsal={"rows": 10, "directory": str(scratch)})
    assert stored.rehearse().succeeded
    assert [each.relative_to(scratch) for each in scratch.rglob("*")] == [
        Path("orders"),
        Path("orders/file"),
    ]


def test_the_time_for_everything_is_reckoned_from_the_copies(stored: Rehearsing) -> None:
    """At the rate of what was copied, all datasets one after the other."""
    found = stored.rehearse()
    told = Rehearsed.from_json({**found.to_json(), "datasets": [
        {"name": "rows", "rows": 10, "of": 40, "bytes": 1, "seconds": 30.0},
        {"name": "docs", "rows": 0, "of": 0, "bytes": 0, "seconds": 5.0},
    ]})  # fmt: skip
    assert told.expected == timedelta(minutes=2)
    assert "everything takes about 2 min" in str(told)


def test_a_cut_over_is_rehearsed_without_stopping_the_application(tmp_path: Path) -> None:
    """Its programs are not run."""
    stop = script(tmp_path / "stop", f"touch {tmp_path}/stopped")
    cutover = {"stop": [str(stop)], "start": [str(stop)], "probe": {"command": [str(stop)]}}
    stored = Rehearsing(tmp_path)
    del stored.orders["datasets"]["archive"]
    stored.orders["cutover"] = cutover
    before = stored.live()
    found = stored.rehearse()
    assert found.succeeded, found
    assert [each.rows for each in found.datasets] == [3, 10]
    assert not (tmp_path / "stopped").exists()
    assert stored.live() == before


def output_changed(stored: Rehearsing) -> None:
    (stored.place / "keys.json").write_text("not a keyset")


def value_damaged(stored: Rehearsing) -> None:
    with closing(sqlite3.connect(stored.database)) as connection, connection:
        connection.execute("update t set v = x'0102' where id = 0")


def file_damaged(stored: Rehearsing) -> None:
    path = stored.files / "1/file"
    path.write_bytes(path.read_bytes()[:-1])


def table_gone(stored: Rehearsing) -> None:
    with closing(sqlite3.connect(stored.database)) as connection, connection:
        connection.execute("drop table t")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (output_changed, "was changed by something else"),
        (value_damaged, "values of rows open with no key"),
        (file_damaged, "values of docs open with no key: its content does not open"),
        (table_gone, "there is no table t"),
    ],
)
def test_what_would_hold_up_an_emergency_fails_its_rehearsal(
    stored: Rehearsing, broken: Callable[[Rehearsing], None], said: str
) -> None:
    """It is in the audit log, and a finding until a rehearsal succeeds."""
    broken(stored)
    before = stored.live()
    found = stored.rehearse()
    assert not found.succeeded
    assert said in "; ".join(found.problems)
    assert stored.live() == before
    assert stored.records()[-1].event == "keyring.rehearsal_failed"
    assert list(stored.findings()) == ["rehearsal_failed"]


def test_an_output_without_room_fails_the_rehearsal(tmp_path: Path) -> None:
    """The compromised key could not be replaced: better to know before."""
    stored = Rehearsing(tmp_path)
    slots = {"slots": {"v1": "A", "v2": "B"}, "version": "V", "encoding": "base64"}
    env = {"type": "dotenv", "path": str(tmp_path / ".env"), **slots}
    stored.orders.update(outputs=[env], datasets={})
    (tmp_path / "state/keyrings/orders.json").unlink()
    (tmp_path / "state/keyring-marks/orders.json").unlink()
    stored.done()
    stored.done(FORCED)
    found = stored.rehearse()
    assert "version 2 cannot be replaced: no free slot" in "; ".join(found.problems)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda p: p.setattr(Reencrypt, "do", lambda *_: Done()), "are left under version 1"),
        (
            lambda p: p.setattr(StreamValues, "_outlived", lambda *_: None),
            "files of docs have the content keys that others may know",
        ),
    ],
)
def test_a_rehearsal_notices_what_was_not_re_encrypted(
    stored: Rehearsing, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Any], None], said: str
) -> None:
    """Whatever the steps say of themselves."""
    spoil(monkeypatch)
    assert said in "; ".join(stored.rehearse().problems)


def test_a_rehearsal_is_made_in_half_of_its_time_and_late_after_all_of_it(
    stored: Rehearsing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon makes it; what keeps it from that is a finding."""
    assert stored.findings() == {}
    first = stored.view().to_json()["rehearsed"]["at"]
    stored.clock.advance(40 * DAY)
    assert stored.findings() == {}
    assert stored.view().to_json()["rehearsed"]["at"] == first
    stored.clock.advance(6 * DAY)
    assert stored.findings() == {}
    assert stored.view().to_json()["rehearsed"]["at"] != first

    def busy(*_: object) -> Rehearsed:
        raise LockHeld("another process rehearses", holder="certrotd run")

    monkeypatch.setattr(rehearsals, "rehearsed", busy)
    stored.clock.advance(89 * DAY)
    assert stored.findings() == {}
    stored.clock.advance(2 * DAY)
    assert list(stored.findings()) == ["rehearsal_overdue"]
    (stored.place / "state/rehearsals/orders.json").unlink()
    assert list(stored.findings()) == ["rehearsal_never"]


def test_a_required_rehearsal_keeps_old_keys(tmp_path: Path) -> None:
    """As a restore drill does, and only where it is asked for."""
    stored = Rehearsing(tmp_path, rehearsal={"rows": 5, "required": True})
    del stored.orders["datasets"]["archive"]
    stored.done(FORCED)

    def lacking() -> set[str]:
        version = stored.view().to_json()["versions"][0]
        return {each["code"] for each in version["lacking"]} & {"no-rehearsal", "rehearsal-stale"}

    assert lacking() == {"no-rehearsal"}
    assert stored.rehearse().succeeded
    assert lacking() == set()
    stored.clock.advance(91 * DAY)
    assert lacking() == {"rehearsal-stale"}
    stored.orders["rehearsal"]["required"] = False
    assert lacking() == set()


def test_what_a_killed_rehearsal_left_is_removed(stored: Rehearsing) -> None:
    """Copies of a keyring lie nowhere for long."""
    left = stored.place / "state/rehearsal/orders"
    left.mkdir(parents=True)
    (left / "keyring.json").write_text("wrapped keys")
    assert stored.rehearse().succeeded
    assert not left.exists()


def test_what_a_killed_rehearsal_left_elsewhere_is_removed_at_the_next_look(
    stored: Rehearsing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever copies would be made now, or if none are; a disk that is away is remembered."""
    assert stored.rehearse().succeeded
    disk, away = stored.place / "disk", stored.place / "unplugged"
    left = disk / "certrotd-rehearsal-orders"
    disk.mkdir()
    stored.orders["rehearsal"]["directory"] = str(disk)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda _path: None)  # as if killed
        stored.rehearse()
    assert left.exists()
    disk.rename(away)
    del stored.orders["rehearsal"]["directory"]
    stored.findings()
    away.rename(disk)
    del stored.orders["rehearsal"]
    stored.findings()
    assert list(disk.iterdir()) == []


def test_a_stop_ends_a_rehearsal_without_a_result(stored: Rehearsing) -> None:
    """It says nothing of the emergency."""
    stored.clock.stopping = lambda: True  # type: ignore[method-assign]
    with pytest.raises(Stopping):
        stored.rehearse()
    assert stored.view().to_json()["rehearsed"] is None
    assert list((stored.place / "state/rehearsal").iterdir()) == []


def test_there_is_nothing_to_rehearse_without_a_key(tmp_path: Path) -> None:
    """It says so."""
    rings = Rings(tmp_path)
    with rings.site() as site, pytest.raises(NeedsOperator, match="has no key yet"):
        rehearsals.rehearsed(keyring_of(site), site.audit)
    rings.done()
    assert rings.states() == {1: State.ACTIVE}
