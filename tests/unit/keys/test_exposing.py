"""What a key protected is counted at the moment when others are known to know it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from certrotd.keyring.states import State
from certrotd.keys.exposures import Noted
from certrotd.keys.rotation import compromise
from tests.unit.keys.rings import FORCED, script
from tests.unit.keys.stored import ROWS, Stored


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return Stored(tmp_path)


def noted(stored: Stored, number: int) -> Noted:
    with stored.keyring() as keyring:
        found = keyring.exposures.peek()
        assert found is not None
        return found[number]


def test_what_others_could_read_is_counted_before_it_is_re_encrypted(stored: Stored) -> None:
    """And stays known when nothing is left; the secrets in it are named."""
    stored.orders["datasets"]["rows"]["contains"] = ["SMTP passwords"]
    stored.ask(partial(compromise, 1, "a laptop was stolen"))
    assert stored.states() == {1: State.COMPROMISED, 2: State.ACTIVE}
    found = noted(stored, 1)
    assert found.counts == {"rows": ROWS, "docs": 3}
    assert found.unknown == {"archive": "its program has not counted it for this version"}
    assert found.contains["rows"] == ("SMTP passwords",)
    [record] = [each for each in stored.records() if each.event == "keyring.exposure_counted"]
    assert record.details == found.to_json()
    assert stored.done().decision.act == "re-encrypt"  # type: ignore[union-attr]
    with stored.keyring() as keyring:
        assert keyring.stored.tally("rows").left(1) == 0
    assert noted(stored, 1) == found


def test_a_key_that_no_longer_encrypts_is_counted_too(stored: Stored) -> None:
    """As it is marked."""
    stored.done(FORCED)
    stored.ask(partial(compromise, 1, "an old backup was sold"))
    assert noted(stored, 1).counts["rows"] == ROWS


def test_a_dataset_that_cannot_be_counted_holds_up_no_emergency(stored: Stored) -> None:
    """Why is noted; the others are counted."""
    with closing(sqlite3.connect(stored.database)) as connection, connection:
        connection.execute("drop table t")
    stored.ask(partial(compromise, 1, "a laptop was stolen"))
    assert stored.states()[2] is State.ACTIVE
    found = noted(stored, 1)
    assert "there is no table t" in found.unknown["rows"]
    assert found.counts == {"docs": 3}


def test_a_cut_over_counts_before_it_begins(tmp_path: Path) -> None:
    """In the same rotation everything is re-encrypted."""
    stored = Stored(tmp_path)
    del stored.orders["datasets"]["archive"]
    ok = [str(script(tmp_path / "ok", "true"))]
    stop = [str(script(tmp_path / "stop", f"touch {tmp_path}/stopped"))]
    start = [str(script(tmp_path / "start", f"rm -f {tmp_path}/stopped"))]
    stored.orders["cutover"] = {
        "stop": stop,
        "start": start,
        "stopped": ["/usr/bin/test", "-e", str(tmp_path / "stopped")],
        "probe": {"command": ok},
    }
    stored.ask(partial(compromise, 1, "a laptop was stolen"))
    assert stored.states() == {1: State.COMPROMISED, 2: State.ACTIVE}
    assert noted(stored, 1).counts == {"rows": ROWS, "docs": 3}


@pytest.mark.parametrize(
    "text", ["[]", "{}", '[{"version": 1}]', '[{"version": 1, "at": "yesterday"}]', "\x00"]
)
def test_what_was_garbled_is_begun_anew(stored: Stored, text: str) -> None:
    """The audit log has it, too."""
    with stored.keyring() as keyring:
        keyring.exposures.write({})
    (stored.place / "state/exposures/orders.json").write_text(text)
    stored.ask(partial(compromise, 1, "a laptop was stolen"))
    assert noted(stored, 1).counts["rows"] == ROWS
