"""HTML made of templates whose every part is escaped, unless it is HTML already."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from certrotd.errors import printable


class Markup(str):
    """Text that is HTML: made by fill(), or written in this package."""

    __slots__ = ()


def fill(template: str, /, **parts: object) -> Markup:
    """``template`` (as str.format takes it) with each part as text, or as it is if it is Markup."""
    shown = {
        name: part if isinstance(part, Markup) else escape(printable(str(part)))
        for name, part in parts.items()
    }
    return Markup(template.format_map(shown))


def joined(parts: Iterable[Markup]) -> Markup:
    """One after the other."""
    return Markup("".join(parts))


NOTHING = Markup("")
