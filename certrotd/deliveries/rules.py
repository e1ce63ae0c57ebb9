"""What to do about a delivery and why: a pure function of what is known, its policy and now.

RULES are tried in order, and the first that matches decides. Then WAITS may postpone what is due.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from certrotd.deliveries.decision import RECHECK, Deliver
from certrotd.deliveries.policy import Delivered, Policy, Standing
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


@dataclass(frozen=True, slots=True)
class Case:
    """Everything a decision goes by."""

    policy: Policy
    standing: Standing
    now: datetime
    asked: Asked = DAEMON

    @property
    def generation(self) -> int:
        """The live one, for the rules after the one that asks for it."""
        assert self.standing.live is not None, "there is one"
        return self.standing.live.number

    @property
    def delivered(self) -> Delivered:
        """What was delivered, for the rules after the one that asks for it."""
        assert self.standing.delivered is not None, "there is some"
        return self.standing.delivered


def decide(policy: Policy, standing: Standing, asked: Asked = DAEMON, *, now: datetime) -> Decision:
    """The decision by the first rule that matches, or what it waits for."""
    return decided(RULES, WAITS, Case(policy, standing, now, asked))


def explain(policy: Policy, standing: Standing, *, now: datetime) -> Iterator[Tried]:
    """Every rule that decide() tries, in its order, and why it matched or did not."""
    return explained(RULES, WAITS, Case(policy, standing, now))


def _disabled(case: Case) -> Wait | None:
    if case.policy.enabled:
        return None
    return Wait("its certificate is disabled in the configuration", case.now + RECHECK)


def _nothing(case: Case) -> Wait | None:
    live = case.standing.live
    if live is not None and not live.placeholder:
        return None
    why = f"there is no certificate to deliver yet: {case.policy.certificate}"
    return Wait(why, case.now + RECHECK)


def _unusable(case: Case) -> Wait | None:
    """Nobody is given what is damaged, or has expired."""
    live = case.standing.live
    assert live is not None, "there is one"
    if live.facts is None or live.damaged is not None:
        why = f"generation {live.number} is damaged: {live.broken or live.damaged}"
        return Wait(why, case.now + RECHECK)
    if live.facts.not_after <= case.now:
        why = f"generation {live.number} expired at {live.facts.not_after:%Y-%m-%d %H:%M}Z"
        return Wait(why, case.now + RECHECK)
    return None


def _rotating(case: Case) -> Wait | None:
    known = case.standing.delivered
    if not case.standing.rotating or (known and known.generation == case.generation):
        return None
    why = f"generation {case.generation} may still be taken back: {case.policy.certificate} rotates"
    return Wait(why, case.now + RECHECK)


def _first(case: Case) -> Deliver | None:
    if case.standing.delivered is not None:
        return None
    return Deliver("nothing was delivered yet", case.generation)


def _newer(case: Case) -> Deliver | None:
    known = case.delivered
    live = case.standing.live
    assert live is not None, "there is one"
    same = live.facts is not None and live.facts.fingerprint == known.fingerprint
    if known.generation == case.generation and same:
        return None
    why = f"generation {case.generation} is live, and {known.generation} is delivered"
    return Deliver(why, case.generation)


def _otherwise(case: Case) -> Deliver | None:
    if case.delivered.asked == case.policy.asked:
        return None
    return Deliver("it is configured otherwise than it was delivered", case.generation)


def _drifted(case: Case) -> Deliver | None:
    known = case.delivered
    if not known.drift:
        return None
    why = f"somebody changed it there: {known.drift}"
    return Deliver(why, case.generation, known.folder)


def _forced(case: Case) -> Deliver | None:
    if not case.asked.forced:
        return None
    return Deliver("forced by hand", case.generation, case.delivered.folder)


def _not_due(case: Case) -> Wait:
    known = case.delivered
    why = f"generation {known.generation} is delivered since {known.at:%Y-%m-%d %H:%M}Z"
    return Wait(why, case.now + RECHECK)


def _window_closed(case: Case, due: Action) -> Postpone | None:
    return outside_window(case.policy.window, case.asked, due, now=case.now)


def _too_recent(case: Case, due: Action) -> Postpone | None:
    return backing_off(case.standing.attempts, case.asked, due, now=case.now)


RULES = (
    Rule("disabled", _disabled, says("enabled in the configuration")),
    Rule("nothing_live", _nothing, says("a certificate is live here")),
    Rule("unusable", _unusable, says("it can be used")),
    Rule("rotating", _rotating, says("its rotation is over, or does not change that")),
    Rule("first", _first, says("it was delivered before")),
    Rule("newer", _newer, says("the live generation is the one that was delivered")),
    Rule("configured_otherwise", _otherwise, says("it is configured as it was delivered")),
    Rule("drifted", _drifted, says("the last look there found it unchanged")),
    Rule("forced", _forced, says("not forced")),
    Rule("not_due", _not_due, says("")),
)
WAITS = (
    Waiting(Gate.WINDOW, _window_closed, IN_WINDOW),
    Waiting(Gate.BACKOFF, _too_recent, NO_BACKOFF),
)
