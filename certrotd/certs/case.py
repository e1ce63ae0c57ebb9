"""Everything that a decision about a certificate goes by."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from certrotd.certs.decision import Adopt, Renew
from certrotd.certs.fitness import renewal_time
from certrotd.certs.policy import Attempts, Policy
from certrotd.lifecycle.decision import Action, Asked
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.generation import Generation, Standing


@dataclass(frozen=True)
class Case:
    """Everything a decision goes by."""

    policy: Policy
    standing: Standing
    attempts: Attempts
    now: datetime
    asked: Asked
    live: Generation | None = field(init=False)
    facts: CertificateFacts | None = field(init=False)

    def __post_init__(self) -> None:
        # once: 10,000 certificates are asked of in one listing
        live = self.standing.live
        object.__setattr__(self, "live", live)
        object.__setattr__(self, "facts", live.facts if live else None)

    @cached_property
    def its_time(self) -> tuple[datetime, str]:
        """When the live certificate is to be renewed, and by which rule."""
        meta = self.live.meta if self.live else None
        return renewal_time(self.known_facts, meta.draw if meta else 0.0, self.policy)

    @property
    def mend_later(self) -> bool:
        """Whether mending was tried last and failed: then a renewal that is due comes first."""
        return bool(self.attempts.failures) and not self.attempts.authority

    @property
    def known_facts(self) -> CertificateFacts:
        """Those of the live certificate, where an earlier rule has made sure of them."""
        assert self.facts is not None
        return self.facts


def left(standing: Standing, *, now: datetime) -> timedelta | None:
    """How much there is left of what is served, None if nothing is."""
    live = standing.live
    facts = live.facts if live and not live.placeholder else None
    return facts.not_after - now if facts and facts.not_after > now else None


def orders(action: Action) -> bool:
    """Whether it ends in an order."""
    return isinstance(action, Renew | Adopt)  # without a pair to adopt, an order comes next
