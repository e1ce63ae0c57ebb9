"""Whether a generation may be served, when it is to be renewed, and how it falls short: pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from certrotd.certs.policy import Policy
from certrotd.lifecycle.subject import CLOCK_SKEW
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.generation import CertificateState, Generation, Meta, Standing
from certrotd.pki.renewal import Suggestion

SHORT_LIFETIME = timedelta(days=10)
MOST_BEFORE = 9 / 10
MOST_LATER = 2 / 5
"""So much of what is left after our own time a CA may put a renewal off."""
UNPLANNED = 1 / 10
"""By so much of its lifetime a renewal comes earlier than by our own rule that is unplanned."""
SHORTEST, LAST_CALL = 10, 20


def usable(generation: Generation | None, *, now: datetime) -> str | None:
    """Why a generation must not be put in front of users, or None if it may."""
    if generation is None:
        return "there is none"
    if generation.facts is None:
        return generation.broken or "it is unreadable"
    if generation.placeholder:
        return "it is a placeholder, not a certificate"
    if generation.facts.not_after <= now:
        return f"it expired at {stamp(generation.facts.not_after)}"
    if generation.facts.not_before > now + CLOCK_SKEW:
        return f"it is not valid before {stamp(generation.facts.not_before)}"
    return None


def renewal_time(facts: CertificateFacts, draw: float, policy: Policy) -> tuple[datetime, str]:
    """When to renew and by which rule; ``draw`` in [0, 1) spreads it over the policy's jitter.

    Always after the beginning: a ``before`` that takes nearly all of the lifetime is passed over,
    and the jitter takes at most half of the time until then. Otherwise a short-lived certificate
    would be due as soon as it is there, for ever.
    """
    lifetime = facts.not_after - facts.not_before
    if policy.before is not None and policy.before <= lifetime * MOST_BEFORE:
        wait, rule = lifetime - policy.before, f"{_span(policy.before)} before its end"
    else:
        if policy.fraction is not None:
            fraction, rule = policy.fraction, f"{policy.fraction:.0%} of its lifetime"
        elif lifetime < SHORT_LIFETIME:
            fraction, rule = 1 / 2, "half of its lifetime"
        else:
            fraction, rule = 2 / 3, "two thirds of its lifetime"
        if policy.before is not None:
            rule += f" ({_span(policy.before)} before its end is too early)"
        wait = lifetime * fraction
    early = min(lifetime * policy.jitter, wait / 2) * draw
    return facts.not_before + wait - early, rule


def its_time(live: Generation, state: CertificateState, policy: Policy) -> tuple[datetime, str]:
    """When to renew a live certificate that can be read, and by which rule.

    Within the window that its CA suggests, if it does (RFC 9773 §4.2): never later than the
    configuration says, nor so late that little time is left for failures.
    """
    assert live.facts is not None
    own, rule = renewal_time(live.facts, live.meta.draw if live.meta else 0.0, policy)
    found = suggestion_for(live, state, policy)
    if found is None or found.info is None or found.at is None:
        return own, rule
    see = f" ({found.info.explanation})" if found.info.explanation else ""
    window = f"the CA suggests {stamp(found.info.start)} to {stamp(found.info.end)}{see}"
    configured = policy.before is not None or policy.fraction is not None
    if configured and found.at > own:
        return own, rule
    latest = own + (live.facts.not_after - own) * MOST_LATER
    if found.at > latest:
        return latest, f"the last moment for it: {window}"
    return found.at, f"a moment of the CA's window: {window}"


def pulled_forward(live: Generation, state: CertificateState, policy: Policy) -> bool:
    """Whether the CA wants a certificate renewed well before our own rule would."""
    found = suggestion_for(live, state, policy)
    if live.facts is None or found is None or found.at is None:
        return False
    own, _ = renewal_time(live.facts, live.meta.draw if live.meta else 0.0, policy)
    return found.at < own - (live.facts.not_after - live.facts.not_before) * UNPLANNED


def renewal_wanted_by(live: Generation, state: CertificateState, policy: Policy) -> datetime | None:
    """When the window ends to which the CA has pulled a renewal forward; None if it has not."""
    found = suggestion_for(live, state, policy)
    if found is None or found.info is None or not pulled_forward(live, state, policy):
        return None
    return found.info.end


def suggestion_for(
    live: Generation | None, state: CertificateState, policy: Policy
) -> Suggestion | None:
    """What the CA said of this very generation, if it is to be heard."""
    found = state.suggested
    if not advised(live, policy) or live is None or found is None:
        return None
    return found if found.generation == live.number else None


def advised(live: Generation | None, policy: Policy) -> bool:
    """Whether a CA that is asked for renewal information has issued it."""
    if live is None or live.facts is None or live.meta is None:
        return False
    its = policy.of(live.meta.authority) if live.meta.origin == "issued" else None
    return its is not None and its.renewal_info and bool(live.facts.authority_key)


def drift(facts: CertificateFacts, generation: Generation, policy: Policy) -> str | None:
    """How a certificate differs from what the configuration asks for, or None."""
    meta = generation.meta
    # what was asked for, where that is known: a CA may add names of its own to every certificate
    asked = meta.asked if meta and meta.asked else facts.names
    alike = facts.names == asked == policy.names  # nearly always, and without making sets
    if not alike and (changes := _changes(policy.names, facts.names, asked)):
        return f"the configured names changed: {' '.join(changes)}"
    if meta is not None and (changed := other_key(meta, policy)):
        return changed
    if facts.key_type != policy.key_type and not policy.elsewhere:
        return f"the key is {facts.key_type}, the configuration asks for {policy.key_type}"
    if meta is None or meta.origin == "adopted":
        return None
    its = policy.by(meta.issuer)
    if its is None:
        issuers = " or ".join(policy.issuers)
        return f"it was issued by {meta.issuer}, the configuration asks for {issuers}"
    if meta.authority != its.authority:
        return f"issuer {its.issuer} is another CA now: {its.authority}"
    return None


def _changes(wanted: Sequence[str], there: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Names that are missing, with a plus, and those that were asked for too much, with a minus."""
    missing, extra = {*wanted}.difference(there), {*asked}.difference(wanted)
    return [*(f"+{name}" for name in sorted(missing)), *(f"-{name}" for name in sorted(extra))]


def standing_in(live: Generation | None, policy: Policy) -> str | None:
    """Why a certificate of another CA than the first of the list is live, or None if none is."""
    if not policy.others or live is None or live.facts is None or live.meta is None:
        return None
    if live.meta.origin != "issued" or live.meta.issuer not in policy.issuers[1:]:
        return None
    why = live.meta.instead or f"{policy.issuer} is the first of the list since"
    return f"issued by {live.meta.issuer}, not by {policy.issuer}: {why}"


def missed_chain(live: Generation | None, policy: Policy) -> str:
    """That the chain which is preferred, today still, was not offered for what is live; or ""."""
    if live is None or live.meta is None or (missed := live.meta.missed) is None:
        return ""
    its = policy.of(live.meta.authority)
    return str(missed) if its is not None and missed.wanted == its.preferred_chain else ""


def other_key(meta: Meta, policy: Policy) -> str | None:
    """Why a generation is for a key that those who serve it do not have; None if it may be."""
    if not policy.elsewhere:
        made_here = "its key is elsewhere, the configuration asks for one made here"
        return made_here if meta.request else None
    if not meta.request:
        return "its key was made here, the configuration names a csr"
    if policy.request and meta.request != policy.request:
        return "the file of csr changed"
    return None


def to_outdo(policy: Policy, standing: Standing, *, now: datetime) -> CertificateFacts | None:
    """What a new certificate must not be worse than: the live one, while that may be served on.

    None where it is not of this issuer, or the configuration asks for another one now: what comes
    of that is the user's wish.
    """
    live = standing.live
    if live is None or live.facts is None or live.meta is None or usable(live, now=now):
        return None
    if live.number in standing.state.revoked:
        return None
    asked_so = (live.meta.origin, live.meta.terms) == ("issued", policy.terms)
    return live.facts if asked_so and not drift(live.facts, live, policy) else None


def worse(
    new: CertificateFacts, not_before: datetime, not_after: datetime, *, now: datetime
) -> str | None:
    """How a new certificate is worse than the live one of these dates, or None.

    In the last twentieth of the live one's life a short one that outlives it is better than none.
    """
    if now >= not_after:
        return None
    if new.not_after < not_after:
        return f"it ends at {stamp(new.not_after)}, the live one at {stamp(not_after)}"
    life, last = new.not_after - new.not_before, not_after - not_before
    if life < last / SHORTEST and not_after - now > last / LAST_CALL:
        return f"it is valid for {_rough(life)}, the live one for {_rough(last)}"
    return None


def stamp(moment: datetime) -> str:
    """A moment as it stands in reasons."""
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"


def _span(span: timedelta) -> str:
    for seconds, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if span.total_seconds() % seconds == 0:
            return f"{int(span.total_seconds() // seconds)}{unit}"
    return f"{span.total_seconds():.0f}s"


def _rough(span: timedelta) -> str:
    for seconds, unit in ((2 * 86400, "days"), (2 * 3600, "hours"), (120, "minutes")):
        if span.total_seconds() >= seconds:
            return f"{span.total_seconds() / (seconds / 2):.0f} {unit}"
    return f"{span.total_seconds():.0f} seconds"
