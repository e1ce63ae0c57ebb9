"""What to do about a certificate and why: a pure function of its standing, its policy and now.

RULES are tried in order, and the first that matches decides; each has a code beside its words.
Then those of wait_rules are tried, which postpone what is due: while the CA asked to wait, while
renewals are held after a rollback, outside of a window, and while the last failure is too recent.
explain() says of each rule why it matched or why not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from certrotd.certs.case import Case
from certrotd.certs.decision import RECHECK, Adopt, Bootstrap, CatchUp, Deploy, Renew, Revoke, Sweep
from certrotd.certs.fitness import drift, other_key, pulled_forward, renewal_time, stamp, usable
from certrotd.certs.policy import COPIES, Attempts, Policy
from certrotd.certs.wait_rules import WAITS
from certrotd.lifecycle.decision import DAEMON, Action, Asked, Decision, Tried, Wait
from certrotd.lifecycle.rules import Rule, due_of, postponed, says, tried, tried_waits
from certrotd.pki.generation import Generation, Standing
from certrotd.wording import count

D = TypeVar("D", bound=Decision)
PULLED_FORWARD = "pulled_forward"
"""The rule by which a CA has a certificate renewed early."""


def decide(
    policy: Policy,
    standing: Standing,
    attempts: Attempts,
    asked: Asked = DAEMON,
    *,
    now: datetime,
) -> Decision:
    """The decision about one certificate.

    ``asked.named`` overrides its window, ``by_hand`` the backoff, as does a configuration that was
    mended; ``forced`` renews whatever the dates say, and overrides a hold and a Retry-After too. A
    CA that is no longer the configured one has no say.
    """
    case = Case(policy, standing, attempts, now, asked)
    due = _due(case)
    if isinstance(due, Wait):
        return due
    waits = postponed(WAITS, case, due)
    return _aloud(waits, standing) if waits else due


def explain(
    policy: Policy,
    standing: Standing,
    attempts: Attempts,
    asked: Asked = DAEMON,
    *,
    now: datetime,
) -> Iterator[Tried]:
    """Every rule that decide() tries, in its order, and why it matched or did not."""
    case = Case(policy, standing, attempts, now, asked)
    yield from tried(RULES, case)
    if isinstance(due := _due(case), Action):
        yield from tried_waits(WAITS, case, due)
    if policy.others:
        its, why = case.choice.policy.issuer, case.choice.why
        words = f"{its} is asked: {why}" if why else f"{its} is asked first"
        yield Tried("issuer", bool(why), f"{words}, of {', '.join(policy.issuers)}")


def _due(case: Case) -> Wait | Action:
    return _aloud(due_of(RULES, case), case.standing)


def fallen_back(standing: Standing) -> str | None:
    """That an older generation is live because a newer one cannot be used, or None."""
    live, newest = standing.live, standing.newest
    if live is None or newest is None or newest.number <= live.number:
        return None
    if newest.facts is not None or newest.number in standing.state.barred:
        return None
    return (
        f"generation {newest.number} cannot be used: {newest.broken}; generation {live.number} is "
        "live in its place"
    )


def _mending(case: Case) -> Deploy | None:
    """How the live generation is mended without an order, or replaced by one that can be used.

    Not by one for another key than whoever serves it has, where that is elsewhere.
    """
    standing, now, live = case.standing, case.now, case.standing.live
    if live is not None and live.facts is not None:
        expired = live.facts.not_after <= now
        if live.damaged is not None and (live.placeholder or not usable(live, now=now)):
            return Deploy(f"generation {live.number} is damaged: {live.damaged}", live.number, True)
        if not live.placeholder and not expired:
            return None  # good, or of a time to come: then the clock is wrong
    broken = usable(live, now=now) if live else "no generation is live"
    for each in (standing.newest, *standing.earlier):
        if each is None or each.number in standing.state.barred:
            continue
        if each.meta is not None and other_key(each.meta, case.policy):
            continue
        if usable(each, now=now) is None:
            why = f"the live certificate cannot be used: {broken}; generation {each.number} is "
            return Deploy(f"{why}deployed in its place", each.number, True)
    return None


def _aloud(decision: D, standing: Standing) -> D:
    """The decision, which says too what it was made without, and what stands in for what."""
    foreign = standing.foreign.words if standing.foreign else None
    for words in (standing.damaged, fallen_back(standing), foreign):
        if words is not None and words not in decision.why:
            decision = replace(decision, why=f"{decision.why}; {words}")
    return decision


def candidate(policy: Policy, standing: Standing, *, now: datetime) -> Generation | None:
    """A generation that was issued and is better than the live one."""
    newest, live = standing.newest, standing.live
    if newest is None or newest.number in standing.state.barred:
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


def _disabled(case: Case) -> Wait | None:
    if case.policy.enabled:
        return None
    return Wait("disabled in the configuration", case.now + RECHECK)


def _disabled_to_revoke(case: Case) -> Revoke | None:
    """Nothing happens to its services by that, and nobody is to trust it meanwhile."""
    return None if case.policy.enabled else _to_revoke(case)


def _placeholder_wanted(case: Case) -> Bootstrap | None:
    number = _placeholder_for(case.policy, case.standing)
    return None if number is None else Bootstrap("no certificate yet", number)


def _to_revoke_first(case: Case) -> Revoke | None:
    """A rotation that fails, perhaps for ever, keeps no revocation away.

    Nor does the revocation that: they take turns. A mended configuration is tried before, and what
    is damaged is mended before.
    """
    attempts = case.attempts
    if not attempts.failures or attempts.mended or attempts.act == Revoke.act or case.asked.forced:
        return None
    return _to_revoke(case) if _mend(case) is None else None


def _issued(case: Case) -> Deploy | None:
    found = None if case.asked.forced else candidate(case.policy, case.standing, now=case.now)
    if found is None:
        return None
    return Deploy(f"generation {found.number} was issued and not deployed", found.number)


def _mend(case: Case) -> Deploy | None:
    return None if case.mend_later else _mending(case)


def _mend_after_failure(case: Case) -> Deploy | None:
    return _mending(case) if case.mend_later else None


def _no_damage(case: Case) -> str:
    if _mending(case) is None:
        return "the live generation is intact and usable, or nothing better exists"
    return "the last repair failed: a due renewal comes first"


def _forced(case: Case) -> Renew | None:
    return Renew("forced by hand", case.now, forced=True) if case.asked.forced else None


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
    facts = case.known_facts
    if facts.not_after > case.now:
        return None
    return Renew(f"it expired at {stamp(facts.not_after)}", facts.not_after)


def _not_valid_now(case: Case) -> Wait | None:
    reason = usable(case.live, now=case.now)
    if reason is None:
        return None
    until = min(case.known_facts.not_before, case.now + RECHECK)
    return Wait(f"{reason}; is the clock right?", until)


def _fell_back(case: Case) -> Renew | None:
    fallen = fallen_back(case.standing)
    return Renew(fallen, case.now) if fallen else None


def _differs(case: Case) -> Renew | None:
    assert case.live is not None
    difference = drift(case.known_facts, case.live, case.policy)
    return Renew(difference, case.now) if difference else None


def _its_time_has_come(case: Case) -> Renew | None:
    at, rule = case.its_time
    return Renew(f"{rule} has passed", at) if at <= case.now else None


def _pulled_forward(case: Case) -> Renew | None:
    assert case.live is not None
    if not pulled_forward(case.live, case.standing.state, case.policy):
        return None
    at, rule = case.its_time
    return Renew(f"the CA wants it renewed early: {rule}", at) if at <= case.now else None


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


def _somebody_behind(case: Case) -> CatchUp | None:
    if not case.standing.behind:
        return None
    late = {
        target: tuple(each for each in found if not each.todo)
        for target, found in case.standing.behind.items()
    }
    everybody = [each for found in late.values() for each in found]
    if not everybody:
        return None
    first, others = everybody[0], len(everybody) - 1
    more = f", and {count(others, 'other')} with it" if others else ""
    names = {name: tuple(each.name for each in found) for name, found in late.items() if found}
    return CatchUp(f"{first.name} {first.why}{more}", names)


def _live_revoked(case: Case) -> Renew | None:
    if case.live is None or case.revoked is None:
        return None
    return Renew(f"the live certificate: {case.revoked.words(case.live.number)}", case.now)


def _to_revoke(case: Case) -> Revoke | None:
    known = case.standing.state.revoked
    numbers = case.standing.state.to_revoke(case.now) if known else ()
    if not numbers:
        return None
    words = "; ".join(known[number].words(number) for number in numbers)
    return Revoke(words, numbers)


def _records_left(case: Case) -> Sweep | None:
    left = case.attempts.left
    return Sweep(f"left behind: {count(len(left), 'TXT record')}") if left else None


def _not_due(case: Case) -> Wait:
    (at, rule), ask = case.its_time, case.ask_at
    until = at if ask is None else min(at, ask)
    asks = ask is not None and ask <= case.now
    return Wait(f"renewal at {rule}", until, "not_due", asks=asks)


def _from_then(case: Case) -> str:
    at, rule = case.its_time
    return f"renewal at {rule}, which is {stamp(at)}"


RULES = (
    Rule("disabled_to_revoke", _disabled_to_revoke, says("not disabled with one to be revoked")),
    Rule("disabled", _disabled, says("enabled in the configuration")),
    Rule(
        "placeholder_wanted",
        _placeholder_wanted,
        says("no placeholder is configured, or none is needed"),
    ),
    Rule(
        "to_revoke_first",
        _to_revoke_first,
        says("no rotation failed last with a generation still to be revoked"),
    ),
    Rule("issued", _issued, says("no newer generation waits to be deployed")),
    Rule("damaged", _mend, _no_damage),
    Rule("forced", _forced, says("not forced")),
    Rule("adopt", _to_adopt, says("there is a generation, or nothing to adopt")),
    Rule("first", _first, says("there is a generation")),
    Rule("unusable", _unusable, says("the live certificate can be read and fits its key")),
    Rule("placeholder", _placeholder_in_place, says("the live certificate is no placeholder")),
    Rule("revoked", _live_revoked, says("the live certificate is not revoked")),
    Rule("expired", _expired, lambda case: f"valid until {stamp(case.known_facts.not_after)}"),
    Rule("not_yet_valid", _not_valid_now, says("valid by this machine's clock")),
    Rule("fell_back", _fell_back, says("no older generation stands in for a newer one")),
    Rule("differs", _differs, says("names, key and issuer match the configuration")),
    Rule(PULLED_FORWARD, _pulled_forward, says("the CA does not want it renewed early")),
    Rule("renewal_time", _its_time_has_come, _from_then),
    Rule("damaged_again", _mend_after_failure, _no_damage),
    Rule("behind", _is_behind, says("every copy and target has the live generation")),
    Rule("copies_changed", _copies_changed, says("the copies are unchanged")),
    Rule("state_lost", _state_lost, says("its state file is intact")),
    Rule("somebody_behind", _somebody_behind, says("nobody is known to have an older copy")),
    Rule("to_revoke", _to_revoke, says("no generation is still to be revoked")),
    Rule("records_left", _records_left, says("no TXT record is left behind")),
    Rule("not_due", _not_due, says("")),
)
