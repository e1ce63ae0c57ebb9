"""Why is web not renewed? One answer, in `status --json`, `plan --explain` and on the page."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certrotd.certs.limits.sliding_windows import LETS_ENCRYPT
from certrotd.clock import SystemClock
from certrotd.scheduling.clock_trust import to_json
from certrotd.state.history import FileHistory
from tests.unit.cli.conftest import Certrotd, fly, listed
from tests.unit.lifecycle.two_wings import Daemon, use_both_wings

ACME = "https://acme-v02.api.letsencrypt.org/directory"


def clock(state: Path) -> None:
    """The daemon ran in a later year."""
    (state / "clock.json").write_bytes(to_json(datetime(2100, 1, 1, tzinfo=UTC)))


def budget(state: Path) -> None:
    """Every order that the CA takes in these hours is spent."""
    (state / "budget").mkdir()
    assert LETS_ENCRYPT.orders is not None
    now = datetime.now(UTC).timestamp()
    stamps = {"orders": [now] * LETS_ENCRYPT.orders.count}
    (state / "budget/lab.json").write_text(json.dumps({"version": 1, "stamps": stamps}))


def failed(state: Path, retry_after: float | None = None) -> None:
    """The last attempt failed a moment ago."""
    now = datetime.now(UTC) - timedelta(seconds=1)
    line = {"id": "r1", "subject": "certificate/web", "why": "due", "outcome": "nothing"}
    line |= {"began": now.isoformat(), "ended": now.isoformat(), "to": "", "failed_step": "order"}
    facts = {"authority": ACME}
    more = {"failure": "no answer", "retry_after": retry_after, "facts": facts}
    FileHistory(state, "certificate/web").add({**line, **more})


def asked_to_wait(state: Path) -> None:
    """And the CA said when to come again."""
    failed(state, 7200.0)


def in_flight(state: Path) -> None:
    """A rotation has begun and waits."""
    fly(state, "web")


def nothing(_state: Path) -> None:
    """It is due, and nothing holds it back."""


def full_disk(_state: Path) -> None:
    """There is no room for a journal: the test says so in place of the file system."""


@dataclass(frozen=True)
class Cause:
    """Why nothing happens: what makes it so, the code, and some of the words."""

    make: Callable[[Path], None]
    code: str
    words: str
    gate: bool = True


CAUSES = (
    Cause(nothing, "first", "there is no certificate yet", gate=False),
    Cause(clock, "clock", "nothing is ordered until the clock is right"),
    Cause(budget, "budget", "orders of the account"),
    Cause(failed, "backoff", "after 1 failure, the last: no answer"),
    Cause(asked_to_wait, "retry_after", "the CA asked to wait"),
    Cause(in_flight, "in_flight", "no answer", gate=False),
    Cause(full_disk, "disk", "No space left on device (free some space on that file system)"),
)


class Asked:
    """Whoever asks at night: once, wherever."""

    def __init__(self, certrotd: Certrotd, capsys: pytest.CaptureFixture[str], name: str) -> None:
        self.certrotd = certrotd
        self.capsys = capsys
        self.name = name

    def answers(self, cause: Cause, daemon: Daemon) -> None:
        """The same reason and code from the command line and from the daemon."""
        kind, _, plain = self.name.rpartition("/")
        for shown in (self.listed("status"), self.served(daemon)):
            assert (shown["reason_code"], cause.words in shown["reason"]) == (cause.code, True)
            assert not cause.gate or shown["held"]["by"] == cause.code
        planned = self.listed("plan", "--explain")
        assert planned["reason_code"] == cause.code
        matched = [rule for rule in planned["rules"] if rule["matched"]]
        assert matched[-1]["code"] == cause.code
        assert cause.words in matched[-1]["why"]
        page = daemon.get(f"/{kind or 'certificate'}/{plain}")
        assert f"<code>{cause.code}</code>" in page
        assert html.escape(cause.words) in page

    def listed(self, *command: str) -> dict[str, Any]:
        """What the command line says of it."""
        self.capsys.readouterr()
        assert self.certrotd(command[0], self.name, *command[1:], "--json") == 0
        [shown] = json.loads(self.capsys.readouterr().out)
        return dict(shown)

    def served(self, daemon: Daemon) -> dict[str, Any]:
        """What the daemon says of it."""
        name = self.name.rpartition("/")[2]
        subjects = json.loads(daemon.get("/status.json"))["subjects"]
        return next(each for each in subjects if each["name"] == name)


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.code)
def test_a_certificate_at_a_ca_has_one_reason_everywhere(
    certrotd: Certrotd,
    config: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    cause: Cause,
) -> None:
    """Clock, limits, Retry-After, backoff, a rotation in flight, a full disk."""
    config["issuers"]["lab"] = {"type": "acme", "directory": ACME, "agree_to_terms": True}
    config["solvers"] = {"dns": {"type": "exec", "command": ["/bin/true"]}}
    state = tmp_path / "state"
    (state / "journal").mkdir(parents=True)
    (state / "format.json").write_text('{"format": 2}')
    cause.make(state)
    if cause.make is full_disk:
        monkeypatch.setattr("certrotd.state.check.ROOM", 2**63)
    asked = Asked(certrotd, capsys, "web")
    asked.listed("status")
    daemon = Daemon(tmp_path, SystemClock())
    if cause.make is nothing:
        daemon.scheduler.stop()  # else it runs
    daemon.scheduler.tick()
    asked.answers(cause, daemon)


def test_a_hold_after_a_rollback_has_one_reason_everywhere(
    certrotd: Certrotd,
    config: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Who went back wants to stay there, whatever is due."""
    assert certrotd("rotate", "web") == certrotd("rotate", "web", "--force") == 0
    assert certrotd("rollback", "web") == 0
    config["certificates"][0]["names"].append("more.example.test")
    asked = Asked(certrotd, capsys, "web")
    asked.listed("status")
    daemon = Daemon(tmp_path, SystemClock())
    daemon.scheduler.tick()
    asked.answers(Cause(nothing, "hold", "held after a rollback by hand"), daemon)


def test_a_closed_window_has_one_reason_everywhere(
    certrotd: Certrotd,
    config: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Something is due that reloads a service, at noon."""
    assert certrotd("rotate", "web") == 0
    begin = datetime.now(UTC) + timedelta(hours=6)
    config["defaults"] = {"window": f"{begin:%H:%M}-{begin + timedelta(hours=1):%H:%M}"}
    config["targets"] = {"service": {"type": "command", "command": ["/bin/true"]}}
    config["certificates"][0]["targets"] = ["service"]
    asked = Asked(certrotd, capsys, "web")
    asked.listed("status")
    daemon = Daemon(tmp_path, SystemClock())
    daemon.scheduler.tick()
    asked.answers(Cause(nothing, "window", "waits for its window"), daemon)


def test_a_lock_that_is_held_has_one_reason_everywhere(
    certrotd: Certrotd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another process is at it, and which: the daemon finds out when it tries."""
    asked = Asked(certrotd, capsys, "web")
    asked.listed("status")
    daemon = Daemon(tmp_path, SystemClock())
    words = f"certificate web is in use by process {os.getpid()} (certrotd run, since "
    with daemon.site.lock("certificate/web", "certificate web", None):
        daemon.tick()
        daemon.scheduler.tick()
        asked.answers(Cause(nothing, "lock", words), daemon)


def test_a_missing_acknowledgement_has_one_reason_everywhere(
    certrotd: Certrotd,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the example wing: its consumer has not said that it has the next token."""
    use_both_wings(monkeypatch)
    (tmp_path / "tokens.json").write_text(json.dumps({"api": {"every": 0}}))
    asked = Asked(certrotd, capsys, "token/api")
    assert certrotd("rotate", "token/api") == 0
    daemon = Daemon(tmp_path, SystemClock())
    daemon.tick()
    daemon.scheduler.tick()
    words = "await: waits for the acknowledgement of its consumer"
    asked.answers(Cause(nothing, "in_flight", words, gate=False), daemon)
    assert asked.served(daemon)["held"]["by"] == "parked"


def test_plan_explains_itself_when_it_is_asked_only(
    certrotd: Certrotd, capsys: pytest.CaptureFixture[str]
) -> None:
    """The control: nobody reads forty rules of a hundred certificates unasked."""
    assert certrotd("plan", "web", "--json") == 0
    assert "rules" not in listed(capsys)["web"]


def test_a_timer_waits_for_the_window_and_a_person_who_names_it_does_not(
    certrotd: Certrotd, config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """`rotate --all` is what the timer runs: it reloads nothing at noon."""
    assert certrotd("rotate", "--all") == 0
    begin = datetime.now(UTC) + timedelta(hours=6)
    config["defaults"] = {"window": f"{begin:%H:%M}-{begin + timedelta(hours=1):%H:%M}"}
    config["targets"] = {"service": {"type": "command", "command": ["/bin/true"]}}
    config["certificates"][0]["targets"] = ["service"]
    for asked, code in (("--all", "window"), ("web", "not_due")):
        certrotd("rotate", asked)
        capsys.readouterr()
        assert certrotd("status", "--json") == 0
        assert listed(capsys)["web"]["reason_code"] == code
