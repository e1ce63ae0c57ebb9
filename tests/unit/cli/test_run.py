"""From the arguments to the exit code, in this process, with the issuer that needs nobody."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.parts import pki
from tests.unit.cli.conftest import COMMANDS, GROUPS, NAMES, Certrotd, listed
from tests.unit.observe.servers import Listener, context_of_der, tls
from tests.unit.pki.crafted import bits_for_a_name, mask_missing


class TestExitCode:
    """0 done or nothing due, 1 something failed, 2 usage or configuration."""

    def test_a_run_that_rotates_or_has_nothing_due_succeeds(self, certrotd: Certrotd) -> None:
        """The first run has work, the second none."""
        assert certrotd("rotate", "--all") == 0
        assert certrotd("rotate", "--all") == 0
        assert certrotd("rotate", "web", "mail", "web") == 0

    @pytest.mark.parametrize(
        "arguments",
        [
            ["rotate"],
            ["rotate", "web", "--all"],
            ["rotate", "--al"],
            ["nonsense"],
            ["status", "-x"],
        ],
    )
    def test_wrong_usage_and_failure_have_different_exit_codes(
        self, certrotd: Certrotd, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A mistyped option must not look like a CA that is down."""
        assert certrotd(*arguments) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert "Usage" in said.err

    def test_help_is_success(self, certrotd: Certrotd, capsys: pytest.CaptureFixture[str]) -> None:
        """Every command explains itself, with an example."""
        for command in COMMANDS:
            assert certrotd(*command.split(), "--help") == 0
            shown = " ".join(capsys.readouterr().out.split())
            assert re.search(f"Examples?: certrotd (-c [^ ]+ )?{command}", shown), command

    @pytest.mark.parametrize("group", ["", *GROUPS])
    def test_no_summary_is_cut_off(
        self,
        certrotd: Certrotd,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        group: str,
    ) -> None:
        """What a command does is told in the list of them, on a terminal of 80 columns."""
        monkeypatch.setenv("COLUMNS", "80")
        assert certrotd(*group.split(), "--help") == 0
        shown = capsys.readouterr().out.partition("Commands:")[2].splitlines()
        names = [line.split()[0] for line in shown if line.strip()]
        assert names
        assert {f"{group} {name}".strip() for name in names} <= {*COMMANDS, *GROUPS}
        assert not [line for line in shown if line.endswith("...")]

    def test_every_problem_of_the_configuration_is_a_line(
        self, certrotd: Certrotd, config: dict[str, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """All at once, each with its place."""
        config["certificates"][0]["nmaes"] = []
        config["concurrency"] = 0
        assert certrotd("rotate", "--all") == 2
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 2
        assert all(line.startswith("certrotd: ") and "config.yaml:" in line for line in said)

    def test_an_unknown_certificate_is_one_line(
        self, certrotd: Certrotd, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """With the nearest one there is."""
        assert certrotd("rotate", "mial") == 2
        [line] = capsys.readouterr().err.splitlines()
        assert line == "certrotd: there is no certificate 'mial' (did you mean \"mail\"?)"

    def test_an_unknown_name_is_of_the_kinds_that_are_configured(
        self, certrotd: Certrotd, config: dict[str, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Who has keyrings is told of both, and who has nothing else of those alone."""
        config["keyrings"] = {"shop": {}}
        assert certrotd("status", "mial") == 2
        assert "there is no certificate or key 'mial' (did you" in capsys.readouterr().err
        assert certrotd("status", "key/mial") == 2
        assert "there is no key 'mial' (did you" in capsys.readouterr().err
        config["certificates"] = []
        assert certrotd("status", "mial") == 2
        assert "there is no key 'mial' (known: shop)" in capsys.readouterr().err
        config["keyrings"] = {}
        assert certrotd("status", "mial") == 2
        assert "there is no certificate 'mial' (none is" in capsys.readouterr().err

    def test_a_failure_is_reported_and_stops_nobody(
        self, certrotd: Certrotd, config: dict[str, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The bad one first, so that the good one comes after it."""
        config["concurrency"] = 1
        config["certificates"][0]["install"] = [{"fullchain": "/nowhere/at/all.pem"}]
        assert certrotd("rotate", "--all", "--json") == 1
        rows = listed(capsys)
        assert (rows["web"]["result"], rows["mail"]["result"]) == ("failed", "done")
        assert "/nowhere/at is not a directory" in rows["web"]["why"]


class TestStatus:
    """One word for every state of a certificate."""

    def state(self, certrotd: Certrotd, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
        """The state of each, and that the table says the same."""
        capsys.readouterr()
        certrotd("status")
        table = capsys.readouterr().out
        certrotd("status", "--json")
        rows = listed(capsys)
        for name, row in rows.items():
            [line] = [line for line in table.splitlines() if line.startswith(f"{name} ")]
            assert row["state"] in line
        return {name: row["state"] for name, row in rows.items()}

    def test_missing_ok_due_and_disabled(
        self,
        certrotd: Certrotd,
        config: dict[str, Any],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """The usual life of a certificate."""
        assert self.state(certrotd, capsys) == {"web": "missing", "mail": "missing"}
        certrotd("rotate", "--all")
        assert self.state(certrotd, capsys) == {"web": "ok", "mail": "ok"}
        config["certificates"][0]["names"] = ["other.example.test"]
        config["certificates"][1]["enabled"] = False
        assert self.state(certrotd, capsys) == {"web": "due", "mail": "disabled"}

    def test_broken_expired_and_in_flight(
        self, certrotd: Certrotd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """What somebody did to the files is seen, not believed to be as it was."""
        certrotd("rotate", "--all")
        live = {name: tmp_path / "state/certificates" / name / "live" for name in NAMES}
        (live["web"] / "privkey.pem").write_bytes(pki.make_root().key_pem)
        old = pki.make_leaf(pki.make_root(), NAMES["mail"], lifetime=timedelta(minutes=1))
        (live["mail"] / "privkey.pem").write_bytes(old.key_pem)
        (live["mail"] / "fullchain.pem").write_bytes(old.fullchain_pem)
        assert self.state(certrotd, capsys) == {"web": "broken", "mail": "expired"}
        journal = tmp_path / "state/journal/certificate/web.jsonl"
        journal.write_text("")
        assert self.state(certrotd, capsys)["web"] == "in flight"

    def test_an_unreadable_certificate_is_a_row_and_a_failure(
        self, certrotd: Certrotd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """One spoiled folder does not hide the others from monitoring."""
        certrotd("rotate", "--all")
        state = tmp_path / "state/certificates/web/state.json"
        state.mkdir()
        assert self.state(certrotd, capsys) == {"web": "unreadable", "mail": "ok"}
        for command in ("status", "plan"):
            assert certrotd(command) == 1
            assert "Is a directory" in capsys.readouterr().out

    def test_a_damaged_state_is_reported_and_left_to_the_next_rotation(
        self, certrotd: Certrotd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Whoever only looks changes nothing; a rotation puts it aside and goes on."""
        certrotd("rotate", "--all")
        folder = tmp_path / "state/certificates/web"
        (folder / "state.json").write_bytes(b"{half")
        there = sorted(folder.iterdir())
        assert self.state(certrotd, capsys) == {"web": "due", "mail": "ok"}
        for command in ("status", "plan", "rotate --all --dry-run"):
            assert certrotd(*command.split()) == 0
            assert "is not a state that certrotd wrote" in capsys.readouterr().out
        assert sorted(folder.iterdir()) == there
        assert certrotd("rotate", "--all") == 0
        assert "state.json.unreadable-" in capsys.readouterr().out
        assert [each.read_bytes() for each in folder.glob("*.unreadable-*")] == [b"{half"]
        assert self.state(certrotd, capsys) == {"web": "ok", "mail": "ok"}
        assert not (folder / "generations/000002").exists()


class TestDryRun:
    """``rotate --dry-run`` says what ``rotate`` with the same options would do."""

    def decision(
        self, certrotd: Certrotd, capsys: pytest.CaptureFixture[str], *options: str
    ) -> str:
        capsys.readouterr()
        assert certrotd("rotate", "web", "--dry-run", "--json", *options) == 0
        return str(listed(capsys)["web"]["decision"])

    def test_a_forced_dry_run_shows_a_renewal_where_nothing_is_due(
        self, certrotd: Certrotd, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Who asks before the change window must not hear that nothing will happen."""
        certrotd("rotate", "--all")
        assert self.decision(certrotd, capsys) == "wait"
        assert self.decision(certrotd, capsys, "--force") == "renew"

    def test_an_attempt_by_hand_does_not_keep_the_daemon_waiting(
        self, certrotd: Certrotd, config: dict[str, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It counts for the CA's limits, not for the time until the next attempt."""
        certrotd("rotate", "--all")
        config["targets"] = {"web": {"type": "command", "command": ["/bin/false"]}}
        config["certificates"][0]["targets"] = ["web"]
        assert certrotd("rotate", "web") == 1
        assert self.decision(certrotd, capsys) == "deploy"
        assert certrotd("plan", "web", "--json") == 0
        assert listed(capsys)["web"]["decision"] == "deploy"


def test_looking_makes_nothing(
    certrotd: Certrotd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a fresh host, by whichever user: not even the state directory."""
    for command in ("status", "plan", "history", "rotate --all --dry-run"):
        assert certrotd(*command.split()) == 0
    assert not (tmp_path / "state").exists()
    assert certrotd("rotate", "--all") == 0
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_history_without_any_is_empty(
    certrotd: Certrotd, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the first rotation there is a heading and nothing else."""
    assert certrotd("history") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert certrotd("history", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("/no/such/file", "no such file"),
        ("example.test:port", "port"),
        ("nothing", "no such file"),
        ("https://example.test/", "https://example.test/: no such file (a file, or HOST:PORT)"),
    ],
)
def test_inspecting_what_is_not_there_is_one_line(
    certrotd: Certrotd, capsys: pytest.CaptureFixture[str], what: str, said: str
) -> None:
    """A file or an endpoint: the line says which was looked for."""
    assert certrotd("inspect", what) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("certrotd: ")
    assert said in line


@pytest.mark.parametrize("der", [mask_missing("a.test"), bits_for_a_name("a.test")])
def test_inspecting_a_certificate_that_cannot_be_read_is_one_line(
    certrotd: Certrotd, capsys: pytest.CaptureFixture[str], tmp_path: Path, der: bytes
) -> None:
    """Of a file, or of an endpoint that serves it."""
    path = tmp_path / "odd.der"
    path.write_bytes(der)
    with Listener(tls(context_of_der(tmp_path, der))) as server:
        for what in (str(path), f"{server.host}:{server.port}"):
            assert certrotd("inspect", what) == 1
            [line] = capsys.readouterr().err.splitlines()
            assert line.startswith(f"certrotd: {what} has an unreadable part: ")
