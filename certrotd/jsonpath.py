"""Paths into JSON documents, as in ``$.smtp.password``: a small part of JSONPath (RFC 9535)."""

import json
import re
from dataclasses import dataclass

from certrotd.errors import InvalidInput

_STEP = re.compile(r'\.(?P<name>[^.\[\]"\s*]+)|\[(?P<quoted>"(?:[^"\\]|\\.)*")\]|'
                   r"\[(?P<index>\d{1,9})\]|(?P<every>\.\*|\[\*\])")  # fmt: skip
_WANTED = 'must be a path such as $.smtp.password, $["a b"].c, $.tokens[*].secret or $.*'
Step = str | int | None
"""A name, an index, or (None) every one of them."""


@dataclass(frozen=True)
class Path:
    """Where values are, as in ``$.smtp.password`` or ``$.tokens[*].secret``."""

    text: str
    steps: tuple[Step, ...]


def path_of(text: str) -> Path:
    """The path that a text names; raises InvalidInput if it names none."""
    if not text.startswith("$"):
        raise InvalidInput(_WANTED)
    steps: list[Step] = []
    at = 1
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None:
            raise InvalidInput(_WANTED)
        if found["quoted"] is not None:
            steps.append(_name(found["quoted"]))
        elif found["index"] is not None:
            steps.append(int(found["index"]))
        else:
            steps.append(found["name"])
        at = found.end()
    return Path(text, tuple(steps))


def _name(quoted: str) -> str:
    try:
        return str(json.loads(quoted))
    except ValueError:
        raise InvalidInput(_WANTED) from None
