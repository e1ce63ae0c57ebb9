"""What to do about a managed key and why: a pure function of what was seen, its policy and now.

RULES are tried in order, and the first that matches decides; each has a code beside its words.
Then WAITS are tried, which postpone what is due. explain() says of each why it matched or why not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from certrotd.kek.managed.port import KeyVersion
from certrotd.lifecycle.decision import DAEMON, Action, Asked, Decision, Postpone, Tried, Wait
from certrotd.lifecycle.gate import Gate
from certrotd.lifecycle.rules import (
    IN_WINDOW,
    NO_BACKOFF,
    Rule,
    Waiting,
    backing_off,
    decided,
    explained,
    outside_window,
    says,
)
from certrotd.managed_keys.decision import RECHECK, Look, Retire, Rotate, SetPeriod
from certrotd.managed_keys.policy import Policy, Seen, Standing

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Case:
    """Everything a decision goes by."""

    policy: Policy
    standing: Standing
    now: datetime
    asked: Asked = DAEMON

    @property
    def seen(self) -> Seen | None:
        return self.standing.of(self.policy)

    @property
    def known(self) -> Seen:
        """What was seen, for the rules after the one that asks for a look."""
        assert self.seen is not None, "it is looked at first"
        return self.seen

    @property
    def end(self) -> datetime:
        """Of the cryptoperiod of the present version."""
        return self.known.since + self.policy.cryptoperiod

    @property
    def due(self) -> datetime | None:
        """When certrotd rotates it by its schedule; None where the service does."""
        return None if self.policy.by_service else self.end - self.policy.lead

    @property
    def retires(self) -> datetime | None:
        """When its oldest version that decrypts is to be retired; None if it is to be kept."""
        retention = self.policy.retention
        return retention.due(self.known.state) if retention else None

    @property
    def oldest(self) -> KeyVersion | None:
        """The version before which all are to be retired now; None if there are none."""
        retention = self.policy.retention
        return retention.oldest(self.known.state, now=self.now) if retention else None

    @property
    def wanted(self) -> bool:
        """Whether it is to be rotated now, if it can be."""
        return self.asked.forced or (self.due is not None and self.due <= self.now)


def decide(policy: Policy, standing: Standing, asked: Asked = DAEMON, *, now: datetime) -> Decision:
    """The decision about one managed key.

    ``asked.named`` overrides its window, ``by_hand`` the backoff, as does a configuration that was
    mended; ``forced`` rotates whatever the dates say.
    """
    return decided(RULES, WAITS, Case(policy, standing, now, asked))


def explain(policy: Policy, standing: Standing, *, now: datetime) -> Iterator[Tried]:
    """Every rule that decide() tries, in its order, and why it matched or did not."""
    return explained(RULES, WAITS, Case(policy, standing, now))


def _disabled(case: Case) -> Wait | None:
    if case.policy.enabled:
        return None
    return Wait("disabled in the configuration", case.now + RECHECK)


def _unknown(case: Case) -> Look | None:
    if case.seen is not None:
        return None
    if case.standing.seen is not None:
        return Look("the configuration names another key, which was never looked at")
    return Look("its service was never asked about it")


def _stale(case: Case) -> Look | None:
    if case.known.at + case.policy.fresh > case.now:
        return None
    return Look(f"its service was last asked about it at {_moment(case.known.at)}")


def _key_disabled(case: Case) -> Wait | None:
    if case.known.state.present.decrypts:
        return None
    return Wait(f"{case.known.state.place} is disabled", case.now + RECHECK)


def _rotating(case: Case) -> Wait | None:
    """It takes AWS a while: the next look tells."""
    if not case.known.state.rotating:
        return None
    return Wait("its service makes a new version right now", _look(case))


def _used_up(case: Case) -> Wait | None:
    if case.known.state.rotations_left != 0 or not case.wanted:
        return None
    why = f"{case.policy.service} rotates it on demand no more: replace it, or rotated_by: service"
    return Wait(why, case.now + RECHECK)


def _forced(case: Case) -> Rotate | None:
    return Rotate("forced by hand") if case.asked.forced else None


def _period(case: Case) -> SetPeriod | None:
    policy, period = case.policy, case.known.state.period
    if not policy.by_service or period == policy.cryptoperiod:
        return None
    wanted = f"not every {days(policy.cryptoperiod)}"
    if period is None:
        return SetPeriod(f"{policy.service} does not rotate it by itself")
    return SetPeriod(f"{policy.service} rotates it every {days(period)}, {wanted}")


def _cryptoperiod(case: Case) -> Rotate | None:
    return Rotate(f"{_version(case)} ends at {_moment(case.end)}") if case.wanted else None


def _lowered(case: Case) -> Wait | None:
    """Somebody needs what was retired: that is theirs to end."""
    mark = case.known.lowered_from
    if not mark or case.oldest is None or case.asked.named:
        return None
    raised = f"certrotd raises it again by certrotd rotate {case.policy.id}"
    return Wait(f"somebody lowered min_decryption_version from {mark[:16]}: {raised}", _until(case))


def _retention(case: Case) -> Retire | None:
    oldest = case.oldest
    if oldest is None or oldest.created is None:
        return None
    change = f"from {case.known.state.oldest_decrypting.id[:16]} to {oldest.id[:16]}"
    since = f"version {oldest.id[:16]} encrypts since {_moment(oldest.created)}"
    return Retire(f"raises min_decryption_version {change}: {since}", oldest.id)


def _not_due(case: Case) -> Wait:
    """Until the rotation, the end of an old version, or the next look."""
    if case.due is None:
        period = case.known.state.period
        assert period is not None, "it is set first"
        at = case.known.since + period
        why = f"{case.policy.service} rotates it by itself, next at {_moment(at)}"
        return Wait(why, _until(case), planned=at)
    planned = min((at for at in (case.due, case.retires) if at and at > case.now), default=None)
    return Wait(f"{_version(case)} ends at {_moment(case.end)}", _until(case), planned=planned)


def _until(case: Case) -> datetime:
    """When something may be due next."""
    moments = (case.due, case.retires, _look(case))
    return min(each for each in moments if each is not None and each > case.now)


def _look(case: Case) -> datetime:
    return case.known.at + case.policy.fresh


def _version(case: Case) -> str:
    return f"the cryptoperiod of version {case.known.state.present.id[:16]}"


def _window_closed(case: Case, due: Action) -> Postpone | None:
    if not isinstance(due, Rotate | Retire):
        return None
    return outside_window(case.policy.window, case.asked, due, now=case.now)


def _too_recent(case: Case, due: Action) -> Postpone | None:
    return backing_off(case.standing.attempts, case.asked, due, now=case.now)


def days(period: timedelta) -> str:
    """A period in days, as services have it."""
    return f"{period / _DAY:g} days"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}Z"


RULES = (
    Rule("disabled", _disabled, says("enabled in the configuration")),
    Rule("unknown", _unknown, says("its service was asked about it")),
    Rule("stale", _stale, says("that is not long ago")),
    Rule("key_disabled", _key_disabled, says("its service has not disabled it")),
    Rule("rotating", _rotating, says("its service is not about to make a new version")),
    Rule("used_up", _used_up, says("its service rotates it on demand, or needs not")),
    Rule("forced", _forced, says("not forced")),
    Rule("period", _period, says("its service rotates it as often as it should, or needs not")),
    Rule("cryptoperiod", _cryptoperiod, says("more than a tenth of the cryptoperiod is left")),
    Rule("lowered", _lowered, says("nobody lowered min_decryption_version, or it is named")),
    Rule("retention", _retention, says("every version that decrypts is still to be kept")),
    Rule("not_due", _not_due, says("")),
)
WAITS = (
    Waiting(Gate.WINDOW, _window_closed, IN_WINDOW),
    Waiting(Gate.BACKOFF, _too_recent, NO_BACKOFF),
)
