"""What was asked of the API server, by its own audit log."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.parts.kubernetes import ControlPlane

Call = dict[str, object]


@dataclass(frozen=True)
class AuditLog:
    """That of a control plane; it starts a new file now and then, and keeps the old ones."""

    plane: ControlPlane

    def position(self) -> int:
        """How many octets there are so far; what comes later, is behind that."""
        return sum(file.stat().st_size for file in self._files())

    def calls(self, user: str, since: int = 0) -> Iterator[Call]:
        """The records of requests of a user, each of them answered."""
        at, seen = 0, set()
        for file in self._files():
            size = file.stat().st_size
            with file.open("rb") as lines:
                lines.seek(min(size, max(0, since - at)))
                for line in lines:
                    if user.encode() in line and line.endswith(b"\n"):
                        call = json.loads(line)
                        # a watch is told of when it begins and when it ends
                        if call["user"].get("username") == user and call["auditID"] not in seen:
                            seen.add(call["auditID"])
                            yield call
            at += size

    def _files(self) -> list[Path]:
        log = self.plane.audit_log
        return [*sorted(log.parent.glob(f"{log.stem}-*{log.suffix}")), log]


def named(call: Call) -> str:
    """Verb and resource of a call."""
    about = call.get("objectRef")
    resource = about.get("resource") if isinstance(about, dict) else call["requestURI"]
    return f"{call['verb']} {resource}"


def of_rotation(calls: Iterable[Call], secret: str) -> Iterator[Call]:
    """Those from the Lease of the certificate on, but what a daemon asks in any case.

    That is its own Lease, and what somebody else has changed.
    """
    begun = False
    for call in calls:
        about = call.get("objectRef")
        about = about if isinstance(about, dict) else {}
        resource, name = about.get("resource"), str(about.get("name"))
        begun = begun or (resource == "leases" and name.endswith(f"-lock.certificate.{secret}"))
        idle = (resource == "leases" and "-lock.daemon" in name) or (
            call["verb"] == "watch" and resource in ("secrets", "configmaps")
        )
        if begun and not idle:
            yield call


def by_verbs(counted: Counter[str]) -> str:
    """Of such counts the sum of each verb, e.g. "12 get, 3 patch"."""
    verbs: Counter[str] = Counter()
    for what, number in counted.items():
        verbs[what.partition(" ")[0]] += number
    return ", ".join(f"{number} {verb}" for verb, number in verbs.most_common())
