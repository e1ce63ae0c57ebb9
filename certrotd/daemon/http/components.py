"""What the list and the page of one certificate both show of it."""

from __future__ import annotations

from datetime import datetime

from certrotd.certs.fitness import renewal_time
from certrotd.certs.policy import COPIES
from certrotd.daemon.fleet import Row
from certrotd.daemon.http.html import Markup, fill, joined
from certrotd.daemon.http.layout import chip, lifetime
from certrotd.daemon.http.time_format import day, span
from certrotd.daemon.picture import Picture
from certrotd.pki.generation import Generation
from certrotd.wording import count

FEW = 5
"""Fewer attempts than that are alarming."""


def bar_of(row: Row | None, *, now: datetime) -> Markup:
    """The lifetime of the live certificate with how much of it is left; a dash without one."""
    live = row.standing.live if row else None
    if row is None or live is None or live.placeholder or live.facts is None:
        return Markup('<span class="sub">no certificate</span>')
    facts = live.facts
    renewal, _ = renewal_of(row, live)
    left = (facts.not_after - now).total_seconds()
    words = f"{span(left)} left" if left > 0 else f"expired {span(left)} ago"
    return fill(
        '{bar}<span class="sub">{words} · {end}</span>',
        bar=lifetime(facts.not_before, facts.not_after, renewal, now=now),
        words=words,
        end=day(facts.not_after),
    )


def renewal_of(row: Row, live: Generation) -> tuple[datetime, str]:
    """When the live certificate is to be renewed, and by which rule; it must have facts."""
    assert live.facts is not None
    return renewal_time(live.facts, live.meta.draw if live.meta else 0.0, row.managed.policy)


def state_cell(picture: Picture, name: str) -> Markup:
    """The state, why, and what is left to try."""
    known, left = picture.known[name], picture.attempts_left(name)
    words, more = picture.why(name), []
    if known is not None and known.failures:
        if known.failure not in words:
            failures = f"{count(known.failures, 'failure')}, the last: {known.failure}"
            more.append(_sub(failures, "bad"))
        if left is not None:
            tone = "bad" if left < FEW else ""
            more.append(_sub(f"{count(left, 'attempt')} left before it expires", tone))
    return fill(
        "{chip}{words}{more}",
        chip=chip(picture.state(name), failing=picture.failing(name)),
        words=_sub(words),
        more=joined(more),
    )


def waiting_of(row: Row | None) -> str:
    """A generation that was issued and is not in use yet, in words; empty without one."""
    live, newest = (row.standing.live, row.standing.newest) if row else (None, None)
    if newest is None or (live is not None and newest.number <= live.number):
        return ""
    return f"generation {newest.number} waits: it is issued, and not in use yet"


def copies_of(row: Row) -> tuple[str, str] | None:
    """The tone and the words for its copies; None if it has none."""
    if not row.managed.policy.installs:
        return None
    state, live = row.standing.state.targets.get(COPIES), row.standing.live
    if row.standing.displaced:
        return "work", row.standing.displaced
    if state is None or live is None:
        return "calm", "not installed yet"
    if state.generation != live.number:
        return "work", f"of generation {state.generation}"
    return "good", "up to date"


def _sub(words: str, tone: str = "") -> Markup:
    classes = f"sub {tone}" if tone else "sub"
    return fill('<span class="{classes}">{words}</span>', classes=classes, words=words)
