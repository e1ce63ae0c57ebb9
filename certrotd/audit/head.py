"""The head file: what the log must end with, and whose outcomes it still waits for.

It is replaced by a rename after every append. It is not synced, which would double the syncs of a
rotation: the log is, and so a power cut leaves the head behind the log, never ahead of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from certrotd.audit.record import START, Head, canonical
from certrotd.errors import InvalidInput
from certrotd.files.reading import read_file
from certrotd.files.writing import write_file
from certrotd.jsontext import parsed

_LIMIT = 16 * 1024 * 1024


@dataclass(frozen=True)
class Anchor:
    """What the head file says, or why it says nothing.

    ``waiting`` is the rotation by subject whose outcome is still to be recorded. An empty file is
    one whose content a power cut took.
    """

    head: Head = START
    waiting: Mapping[str, str] = field(default_factory=dict)
    state: Literal["good", "missing", "empty", "unreadable"] = "good"

    @property
    def known(self) -> Head | None:
        """The head, if there is one to trust."""
        return self.head if self.state == "good" else None


def read_head(path: Path) -> Anchor:
    """What the head file says; raises DiskTrouble."""
    try:
        data = read_file(path, limit=_LIMIT, follow=False)
        if not data.strip(b"\0"):
            return Anchor(state="empty")
        value = parsed(data)
        return Anchor(_head_of(value), {str(k): str(v) for k, v in value["waiting"].items()})
    except FileNotFoundError:
        return Anchor(state="missing")
    except (InvalidInput, ValueError, KeyError, TypeError, AttributeError):
        return Anchor(state="unreadable")


def write_head(path: Path, head: Head, waiting: Mapping[str, str]) -> None:
    """Replace the head file; raises DiskTrouble and leaves the old one."""
    data = canonical({"seq": head.seq, "hash": head.hash, "waiting": dict(waiting)}) + b"\n"
    write_file(path, data, mode=0o600, sync=False)


def _head_of(value: Mapping[str, Any]) -> Head:
    seq, digest = value["seq"], value["hash"]
    if type(seq) is not int or not isinstance(digest, str) or seq < 0:
        raise InvalidInput("not a head")
    return Head(seq, digest)
