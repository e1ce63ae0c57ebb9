"""``certrotd keys`` from its arguments to its exit code; whatever it prints holds no key."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from certrotd.observe import jobs
from demo.key_stage import own_keys
from tests.unit.cli.ring import Host, host

__all__ = ["host"]
REASON = ("--reason", "audit finding 12")


def both(host: Host) -> None:
    """Both keyrings have their first key."""
    host("rotate", "--all")
    assert host.code == 0, host.err


class TestListing:
    """``list``, ``show`` and ``plan``."""

    def test_a_host_without_keys_is_listed_and_nothing_is_made(self, host: Host) -> None:
        """By whichever user."""
        rows = host.json("list")
        assert {row["name"]: row["state"] for row in rows} == {
            "orders": "missing",
            "users": "missing",
        }
        table = host.keys("list")
        assert [line.split()[0] for line in table.splitlines()] == ["NAME", "orders", "users"]
        assert "there is no key yet" in table
        host.keys("plan", "--explain")
        host.keys("show", "orders")
        assert not (host.place / "state").exists()
        assert not (host.place / "kek").exists()

    def test_certificates_are_not_in_it(self, host: Host) -> None:
        """They have commands of their own."""
        both(host)
        assert [row["name"] for row in host.json("list")] == ["orders", "users"]
        assert [row["name"] for row in host.json("list", "users")] == ["users"]

    def test_show_has_every_transition_and_says_where_it_stands(self, host: Host) -> None:
        """As a table, and as JSON."""
        both(host)
        host.keys("rotate", "orders", *REASON)
        shown = host.keys("show", "orders")
        assert shown.splitlines()[0].split() == ["VERSION", "STATE", "SINCE", "MESSAGES", "WHY"]
        assert "decrypt-only" in shown
        assert "audit finding 12" in shown
        assert "orders: ok: " in shown
        told = host.json("show", "orders")
        assert [each["state"] for each in told["versions"]] == ["decrypt-only", "active"]
        assert told["versions"][1]["transitions"][0]["why"] == "audit finding 12"

    def test_consumers_are_asked_on_request(self, host: Host) -> None:
        """``--ask``; a listing alone asks nobody."""
        both(host)
        host.orders["consumers"] = {"app": {"acknowledge": {"command": ["/bin/false"]}}}
        assert "app: not asked now" in host.keys("list", "orders")
        assert "/bin/false exited with 1" in host.keys("list", "orders", "--ask")
        assert "/bin/false exited with 1" in host.keys("show", "orders", "--ask")
        [app] = host.json("show", "orders", "--ask")["consumers"]
        assert not app["current"]

    def test_an_output_that_was_changed_is_a_remark(self, host: Host) -> None:
        """An unreadable keyring is a row and an exit code."""
        both(host)
        (host.place / "state/keyrings/orders.json").write_bytes(b"")
        for command in (("list",), ("show", "orders")):
            host("keys", *command)
            assert host.code == 1
            assert "is cut short" in host.out
        host("keys", "list", "--json")
        rows = {row["name"]: row for row in json.loads(host.out)}
        assert (rows["orders"]["state"], rows["users"]["state"]) == ("unreadable", "ok")

    def test_a_plan_explains_every_rule(self, host: Host) -> None:
        """Until the one that matches; of the keyrings alone, or of one."""
        both(host)
        explained = host.keys("plan", "orders", "--explain")
        assert "the active key is within its cryptoperiod" in explained
        assert {row["name"] for row in host.json("plan")} == {"orders", "users"}
        host.config["keyrings"] = {}
        assert host.json("plan") == []
        assert host.keys("plan").split() == ["NAME", "DECISION", "AT", "STEPS", "WHY"]
        assert host.json("list") == []


class TestNames:
    """What is no keyring is refused in one line, by every command."""

    COMMANDS = (
        ("list",),
        ("show",),
        ("plan",),
        ("rotate", *REASON),
        ("activate",),
        ("deliver",),
        ("rollback",),
        ("cancel",),
        ("adopt",),
        ("reencrypt",),
        ("reencrypt", "--dry-run"),
        ("backup",),
        ("report",),
    )

    @pytest.mark.parametrize("command", COMMANDS)
    def test_a_name_that_does_not_exist_has_a_suggestion(
        self, host: Host, command: tuple[str, ...]
    ) -> None:
        """The nearest one."""
        verb, *rest = command
        line = host.refused(verb, "order", *rest)
        assert line == "there is no key 'order' (did you mean \"orders\"?)"
        assert "Traceback" not in line

    def test_a_certificate_is_no_keyring(self, host: Host) -> None:
        """Whether it is called by its name alone or by its whole id; nothing of it changes."""
        both(host)
        live = host.place / "state/certificates/web/live"
        before = live.readlink()
        for verb, *rest in self.COMMANDS:
            assert "there is no key 'web'" in host.refused(verb, "web", *rest)
            assert "certificate/web is no keyring" in host.refused(verb, "certificate/web", *rest)
        assert live.readlink() == before

    def test_commands_with_a_version_refuse_them_too(self, host: Host) -> None:
        """Each with what it asks for besides."""
        both(host)
        for name, words in {
            "order": "there is no key 'order'",
            "certificate/web": "is no keyring",
        }.items():
            assert words in host.refused("enable", name, "1", *REASON)
            confirmed = ("--confirm", name)
            assert words in host.refused("compromise", name, "1", *REASON, *confirmed)
            assert words in host.refused("drill", name, "--identity", "/x")
            assert words in host.refused("restore", name, "--from", "/x", "--identity", "/x")

    def test_a_whole_id_names_a_keyring(self, host: Host) -> None:
        """As in every other command."""
        both(host)
        assert [row["name"] for row in host.json("list", "key/orders")] == ["orders"]


class TestRotating:
    """What changes keys."""

    def test_a_rotation_by_hand_needs_a_reason_and_keeps_it(self, host: Host) -> None:
        """In the history of the key, and in the audit log."""
        both(host)
        host("keys", "rotate", "orders")
        assert host.code == 2
        assert "Missing option '--reason'" in host.err
        [row] = host.json("rotate", "orders", *REASON)
        assert (row["name"], row["result"]) == ("orders", "done")
        assert host.states() == {1: "decrypt-only", 2: "active"}
        host("audit", "show", "--json")
        assert "audit finding 12" in host.out

    def test_the_first_key_is_made_by_hand_too(self, host: Host) -> None:
        """With its KEK."""
        host.keys("rotate", "orders", *REASON)
        assert host.states() == {1: "active"}
        assert (host.place / "kek").exists()

    def test_a_keyring_that_is_not_adopted_is_not_rotated_by_hand(self, host: Host) -> None:
        """A new key would lose the data of the application."""
        write(host.place / "keys.json", own_keys("tink"))
        before = (host.place / "keys.json").read_bytes()
        assert "certrotd keys adopt orders" in host.failed("rotate", "orders", *REASON)
        assert host.states() == {}
        assert (host.place / "keys.json").read_bytes() == before
        host.keys("adopt", "orders")

    def test_a_keyring_that_is_disabled_is_not_rotated_by_hand(self, host: Host) -> None:
        """Nor made."""
        host.orders["enabled"] = False
        assert "disabled in the configuration" in host.failed("rotate", "orders", *REASON)
        assert host.states() == {}

    def test_without_a_staged_key_there_is_nothing_to_activate(self, host: Host) -> None:
        """The hint says how one is staged."""
        both(host)
        assert "no version of orders is staged" in host.failed("activate", "orders")

    def test_a_staged_key_is_activated(self, host: Host) -> None:
        """One that a rollback left."""
        both(host)
        host.keys("rotate", "orders", *REASON)
        [row] = host.json("rollback", "orders")
        assert row["result"] == "done"
        assert host.states() == {1: "active", 2: "secondary"}
        host.json("activate", "orders")
        assert host.states() == {1: "decrypt-only", 2: "active"}

    def test_there_is_nothing_to_roll_back_or_cancel(self, host: Host) -> None:
        """Before the first key, and where no rotation is in flight."""
        assert "the keyring orders has no key yet" in host.failed("rollback", "orders")
        both(host)
        host.failed("rollback", "orders")
        assert "no rotation of key/orders is in flight" in host.failed("cancel", "orders")
        assert host.states() == {1: "active"}

    def test_a_rotation_that_waits_is_cancelled(
        self, host: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Or rolled back, which is the same then."""
        monkeypatch.setattr("certrotd.keys.steps.SOON", 3.0)
        both(host)
        host.orders["consumers"] = {"app": {"acknowledge": {"command": ["/bin/false"]}}}
        for command in ("cancel", "rollback"):
            host("keys", "rotate", "orders", *REASON)
            assert "waits for the acknowledgement of app" in host.out
            [row] = host.json(command, "orders")
            assert row["result"] == "cancelled"
            assert host.states() == {1: "active", 2: "pre-active"}


class TestDelivering:
    """The outputs."""

    def test_a_lost_output_is_written_anew(self, host: Host) -> None:
        """With what it had."""
        both(host)
        path = host.place / "keys.json"
        before = json.loads(path.read_bytes())
        path.unlink()
        [row] = host.json("deliver", "orders")
        assert row["result"] == "done"
        assert json.loads(path.read_bytes()) == before

    def test_nothing_is_delivered_before_the_first_key(self, host: Host) -> None:
        """It is refused before anything is begun: the first rotation is not in its way."""
        for option in ((), ("--overwrite",)):
            assert "no version of orders is active" in host.failed("deliver", "orders", *option)
        host.keys("rotate", "orders", *REASON)
        assert host.states() == {1: "active"}

    def test_overwrite_keeps_what_something_else_wrote(self, host: Host) -> None:
        """As the failure of the plain command advises."""
        both(host)
        path = host.place / "keys.json"
        path.write_bytes(b"{half")
        assert f"{path} is not JSON" in host.failed("deliver", "orders")
        assert path.read_bytes() == b"{half"
        host.keys("deliver", "orders", "--overwrite")
        assert json.loads(path.read_bytes())["key"]
        aside = [each for each in host.place.iterdir() if each.name.startswith("keys.json.")]
        assert [each.read_bytes() for each in aside] == [b"{half"]

    def test_keys_are_adopted_from_the_output_that_is_named(self, host: Host) -> None:
        """Nothing that the application reads changes."""
        host.orders["outputs"].append({"type": "tink", "path": str(host.place / "more.json")})
        for name in ("keys.json", "more.json"):
            write(host.place / name, own_keys("tink"))
        before = (host.place / "keys.json").read_bytes()
        assert "name one of them" in host.failed("adopt", "orders")
        (host.place / "more.json").unlink()
        source = str(host.place / "keys.json")
        assert "users has no output" in host.failed("adopt", "users")
        assert "has no output dotenv" in host.failed("adopt", "orders", "--output", "dotenv")
        other = str(host.place / "other.json")
        assert f"has no output tink {other}" in host.failed(
            "adopt", "orders", "--output", "tink", "--from", other
        )
        [row] = host.json("adopt", "orders", "--from", source)
        assert row["result"] == "done"
        assert (host.place / "keys.json").read_bytes() == before
        assert host.states() == {1: "active"}
        assert "has keys already" in host.failed("adopt", "orders")

    def test_an_output_is_named_from_where_one_stands(
        self, host: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A path that is not whole is one from the working directory."""
        write(host.place / "keys.json", own_keys("tink"))
        monkeypatch.chdir(host.place)
        host.keys("adopt", "orders", "--from", "keys.json", "--output", "tink")
        assert host.states() == {1: "active"}

    def test_a_keyring_without_a_key_says_how_to_have_one(self, host: Host) -> None:
        """Whatever is asked of it: it is configured, and not unknown."""
        host.orders["datasets"] = {"docs": {"type": "files", "roots": [str(host.place / "docs")]}}
        for command in (
            *(("prove", "orders", "1"), ("exposure", "orders", "1"), ("rehearse", "orders")),
            *(("hold", "orders", "1", *REASON), ("reencrypt", "orders", "--dry-run")),
        ):
            said = host.refused(*command, code=1)
            assert "the keyring orders has no key yet" in said
            assert "certrotd rotate key/orders makes the first" in said

    def test_a_version_is_a_number(self, host: Host) -> None:
        """With a v before it or not."""
        both(host)
        assert "it is active" in host.refused("prove", "orders", "v1", code=1)
        for wrong in ("one", "v", "0", "1.5"):
            host("keys", "prove", "orders", wrong)
            assert host.code == 2
            assert f"{wrong!r} is no version" in " ".join(host.err.split())

    def test_an_application_of_one_key_is_not_rotated_nor_said_to_be(self, host: Host) -> None:
        """The dry run ends as the rotation does."""
        path = host.place / "env"
        host.orders["outputs"] = [{"type": "dotenv", "path": str(path), "key": "K"}]
        both(host)
        said = host.refused("rotate", "orders", "--dry-run", code=1)
        assert "its output holds one key" in said
        assert host.failed("rotate", "orders", *REASON) in said

    def test_who_else_reads_what_is_adopted_is_said(self, host: Host) -> None:
        """The next rotation takes the file from them: an application would be without its keys."""
        keys = host.place / "keys.json"
        write(keys, own_keys("tink"))
        keys.chmod(0o644)
        host.keys("adopt", "orders")
        assert f"others than its readers may use {keys}" in host.err
        assert "name that as owner, group or mode of the output" in host.err

    @pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
    def test_a_reason_says_something(self, host: Host, reason: str) -> None:
        """And not a book: it is in the audit log, and at every transition."""
        both(host)
        host("keys", "rotate", "orders", "--reason", reason)
        assert host.code == 2
        assert "say why, in 1 to 500 characters" in " ".join(host.err.split())

    def test_a_job_that_may_rotate_what_is_adopted_is_said(
        self, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Before it is taken over: two cannot give out versions."""
        table, keys = tmp_path / "crontab", host.place / "keys.json"
        monkeypatch.setattr(jobs, "_TABLES", (str(table)[1:],))
        write(keys, own_keys("tink"))
        table.write_text(f"0 3 * * 0 shop node rotate.js {keys}\n")
        host.keys("adopt", "orders")
        words = f"orders: {table}:1 names {keys}: if that rotates its keys, switch it off"
        assert host.err.splitlines()[0] == words


class TestCompromise:
    """What cannot be undone is confirmed by the name."""

    def test_it_is_not_done_without_a_confirmation(self, host: Host) -> None:
        """Where there is no terminal, and with another name."""
        both(host)
        line = host.refused("compromise", "orders", "1", *REASON)
        assert line == (
            "nothing was done, for it is not confirmed: version 1 of orders never encrypts again "
            "(--confirm orders)"
        )
        host.refused("compromise", "orders", "1", *REASON, "--confirm", "users")
        assert host.states() == {1: "active"}

    def test_the_active_key_is_replaced_at_once(self, host: Host) -> None:
        """And never encrypts again."""
        both(host)
        [row] = host.json("compromise", "orders", "1", *REASON, "--confirm", "orders")
        assert row["result"] == "done"
        assert host.states() == {1: "compromised", 2: "active"}
        again = ("compromise", "orders", "1", *REASON, "--confirm", "orders")
        assert "is known to be compromised" in host.failed(*again)

    def test_an_old_key_is_only_marked(self, host: Host) -> None:
        """No new key is made for it."""
        both(host)
        host.keys("rotate", "orders", *REASON)
        host.keys("compromise", "orders", "1", *REASON, "--confirm", "orders")
        assert host.states() == {1: "compromised", 2: "active"}

    def test_a_staged_key_and_one_that_is_not_there_are_refused(self, host: Host) -> None:
        """It says what to do first."""
        both(host)
        host.keys("rotate", "orders", *REASON)
        host.keys("rollback", "orders")
        staged = ("compromise", "orders", "2", *REASON, "--confirm", "orders")
        assert "encrypts nothing yet" in host.failed(*staged)
        host.failed("compromise", "orders", "7", *REASON, "--confirm", "orders")
        host("keys", "compromise", "orders", "0", *REASON, "--confirm", "orders")
        assert host.code == 2

    def test_without_a_version_the_active_key_is_meant(self, host: Host) -> None:
        """And what is done is not remembered any more."""
        both(host)
        host.keys("compromise", "orders", *REASON, "--confirm", "orders")
        assert host.states() == {1: "compromised", 2: "active"}
        refused = host.refused("compromise", "orders", "--withdraw", *REASON, code=1)
        assert "nothing is remembered of version 2" in refused

    def test_what_cannot_be_done_now_is_remembered(self, host: Host) -> None:
        """While another rotation waits for an application; unless it was a mistake."""
        both(host)
        program = host.place / "confirms"
        host.orders["consumers"] = {"app": {"acknowledge": {"command": [str(program)]}}}
        program.write_text("#!/bin/sh\nexit 1\n")
        program.chmod(0o700)
        host("keys", "rotate", "orders", *REASON)
        stolen = ("compromise", "orders", "1", *REASON, "--confirm", "orders")
        assert "a rotation of orders is in flight" in host.failed(*stolen)
        assert "it is remembered" in host.err
        host.keys("compromise", "orders", "1", "--withdraw", "--reason", "a mistake")
        host.failed(*stolen)
        program.write_text("#!/bin/sh\nexit 0\n")
        for _ in range(4):
            host("rotate", "key/orders")
        assert host.states() == {1: "compromised", 2: "active"}
        log = (host.place / "state/audit/audit.jsonl").read_text()
        assert log.count('"keyring.compromise_reported"') == 2
        assert log.count('"keyring.compromise_withdrawn"') == 1

    @pytest.mark.parametrize(("typed", "done"), [("orders\n", True), ("y\n", False), ("", False)])
    def test_on_a_terminal_the_name_is_typed(
        self, host: Host, monkeypatch: pytest.MonkeyPatch, typed: str, done: bool
    ) -> None:
        """Nothing else will do."""
        both(host)

        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        monkeypatch.setattr(sys, "stdin", Terminal(typed))
        host("keys", "compromise", "orders", "1", *REASON)
        assert (host.code == 0) is done
        assert "Type the name of the keyring" in host.err
        assert host.states()[1] == ("compromised" if done else "active")


class TestEnabling:
    """A key that is needed after all."""

    def test_a_retired_key_is_given_back(self, host: Host) -> None:
        """The control: one that decrypts needs nobody's help."""
        both(host)
        host.orders["drains"] = {"cookies": "1s"}
        host.keys("rotate", "orders", *REASON)
        host.orders["drains"] = {"cookies": "1s"}
        for _ in range(200):
            host("rotate", "key/orders")
            if host.states()[1] == "retired":
                break
        assert host.states()[1] == "retired"
        [row] = host.json("enable", "orders", "1", *REASON)
        assert row["result"] == "done"
        assert host.states() == {1: "decrypt-only", 2: "active"}
        host.failed("enable", "orders", "7", *REASON)

    def test_a_key_that_nobody_lacks_is_not_given_back(self, host: Host) -> None:
        """It is refused before anything is begun: no rotation is left in flight."""
        both(host)
        host.failed("enable", "orders", "1", *REASON)
        assert host.json("show", "orders")["state"] == "ok"


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o600)
