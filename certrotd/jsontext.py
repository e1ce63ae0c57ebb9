"""JSON that anybody may have written."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn


def parsed(text: str | bytes) -> Any:
    """What a JSON text says, whose numbers are finite.

    ValueError for whatever is none, or nested too deeply to be read.
    """
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_refused)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _finite(text: str) -> float:
    if math.isinf(number := float(text)):
        _refused(text)
    return number


def _refused(text: str) -> NoReturn:
    """NaN and Infinity, which JSON does not have (RFC 8259), and what no float can be."""
    raise ValueError(f"{text[:40]} is no finite number")
