"""What was asked of the API server, by its own audit log."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.parts.kubernetes.control_plane import ControlPlane

Call = dict[str, object]
_PATH = re.compile(r"/(?:api|apis/[^/]+)/[^/]+/(?:namespaces/[^/]+/)?([^?]*)")


@dataclass(frozen=True)
class AuditLog:
    """That of a control plane; it starts a new file now and then, and keeps the old ones."""

    plane: ControlPlane

    def position(self) -> int:
        """How many octets there are so far; what comes later, is behind that."""
        return sum(file.stat().st_size for file in self._files())

    def calls(self, user: str, since: int = 0) -> list[Call]:
        """The records of requests of a user, each of them answered, from a position on."""
        return self.follow(user, since)[0]

    def follow(self, user: str, since: int) -> tuple[list[Call], int]:
        """The same, and the position behind the last whole record."""
        found, at, end = dict[object, Call](), 0, since
        for file in self._files():
            size = file.stat().st_size
            begin = min(size, max(0, since - at))
            with file.open("rb") as log:
                log.seek(begin)
                whole = [line for line in log if line.endswith(b"\n")]
            end, at = at + begin + sum(map(len, whole)), at + size
            for call in (json.loads(line) for line in whole if user.encode() in line):
                if call["user"].get("username") == user:
                    # a watch is told of when it begins and when it ends
                    found.setdefault(call["auditID"], call)
        return list(found.values()), end

    def _files(self) -> list[Path]:
        log = self.plane.audit_log
        return [*sorted(log.parent.glob(f"{log.stem}-*{log.suffix}")), log]


def named(call: Call) -> str:
    """Verb and resource of a call."""
    about = call.get("objectRef")
    resource = about.get("resource") if isinstance(about, dict) else call["requestURI"]
    return f"{call['verb']} {resource}"


def described(call: Call) -> str:
    """As "verb resource/name", and whether it was a dry run."""
    uri = str(call["requestURI"])
    match = _PATH.match(uri)
    dry = " (dry run)" if "dryRun" in uri else ""
    return f"{call['verb']} {match[1] if match else uri}{dry}"


def of_rotation(calls: Iterable[Call], certificate: str) -> Iterator[Call]:
    """Those from the Lease of the certificate on, but what a daemon asks in any case.

    That is its own Lease, and what somebody else has changed.
    """
    begun, lock = False, f"-lock.certificate.{certificate}"
    for call in calls:
        about = call.get("objectRef")
        about = about if isinstance(about, dict) else {}
        resource, name = about.get("resource"), str(about.get("name"))
        begun = begun or (resource == "leases" and name.endswith(lock))
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
