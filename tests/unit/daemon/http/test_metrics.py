"""Metrics as Prometheus reads them."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from certrotd import __version__
from certrotd.audit.head import Anchor
from certrotd.audit.record import Head
from certrotd.certs.decision import Renew
from certrotd.certs.findings import FindingKind
from certrotd.certs.limits.budget import Budget, DocumentBudgetStore
from certrotd.certs.limits.sliding_windows import Limit, Limits
from certrotd.certs.policy import id_of
from certrotd.daemon.http.metrics import exposition, standby_exposition
from certrotd.daemon.http.sources import look_around
from certrotd.errors import ConfigProblem, Failure
from certrotd.lifecycle.finding import Finding, Watched
from certrotd.lifecycle.report import Report
from certrotd.rotation.engine import Event, Finished, Stuck
from certrotd.scheduling.clock_trust import ClockTrust, Judgement
from certrotd.state.document import FileDocument
from tests.unit.daemon.http.scrape import names_of, parsed, series, value
from tests.unit.daemon.http.stand import DAY, NOW, PRINT, Stand

DEPLOY = Path(__file__).parents[4] / "deploy" / "monitoring"
ALERTS = DEPLOY / "alerts.yaml"
DASHBOARD = DEPLOY / "grafana-dashboard.json"
WEB = {"kind": "certificate", "name": "web"}
MISMATCH = Finding(FindingKind.SERVED_MISMATCH, "it serves another")
# what is no metric in a query: functions, keywords, and the labels in brackets and braces
_WORD = re.compile(r"\bcertrotd_[a-z0-9_]+")
_MATCHERS = re.compile(r"(certrotd_[a-z0-9_]+)\{([^}]*)\}")


@pytest.fixture
def busy(stand: Stand) -> Stand:
    """One on which everything there is happens."""
    stand.fine("web")
    stand.fine("www", age=70 * DAY)
    stand.add("new", "new.example.com")
    stand.past("www", "nobody answers")
    stand.look()
    board = stand.board
    for what in ("trying", "failed"):
        board.stepped(Event("id", "certificate/www", what, 1, 9, "prove"))
        stand.clock.sleep(2)
    board.ended(Report(id_of("web"), Renew("due", NOW), Finished({})))
    end = NOW + 80 * DAY
    board.watched(Watched("target", "127.0.0.1:443", NOW, "a", id_of("web"), "nginx", end, PRINT))
    board.watched(Watched("endpoint", 'evil"\\:443', NOW, not_after=end, findings=(MISMATCH,)))
    limits = Limits(orders=Limit(300, timedelta(hours=3)))
    record = DocumentBudgetStore(FileDocument(stand.state, "budget"), pytest.fail)
    stand.budgets["ca"] = Budget(limits, record, stand.clock)
    stand.audit = Anchor(Head(41, "ef" * 32))
    return stand


def scraped(stand: Stand) -> str:
    """The whole text."""
    return "".join(exposition(look_around(stand.sources)))


def test_prometheus_can_read_it(busy: Stand) -> None:
    """Names, units, HELP and TYPE as its conventions ask."""
    families = parsed(scraped(busy))
    assert len(families) > 20
    assert all(name.startswith("certrotd_") for name in families)


def test_prometheus_can_read_what_has_just_begun(stand: Stand) -> None:
    """Before the first tick most of it is not known yet."""
    text = scraped(stand)
    assert parsed(text)
    assert value(text, "certrotd_ready") == 0
    assert series(text, "certrotd_last_tick_timestamp_seconds") == {}
    assert series(text, "certrotd_audit_records_total") == {}


def test_dates_are_those_of_the_certificates(busy: Stand) -> None:
    """Alerts on expiry go by these alone."""
    text = scraped(busy)

    def dated(name: str) -> float:
        return value(text, f"certrotd_subject_{name}_timestamp_seconds", **WEB)

    assert dated("not_before") == (NOW - 10 * DAY).timestamp()
    assert dated("not_after") == (NOW + 80 * DAY).timestamp()
    assert dated("next_check") == (NOW + 50 * DAY).timestamp()
    missing = frozenset({("kind", "certificate"), ("name", "new")})
    assert missing not in series(text, "certrotd_subject_not_after_timestamp_seconds")


def test_failures_and_attempts_are_there_where_there_are_any(busy: Stand) -> None:
    """So that a healthy fleet of 10,000 does not cost 20,000 series of zeros."""
    text = scraped(busy)
    www = frozenset({("kind", "certificate"), ("name", "www")})
    assert series(text, "certrotd_subject_failures") == {www: 1}
    assert series(text, "certrotd_attempts_left").keys() == {www}
    assert value(text, "certrotd_subjects", kind="certificate", state="ok") == 1
    assert value(text, "certrotd_subjects", kind="certificate", state="missing") == 1
    assert value(text, "certrotd_subjects", kind="certificate", state="expired") == 0


def test_rotations_and_steps_are_counted(busy: Stand) -> None:
    """Rotations by outcome, steps by how long they took and how often they failed."""
    text = scraped(busy)
    assert value(text, "certrotd_rotations_total", outcome="finished", act="renew") == 1
    assert value(text, "certrotd_step_failures_total", step="prove") == 1
    buckets = series(text, "certrotd_step_duration_seconds_bucket")
    assert buckets[frozenset({("step", "prove"), ("le", "1")})] == 0
    assert buckets[frozenset({("step", "prove"), ("le", "5")})] == 1
    assert buckets[frozenset({("step", "prove"), ("le", "+Inf")})] == 1
    assert value(text, "certrotd_step_duration_seconds_count", step="prove") == 1
    assert value(text, "certrotd_step_duration_seconds_sum", step="prove") == 2


def test_counters_begin_at_zero_before_anything_is_counted(stand: Stand, busy: Stand) -> None:
    """increase() does not see a series that begins with 1: the first rotation stuck would pass."""
    text = scraped(Stand(stand.state))
    for outcome in ("stuck", "failed", "rolled_back", "finished"):
        for kind in ("renew", "deploy", "adopt", "sweep", "resume"):
            assert value(text, "certrotd_rotations_total", outcome=outcome, act=kind) == 0
    busy.board.stepped(Event("id", "certificate/web", "trying", 0, 9, "swap"))
    busy.board.stepped(Event("id", "certificate/web", "done", 0, 9, "swap"))
    assert value(scraped(busy), "certrotd_step_failures_total", step="swap") == 0
    stuck = Report(id_of("web"), Renew("due", NOW), Stuck("swap", "no", "no"))
    busy.board.ended(stuck)
    assert value(scraped(busy), "certrotd_rotations_total", outcome="stuck", act="renew") == 1


def test_every_endpoint_of_a_target_has_its_served_mismatch(busy: Stand) -> None:
    """An address that is nobody's certificate cannot mismatch; strange names stay one label."""
    text = scraped(busy)
    ours = {
        "kind": "certificate",
        "name": "web",
        "target": "nginx",
        "endpoint": "127.0.0.1:443",
        "sni": "a",
    }
    assert series(text, "certrotd_served_mismatch") == {frozenset(ours.items()): 0}
    dated = series(text, "certrotd_endpoint_not_after_timestamp_seconds")
    strange = {"kind": "", "name": "", "target": "", "endpoint": 'evil"\\:443', "sni": ""}
    assert dated[frozenset(strange.items())] == (NOW + 80 * DAY).timestamp()
    assert value(text, "certrotd_findings", finding="served_mismatch", severity="error") == 1
    assert value(text, "certrotd_findings", finding="expired", severity="error") == 0
    wrong = Watched(
        "target", "127.0.0.1:443", NOW, "a", id_of("web"), "nginx", findings=(MISMATCH,)
    )
    busy.board.watched(wrong)
    assert value(scraped(busy), "certrotd_served_mismatch", **ours) == 1


def test_the_budget_is_what_is_left(busy: Stand) -> None:
    """Where orders are limited; a budget that cannot be read is not shown as a number."""
    assert value(scraped(busy), "certrotd_budget_left", issuer="ca") == 300
    (busy.state / "budget.json").symlink_to("elsewhere")
    assert series(scraped(busy), "certrotd_budget_left") == {}


def test_the_daemon_has_metrics_of_itself(busy: Stand) -> None:
    """Each with its opposite."""
    text = scraped(busy)
    assert value(text, "certrotd_build_info", version=__version__) == 1
    assert value(text, "certrotd_ready") == 1
    assert value(text, "certrotd_last_tick_timestamp_seconds") == NOW.timestamp()
    assert value(text, "certrotd_config_valid") == 1
    assert value(text, "certrotd_audit_records_total") == 41
    assert value(text, "certrotd_audit_head_readable") == 1
    assert value(text, "certrotd_clock_trust", trust="sound") == 1
    busy.board.clock(Judgement(ClockTrust.WRONG, "it is 1970"), None)
    busy.board.refused(["no"])
    busy.board.trouble("the directories", Failure("gone"))
    busy.audit = Failure("no permission")
    text = scraped(busy)
    assert value(text, "certrotd_clock_trust", trust="sound") == 0
    assert value(text, "certrotd_clock_trust", trust="wrong") == 1
    assert value(text, "certrotd_config_valid") == 0
    assert value(text, "certrotd_troubles") == 1
    assert value(text, "certrotd_audit_head_readable") == 0
    assert series(text, "certrotd_audit_records_total") == {}
    busy.audit = Anchor(state="unreadable")
    assert value(scraped(busy), "certrotd_audit_head_readable") == 0
    busy.board.configured([id_of("web")], [ConfigProblem(Path("c.yaml"), 1, "", "no")])
    text = scraped(busy)
    assert value(text, "certrotd_config_valid") == 0
    assert value(text, "certrotd_entries_left_out") == 1


def rules() -> Iterator[dict[str, Any]]:
    """Every alerting rule of the file."""
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        assert set(group) == {"name", "rules"}
        yield from group["rules"]


def queries() -> Iterator[str]:
    """Every query of the rules, the dashboard, and the metrics the documentation names."""
    yield from (rule["expr"] for rule in rules())
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def test_every_query_asks_for_what_is_there(busy: Stand) -> None:
    """An alert on a metric that was renamed never fires, and nobody notices."""
    known = names_of(parsed(scraped(busy)))
    asked: set[str] = set()
    for query in queries():
        words = set(_WORD.findall(query))
        assert words, query
        assert words <= set(known), query
        for name, matchers in _MATCHERS.findall(query):
            labels = {each.partition("=")[0].strip(" !~") for each in matchers.split(",")}
            assert labels <= known[name] | {"instance"}, query
        asked |= words
    assert len(asked) > 15


def test_the_manual_names_what_is_there(busy: Stand) -> None:
    """And all of what is there."""
    manual = (Path(__file__).parents[4] / "docs" / "monitoring.md").read_text()
    known = set(parsed(scraped(busy))) | set(parsed("".join(standby_exposition())))
    assert set(_WORD.findall(manual)) <= known
    shortened = {"not_after": "_not_after_", "failures_total": "_failures_total"}
    for name in known:
        tail = next((short for end, short in shortened.items() if end in name), name)
        assert name in manual or tail in manual or name.removeprefix("certrotd_audit") in manual


def test_the_rules_are_rules() -> None:
    """As promtool check rules asks: the keys there are, durations, a summary, no name twice."""
    found = list(rules())
    assert len({rule["alert"] for rule in found}) == len(found) > 12
    for rule in found:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, rule
        assert re.fullmatch(r"Certrotd[A-Za-z]+", rule["alert"])
        assert re.fullmatch(r"[0-9]+[smhd]", rule.get("for", "1m"))
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
        _balanced(rule["expr"])


def test_every_value_a_rule_compares_a_label_with_exists(busy: Stand) -> None:
    """A misspelt outcome is an alert that never fires."""
    outcomes = {"finished", "parked", "failed", "rolled_back", "stuck", "held", "stopped"}
    values = {"trust": {each.value for each in ClockTrust}, "outcome": outcomes,
              "severity": {"error", "warning"}, "name": {""}}  # fmt: skip
    for rule in rules():
        for _, matchers in _MATCHERS.findall(rule["expr"]):
            label, _, wanted = matchers.partition("=")
            assert wanted.strip('"') in values[label], rule


def test_the_dashboard_is_one() -> None:
    """No panel twice, none over another, none without a query."""
    board = json.loads(DASHBOARD.read_text())
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
        for target in panel["targets"]:
            _balanced(target["expr"])


def _balanced(query: str) -> None:
    for opening, closing in ("()", "{}", "[]"):
        assert query.count(opening) == query.count(closing), query
    assert query.count('"') % 2 == 0, query
