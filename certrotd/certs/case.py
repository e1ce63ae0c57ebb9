"""Everything that a decision about a certificate goes by."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime, timedelta

from certrotd.certs.decision import Adopt, Renew
from certrotd.certs.fallback import Choice, choose, waits_of
from certrotd.certs.fitness import advised, its_time, suggestion_for, usable
from certrotd.certs.policy import Attempts, Policy
from certrotd.lifecycle.decision import Action, Asked
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.generation import Generation, Standing
from certrotd.pki.renewal import LONGEST_POLL
from certrotd.pki.revocation import Revocation
from certrotd.value import value


@value
class Case:
    """Everything a decision goes by."""

    policy: Policy
    standing: Standing
    attempts: Attempts
    now: datetime
    asked: Asked
    live: Generation | None = field(init=False)
    facts: CertificateFacts | None = field(init=False)
    _its_time: tuple[datetime, str] | None = field(default=None, init=False, compare=False)

    def __post_init__(self) -> None:
        # once: 10,000 certificates are asked of in one listing
        live = self.standing.live
        object.__setattr__(self, "live", live)
        object.__setattr__(self, "facts", live.facts if live else None)

    @property
    def its_time(self) -> tuple[datetime, str]:
        """When the live certificate is to be renewed, and by which rule."""
        if self._its_time is None:  # once, as it is asked for by several rules
            assert self.live is not None
            its = its_time(self.live, self.standing.state, self.policy)
            object.__setattr__(self, "_its_time", its)
        assert self._its_time is not None
        return self._its_time

    @property
    def ask_at(self) -> datetime | None:
        """When the CA is to be asked about it; None if it is not.

        What a clock that was ahead has put off for longer than any answer holds is asked now.
        """
        if not advised(self.live, self.policy):
            return None
        known = suggestion_for(self.live, self.standing.state, self.policy)
        if known is None or known.ask_after > self.now + LONGEST_POLL:
            return self.now
        return known.ask_after

    @property
    def choice(self) -> Choice:
        """The CA that an order would go to."""
        waits, asked = waits_of(self.attempts), self.asked
        return choose(
            self.policy,
            waits,
            left=left(self.standing, now=self.now),
            now=self.now,
            forced=asked.forced,
        )

    @property
    def works(self) -> bool:
        """Whether what is live may be served on."""
        return usable(self.live, now=self.now) is None and self.revoked is None

    @property
    def revoked(self) -> Revocation | None:
        """That of the live certificate, if it is revoked or is to be."""
        return self.standing.state.revoked.get(self.live.number) if self.live else None

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
    served = live and not live.placeholder and live.number not in standing.state.revoked
    facts = live.facts if live and served else None
    return facts.not_after - now if facts and facts.not_after > now else None


def orders(action: Action) -> bool:
    """Whether it ends in an order."""
    return isinstance(action, Renew | Adopt)  # without a pair to adopt, an order comes next
