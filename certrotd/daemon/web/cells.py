"""What the list and the page of one certificate both show of it."""

from __future__ import annotations

from datetime import datetime

from certrotd.certs.decision import renewal_time
from certrotd.daemon.fleet import Row
from certrotd.daemon.picture import Picture
from certrotd.daemon.web.html import NOTHING, Markup, fill
from certrotd.daemon.web.layout import chip, lifetime
from certrotd.daemon.web.moments import day, span
from certrotd.pki.generation import Generation
from certrotd.wording import count


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
            more.append(f"{count(known.failures, 'failure')}, the last: {known.failure}")
        if left is not None:
            more.append(f"{count(left, 'attempt')} left before it expires")
    return fill(
        '{chip}<span class="sub">{words}</span>{more}',
        chip=chip(picture.state(name), failing=picture.failing(name)),
        words=words,
        more=fill('<span class="sub bad">{more}</span>', more="; ".join(more)) if more else NOTHING,
    )
