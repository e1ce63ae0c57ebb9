"""The head of the status page: one sentence, what to know, and a few figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from certrotd.certs.watching import Severity
from certrotd.daemon.clockwatch import Trust
from certrotd.daemon.http.sources import Around
from certrotd.daemon.http.time_format import brief, stamp
from certrotd.daemon.picture import FAILING, Picture, moment
from certrotd.errors import Failure
from certrotd.wording import count

_MOST_NOTICES = 20
_BUSY = frozenset({"due", "in flight", "postponed", "missing", "placeholder", "unseen"})


@dataclass(frozen=True)
class Verdict:
    """How it all stands in one sentence, and what kind of news that is."""

    tone: str
    words: str


@dataclass(frozen=True)
class Tile:
    """A figure with its heading and a remark; ``href`` leads to what is behind it."""

    what: str
    value: str
    more: str
    tone: str = ""
    href: str = ""


def notices(around: Around) -> list[tuple[str, str]]:
    """What to know, each a heading and a sentence: the first of many."""
    lines = list(_notices(around))
    shown = lines[:_MOST_NOTICES]
    if len(lines) > len(shown):
        shown.append(("And more:", f"{len(lines) - len(shown):,} others, see status.json"))
    return shown


def verdict(around: Around) -> Verdict:
    """The worst that is so."""
    picture = around.picture
    failing = sum(map(picture.failing, picture.known))
    certificates = count(len(picture.known), "certificate")
    watched = [seen for seen in picture.watched if seen.sort != "files"]
    broken = sum(any(f.severity is Severity.ERROR for f in seen.findings) for seen in watched)
    if around.dead:
        tone, words = "bad", "The scheduler does not move"
    elif picture.blocked:
        tone, words = "bad", "Nothing can be rotated"
    elif picture.judgement.trust is Trust.WRONG:
        tone, words = "bad", "The clock is wrong: nothing is ordered"
    elif failing or broken:
        parts = [f"{failing:,} of {certificates}"] * bool(failing)
        parts += [f"{broken:,} of {count(len(watched), 'endpoint')}"] * bool(broken)
        need = f"need{'s' * (failing + broken == 1)} attention"
        tone, words = "bad", f"{' and '.join(parts)} {need}"
    elif picture.audit_damage:
        tone, words = "bad", "The audit log is damaged"
    elif picture.others() or any(s is Severity.ERROR for _, s in picture.found()):
        tone, words = "bad", "Other problems need attention"
    elif around.unready:
        tone, words = "work", f"Not ready: {around.unready}"
    elif not picture.configured.valid:
        tone, words = "work", "The configuration on disk is not in force as a whole"
    elif not picture.known:
        tone, words = "calm", "No certificates are configured"
    else:
        tone, words = "good", f"All is well with {certificates}"
    return Verdict(tone, words)


def _notices(around: Around) -> Iterator[tuple[str, str]]:
    picture = around.picture
    if around.dead:
        yield "Scheduler:", around.dead
    if picture.judgement.why:
        yield "Clock:", picture.judgement.why
    yield from (("Configuration refused:", problem) for problem in picture.configured.refused)
    yield from (("Left out:", problem) for problem in picture.configured.left_out)
    yield from ((f"{what}:", words) for what, words in picture.others().items())
    for seen in picture.watched:
        yield from ((f"{seen.key}:", finding.words) for finding in seen.findings)
    if picture.audit_damage:
        yield "Audit log:", f"{picture.audit_damage}: certrotd audit verify says more"
    if isinstance(around.audit, Failure):
        yield "Audit log:", str(around.audit)
    elif around.audit.state == "unreadable":
        yield "Audit log:", "its head cannot be understood: certrotd audit verify says more"
    for issuer, left in around.budgets.items():
        if isinstance(left, Failure):
            yield f"Budget of {issuer}:", str(left)


def tiles(around: Around, *, now: datetime) -> list[Tile]:
    """The figures, what the page is opened for first."""
    picture = around.picture
    failing = sum(map(picture.failing, picture.known))
    busy = sum(picture.state(name) in _BUSY and not picture.failing(name) for name in picture.known)
    fine = sum(picture.state(name) == "ok" and not picture.failing(name) for name in picture.known)
    look = picture.next_look()
    trust = picture.judgement.trust
    shown = [
        Tile(
            "Needs you",
            f"{failing:,}",
            f"need{'s' * (failing == 1)} attention" if failing else "nothing to do",
            "bad" * bool(failing),
            f"/?state={FAILING}",
        ),
        _first_end(picture),
        Tile("In order", f"{fine:,}", f"of {len(picture.known):,}", "good", "/?state=ok"),
        Tile("Under way", f"{busy:,}", f"{len(picture.running)} running", "work" * bool(busy)),
        _next_tile(look, now),
        Tile("Clock", trust.value, stamp(now), "" if trust is Trust.SOUND else "bad"),
        _audit_tile(around),
    ]
    for issuer, left in around.budgets.items():
        if not isinstance(left, Failure):
            shown.append(Tile("Orders left", f"{left:,}", issuer, "work" if left < 5 else ""))
    return shown


def _first_end(picture: Picture) -> Tile:
    """Which certificate expires first, and when."""
    ends = (
        (known.not_after, subject)
        for subject, known in picture.known.items()
        if known is not None and known.not_after is not None
    )
    end, first = min(ends, default=(None, None))
    if end is None or first is None:
        return Tile("Expires first", "–", "nothing is known yet")
    left = end - picture.now
    tone = "bad" if left <= 0 or picture.failing(first) else ""
    when = f"in {brief(left)}" if left > 0 else "expired"
    return Tile("Expires first", when, first.name, tone, f"/{first}")


def _audit_tile(around: Around) -> Tile:
    audit = around.audit
    if isinstance(audit, Failure) or audit.state == "unreadable":
        return Tile("Audit log", "unreadable", "", "bad")
    if around.picture.audit_damage:
        return Tile("Audit log", "damaged", "recorded behind the gap", "bad")
    if audit.known is None:
        return Tile("Audit log", "empty", "no record yet")
    return Tile("Audit log", f"#{audit.head.seq:,}", f"{audit.head.hash[:12]}…")


def _next_tile(look: float | None, now: datetime) -> Tile:
    if look is None:
        return Tile("Next check", "–", "nothing is known yet")
    seconds = look - now.timestamp()
    return Tile("Next check", f"in {brief(seconds)}" if seconds > 0 else "now", stamp(moment(look)))
