"""Managed certificates of a test as subjects of the lifecycle, and as a wing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from certrotd.certs.limits.budget import Budget
from certrotd.certs.limits.sliding_windows import Over
from certrotd.certs.managed import Managed
from certrotd.certs.placeholders import Placeholders
from certrotd.certs.policy import KIND, Attempts
from certrotd.certs.rules import decide
from certrotd.certs.subject import CertificateFound, CertificateSubject
from certrotd.certs.wing import Certificates, terms
from certrotd.daemon.wiring import Site
from certrotd.id import Id
from certrotd.lifecycle.gate import Held
from certrotd.lifecycle.runner import Runner
from certrotd.lifecycle.view import View
from certrotd.lifecycle.wing import Check, Ration, Terms
from certrotd.pki.generation import Standing
from certrotd.rotation.flight import Flight


@dataclass(frozen=True)
class FakeAccounts:
    """The Accounts port; ``budget_of`` gives that of an issuer."""

    budget_of: Callable[[str], Budget | None] = lambda _issuer: None

    def budget(self, issuer: str) -> Budget | None:
        return self.budget_of(issuer)

    def foresee(
        self, issuer: str, names: Sequence[str], renewal: bool, now: datetime
    ) -> Over | None:
        return None

    def pass_over(self, name: str, until: Mapping[str, datetime]) -> None:
        pass


def subject_of(
    managed: Managed, budget_of: Callable[[str], Budget | None] = lambda _issuer: None
) -> CertificateSubject:
    """The certificate as the daemon sees it."""
    return CertificateSubject(managed, FakeAccounts(budget_of))


def subjects_of(
    certificates: Iterable[Managed],
    budget_of: Callable[[str], Budget | None] = lambda _issuer: None,
) -> dict[Id, CertificateSubject]:
    """All of them by id."""
    return {each.policy.id: subject_of(each, budget_of) for each in certificates}


def view_of(
    managed: Managed,
    standing: Standing,
    attempts: Attempts,
    *,
    now: datetime,
    flight: Flight | None = None,
    held: Held | None = None,
) -> View:
    """A view that decides as the daemon does."""
    decision = decide(managed.policy, standing, attempts, now=now)
    found = CertificateFound(managed, standing, attempts, decision)
    return View(subject_of(managed), found, now, flight, held)


@dataclass
class FakeWing:
    """The Wing port over certificates of a test."""

    subjects: Sequence[CertificateSubject]
    slots: int = 1
    kind: str = KIND
    terms: Terms = field(default_factory=terms)
    rations: Mapping[str, Callable[[], Ration | None]] = field(default_factory=dict)
    directories: Sequence[Path] = ()

    def covering(self, name: str) -> Sequence[Id]:
        return Certificates.covering(self, name)  # type: ignore[arg-type]

    def prepare(self, runner: Runner) -> None:
        Placeholders([each.managed for each in self.subjects]).put(runner)

    def serve(self, report: Callable[[str], None]) -> None:
        """It serves nothing."""

    def checks(self) -> Sequence[Check]:
        return ()

    def close(self) -> None:
        pass


def certificates_of(site: Site) -> Sequence[CertificateSubject]:
    """The certificates of a real site."""
    return wing_of(site).subjects


def wing_of(site: Site) -> Certificates:
    """The wing of certificates of a real site."""
    wing = site.wing(KIND)
    assert isinstance(wing, Certificates)
    return wing
