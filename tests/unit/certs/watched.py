"""A certificate that is watched, on its target and its copies, and looks at it and at endpoints."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from certrotd.certs.checks import CertificateCheck, Looked, Means, checks_of
from certrotd.certs.policy import Policy, id_of
from certrotd.clock import ManualClock
from certrotd.config.watch import WatchEntry
from certrotd.errors import Failure
from certrotd.lifecycle.finding import Watched
from certrotd.lifecycle.wing import Check
from certrotd.observe.chain import Presented
from certrotd.pki.facts import facts_of, parse_certificates
from tests.fakes.examiner import MemoryExaminer
from tests.fakes.world import MemoryWorld
from tests.parts import pki

NOW = datetime(2027, 3, 4, tzinfo=UTC)
NAME = "a.example.test"
YESTERDAY = NOW - timedelta(days=1)
OTHER = pki.make_leaf(
    pki.make_intermediate(pki.make_root(), not_before=YESTERDAY),
    NAME,
    not_before=YESTERDAY,
    lifetime=timedelta(days=90),
)


def entry(address: str = "192.0.2.1:443", **options: Any) -> WatchEntry:
    """An entry of ``watch:``."""
    return WatchEntry.model_validate({"address": address, "sni": NAME, **options})


class WatchedCertificate:
    """A certificate that was rotated onto its target and its copies, and looks at it."""

    def __init__(self, **policy: Any) -> None:
        self.clock = ManualClock(NOW)
        options = {"installs": True, "waves": (("nginx",),), **policy}
        self.world = MemoryWorld(Policy("web", (NAME,), "ca", "memory", **options), self.clock)
        self.examiner = MemoryExaminer()
        self.flying = False
        self.managed = self.world.managed()
        self._numbers = count(1)
        self.rotate()
        self.serve()
        self.means = Means(
            3600, lambda name: self.flying and name == id_of("web"), self.examiner, self.clock
        )

    def rotate(self) -> None:
        """Bring it up to date."""
        rotator = self.world.rotator(new_id=lambda: f"id-{next(self._numbers)}")
        rotator.rotate(self.managed, forced=True)

    @property
    def live(self) -> Presented:
        """What the live generation looks like from outside."""
        number = self.world.store.live("web")
        assert number is not None
        _, chain = self.world.store.read("web", number)
        return Presented(tuple(facts_of(each) for each in parse_certificates(chain)))

    def serve(self, presented: Presented | Failure | None = None) -> None:
        """The target shows this, or the live generation."""
        self.examiner.shown["nginx"] = presented or self.live

    @property
    def check(self) -> CertificateCheck:
        """Of the certificate."""
        return CertificateCheck(self.managed, self.means)

    def looks(self) -> dict[str, Looked]:
        """Everything that a look at the certificate finds."""
        return {look.watched.sort: look for look in self.check.look()}

    def found(self) -> dict[str, list[str]]:
        """The kinds of findings by sort."""
        return {sort: kinds(look.watched) for sort, look in self.looks().items()}

    def at(self, which: WatchEntry) -> Looked:
        """A look at an entry."""
        [check] = self.checks(which)[:-1]
        [look] = check.look()
        assert isinstance(look, Looked)
        return look

    def checks(self, *entries: WatchEntry) -> list[Check]:
        """Of these entries, and of the certificate."""
        return checks_of(entries, {id_of("web"): self.managed}, self.means)


def kinds(watched: Watched) -> list[str]:
    """What its findings are about."""
    return [each.kind for each in watched.findings]


def other(*names: str) -> Presented:
    """What somebody else's certificate looks like."""
    facts = facts_of(OTHER.certificate)
    return Presented((replace(facts, names=names or facts.names), facts_of(OTHER.intermediates[0])))
