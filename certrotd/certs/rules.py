"""What to do about a certificate and why: a pure function of its standing, its policy and now.

RULES are tried in order, and the first that matches decides; each has a code beside its words.
Then WAITS are tried: what is due is postponed while the CA asked to wait, while renewals are held
after a rollback, and while the last failure is too recent. explain() says of each rule why it
matched or why not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Literal, TypeVar

from certrotd.certs.decision import (
    RECHECK,
    Action,
    Adopt,
    Bootstrap,
    Decision,
    Deploy,
    Postpone,
    Renew,
    Sweep,
    Wait,
    after_failures,
    backoff,
    longest_wait,
)
from certrotd.certs.fitness import drift, renewal_time, stamp, usable
from certrotd.certs.policy import COPIES, Attempts, Policy
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.generation import Generation, Standing
from certrotd.wording import count

D = TypeVar("D", bound=Decision)
WINDOW_MARGIN = 10
"""A window that opens in the last tenth of the lifetime is not waited for."""


@dataclass(frozen=True)
class Case:
    """Everything a decision goes by."""

    policy: Policy
    standing: Standing
    attempts: Attempts
    now: datetime
    forced: bool = False
    by_hand: bool = False
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
        return renewal_time(_facts(self), meta.draw if meta else 0.0, self.policy)

    @property
    def mend_later(self) -> bool:
        """Whether mending was tried last and failed: then a renewal that is due comes first."""
        return bool(self.attempts.failures) and not self.attempts.authority


@dataclass(frozen=True, slots=True)
class Rule:
    """``match`` decides, or gives None; ``otherwise`` says then why it does not match."""

    code: str
    match: Callable[[Case], Wait | Action | None]
    otherwise: Callable[[Case], str]


@dataclass(frozen=True, slots=True)
class Tried:
    """One rule that was tried: its code, whether it matched, and why."""

    code: str
    matched: bool
    why: str


def decide(
    policy: Policy,
    standing: Standing,
    attempts: Attempts,
    *,
    now: datetime,
    forced: bool = False,
    by_hand: bool = False,
) -> Decision:
    """The decision about one certificate.

    ``by_hand`` overrides the backoff, as does a configuration that was mended; ``forced`` renews
    whatever the dates say, and overrides a hold and a Retry-After too. A CA that is no longer the
    configured one has no say.
    """
    case = Case(policy, standing, attempts, now, forced, by_hand)
    due = _due(case)
    if isinstance(due, Wait):
        return due
    postponed = next((found for wait in WAITS if (found := wait.match(case, due))), None)
    return _aloud(postponed, standing) if postponed else due


def explain(
    policy: Policy,
    standing: Standing,
    attempts: Attempts,
    *,
    now: datetime,
    forced: bool = False,
    by_hand: bool = False,
) -> Iterator[Tried]:
    """Every rule that decide() tries, in its order, and why it matched or did not."""
    case = Case(policy, standing, attempts, now, forced, by_hand)
    for rule in RULES:
        found = rule.match(case)
        yield Tried(rule.code, found is not None, found.why if found else rule.otherwise(case))
        if found is not None:
            break
    due = _due(case)
    if isinstance(due, Wait):
        return
    for wait in WAITS:
        postponed = wait.match(case, due)
        why = postponed.why if postponed else wait.otherwise(case, due)
        yield Tried(wait.code, postponed is not None, why)
        if postponed is not None:
            break


def _due(case: Case) -> Wait | Action:
    for rule in RULES:
        if (found := rule.match(case)) is not None:
            if found.code != rule.code:
                found = replace(found, code=rule.code)
            return _aloud(found, case.standing)
    raise AssertionError("the last rule matches whatever there is")


def fallen_back(standing: Standing) -> str | None:
    """That an older generation is live because a newer one cannot be used, or None."""
    live, newest = standing.live, standing.newest
    if live is None or newest is None or newest.number <= live.number:
        return None
    if newest.facts is not None or newest.number in standing.state.withdrawn:
        return None
    return (
        f"generation {newest.number} cannot be used: {newest.broken}; generation {live.number} is "
        "live in its place"
    )


def _mending(standing: Standing, *, now: datetime) -> Deploy | None:
    """How the live generation is mended without an order, or replaced by one that can be used."""
    live = standing.live
    if live is not None and live.facts is not None:
        expired = live.facts.not_after <= now
        if live.damaged is not None and (live.placeholder or not usable(live, now=now)):
            return Deploy(f"generation {live.number} is damaged: {live.damaged}", live.number, True)
        if not live.placeholder and not expired:
            return None  # good, or of a time to come: then the clock is wrong
    broken = usable(live, now=now) if live else "no generation is live"
    for each in (standing.newest, *standing.earlier):
        if each is None or each.number in standing.state.withdrawn:
            continue
        if usable(each, now=now) is None:
            why = f"the live certificate cannot be used: {broken}; generation {each.number} is "
            return Deploy(f"{why}deployed in its place", each.number, True)
    return None


def _aloud(decision: D, standing: Standing) -> D:
    """The decision, which says too what it was made without, and what stands in for what."""
    for words in (standing.damaged, fallen_back(standing)):
        if words is not None and words not in decision.why:
            decision = replace(decision, why=f"{decision.why}; {words}")
    return decision


def _candidate(policy: Policy, standing: Standing, *, now: datetime) -> Generation | None:
    """A generation that was issued and is better than the live one."""
    newest, live = standing.newest, standing.live
    if newest is None or newest.number in standing.state.withdrawn:
        return None
    if live is not None and newest.number <= live.number:
        return None
    if newest.facts is None or usable(newest, now=now):
        return None
    if drift(newest.facts, newest, policy):
        return None
    at, _ = renewal_time(newest.facts, newest.meta.draw if newest.meta else 0.0, policy)
    return newest if at > now else None


def _placeholder_for(policy: Policy, standing: Standing) -> int | None:
    """The generation that a placeholder is to be; None where none is wanted."""
    live, newest = standing.live, standing.newest
    if not policy.bootstraps or (live is not None and live.facts is not None):
        return None
    if any(not each.placeholder for each in (newest, *standing.earlier) if each):
        return None  # there was a certificate: it is put back, or another one ordered
    if newest is not None and newest.facts is not None:
        return newest.number  # one that never became live does
    return max(each.number if each else 0 for each in (live, newest)) + 1


def _behind(places: Sequence[str], standing: Standing, live: int) -> list[str]:
    proven = standing.state.targets
    return [name for name in places if name not in proven or proven[name].generation != live]


def _not_yet_on(behind: Sequence[str]) -> str:
    targets = ", ".join(name for name in behind if name != COPIES)
    proofs = f"not yet proven on {targets}"
    if COPIES not in behind:
        return f"in place, {proofs}"
    return f"not yet installed and {proofs}" if targets else "not yet installed"


def _left(standing: Standing, *, now: datetime) -> timedelta | None:
    """How much there is left of what is served, None if nothing is."""
    live = standing.live
    facts = live.facts if live and not live.placeholder else None
    return facts.not_after - now if facts and facts.not_after > now else None


def _orders(action: Action) -> bool:
    return isinstance(action, Renew | Adopt)  # without a pair to adopt, an order comes next


def _disabled(case: Case) -> Wait | None:
    if case.policy.enabled:
        return None
    return Wait("disabled in the configuration", case.now + RECHECK)


def _placeholder_wanted(case: Case) -> Bootstrap | None:
    number = _placeholder_for(case.policy, case.standing)
    return None if number is None else Bootstrap("no certificate yet", number)


def _issued(case: Case) -> Deploy | None:
    found = None if case.forced else _candidate(case.policy, case.standing, now=case.now)
    if found is None:
        return None
    return Deploy(f"generation {found.number} was issued and not deployed", found.number)


def _mend(case: Case) -> Deploy | None:
    return None if case.mend_later else _mending(case.standing, now=case.now)


def _mend_after_failure(case: Case) -> Deploy | None:
    return _mending(case.standing, now=case.now) if case.mend_later else None


def _no_damage(case: Case) -> str:
    if _mending(case.standing, now=case.now) is None:
        return "the live generation is intact and usable, or nothing better exists"
    return "the last repair failed: a due renewal comes first"


def _forced(case: Case) -> Renew | None:
    return Renew("forced by hand", case.now, forced=True) if case.forced else None


def _to_adopt(case: Case) -> Adopt | None:
    nothing = case.live is None and case.standing.newest is None
    return Adopt("no generation yet") if nothing and case.policy.adopts else None


def _first(case: Case) -> Renew | None:
    nothing = case.live is None and case.standing.newest is None
    return Renew("there is no certificate yet", case.now) if nothing else None


def _unusable(case: Case) -> Renew | None:
    if case.facts is not None:
        return None
    broken = case.live.broken if case.live else "no generation is live"
    return Renew(f"the live certificate cannot be used: {broken}", case.now)


def _placeholder_in_place(case: Case) -> Renew | None:
    if case.live is None or not case.live.placeholder:
        return None
    return Renew("a placeholder is in place, there is no certificate yet", case.now)


def _expired(case: Case) -> Renew | None:
    facts = _facts(case)
    if facts.not_after > case.now:
        return None
    return Renew(f"it expired at {stamp(facts.not_after)}", facts.not_after)


def _not_valid_now(case: Case) -> Wait | None:
    reason = usable(case.live, now=case.now)
    if reason is None:
        return None
    until = min(_facts(case).not_before, case.now + RECHECK)
    return Wait(f"{reason}; is the clock right?", until)


def _fell_back(case: Case) -> Renew | None:
    fallen = fallen_back(case.standing)
    return Renew(fallen, case.now) if fallen else None


def _differs(case: Case) -> Renew | None:
    assert case.live is not None
    difference = drift(_facts(case), case.live, case.policy)
    return Renew(difference, case.now) if difference else None


def _its_time_has_come(case: Case) -> Renew | None:
    at, rule = case.its_time
    return Renew(f"{rule} has passed", at) if at <= case.now else None


def _is_behind(case: Case) -> Deploy | None:
    assert case.live is not None
    behind = _behind(case.policy.places, case.standing, case.live.number)
    return Deploy(_not_yet_on(behind), case.live.number) if behind else None


def _copies_changed(case: Case) -> Deploy | None:
    assert case.live is not None
    displaced = case.standing.displaced
    if displaced is None:
        return None
    return Deploy(f"the copies changed: {displaced}", case.live.number)


def _state_lost(case: Case) -> Deploy | None:
    assert case.live is not None
    if case.standing.damaged is None:
        return None
    return Deploy("its state file was lost", case.live.number)


def _records_left(case: Case) -> Sweep | None:
    left = case.attempts.left
    return Sweep(f"left behind: {count(len(left), 'TXT record')}") if left else None


def _not_due(case: Case) -> Wait:
    at, rule = case.its_time
    return Wait(f"renewal at {rule}", at, "not_due")


def _facts(case: Case) -> CertificateFacts:
    assert case.facts is not None  # an earlier rule has it otherwise
    return case.facts


def _says(words: str) -> Callable[[Case], str]:
    return lambda _case: words


def _from_then(case: Case) -> str:
    at, rule = case.its_time
    return f"renewal at {rule}, which is {stamp(at)}"


RULES = (
    Rule("disabled", _disabled, _says("enabled in the configuration")),
    Rule(
        "placeholder_wanted",
        _placeholder_wanted,
        _says("no placeholder is configured, or none is needed"),
    ),
    Rule("issued", _issued, _says("no newer generation waits to be deployed")),
    Rule("damaged", _mend, _no_damage),
    Rule("forced", _forced, _says("not forced")),
    Rule("adopt", _to_adopt, _says("there is a generation, or nothing to adopt")),
    Rule("first", _first, _says("there is a generation")),
    Rule("unusable", _unusable, _says("the live certificate can be read and fits its key")),
    Rule("placeholder", _placeholder_in_place, _says("the live certificate is no placeholder")),
    Rule("expired", _expired, lambda case: f"valid until {stamp(_facts(case).not_after)}"),
    Rule("not_yet_valid", _not_valid_now, _says("valid by this machine's clock")),
    Rule("fell_back", _fell_back, _says("no older generation stands in for a newer one")),
    Rule("differs", _differs, _says("names, key and issuer match the configuration")),
    Rule("renewal_time", _its_time_has_come, _from_then),
    Rule("damaged_again", _mend_after_failure, _no_damage),
    Rule("behind", _is_behind, _says("every copy and target has the live generation")),
    Rule("copies_changed", _copies_changed, _says("the copies are unchanged")),
    Rule("state_lost", _state_lost, _says("its state file is intact")),
    Rule("records_left", _records_left, _says("no TXT record is left behind")),
    Rule("not_due", _not_due, _says("")),
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """As Rule, of what keeps ``due`` from being done now."""

    code: Literal["backoff", "retry_after", "hold", "window"]
    match: Callable[[Case, Action], Postpone | None]
    otherwise: Callable[[Case, Action], str]


def _retry_after(case: Case, due: Action) -> Postpone | None:
    failed_at, attempts = _failed_at(case), case.attempts
    # what one CA asked for says nothing of another, which may have been configured because of it
    same_ca = attempts.authority in ("", case.policy.authority)
    if case.forced or not (failed_at and attempts.retry_after and same_ca and _orders(due)):
        return None
    left = _left(case.standing, now=failed_at)
    until = failed_at + min(attempts.retry_after, longest_wait(left))
    return Postpone("the CA asked to wait", until, due, "retry_after") if case.now < until else None


def _held(case: Case, due: Action) -> Postpone | None:
    held, now = case.standing.state.held, case.now
    if case.forced or not held or now >= held or not _orders(due) or usable(case.live, now=now):
        return None
    return Postpone("held after a rollback by hand", held, due, "hold")


def _window_closed(case: Case, due: Action) -> Postpone | None:
    window, live = case.policy.window, case.live
    if window is None or case.forced or case.by_hand or not isinstance(due, Renew | Deploy):
        return None
    if live is None or live.placeholder or usable(live, now=case.now):
        return None  # nothing that works is disturbed
    if isinstance(due, Deploy) and due.mends:
        return None
    opens, facts = window.opens_at(case.now), _facts(case)
    near_expiry = facts.not_after - (facts.not_after - facts.not_before) / WINDOW_MARGIN
    if opens <= case.now or opens >= near_expiry:
        return None
    return Postpone(f"waits for its window, {window}; due: {due.why}", opens, due, "window")


def _too_recent(case: Case, due: Action) -> Postpone | None:
    attempts, now = case.attempts, case.now
    asked_for = case.forced or case.by_hand or attempts.mended
    if asked_for or isinstance(due, Bootstrap):  # which is what ends many a failure
        return None
    if isinstance(due, Deploy) and due.mends and attempts.authority:
        return None  # what failed was to get another one
    counted, since = attempts.failures - attempts.by_hand, attempts.unasked_at or _failed_at(case)
    if counted <= 0 or not since or since > now:
        return None
    until = since + backoff(counted, _left(case.standing, now=now))
    if now >= until:
        return None
    what = f"{due.why}; " if isinstance(due, Deploy) else ""
    return Postpone(what + after_failures(attempts), until, due)


def _failed_at(case: Case) -> datetime | None:
    """Not in the future: that was before the clock was put right, and says nothing of now."""
    at = case.attempts.at
    return at if at and at <= case.now else None


def _no_wait_asked(_case: Case, due: Action) -> str:
    return "the CA did not ask to wait" if _orders(due) else "this needs no order"


def _open_window(case: Case, _due: Action) -> str:
    if case.policy.window is None:
        return "no maintenance window is configured"
    return "the window is open, or is not waited for: near expiry, damage, or by hand"


def _no_backoff(case: Case, _due: Action) -> str:
    if not case.attempts.failures:
        return "the last attempt did not fail"
    return "a person asks, the configuration changed, or the last failure is long ago"


WAITS = (
    Waiting("retry_after", _retry_after, _no_wait_asked),
    Waiting("hold", _held, lambda _case, _due: "renewals are not held after a rollback"),
    Waiting("window", _window_closed, _open_window),
    Waiting("backoff", _too_recent, _no_backoff),
)
