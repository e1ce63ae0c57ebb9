"""Rotations of certificates by hand: the runner of the lifecycle with arguments by their names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from certrotd.certs.managed import Managed
from certrotd.certs.revoking_by_hand import RevokingRotation
from certrotd.certs.rotate import CertificateRotation
from certrotd.clock import Clock
from certrotd.lifecycle.audited import Audit
from certrotd.lifecycle.decision import Asked
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.runner import Runner
from certrotd.pki.revocation import RevocationAsked
from certrotd.rotation.engine import Event


@dataclass(frozen=True)
class Rotator:
    """As Runner."""

    clock: Clock
    draw: Callable[[], float]
    new_id: Callable[[], str]
    listen: Callable[[Event], None] = lambda _event: None
    stopping: Callable[[], bool] = lambda: False
    audit: Audit = field(kw_only=True)

    @property
    def runner(self) -> Runner:
        """The runner of a new process."""
        parts = self.clock, self.draw, self.new_id, self.listen, self.stopping
        return Runner(*parts, audit=self.audit)

    def rotate(
        self,
        managed: Managed,
        *,
        forced: bool = False,
        by_hand: bool = False,
        named: bool = False,
        unclaimed: bool = False,
    ) -> Report:
        """As Subject.rotate."""
        asked = Asked(forced, by_hand, named, unclaimed=unclaimed)
        return self.runner.rotate(CertificateRotation(managed), asked)

    def bootstrap(self, managed: Managed) -> Report | None:
        """As CertificateRotation.bootstrap."""
        return CertificateRotation(managed).bootstrap(self.runner)

    def rollback(self, managed: Managed, *, to: int | None = None) -> Report:
        """As CertificateRotation.rollback."""
        return CertificateRotation(managed).rollback(self.runner, to)

    def revoke(
        self, managed: Managed, generation: int, reason: str = "superseded", *, now: bool = False
    ) -> Report:
        """As Revocable.revoke."""
        asked = RevocationAsked(generation, reason, at_once=now)
        return RevokingRotation(managed).revoke(self.runner, asked)

    def cancel(self, managed: Managed) -> Report:
        """As Subject.cancel."""
        return self.runner.cancel(CertificateRotation(managed))
