"""Suggests what was meant: the nearest of the words that would have been right."""

from collections.abc import Iterable

MAX_LISTED = 12


def suggestion(word: str, known: Iterable[str]) -> str:
    """``did you mean "…"?``, or what there is to choose from, or that there is nothing."""
    from difflib import get_close_matches

    words = list(known)
    if near := get_close_matches(word[:100], words, n=1):
        return f'did you mean "{near[0]}"?'
    if not words:
        return "none is configured"
    more = ", …" if len(words) > MAX_LISTED else ""
    return f"known: {', '.join(words[:MAX_LISTED])}{more}"
