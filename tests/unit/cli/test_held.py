"""What `status`, `plan` and `watch` say where nothing happens."""

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certrotd.certs.limits.sliding_windows import LETS_ENCRYPT
from certrotd.clock import ManualClock
from certrotd.config.load import load
from certrotd.daemon.wiring import Site
from certrotd.scheduling.clock_trust import to_json
from tests.unit.cli.conftest import BEGUN, NAMES, Certrotd, fly, listed

NOW = datetime(2027, 1, 1, tzinfo=UTC)


class TestInFlight:
    """A rotation that rests."""

    def test_status_and_plan_show_its_step_its_reason_and_what_is_served(
        self, certrotd: Certrotd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The dates do not stand still because a rotation does."""
        certrotd("rotate", "--all")
        fly(tmp_path / "state", "web")
        capsys.readouterr()
        assert certrotd("status", "--json") == 0
        rows = listed(capsys)
        flight = {"step": "obtain", "undoing": False, "why": "no answer", "until": None}
        assert rows["web"]["in_flight"] == {**flight, "since": BEGUN, "tries": 2}
        assert rows["web"]["not_after"] > BEGUN
        assert (rows["web"]["failures"], rows["mail"]["in_flight"]) == (2, None)
        why = "obtain: no answer (in flight since 2026-06-01 12:00Z, failed 2 times)"
        assert rows["web"]["reason"] == why
        assert certrotd("plan", "--json") == 0
        planned = listed(capsys)["web"]
        assert (planned["why"], planned["steps"]) == (why, ["finish what is in flight"])

    @pytest.mark.parametrize("forced", [False, True])
    def test_a_dry_run_says_that_it_is_finished_first(
        self,
        certrotd: Certrotd,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        forced: bool,
    ) -> None:
        """As ``plan`` does; the others are what they were."""
        certrotd("rotate", "--all")
        fly(tmp_path / "state", "web")
        capsys.readouterr()
        force = ["--force"] * forced
        assert certrotd("rotate", "--all", "--dry-run", *force) == 0
        [_, web, mail] = capsys.readouterr().out.splitlines()
        flight = "obtain: no answer (in flight since 2026-06-01 12:00Z, failed 2 times)"
        assert web.split(maxsplit=2)[:2] == ["web", "finish"]
        assert f"finish what is in flight: {flight}" in web
        assert ("; then renew: " in web) == forced
        assert mail.split()[:2] == ["mail", "renew" if forced else "wait"]

    def test_a_dry_run_fails_for_a_target_that_refuses_what_is_in_flight(
        self,
        certrotd: Certrotd,
        config: dict[str, Any],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Of one that rests it is asked now; without a rotation in flight, at the renewal."""
        check = {"type": "command", "command": ["/bin/true"], "check": ["/bin/false"]}
        certrotd("rotate", "--all")
        config["targets"] = {"it": check}
        config["certificates"][0]["targets"] = ["it"]
        fly(tmp_path / "state", "web")
        capsys.readouterr()
        assert certrotd("rotate", "web", "--dry-run") == 1
        [_, web] = capsys.readouterr().out.splitlines()
        assert web.split()[:2] == ["web", "fail"]
        assert "/bin/false" in web

    @pytest.mark.parametrize("command", ["status", "plan", "watch"])
    def test_journals_that_cannot_be_listed_are_a_trouble_with_a_hint(
        self,
        certrotd: Certrotd,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        command: str,
    ) -> None:
        """Neither a traceback nor "nothing in flight", which somebody would believe."""
        certrotd("rotate", "--all")
        journals = tmp_path / "state/journal/certificate"
        journals.rmdir()
        journals.write_text("")
        capsys.readouterr()
        assert certrotd(command, "--json") == 1
        rows = json.loads(capsys.readouterr().out)
        assert len(rows) == len(NAMES)
        for row in rows:
            words = json.dumps(row)
            assert str(journals) in words
            assert "Not a directory" in words
            assert "a file stands where a directory belongs; move it away" in words
        if command == "status":
            assert {row["state"] for row in rows} == {"unreadable"}
            assert all(row["not_after"] for row in rows)

    def test_a_rotation_in_flight_is_not_held_by_a_window(
        self,
        certrotd: Certrotd,
        config: dict[str, Any],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """It goes on now: who waits for the window to look at it looks too late."""
        certrotd("rotate", "--all")
        now = datetime.now(UTC)
        hours = [now + timedelta(hours=ahead) for ahead in (2, 3)]
        window = "-".join(f"{hour:%H:%M}" for hour in hours)
        for entry in config["certificates"]:
            entry |= {"key": "ecdsa-p384", "window": window}
        fly(tmp_path / "state", "web")
        capsys.readouterr()
        for command, at in (("status", "next_check"), ("plan", "at")):
            assert certrotd(command, "--json") == 0
            rows = listed(capsys)
            assert rows["mail"]["held"]["by"] == "window", "the control"
            assert rows["web"]["held"] is None
            assert datetime.fromisoformat(rows["web"][at]) < hours[0]


class TestHeld:
    """What would keep the daemon from doing what is due."""

    def test_a_clock_behind_the_last_run_is_the_reason(
        self, certrotd: Certrotd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Not "due", which would sound as if it were about to happen."""
        state = tmp_path / "state"
        state.mkdir()
        (state / "clock.json").write_bytes(to_json(datetime.now(UTC) + timedelta(days=400)))
        for command in ("status", "plan"):
            assert certrotd(command, "--json") == 0
            for row in listed(capsys).values():
                assert row["held"]["by"] == "clock"
                why = row["reason"] if command == "status" else row["why"]
                assert "which is before the last run" in why
                assert why.endswith("until the clock is right; due: there is no certificate yet")
                if command == "plan":
                    assert (row["decision"], row["at"], row["steps"]) == ("postponed", None, [])

    def test_a_last_run_at_the_beginning_of_all_time_holds_nothing(
        self, certrotd: Certrotd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Whoever wrote that there, the listing is complete and says what is due."""
        state = tmp_path / "state"
        state.mkdir()
        (state / "clock.json").write_bytes(to_json(datetime.min.replace(tzinfo=UTC)))
        for command in ("status", "plan"):
            assert certrotd(command, "--json") == 0
            assert {row["held"] for row in listed(capsys).values()} == {None}

    @pytest.mark.parametrize(
        ("content", "held"),
        [
            (None, None),
            ("{}", None),  # the daemon counts anew
            ("full", "the CA's limit is used up: orders of the account: 270 in 3 hours"),
        ],
    )
    def test_a_limit_of_the_ca_that_is_used_up_is_the_reason(
        self, config: dict[str, Any], tmp_path: Path, content: str | None, held: str | None
    ) -> None:
        """By what is written down of it; a listing changes nothing there."""
        directory = "https://acme-v02.api.letsencrypt.org/directory"
        config["issuers"]["lab"] = {
            "type": "acme",
            "directory": directory,
            "agree_to_terms": True,
            "contact": ["mailto:a@example.test"],
        }
        config["solvers"] = {"dns": {"type": "exec", "command": ["/bin/true"]}}
        (tmp_path / "config.yaml").write_text(json.dumps(config))
        budget = tmp_path / "state/budget/lab.json"
        if content is not None:
            budget.parent.mkdir(parents=True)
            assert LETS_ENCRYPT.orders is not None
            stamps = {"orders": [NOW.timestamp()] * LETS_ENCRYPT.orders.count}
            full = json.dumps({"version": 1, "stamps": stamps})
            budget.write_text(full if content == "full" else content)
        site = Site(
            load(tmp_path / "config.yaml").config, clock=ManualClock(NOW), command="certrotd status"
        )
        for row in site.look(list(site.inventory.subjects)):
            assert (row.held.why if row.held else None) == held
            assert row.held is None or row.held.until == NOW + timedelta(hours=3, seconds=1)
        assert content is None or budget.exists()

    def test_a_budget_that_cannot_be_read_is_the_reason(
        self, config: dict[str, Any], tmp_path: Path
    ) -> None:
        """The daemon does not guess either."""
        config["issuers"]["lab"] = {
            "type": "acme",
            "directory": "https://acme-v02.api.letsencrypt.org/directory",
            "agree_to_terms": True,
        }
        config["solvers"] = {"dns": {"type": "exec", "command": ["/bin/true"]}}
        (tmp_path / "config.yaml").write_text(json.dumps(config))
        (tmp_path / "state/budget").mkdir(parents=True)
        (tmp_path / "state/budget/lab.json").symlink_to("elsewhere")
        site = Site(
            load(tmp_path / "config.yaml").config, clock=ManualClock(NOW), command="certrotd status"
        )
        rows = list(site.look(list(site.inventory.subjects)))
        assert all(row.held and "lab.json" in row.held.why for row in rows)


def test_who_waits_rotates_once_the_other_process_is_done(
    certrotd: Certrotd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Others that were chosen are rotated meanwhile; with --wait 0s it is refused at once."""
    assert certrotd("plan") == 0  # it writes the configuration
    [path] = tmp_path.glob("*.yaml")
    other = Site(load(path).config, clock=ManualClock(NOW), command="certrotd run")
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with other.lock("certificate/web", "certificate web", None):
            held.set()
            free.wait(60)

    busy = threading.Thread(target=hold)
    busy.start()
    try:
        assert held.wait(60)
        assert certrotd("rotate", "web", "--wait", "0s") == 1
        assert "web is in use by" in "".join(capsys.readouterr())
        assert certrotd("rotate", "web", "--wait", "2s") == 1
        assert "; waits up to " in capsys.readouterr().err
        timer = threading.Timer(1.5, free.set)
        timer.start()
        capsys.readouterr()
        assert certrotd("rotate", "--all", "--wait", "60s", "--json") == 0
        assert {row["result"] for row in listed(capsys).values()} == {"done"}
    finally:
        free.set()
        busy.join()
    assert certrotd("rotate", "web", "--wait", "soon") == 2
    assert '"soon" is not a duration' in capsys.readouterr().err
