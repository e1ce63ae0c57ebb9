"""What certrotd's own objects in a cluster are called."""

from __future__ import annotations

import hashlib
import re

MAX_NAME = 253
_PLAIN = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_MARK = 10


def object_name(prefix: str, name: str) -> str:
    """A DNS subdomain (RFC 1123) for ``name``: no two names have the same.

    One like ``certificate/web`` stays readable, as ``PREFIX.certificate.web``. Any that could be
    taken for another has the beginning of its SHA-256 at its end.
    """
    folder, slash, rest = name.partition("/")
    dotted = f"{folder}.{rest}" if slash else folder
    plain = _PLAIN.fullmatch(dotted) and "." not in folder and "/" not in rest
    whole = f"{prefix}.{dotted}"
    if plain and ".." not in dotted and "--" not in dotted and len(whole) <= MAX_NAME:
        return whole
    mark = hashlib.sha256(name.encode()).hexdigest()[:_MARK]
    readable = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-") or "x"
    return f"{prefix}.{readable[: MAX_NAME - len(prefix) - _MARK - 3]}--{mark}"
