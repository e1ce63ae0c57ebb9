"""Why is web not renewed? One answer, in `status --json`, `plan --explain` and on the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certrotd.certs.limits.sliding_windows import LETS_ENCRYPT
from certrotd.scheduling.clock_trust import to_json
from certrotd.state.history import FileHistory
from tests.unit.cli.conftest import Certrotd
from tests.unit.cli.test_held import fly
from tests.unit.cli.test_run import listed

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


@pytest.mark.parametrize(
    ("cause", "code", "words"),
    [
        (nothing, "first", "there is no certificate yet"),
        (clock, "clock", "nothing is ordered until the clock is right"),
        (budget, "budget", "orders of the account"),
        (failed, "backoff", "after 1 failure, the last: no answer"),
        (asked_to_wait, "retry_after", "the CA asked to wait"),
        (in_flight, "in_flight", "no answer"),
    ],
)
def test_status_and_plan_give_one_reason_with_one_code(
    certrotd: Certrotd,
    config: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    cause: Callable[[Path], None],
    code: str,
    words: str,
) -> None:
    """Whoever asks at night asks once."""
    config["issuers"]["lab"] = {"type": "acme", "directory": ACME, "agree_to_terms": True}
    config["solvers"] = {"dns": {"type": "exec", "command": ["/bin/true"]}}
    state = tmp_path / "state"
    (state / "journal").mkdir(parents=True)
    (state / "format.json").write_text('{"format": 2}')
    cause(state)
    assert certrotd("status", "web", "--json") == 0
    shown = listed(capsys)["web"]
    assert (shown["reason_code"], words in shown["reason"]) == (code, True)
    if code not in ("first", "in_flight"):
        assert shown["held"]["by"] == code
    assert certrotd("plan", "web", "--explain", "--json") == 0
    planned = listed(capsys)["web"]
    assert planned["reason_code"] == code
    matched = [rule for rule in planned["rules"] if rule["matched"]]
    assert matched[-1]["code"] == code
    assert words in matched[-1]["why"]
    assert certrotd("plan", "web", "--explain") == 0
    assert f"{code} " in capsys.readouterr().out


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
