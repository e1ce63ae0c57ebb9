"""The page of one certificate: what it is, who serves it, and what became of its rotations."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from certrotd.certs.watching import Watched
from certrotd.daemon.fleet import Row
from certrotd.daemon.http.components import bar_of, copies_of, renewal_of, state_cell, waiting_of
from certrotd.daemon.http.html import Markup, fill, joined
from certrotd.daemon.http.layout import chip, document
from certrotd.daemon.http.request import Refused
from certrotd.daemon.http.sources import Sources
from certrotd.daemon.http.time_format import exact, shown, span
from certrotd.daemon.picture import Picture, moment
from certrotd.daemon.status import target_words, targets_of
from certrotd.rotation.flight import Flight
from certrotd.wording import count

HISTORY = 30


def certificate_page(sources: Sources, name: str) -> str:
    """The page of the certificate ``name``; raises Refused if there is none."""
    picture, now = sources.board.picture(), sources.clock.now()
    row = next(sources.rows([name]), None) if name in picture.known else None
    if row is None:
        raise Refused(404, f"there is no certificate {name!r}")
    body = joined(
        (
            fill(
                '<p class="crumb"><a href="/">All certificates</a></p>\n<h1>{name}</h1>\n'
                '<div class="lead">{state}</div>\n<div class="big">{bar}</div>\n',
                name=name,
                state=state_cell(picture, name),
                bar=bar_of(row, now=now),
            ),
            _facts(picture, row, now=now),
            _targets(row, now=now),
            _copies(row),
            _watched([seen for seen in picture.watched if _about(seen, name)], now=now),
            _history(row.managed.journal.history.lines()[-HISTORY:], now=now),
        )
    )
    return document(f"{name} · certrotd", body, now=now)


def _facts(picture: Picture, row: Row, *, now: datetime) -> Markup:
    policy, live = row.managed.policy, row.standing.live
    facts = live.facts if live and not live.placeholder else None
    known = picture.known[policy.name]
    following = moment(known.next) if known and known.next is not None else None
    lines: list[tuple[str, object]] = [
        ("Names", _list(facts.names if facts else policy.names)),
        ("Next check", shown(following, now=now)),
        ("Issuer", policy.issuer),
        ("Generation", live.number if live else "–"),
    ]
    if waiting := waiting_of(row):
        lines.append(("Waiting", waiting))
    if known and known.flight is not None:
        lines.append(("In flight", _flight(known.flight, now=now)))
    if live is not None and facts is not None:
        renewal, rule = renewal_of(row, live)
        lines += [
            ("Renewal", fill('{at}<span class="sub">{rule}</span>', at=exact(renewal), rule=rule)),
            ("Issued by", facts.issuer or "–"),
            ("Valid from", exact(facts.not_before)),
            ("Valid until", exact(facts.not_after)),
            ("Key", facts.key_type),
            ("Serial", fill("<code>{serial}</code>", serial=facts.serial)),
            ("SHA-256", fill("<code>{print}</code>", print=facts.fingerprint)),
        ]
    items = joined(
        fill("<div><dt>{what}</dt><dd>{value}</dd></div>", what=what, value=value)
        for what, value in lines
    )
    return fill('<dl class="facts">{items}</dl>\n', items=items)


def _flight(flight: Flight, *, now: datetime) -> Markup:
    """Where a rotation rests: its step, since when, why, until when, after how many tries."""
    return fill(
        '{step}<span class="sub">since {since}; {tries} failed; goes on {until}</span>'
        '<span class="sub">{why}</span>',
        step=f"{'undoing ' * flight.undoing}{flight.step or 'beginning'}",
        since=shown(flight.since, now=now),
        tries=count(flight.tries, "attempt"),
        until=shown(flight.until, now=now) if flight.until else "with the next check",
        why=flight.why,
    )


def _list(names: tuple[str, ...]) -> Markup:
    items = joined(fill("<li>{name}</li>", name=name) for name in names)
    return fill('<ul class="names">{items}</ul>', items=items)


def _targets(row: Row, *, now: datetime) -> Markup:
    lines = joined(
        _row(
            ("Target", fill('<span class="target">{name}</span>', name=target["name"])),
            ("State", chip("serves it") if target["current"] else target_words(target)),
            ("Generation", target["generation"] or "–"),
            ("Proven", shown(target["proven"], now=now)),
            ("Serves", _print(target["serves"])),
        )
        for target in targets_of(row)
    )
    heads = ("Target", "State", "Generation", "Proven", "Serves")
    installs = row.managed.policy.installs
    copied = "a new one replaces its copies, and no service reloads."
    rest = copied if installs else "no service reloads for a new one."
    return _section("Targets", heads, lines, f"It has no targets: {rest}")


def _copies(row: Row) -> Markup:
    if (copies := copies_of(row)) is None:
        return Markup("")
    tone, words = copies
    paths = sorted(row.standing.state.copies)
    lines = joined(
        _row(
            ("Path", fill("<code>{path}</code>", path=path)),
            ("What", row.standing.state.copies[path].asked.partition(" ")[0]),
        )
        for path in paths
    )
    state = fill(
        '<p class="{tone}"><span class="chip {tone}">{words}</span></p>\n', tone=tone, words=words
    )
    return joined((_section("Copies", ("Path", "What"), lines, "None is installed yet."), state))


def _watched(seen: list[Watched], *, now: datetime) -> Markup:
    if not seen:
        return Markup("")
    lines = joined(
        _row(
            ("Endpoint", fill('{subject} <span class="sub">{sni}</span>',
                              subject=each.subject, sni=each.sni)),
            ("Found", "; ".join(finding.words for finding in each.findings) or chip("ok")),
            ("Expires", shown(each.not_after, now=now)),
            ("Seen", shown(each.at, now=now)),
        )
        for each in seen
    )  # fmt: skip
    return _section("Watched", ("Endpoint", "Found", "Expires", "Seen"), lines, "")


def _about(seen: Watched, name: str) -> bool:
    return seen.certificate == name or (seen.sort == "files" and seen.subject == name)


def _history(lines: list[dict[str, Any]], *, now: datetime) -> Markup:
    rows = joined(_past(line, now=now) for line in reversed(lines))
    heads = ("Ended", "Outcome", "Took", "Why")
    return _section("History", heads, rows, "It was not rotated yet.")


def _past(line: Mapping[str, Any], *, now: datetime) -> Markup:
    """One line of history, which is read as it is: whoever wrote it may have been another."""
    began, ended = _moment(line.get("began")), _moment(line.get("ended"))
    took = (ended - began).total_seconds() if began and ended else None
    failure = line.get("failure")
    words = fill("{why}", why=line.get("why", ""))
    if failure:
        facts = line.get("facts")
        if isinstance(facts, Mapping) and (kept := facts.get("kept")):
            failure = f"{failure}; {kept}"
        words = fill('{why}<span class="sub bad">{step}: {failure}</span>',
                     why=words, step=line.get("failed_step", ""), failure=failure)  # fmt: skip
    return _row(
        ("Ended", shown(ended, now=now)),
        ("Outcome", chip(str(line.get("outcome", "–")), failing=bool(failure))),
        ("Took", _took(took)),
        ("Why", words),
    )


def _took(seconds: float | None) -> str:
    if seconds is None or seconds < 0:  # the clock was set back meanwhile
        return "–"
    return span(seconds) if seconds >= 1 else "under a second"


def _moment(text: object) -> datetime | None:
    try:
        read = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return read if read.tzinfo else None


def _print(fingerprint: str | None) -> Markup:
    if not fingerprint:
        return Markup("–")
    return fill('<code title="{whole}">{short}…</code>', whole=fingerprint, short=fingerprint[:16])


def _row(*cells: tuple[str, object]) -> Markup:
    inner = joined(
        fill('<td role="cell" data-label="{label}">{value}</td>', label=label, value=value)
        for label, value in cells
    )
    return fill('<tr role="row">{inner}</tr>\n', inner=inner)


def _section(title: str, heads: tuple[str, ...], lines: Markup, empty: str) -> Markup:
    if not lines:
        return fill('<h2>{title}</h2><p class="none">{empty}</p>\n', title=title, empty=empty)
    columns = joined(
        fill('<th scope="col" role="columnheader">{head}</th>', head=head) for head in heads
    )
    return fill(
        '<h2 id="{title}">{title}</h2>\n<table role="table" class="list" aria-labelledby="{title}">'
        '<thead role="rowgroup"><tr role="row">{columns}</tr></thead>'
        '<tbody role="rowgroup">{lines}</tbody></table>\n',
        title=title,
        columns=columns,
        lines=lines,
    )
