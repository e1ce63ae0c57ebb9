"""The style sheet and the icon of the pages."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent


@cache
def style() -> tuple[str, str]:
    """The style sheet, and the address under which exactly this one is to be had."""
    text = (_HERE / "style.css").read_text()
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return text, f"/style.css?v={digest}"


@cache
def icon() -> str:
    """The icon as SVG."""
    return (_HERE / "icon.svg").read_text()
