"""A host with certificates and, by the example wing, tokens: the daemon's own parts by a clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from certrotd.alerting.dedup import alerts_in
from certrotd.alerting.dispatch import Alerting
from certrotd.audit.head import read_head
from certrotd.audit.record import AuditRecord, parse
from certrotd.clock import Clock, ManualClock
from certrotd.config.load import load
from certrotd.config.notifications import WebhookEntry
from certrotd.daemon import wings
from certrotd.daemon.http.app import App
from certrotd.daemon.http.request import Request
from certrotd.daemon.http.sources import Sources
from certrotd.daemon.mount_guard import MountGuard
from certrotd.daemon.wiring import Site
from certrotd.daemon.work import workload_of
from certrotd.id import Id
from certrotd.observers import Observers
from certrotd.reporting.log_events import EventLog
from certrotd.reporting.status_board import StatusBoard
from certrotd.scheduling.clock_trust import clock_document
from certrotd.scheduling.scheduler import Scheduler
from tests.fakes.notifier import MemoryNotifier
from tests.wings import token_files

START = datetime(2027, 3, 4, tzinfo=UTC)
API = Id("token", "api")
WEB = Id("certificate", "web")
OPS = {
    "type": "webhook",
    "url": "https://ops.example.test/",
    "secret": {"env": "SECRET"},
    "severity": "warning",
}
WINGS = ["certrotd.certs.wing", token_files.__name__]


class Killed(BaseException):
    """The process is no more."""


class Host:
    """What outlives the processes: a directory, and the time."""

    def __init__(self, place: Path, tokens: Mapping[str, Any]) -> None:
        self.place = place
        self.clock = ManualClock(START)
        certificate = {"name": "web", "names": ["web.example.test"]}
        config = {
            "state_dir": str(place / "state"),
            "issuers": {"lab": {"type": "internal"}},
            "certificates": [certificate],
        }
        (place / "config.yaml").write_text(yaml.safe_dump(config))
        (place / "tokens.json").write_text(json.dumps(tokens))

    def start(self) -> Daemon:
        """A new process."""
        return Daemon(self.place, self.clock)

    def acknowledge(self, name: str = "api") -> None:
        """The consumer has the next token, and says so."""
        text = token_files.digest(self.place / f"{name}.next")
        (self.place / f"{name}.ack").write_text(text)

    def records(self) -> list[AuditRecord]:
        """The whole audit log."""
        lines = (self.place / "state/audit/audit.jsonl").read_bytes().splitlines(keepends=True)
        return [record for line in lines if (record := parse(line))]

    def journal(self, subject: Id = API) -> list[dict[str, Any]]:
        """The records of the rotation in flight."""
        path = self.place / f"state/journal/{subject}.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line)["r"] for line in lines]


class Daemon:
    """One process, as daemon/run.py wires it: rotations run when they are begun."""

    def __init__(self, place: Path, clock: Clock) -> None:
        self.clock = clock
        self.log: list[str] = []
        self.sent = MemoryNotifier()
        config = load(place / "config.yaml").config
        self.site = site = Site(config, clock=clock, command="certrotd run")
        site.prepare()
        self.board = StatusBoard(clock)
        lines = EventLog(self._log)
        alerts = alerts_in(site.state.document("alerts"), self.log.append)
        self.alerting = Alerting(
            alerts,
            lambda _name, _entry: self.sent,
            host="host",
            clock=clock,
            log=lambda _level, words: self.log.append(words),
        )
        self.alerting.use({"ops": WebhookEntry.model_validate(OPS)})
        observer = Observers([self.board, lines, self.alerting], self.log.append)
        runner = replace(site.runner(observer.stepped, clock.stopping), draw=lambda: 0.5)
        changes = {kind: site.state.changes(kind) for kind in site.kinds}
        self.work = workload_of(site, runner, changes, MountGuard(site.directories))
        last_run = clock_document(site.state)
        self.jobs: list[Callable[[], None]] = []
        self.scheduler = Scheduler(
            self.work,
            clock,
            last_run=last_run.read(),
            observer=observer,
            spawn=lambda _name, job: self.jobs.append(job),
            remember=last_run.write,
        )
        head = config.state_dir / "audit/head.json"
        self.app = App(Sources(self.board, clock, lambda: self.work, lambda: read_head(head)))

    def _log(self, _level: str, _event: str, words: str, /, **_fields: object) -> None:
        self.log.append(words)

    def tick(self) -> None:
        """A tick, and whatever it begins, to its end."""
        self.scheduler.tick()
        while self.jobs:
            self.jobs.pop(0)()

    def pass_time(self, span: timedelta, step: timedelta) -> None:
        """Ticks for so long."""
        assert isinstance(self.clock, ManualClock)
        end = self.clock.now() + span
        while self.clock.now() < end:
            self.clock.advance(step)
            self.tick()

    def get(self, path: str) -> str:
        """What the page, the metrics or the JSON say."""
        body = self.app(Request(path)).body
        return body if isinstance(body, str) else "".join(body)


def use_both_wings(monkeypatch: Any) -> None:
    """The only line that another wing changes."""
    monkeypatch.setattr(wings, "MODULES", WINGS)
