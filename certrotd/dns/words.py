"""How values appear in messages."""

from __future__ import annotations


def shown(text: str) -> str:
    """``text`` quoted for a message, cut at 80 characters."""
    return repr(text if len(text) <= 80 else text[:79] + "…")


def seconds(duration: float) -> str:
    """``duration`` as a person would say it: ``0.15 s``, ``2 s``, ``120 s``."""
    return f"{round(duration, 2 if duration < 1 else 1):g} s"
