"""``certrotd keys hold``, ``release`` and ``confirm``: who says what, and that it counts."""

from __future__ import annotations

import pytest

from certrotd.audit.record import AuditRecord, parse
from tests.unit.cli.ring import Host, host

__all__ = ["host"]
REASON = ("--reason", "case 4711")


def records(host: Host) -> list[AuditRecord]:
    """The audit log."""
    lines = (host.place / "state/audit/audit.jsonl").read_bytes().splitlines(keepends=True)
    return [each for line in lines if (each := parse(line)) is not None]


def until(host: Host, state: str) -> None:
    """The daemon does what is due until version 1 is in that state."""
    for _ in range(50):
        if host.states()[1] == state:
            return
        host("rotate", "key/orders")
    raise AssertionError(f"{host.states()}: {host.out}{host.err}")


def lacking(host: Host) -> list[str]:
    """The codes of what keeps version 1."""
    return [each["code"] for each in host.json("show", "orders")["versions"][0]["lacking"]]


@pytest.fixture
def retired(host: Host) -> Host:
    """Version 1 is retired, and everything but a drill is shown."""
    host.orders.update(drains={"cookies": "1s"}, grace="0s", watch="0s", confirm="two")
    host("rotate", "--all")
    host.keys("rotate", "orders", *REASON)
    until(host, "retired")
    return host


class TestHolds:
    """Somebody wants the key to stay."""

    def test_a_held_key_stays_until_it_is_released(self, retired: Host) -> None:
        """It says so, and the audit log has who did it."""
        told = retired.json("hold", "orders", "1", *REASON)
        assert told["why"] == "case 4711"
        retired("rotate", "key/orders")
        assert retired.states()[1] == "retired"
        assert lacking(retired) == ["held", "no-drill", "not-confirmed"]
        shown = retired.keys("show", "orders")
        assert "version 1 is not destroyed: it is held by" in shown
        assert "version 1 is retired: it is held by" in retired.keys("plan", "orders")
        retired.keys("release", "orders", "1", "--reason", "closed")
        until(retired, "disabled")
        events = [each for each in records(retired) if each.event.startswith("keyring.version_")]
        assert [each.event.rpartition("_")[2] for each in events] == ["held", "released"]
        assert all(each.details["actor"] for each in events)
        assert [each.details["why"] for each in events] == ["case 4711", "closed"]

    def test_a_hold_ends_by_itself(self, retired: Host) -> None:
        """At a moment in the future, which is a date."""
        held = ("hold", "orders", "1", *REASON, "--until")
        assert "ends in the future" in retired.refused(*held, "2020-01-01", code=1)
        assert "--until is no date" in retired.refused(*held, "soon")
        assert "until 2090-01-01" in retired.keys(*held, "2090-01-01").replace("before", "until")
        assert "held by" in retired.keys("show", "orders")

    def test_what_is_not_there_is_neither_held_nor_released(self, retired: Host) -> None:
        """In one line."""
        assert "no version 7" in retired.refused("hold", "orders", "7", *REASON, code=1)
        assert "is not held" in retired.refused("release", "orders", "1", *REASON, code=1)

    def test_a_damaged_document_keeps_every_key(self, retired: Host) -> None:
        """Nobody can tell which are held."""
        retired.keys("hold", "orders", "1", *REASON)
        [kept] = (retired.place / "state/consent").glob("orders*")
        kept.write_bytes(b"{half")
        retired("rotate", "key/orders")
        assert retired.code == 1
        kept.unlink()
        assert retired.states()[1] == "retired"


class TestConfirmation:
    """Two people."""

    def test_two_people_have_to_confirm_it(
        self, retired: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """While it is withheld; one of them is not enough, however often."""
        monkeypatch.setenv("SUDO_USER", "ann")
        assert "version 1 is retired" in retired.refused("confirm", "orders", "1", code=1)
        until(retired, "disabled")
        assert retired.json("confirm", "orders", "1")["actor"] == "ann"
        assert "another person has to" in retired.refused("confirm", "orders", "1", code=1)
        assert lacking(retired) == ["no-drill", "not-confirmed"]
        monkeypatch.setenv("SUDO_USER", "bob")
        retired.keys("confirm", "orders", "1")
        assert lacking(retired) == ["no-drill"]
        told = [each for each in records(retired) if each.event == "keyring.destruction_confirmed"]
        assert [each.details["actor"] for each in told] == ["ann", "bob"]

    def test_nobody_confirms_what_needs_no_confirmation(self, retired: Host) -> None:
        """It would look as if it mattered."""
        del retired.orders["confirm"]
        assert "nobody has to confirm" in retired.refused("confirm", "orders", "1", code=1)
