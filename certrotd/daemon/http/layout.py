"""What every page has: its frame, chips, notices, and the bar of a certificate's lifetime."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

from certrotd import __version__
from certrotd.daemon.http.html import NOTHING, Markup, fill, joined
from certrotd.daemon.http.time_format import exact, span, stamp

ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="#0f8a6d" '
    'stroke-width="2.4" stroke-linecap="round" stroke-linejoin="round">'
    '<path d="M20 12a8 8 0 1 1-2.6-5.9"/><path d="M20.4 2.6v4.6h-4.6"/>'
    '<path d="M8.6 12.2l2.4 2.4 4.4-4.8"/></svg>'
)
_LOGO = Markup(
    '<svg class="logo" viewBox="0 0 24 24" aria-hidden="true">'
    '<path d="M20 12a8 8 0 1 1-2.6-5.9"/><path d="M20.4 2.6v4.6h-4.6"/>'
    '<path d="M8.6 12.2l2.4 2.4 4.4-4.8"/></svg>'
)
_TONES = {
    "ok": "good",
    "serves it": "good",
    "finished": "good",
    "due": "work",
    "in flight": "work",
    "postponed": "work",
    "missing": "work",
    "placeholder": "work",
    "unseen": "calm",
    "disabled": "calm",
    "expired": "bad",
    "not yet valid": "bad",
    "broken": "bad",
    "unreadable": "bad",
}


@cache
def style() -> tuple[str, str]:
    """The style sheet, and the address under which exactly this one is to be had."""
    text = (Path(__file__).parent / "style.css").read_text()
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return text, f"/style.css?v={digest}"


def document(title: str, body: Markup, *, now: datetime) -> str:
    """A whole page."""
    return fill(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<meta name="robots" content="noindex, nofollow">\n'
        "<title>{title}</title>\n"
        '<link rel="icon" href="/icon.svg" type="image/svg+xml">\n'
        '<link rel="stylesheet" href="{style}">\n</head>\n<body>\n'
        '<a class="skip" href="#main">To the content</a>\n'
        '<header class="top"><a class="brand" href="/">{logo}certrotd</a>'
        '<p class="asof">As of {now} · <a href="">look again</a></p></header>\n'
        '<main id="main">\n{body}</main>\n'
        "<footer>certrotd {version} · read-only · "
        '<a href="/status.json">status.json</a> · <a href="/metrics">metrics</a></footer>\n'
        "</body>\n</html>\n",
        title=title,
        style=style()[1],
        logo=_LOGO,
        now=exact(now),
        body=body,
        version=__version__,
    )


def chip(state: str, *, failing: bool = False) -> Markup:
    """A state as a word with a coloured dot."""
    tone = "bad" if failing else _TONES.get(state, "calm")
    return fill('<span class="chip {tone}">{state}</span>', tone=tone, state=state)


def notices(lines: Sequence[tuple[str, str]]) -> Markup:
    """Things to know, each a heading and a sentence; nothing where there are none."""
    if not lines:
        return NOTHING
    items = joined(
        fill("<li><strong>{what}</strong> {words}</li>", what=what, words=words)
        for what, words in lines
    )
    return fill('<ul class="notices" aria-label="Notices">{items}</ul>\n', items=items)


def lifetime(
    not_before: datetime, not_after: datetime, renewal: datetime, *, now: datetime
) -> Markup:
    """Where now is between the beginning and the end, with the moment of renewal marked."""
    whole = max(1.0, (not_after - not_before).total_seconds())

    def share(moment: datetime) -> float:
        return round(min(100.0, max(0.0, (moment - not_before).total_seconds() / whole * 100)), 2)

    passed, at = share(now), share(renewal)
    words = f"{passed:.0f} % of {span(whole)} passed; renewal {stamp(renewal)}"
    tone = "work" if now >= renewal else "good"
    if now >= not_after:
        tone, words = "bad", "expired"
    return fill(
        '<svg class="life {tone}" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" '
        'aria-label="{words}"><title>{words}</title><rect class="track" width="100" height="10"/>'
        '<rect class="late" x="{at}" width="{rest}" height="10"/>'
        '<rect class="passed" width="{passed}" height="10"/>'
        '<path class="mark" d="M{at} 0V10"/></svg>',
        tone=tone,
        words=words,
        at=at,
        rest=round(100 - at, 2),
        passed=passed,
    )
