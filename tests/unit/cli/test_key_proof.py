"""``certrotd keys prove``: what was shown when a key was destroyed, and what shakes it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from certrotd.audit.record import parse
from certrotd.codecs.fernet import FernetTokens
from certrotd.keyring.material import Algorithm, DataKey, Material
from tests.parts.process import wait_until
from tests.unit.cli.ring import Host, host
from tests.unit.escrow.samples import keys

__all__ = ["host"]
REASON = ("--reason", "audit finding 12")
RECIPIENT, IDENTITY = keys()
TOKEN = FernetTokens().encrypt(b"x", DataKey(1, Algorithm.FERNET, Material(bytes(32)))).decode()


@pytest.fixture
def withheld(host: Host) -> Host:
    """Version 1 is disabled, and nothing keeps it any more but two people; a drill succeeded."""
    identity = host.place / "identity"
    identity.write_bytes(IDENTITY.text.reveal())
    identity.chmod(0o600)
    database = host.place / "app.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("create table t (id integer primary key, secret blob)")
    backup = {"directory": str(host.place / "backups"), "recipients": list(RECIPIENT.recipients)}
    rows = {"type": "sql", "url": f"sqlite:///{database}", "table": "t", "columns": ["secret"]}
    host.orders.update(backup=backup, datasets={"rows": {**rows, "may_be_empty": True}})
    host.orders.update(drains={"cookies": "1s"}, grace="0s", watch="0s", confirm="two")
    host.keys("rotate", "orders", *REASON)
    host.keys("rotate", "orders", *REASON)
    host.keys("drill", "orders", "--identity", str(identity))
    until(host, "retired")
    assert "not-scanned" in lacking(host)
    host.keys("scan", "orders")
    until(host, "disabled")
    return host


def until(host: Host, state: str) -> None:
    """The daemon does what is due until version 1 is in that state."""

    def is_there() -> bool:
        if host.states()[1] != state:
            host("rotate", "key/orders")
        return host.states()[1] == state

    wait_until(is_there, what=f"version 1 is {state}")


def lacking(host: Host) -> list[str]:
    """The codes of what keeps version 1."""
    return [each["code"] for each in host.json("show", "orders")["versions"][0]["lacking"]]


def destroy(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for who in ("ann", "bob"):
        monkeypatch.setenv("SUDO_USER", who)
        host.keys("confirm", "orders", "1")
    until(host, "destroyed")


def test_a_destruction_is_proven_by_the_audit_log(
    withheld: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts, times, hashes, methods, and who confirmed it; before, there is no proof."""
    refused = withheld.refused("prove", "orders", "1", code=1)
    assert "no proof of the destruction of version 1: it is disabled" in refused
    destroy(withheld, monkeypatch)
    told = withheld.json("prove", "orders", "1")
    assert told["proven"]
    assert told["wrong"] == []
    proof = told["proof"]
    [count] = proof["census"].values()
    assert (count["left"], count["method"]) == (0, "by the beginnings of ciphertext")
    assert proof["confirmed"] == ["ann", "bob"]
    assert list(proof["files"]) == [str(withheld.place / "keys.json")]
    assert proof["key"]["fingerprint"] in withheld("keys", "report", "orders")
    assert told["backups"]["still_with_the_key"] == []
    assert sorted(told["backups"]["removed"]) == sorted(proof["backups"]) != []
    shown = withheld.keys("prove", "orders", "1")
    assert "cookies had expired by" in shown
    assert "confirmed by ann and bob" in shown
    assert f"proven by record {told['record']['seq']} of the audit log" in shown
    assert "which had the key, was removed:" in shown


def test_a_proof_that_was_touched_proves_nothing(
    withheld: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a changed count nor a log without its end."""
    destroy(withheld, monkeypatch)
    log = withheld.place / "state/audit/audit.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole.replace(b'"confirmed":["ann","bob"]', b'"confirmed":["ann","eve"]'))
    assert "no proof" in withheld.refused("prove", "orders", "1", code=1)
    lines = whole.splitlines(keepends=True)
    [place] = [n for n, line in enumerate(lines) if b"destruction_proven" in line]
    log.write_bytes(b"".join(lines[: place + 1] + lines[place + 2 :]))
    withheld("keys", "prove", "orders", "1")
    assert withheld.code == 1
    assert "not proven: the audit log is broken" in withheld.out
    log.write_bytes(whole)
    withheld.keys("prove", "orders", "1")


def test_a_crash_right_after_the_destruction_loses_no_proof(
    withheld: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was noted before the key went."""

    class Killed(BaseException):
        """The process is gone."""

    def kill(*_: object) -> None:
        raise Killed

    for who in ("ann", "bob"):
        monkeypatch.setenv("SUDO_USER", who)
        withheld.keys("confirm", "orders", "1")
    patch = pytest.MonkeyPatch()
    patch.setattr("certrotd.keys.destroying.tell", kill)
    with pytest.raises(Killed):
        until(withheld, "destroyed")
    patch.undo()
    assert withheld.states()[1] == "destroyed"
    assert "no proof" in withheld.refused("prove", "orders", "1", code=1)
    withheld("rotate", "key/orders")
    assert withheld.json("prove", "orders", "1")["proven"]
    records = map(parse, Path(withheld.place / "state/audit/audit.jsonl").read_bytes().splitlines())
    events = [each.event for each in records if each is not None]
    assert events.count("keyring.destruction_proven") == 1


def test_undeclared_ciphertext_keeps_a_key_until_it_is_declared_or_gone(
    withheld: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan finds it in an audit table; who declares it says why."""
    with closing(sqlite3.connect(withheld.place / "app.db", isolation_level=None)) as database:
        database.execute("create table audit (old text)")
        database.execute("insert into audit values (?)", (TOKEN,))
    withheld("keys", "scan", "orders")
    assert withheld.code == 1
    assert "audit.old" in withheld.out
    for who in ("ann", "bob"):
        monkeypatch.setenv("SUDO_USER", who)
        withheld.keys("confirm", "orders", "1")
    withheld("rotate", "key/orders")
    assert lacking(withheld) == ["undeclared-ciphertext"]
    withheld.orders["residue"] = {"ignore": [{"place": "*audit.old", "why": "dropped in May"}]}
    told = withheld.json("scan", "orders")
    assert [each["ignored"] for each in told["found"]] == ["dropped in May"]
    until(withheld, "destroyed")
    withheld.orders["residue"] = {"enabled": False}
    assert "nothing to scan" in withheld.refused("scan", "orders", code=1)


def test_what_a_key_protected_is_reported(withheld: Host) -> None:
    """Of the active one too; with the secrets to change elsewhere, and what nobody declared."""
    withheld.orders["datasets"]["rows"]["contains"] = ["passwords of SMTP relays"]
    withheld.orders["datasets"]["logs"] = {"census": ["/bin/false"]}
    withheld.orders["custodians"] = ["ann"]
    told = withheld.json("exposure", "orders", "2")
    assert (told["state"], told["encrypted"]["until"]) == ("active", None)
    rows = {each["name"]: each for each in told["datasets"]}
    assert (rows["rows"]["left"], rows["rows"]["place"]) == (0, "t (secret)")
    assert rows["logs"]["left"] is None
    assert told["custodians"] == ["ann"]
    shown = withheld.keys("exposure", "orders", "1")
    assert "version 1 is disabled" in shown
    assert "who had the key: " in shown
    assert "who has the key: " in withheld.keys("exposure", "orders", "2")
    assert "it encrypted from" in shown
    assert "change at the other end: passwords of SMTP relays (in rows)" in shown
    assert "nobody declared which secrets logs contains" in shown
    assert "cookies hold ciphertext of it until" in shown
    (withheld.place / "app.db").rename(withheld.place / "away.db")
    shown = withheld.keys("exposure", "orders", "1")
    assert "find out what is left in rows" in shown
    assert "no version 7" in withheld.refused("exposure", "orders", "7", code=1)
