"""A message, and secrets, as the notifiers get them."""

import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from certrotd.clock import Deadline, SystemClock
from certrotd.config.secrets import FileSecret
from certrotd.notify.message import Message

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
RAISED = Message(
    host="web1",
    at=NOW,
    state="raised",
    kind="rotation_failed",
    severity="warning",
    subject="certificate/web",
    title="certificate/web: the rotation failed",
    what="The step order failed: the CA says <no> & goes on.",
    todo="See: certrotd history certificate/web.",
    rotation="20260601T120000-abcd",
    key="rotation/certificate/web",
)
RESOLVED = replace(RAISED, state="resolved", title="certificate/web: a rotation succeeded", todo="")


class OnceLookedAt(Deadline):
    """A deadline that begins when it is first asked about: it has not passed by then."""

    def __init__(self, seconds: float) -> None:
        super().__init__(SystemClock(), math.inf)
        self._seconds = seconds

    @property
    def remaining(self) -> float:
        if self._end == math.inf:
            self._end = self.clock.monotonic() + self._seconds
            return self._seconds
        return super().remaining


def secret(path: Path, text: str) -> FileSecret:
    """A reference to a file that holds ``text``."""
    path.write_text(f"{text}\n")
    path.chmod(0o600)
    return FileSecret(file=path)
