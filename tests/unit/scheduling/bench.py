"""A daemon over a few cheap certificates, tick by tick."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from certrotd.certs.limits.sliding_windows import Limits
from certrotd.certs.policy import Policy
from certrotd.scheduling.clock_trust import ClockTrust
from tests.fakes.cheap import CA_URL, CheapCA, CheapDisk, CheapRotator, WorldClock
from tests.fakes.process import Kept, Process

START = datetime(2026, 1, 1, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=n) for n in (1, 60, 3600, 86400))


class Bench:
    """A few certificates of 90 days at a CA without limits, and the daemon over them."""

    def __init__(self, *hosts: str, **options: object) -> None:
        self.clock = WorldClock(START)
        self.lifetime = 90 * DAY
        self.ca = CheapCA(self.clock, lambda _names: self.lifetime)
        self.disks: dict[str, CheapDisk] = {}
        for host in hosts or ("web.example.com",):
            self.add(host)
        self.kept = Kept()
        self.limits: Limits | None = None
        self.concurrency = 8
        for option, value in options.items():
            setattr(self, option, value)
        self.start()

    def add(self, host: str, authority: str = CA_URL) -> CheapDisk:
        """One more certificate, named by its first label."""
        name = host.split(".")[0]
        policy = Policy(name, (host,), "ca", authority, jitter=0.0)
        self.disks[name] = CheapDisk(policy)
        return self.disks[name]

    def start(self) -> Process:
        """A new process."""
        self.rotator = CheapRotator(self.disks, self.ca, self.clock, lambda: 0.5)
        self.process = Process(
            self.disks,
            self.rotator,
            self.clock,
            self.kept,
            limits=self.limits,
            concurrency=self.concurrency,
        )
        return self.process

    def live(self, name: str = "web") -> int:
        """The number of the live generation, 0 before the first."""
        live = self.disks[name].live
        return live.number if live else 0

    def pass_time(self, length: timedelta, step: timedelta = MINUTE) -> None:
        """Ticks for so long."""
        end = self.clock.true + length
        while self.clock.true < end:
            self.clock.advance(step)
            self.process.tick()

    @property
    def trust(self) -> str:
        """What is thought of the clock."""
        judgements = self.process.heard.judgements
        return judgements[-1][0].trust.value if judgements else ClockTrust.SOUND.value

    @property
    def orders(self) -> int:
        """How many were placed."""
        return len(self.ca.orders)
