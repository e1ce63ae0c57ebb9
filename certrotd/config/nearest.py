"""Suggests what was meant: the nearest of the words that would have been right."""

from collections.abc import Iterable

MAX_LISTED = 12


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that ``word`` may be a slip of the pen for."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(word[:100], list(known), n=1)), None)


def suggestion(word: str, known: Iterable[str]) -> str:
    """``did you mean "…"?``, or what there is to choose from, or that there is nothing."""
    words = list(known)
    if near := nearest(word, words):
        return f'did you mean "{near}"?'
    if not words:
        return "there is none"
    more = ", …" if len(words) > MAX_LISTED else ""
    return f"known: {', '.join(words[:MAX_LISTED])}{more}"
