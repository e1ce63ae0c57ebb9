"""How long a server asks to be left alone."""

from __future__ import annotations

import re
from datetime import timedelta

LONGEST = timedelta(days=1)
_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)


def asked_wait(retry_after: object) -> timedelta | None:
    """What a Retry-After header asks for in seconds, a day at most; None if it is not a number."""
    if not isinstance(retry_after, str) or not _SECONDS.fullmatch(retry_after.strip()):
        return None
    return min(timedelta(seconds=int(retry_after)), LONGEST)
