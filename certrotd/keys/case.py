"""Everything that a decision about a keyring goes by, and what follows from it: pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from certrotd.keyring.consent import Consent
from certrotd.keyring.evidence import Evidence, Lacking, Missing, missing
from certrotd.keyring.keyring import Use
from certrotd.keyring.states import State, Version, Versions
from certrotd.keys.policy import Attempts, Policy, Standing
from certrotd.lifecycle.decision import Asked

AHEAD = timedelta(days=1)
"""A key that begins so far in the future began by a clock that was wrong: its age is not known."""


@dataclass(frozen=True)
class Case:
    """Everything a decision goes by."""

    policy: Policy
    standing: Standing
    attempts: Attempts
    now: datetime
    asked: Asked

    @cached_property
    def versions(self) -> Versions:
        """Those of the keyring; none if it was never written."""
        return self.standing.versions or Versions()

    @property
    def active(self) -> Version | None:
        return self.versions.active

    @cached_property
    def staged(self) -> Version | None:
        """The version of a rotation that was begun: secondary, or not given to anybody yet."""
        waiting = self.versions.in_state(State.PRE_ACTIVE)
        return self.versions.secondary or (waiting[-1] if waiting else None)

    @property
    def backed_up(self) -> str:
        """Why there is no first key to be made or taken over here; empty if there may be.

        It would be another keyring of that name: neither could then be restored over the other, and
        the backups of one would make room for those of the other.
        """
        name, place = self.policy.name, self.standing.backups
        words = f"there are backups of {name} in {place}: restore one, or move them away"
        return words if place else ""

    @cached_property
    def limits(self) -> tuple[tuple[str, datetime | None, str], ...]:
        """Each limit of the active key: its code, when it is reached (None: now), and words."""
        active = self.active
        return tuple(_limits(self, active)) if active else ()

    @property
    def expected(self) -> tuple[datetime, str] | None:
        """When the next rotation begins by its schedule, and by which rule."""
        dated = [(at or self.now, words) for _, at, words in self.limits]
        return min(dated, key=lambda each: each[0], default=None)

    @property
    def suspects(self) -> tuple[Version, ...]:
        """The versions that somebody said others may know, and that are not marked so yet."""
        said, active = self.standing.suspects, self.active
        undone = self.attempts.suspect
        return tuple(
            each
            for each in self.versions.all
            if not each.compromised
            and (each.number in said or (active == each and undone == each.number))
            and (self.staged is None or self.staged.number != each.number)
        )

    def use(self, number: int) -> Use:
        return self.standing.uses.get(number, Use())

    def evidence(self, version: Version, unacknowledged: tuple[str, ...] = ()) -> Evidence:
        """What is known of a version that is to be destroyed.

        ``unacknowledged`` are the consumers that do not confirm the present keys, where asked.
        """
        policy, standing, number = self.policy, self.standing, version.number
        consent = Consent(standing.holds, standing.confirmed)
        since = version.encrypted_until
        return Evidence(
            datasets=policy.datasets,
            census=standing.census.get(number, {}),
            drains={what: since + age for what, age in policy.drains.items()} if since else {},
            drilled=standing.drilled,
            failed=standing.failed,
            backups_away=standing.backups_away,
            rehearsed=last.at if (last := standing.rehearsed) and last.succeeded else None,
            hold=standing.holds.get(number),
            scans=policy.scans,
            scan=standing.scan,
            unacknowledged=unacknowledged,
            confirmations=policy.confirmations,
            confirmed=consent.of(version),
        )

    def left_of(self, version: Version) -> tuple[Missing, ...]:
        """Why something may be left under a version, so that it is not retired; nothing if not."""
        return tuple(each for each in self.lacking(version) if each.code not in _AFTER_RETIRING)

    def needed(self, version: Version) -> tuple[Missing, ...]:
        """Why a retired version is not withheld yet; nothing if it may be."""
        return tuple(each for each in self.lacking(version) if each.code not in _OF_DESTRUCTION)

    @property
    def stored(self) -> tuple[tuple[str, Version], ...]:
        """Datasets to re-encrypt, each with a version that something may be left under there.

        Until it was counted after the version stopped encrypting, something may be.
        """
        if self.active is None:
            return ()
        found: dict[str, Version] = {}
        for version in self.versions.in_state(*_READABLE):
            since = version.counted_from
            for name in sorted(self.policy.reencrypted) if since else ():
                count = self.standing.census.get(version.number, {}).get(name)
                if since and (count is None or count.left or count.at < since):
                    found.setdefault(name, version)
        return tuple(found.items())

    def lacking(self, version: Version) -> tuple[Missing, ...]:
        """What is not shown yet of a version that is to be destroyed."""
        until, now, fresh = version.counted_from, self.now, self.policy.fresh
        return tuple(missing(self.evidence(version), fresh, encrypted_until=until, now=now))


_READABLE = (State.DECRYPT_ONLY, State.COMPROMISED, State.RETIRED)
_OF_DESTRUCTION = frozenset(
    {
        *(Lacking.NO_DRILL, Lacking.DRILL_STALE, Lacking.UNCONFIRMED),
        *(Lacking.NO_REHEARSAL, Lacking.REHEARSAL_STALE, Lacking.BACKUPS_AWAY),
    }
)
"""What is not asked for before: a key that is withheld can still be given back."""
_OF_SCANS = frozenset({Lacking.NOT_SCANNED, Lacking.SCAN_STALE, Lacking.UNDECLARED})
_AFTER_RETIRING = _OF_DESTRUCTION | _OF_SCANS | {Lacking.HELD, Lacking.CENSUS_ONCE}
"""What is not asked for before a key is retired: its consumers still have it."""


def _limits(case: Case, active: Version) -> Iterator[tuple[str, datetime | None, str]]:
    policy, used = case.policy, case.use(active.number)
    known = case.attempts.custodians
    gone = sorted(known - policy.custodians) if known else []
    if gone:
        yield "departed", None, f"{', '.join(gone)} had access to the key, and has left"
    if active.since - case.now > AHEAD:
        yield "clock", None, f"the clock was wrong when the key began, at {active.since:%Y-%m-%d}"
    if used.messages >= policy.messages:
        yield "messages", None, f"the key has encrypted {used.messages:,} messages"
    if policy.size is not None and used.bytes >= policy.size:
        yield "bytes", None, f"the key has encrypted {used.bytes:,} bytes"
    if policy.calendar is not None and (at := policy.calendar(active.since)) is not None:
        yield "calendar", at, f"the calendar asks for a new key at {at:%Y-%m-%d %H:%M}Z"
    end = active.since + policy.cryptoperiod
    words = f"the cryptoperiod of the key ends at {end:%Y-%m-%d %H:%M}Z"
    yield "cryptoperiod", end - policy.lead, words
