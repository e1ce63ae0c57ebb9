"""The head of the status page: one sentence, what to know, and a few figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from certrotd.daemon.http.sources import Around
from certrotd.daemon.http.time_format import brief
from certrotd.errors import Failure
from certrotd.lifecycle.finding import FindingSeverity
from certrotd.reporting.snapshot import FAILING, Snapshot, moment
from certrotd.scheduling.clock_trust import ClockTrust
from certrotd.wording import count, stamp, tally

_MOST_NOTICES = 20
_BUSY = frozenset({"due", "in flight", "postponed", "missing", "placeholder", "unseen"})


@dataclass(frozen=True)
class Headline:
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


def verdict(around: Around) -> Headline:
    """The worst problem there is, or that there is none."""
    snapshot = around.snapshot
    failing = sum(map(snapshot.failing, snapshot.known))
    subjects = tally(snapshot.known)
    watched = [seen for seen in snapshot.watched if seen.is_endpoint]
    broken = sum(
        any(f.severity is FindingSeverity.ERROR for f in seen.findings) for seen in watched
    )
    if around.dead:
        tone, words = "bad", "The scheduler hangs"
    elif snapshot.blocked:
        tone, words = "bad", "Nothing can rotate"
    elif snapshot.judgement.trust is ClockTrust.WRONG:
        tone, words = "bad", "The clock is wrong: nothing is ordered"
    elif failing or broken:
        parts = [f"{failing:,} of {subjects}"] * bool(failing)
        parts += [f"{broken:,} of {count(len(watched), 'endpoint')}"] * bool(broken)
        need = f"need{'s' * (failing + broken == 1)} attention"
        tone, words = "bad", f"{' and '.join(parts)} {need}"
    elif snapshot.audit_damage:
        tone, words = "bad", "The audit log is damaged"
    elif snapshot.others() or any(s is FindingSeverity.ERROR for _, s in snapshot.found()):
        tone, words = "bad", "Other problems need attention"
    elif around.unready:
        tone, words = "work", f"Not ready: {around.unready}"
    elif not snapshot.configured.valid:
        tone, words = "work", "The configuration on disk is not fully in force"
    elif not snapshot.known:
        alone = around.shard.of == 1
        tone, words = "calm", f"Nothing is {'configured' if alone else f'in {around.shard}'}"
    else:
        tone, words = "good", f"All is well with {subjects}"
    return Headline(tone, words)


def _notices(around: Around) -> Iterator[tuple[str, str]]:
    snapshot = around.snapshot
    if around.shard.of > 1:
        yield "Shard:", f"this replica looks after {around.shard}"
    if around.dead:
        yield "Scheduler:", around.dead
    if snapshot.judgement.why:
        yield "Clock:", snapshot.judgement.why
    yield from (("Configuration refused:", problem) for problem in snapshot.configured.refused)
    yield from (("Skipped:", problem) for problem in snapshot.configured.left_out)
    yield from ((f"{what}:", words) for what, words in snapshot.others().items())
    for seen in snapshot.watched:
        yield from ((f"{seen.key}:", finding.words) for finding in seen.findings)
    if snapshot.audit_damage:
        yield "Audit log:", f"{snapshot.audit_damage}: see certrotd audit verify"
    if isinstance(around.audit, Failure):
        yield "Audit log:", str(around.audit)
    elif around.audit.state == "unreadable":
        yield "Audit log:", "its head file is damaged: see certrotd audit verify"
    for account, left in around.budgets.items():
        if isinstance(left, Failure):
            yield f"Budget of {account}:", str(left)


def tiles(around: Around, *, now: datetime) -> list[Tile]:
    """The figures, what the page is opened for first."""
    snapshot = around.snapshot
    failing = sum(map(snapshot.failing, snapshot.known))
    busy = sum(
        snapshot.state(name) in _BUSY and not snapshot.failing(name) for name in snapshot.known
    )
    fine = sum(
        snapshot.state(name) == "ok" and not snapshot.failing(name) for name in snapshot.known
    )
    look = snapshot.next_look()
    trust = snapshot.judgement.trust
    shown = [
        Tile(
            "Needs you",
            f"{failing:,}",
            f"need{'s' * (failing == 1)} attention" if failing else "nothing to do",
            "bad" * bool(failing),
            f"/?state={FAILING}",
        ),
        _first_end(snapshot),
        Tile("In order", f"{fine:,}", f"of {len(snapshot.known):,}", "good", "/?state=ok"),
        Tile("Under way", f"{busy:,}", f"{len(snapshot.running)} running", "work" * bool(busy)),
        _next_tile(look, now),
        Tile("Clock", trust.value, stamp(now), "" if trust is ClockTrust.SOUND else "bad"),
        _audit_tile(around),
    ]
    for account, left in around.budgets.items():
        if not isinstance(left, Failure):
            shown.append(Tile("Orders left", f"{left:,}", account, "work" if left < 5 else ""))
    return shown


def _first_end(snapshot: Snapshot) -> Tile:
    """What expires first, and when."""
    ends = (
        (known.not_after, subject)
        for subject, known in snapshot.known.items()
        if known is not None and known.not_after is not None
    )
    end, first = min(ends, default=(None, None))
    if end is None or first is None:
        return Tile("Expires first", "–", "nothing is known yet")
    left = end - snapshot.now
    tone = "bad" if left <= 0 or snapshot.failing(first) else ""
    when = f"in {brief(left)}" if left > 0 else "expired"
    return Tile("Expires first", when, first.name, tone, f"/{first}")


def _audit_tile(around: Around) -> Tile:
    audit = around.audit
    if isinstance(audit, Failure) or audit.state == "unreadable":
        return Tile("Audit log", "unreadable", "", "bad")
    if around.snapshot.audit_damage:
        return Tile("Audit log", "damaged", "recorded behind the gap", "bad")
    if audit.known is None:
        return Tile("Audit log", "empty", "no record yet")
    return Tile("Audit log", f"#{audit.head.seq:,}", f"{audit.head.hash[:12]}…")


def _next_tile(look: float | None, now: datetime) -> Tile:
    if look is None:
        return Tile("Next check", "–", "nothing is known yet")
    seconds = look - now.timestamp()
    return Tile("Next check", f"in {brief(seconds)}" if seconds > 0 else "now", stamp(moment(look)))
