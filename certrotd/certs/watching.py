"""What is wrong with what is served and kept: pure judgements of what a look at it showed.

A finding must be worth waking up for. So what a rotation changes under way (what is served, what
copies hold) is only judged while none is in flight, and counts when it was seen several times in a
row; when to warn of an end depends on the lifetime, for 14 days are nothing of a year and more
than all of six days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from certrotd.certs.findings import FindingKind
from certrotd.certs.fitness import missed_chain, renewal_time
from certrotd.certs.policy import Policy
from certrotd.id import Id
from certrotd.lifecycle.finding import (
    EarlierLooks,
    Finding,
    FindingSeverity,
    Settled,
    Watched,
    name_of,
)
from certrotd.lifecycle.subject import CLOCK_SKEW
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.generation import Behind, ForeignChange, Generation
from certrotd.pki.names import covers

if TYPE_CHECKING:  # a value alone; the module behind it opens sockets
    from certrotd.observe.chain import Presented

NOTICE = timedelta(days=14)
NOTICE_SHARE = 1 / 4
MOST_NOTICE = 1 / 3
SHOWN_NAMES = 5


@dataclass(frozen=True, slots=True)
class Expected:
    """What an endpoint should show.

    The leaf must be for the canonical ``names``. ``live`` is the fingerprint it must have, that
    of the live generation of ``certificate``, which was issued with certificates above it if
    ``chained``; None where any leaf will do. ``notice`` is how long before its end to warn: a
    span, or a share of the lifetime; None for the default.
    """

    names: tuple[str, ...] = ()
    certificate: Id | None = None
    live: str | None = None
    chained: bool = False
    notice: timedelta | float | None = None


@dataclass(frozen=True, slots=True)
class OnDisk:
    """What is on disk of a certificate: the live generation, and what reading it found.

    ``chain`` are the facts of the live generation's certificates, leaf first, as far as they could
    be read; ``wrong`` says what could not, or does not belong together. ``copies`` tells whether
    what is installed elsewhere is the live generation, None where that is not to be expected, and
    ``displaced`` which of it is not as it was installed. ``exposed`` says of what holds a key who
    else may use it, and what to do about it; ``foreign`` is as of Standing. ``compromised`` is
    whose key it is, in words, where that was revoked as compromised.
    """

    live: Generation | None = None
    chain: tuple[CertificateFacts, ...] = ()
    wrong: tuple[Finding, ...] = ()
    copies: bool | None = None
    displaced: str | None = None
    exposed: Sequence[str] = ()
    foreign: ForeignChange | None = None
    compromised: str = ""


def judge_endpoint(presented: Presented, wanted: Expected, *, now: datetime) -> tuple[Finding, ...]:
    """What is wrong with what an address serves."""
    found = [*_served(presented, wanted)]
    if leaf := presented.leaf:
        found += _dates(leaf, wanted.notice, now)
        found += _names(leaf.names, wanted.names)
    return (*found, *_followed(presented, wanted, now))


def judge_target(presented: Presented, wanted: Expected, *, now: datetime) -> tuple[Finding, ...]:
    """What is wrong with what a target serves, that is not wrong with the files too."""
    if presented.fingerprint == wanted.live:
        return _followed(replace(presented, doubtful=""), wanted, now)
    return judge_endpoint(presented, wanted, now=now)


def judge_files(kept: OnDisk, policy: Policy, *, now: datetime) -> tuple[Finding, ...]:
    """What is wrong with what is on disk of a certificate."""
    live = kept.live
    if live is None:
        if kept.wrong or not policy.enabled:
            return kept.wrong
        return (Finding(FindingKind.MISSING, "no generation is live", FindingSeverity.WARNING),)
    found = [*kept.wrong]
    if kept.copies is False:
        which = f": {kept.displaced}" if kept.displaced else ""
        words = f"the installed copies are not the live files{which}"
        found.append(Finding(FindingKind.COPIES_DIFFER, words))
    elif kept.copies and kept.displaced:
        words = f"the copies changed: {kept.displaced}; {_again(policy)}"
        found.append(Finding(FindingKind.COPIES_DIFFER, words))
    if live.damaged is not None:
        words = f"generation {live.number} is damaged: {live.damaged}; {_again(policy)}"
        found.append(Finding(FindingKind.DAMAGED, words))
    if kept.foreign is not None:
        found.append(_foreign(kept.foreign, policy))
    if kept.exposed:
        found.append(
            Finding(FindingKind.KEY_EXPOSED, "; ".join(kept.exposed), FindingSeverity.WARNING)
        )
    if kept.compromised:
        words = f"its key is that of {kept.compromised}, which was revoked as compromised"
        cure = f"`certrotd rotate {policy.name} --force` orders for another key"
        todo = "Put the request of a new key in its place" if policy.elsewhere else f"Run {cure}"
        found.append(Finding(FindingKind.KEY_EXPOSED, words, todo=todo))
    if live.placeholder:
        words = "a self-signed placeholder is in place, there is no certificate yet"
        return (*found, Finding(FindingKind.PLACEHOLDER, words, FindingSeverity.WARNING))
    if missed := missed_chain(live, policy):
        issuer = live.meta.issuer if live.meta else policy.issuer
        words = f"{missed}; correct preferred_chain of issuer {issuer}, or remove it"
        found.append(Finding(FindingKind.CHAIN_NOT_OFFERED, words, FindingSeverity.WARNING))
    if live.facts is not None:
        found += _overdue(live.facts, live, policy, now)
        missing = [name for name in policy.names if name not in live.facts.names]
        if missing:
            found.append(_wrong_name(live.facts.names, missing))
    found += _above(kept.chain[1:], now)
    return tuple(found)


def of_behind(target: str, found: Sequence[Behind]) -> Finding | None:
    """That parts of a target have an older copy; what they need, where a person has to do it."""
    if not found:
        return None
    said = [
        f"{each.name} {each.why}" + (f" ({each.todo})" if each.todo else "")
        for each in found[:SHOWN_NAMES]
    ]
    more = len(found) - len(said)
    todos = dict.fromkeys(each.todo for each in found if each.todo)
    return Finding(
        FindingKind.BEHIND,
        f"target {target}: {'; '.join(said)}{f' and {more} more' if more else ''}",
        FindingSeverity.WARNING,
        todo=f"Run {'; '.join(todos)}" if todos else "",
    )


def of_broken(live: Generation, policy: Policy) -> Finding:
    """That what is left of the files of the live generation is not enough."""
    words = f"generation {live.number} cannot be used: {live.broken}; {_again(policy)}"
    return Finding(FindingKind.DAMAGED, words)


def settle(watched: Watched, held: EarlierLooks, *, after: int, moving: bool) -> Settled:
    """What to tell of a look at the same thing that ``held`` is of.

    What may be different at the next look is told when it was found ``after`` times in a row.
    While a rotation is ``moving`` things, what it moves is left as it was told last.
    """
    told, counts = [], {}
    for finding in watched.findings:
        if moving and _moves(finding.kind, watched):
            continue
        counts[finding.kind] = held.counts.get(finding.kind, 0) + 1
        if counts[finding.kind] >= after or not _may_pass(finding.kind, watched):
            told.append(finding)
    unsure = moving or len(told) < len(watched.findings)
    if moving:
        kept = [each for each in held.told if _moves(each.kind, watched)]
        told += kept
        counts |= {each.kind: held.counts[each.kind] for each in kept}
    findings = tuple(told)
    return Settled(
        replace(watched, findings=findings, unsure=unsure), EarlierLooks(counts, findings)
    )


def notice_of(leaf: CertificateFacts, notice: timedelta | float | None) -> timedelta:
    """How long before its end to warn of it.

    By default a quarter of the lifetime, at most 14 days: whoever renews has done it by then. A
    span is cut to a third of the lifetime: else short-lived certificates were warned of always.
    """
    lifetime = leaf.not_after - leaf.not_before
    if isinstance(notice, float):
        return lifetime * notice
    if notice is not None:
        return min(notice, lifetime * MOST_NOTICE)
    return min(NOTICE, lifetime * NOTICE_SHARE)


def _moves(kind: str, watched: Watched) -> bool:
    """Whether a rotation in flight explains it."""
    moved = (
        FindingKind.SERVED_MISMATCH,
        FindingKind.COPIES_DIFFER,
        FindingKind.BEHIND,
        FindingKind.FOREIGN_CHANGE,
        FindingKind.MISSING,
        FindingKind.PLACEHOLDER,
    )
    return kind in moved or (kind is FindingKind.WRONG_NAME and watched.about is not None)


def _may_pass(kind: str, watched: Watched) -> bool:
    """Whether the next look may find it gone without anybody's help."""
    passing = (FindingKind.UNREACHABLE, FindingKind.UNREADABLE, FindingKind.DAMAGED)
    return kind in passing or _moves(kind, watched)


def _foreign(found: ForeignChange, policy: Policy) -> Finding:
    if found.broken:
        return Finding(FindingKind.FOREIGN_CHANGE, found.words)
    words = (
        f"{found.words}; it stays until the next renewal, or certrotd rotate {policy.name} --force"
    )
    return Finding(FindingKind.FOREIGN_CHANGE, words, FindingSeverity.WARNING)


def _again(policy: Policy) -> str:
    # never chmod: what has become a link would have it done to what it leads to
    return f"certrotd rotate {policy.name} repairs that"


def _served(presented: Presented, wanted: Expected) -> tuple[Finding, ...]:
    if wanted.live is None or presented.fingerprint == wanted.live:
        return ()
    leaf = presented.leaf
    end = f"until {_stamp(leaf.not_after)}" if leaf else "which cannot be read"
    what = f"certificate {presented.fingerprint[:16]} ({end})"
    live = f"the live generation of {name_of(wanted.certificate)}, {wanted.live[:16]}"
    return (Finding(FindingKind.SERVED_MISMATCH, f"it serves {what}, not {live}"),)


def _dates(
    leaf: CertificateFacts, notice: timedelta | float | None, now: datetime
) -> tuple[Finding, ...]:
    if found := _invalid(leaf, now):
        return found
    span, left = notice_of(leaf, notice), leaf.not_after - now
    if left > span:
        return ()
    return (_expiring(f"it expires at {_stamp(leaf.not_after)}", late=left <= span / 2),)


def _overdue(
    facts: CertificateFacts, live: Generation, policy: Policy, now: datetime
) -> tuple[Finding, ...]:
    """A renewal that did not come, when half of the time that was left for it has passed."""
    if found := _invalid(facts, now):
        return found
    due, _ = renewal_time(facts, live.meta.draw if live.meta else 0.0, policy)
    span, left = facts.not_after - due, facts.not_after - now
    if left > span / 2:
        return ()
    why = f"it expires at {_stamp(facts.not_after)}, its renewal is due since {_stamp(due)}"
    return (_expiring(why, late=left <= span / 4),)


def _expiring(words: str, *, late: bool) -> Finding:
    return Finding(
        FindingKind.EXPIRING, words, FindingSeverity.ERROR if late else FindingSeverity.WARNING
    )


def _invalid(facts: CertificateFacts, now: datetime) -> tuple[Finding, ...]:
    if facts.not_after <= now:
        return (Finding(FindingKind.EXPIRED, f"it expired at {_stamp(facts.not_after)}"),)
    if facts.not_before > now + CLOCK_SKEW:
        words = f"it is not valid before {_stamp(facts.not_before)}"
        return (Finding(FindingKind.NOT_YET_VALID, words),)
    return ()


def _names(have: Sequence[str], wanted: Sequence[str]) -> tuple[Finding, ...]:
    missing = [name for name in wanted if not covers(have, name)]
    return (_wrong_name(have, missing),) if missing else ()


def _wrong_name(have: Sequence[str], missing: Sequence[str]) -> Finding:
    return Finding(FindingKind.WRONG_NAME, f"it is for {_listed(have)}, not for {_listed(missing)}")


def _followed(presented: Presented, wanted: Expected, now: datetime) -> tuple[Finding, ...]:
    """Whether clients can follow the chain to where they begin."""
    broken = []
    if presented.unreadable:
        broken.append(Finding(FindingKind.UNREADABLE, presented.unreadable))
    if presented.broken:
        broken.append(Finding(FindingKind.BROKEN_CHAIN, presented.broken))
    if broken:
        return tuple(broken)
    leaf, *above = presented.chain
    doubts: tuple[Finding, ...] = ()
    if presented.doubtful:
        doubts = (Finding(FindingKind.BROKEN_CHAIN, presented.doubtful, FindingSeverity.WARNING),)
    if presented.trusted:
        return doubts
    if wanted.chained and not above and leaf.fingerprint == wanted.live:
        words = "it sends the leaf alone, without the certificates above it"
        return (Finding(FindingKind.BROKEN_CHAIN, words),)
    return _above(above, now) or doubts


def _above(chain: Sequence[CertificateFacts], now: datetime) -> tuple[Finding, ...]:
    """Certificates above the leaf that are out of date, which breaks all below them."""
    for facts in chain:
        for invalid in _invalid(facts, now):
            words = f"{facts.subject} above the leaf: {invalid.words}"
            return (Finding(FindingKind.BROKEN_CHAIN, words),)
    return ()


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN_NAMES]) or "no name at all"
    more = len(names) - SHOWN_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"
