"""When a CA wants a certificate to be renewed (RFC 9773), as plain values."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from certrotd.pki.certificate import CertificateFacts, moment

SHORTEST_POLL, LONGEST_POLL = timedelta(minutes=1), timedelta(days=1)
POLL = timedelta(hours=6)
"""How long an answer holds that does not say it."""
SETTLES = timedelta(days=1)
"""From its issuance on; no longer than until it is to be renewed anyway."""
RETRY = timedelta(hours=1)
"""How long to leave a CA alone that did not answer."""


@dataclass(frozen=True, slots=True)
class RenewalInfo:
    """What the CA suggests (RFC 9773 §4.2): to renew between ``start`` and ``end``.

    ``explanation`` is the URL of a page for people, or empty; ``retry_after`` when to ask again.
    """

    start: datetime
    end: datetime
    explanation: str = ""
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What is kept of it for a ``generation``, until it is asked for again at ``ask_after``.

    ``at`` was drawn once within ``info``; both are None where the CA named no window, and then
    ``why`` says why not.
    """

    generation: int
    ask_after: datetime
    info: RenewalInfo | None = None
    at: datetime | None = None
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """A JSON object that from_json reads back to an equal value."""
        info = self.info
        return {
            "generation": self.generation,
            "ask_after": self.ask_after.isoformat(),
            "start": info.start.isoformat() if info else None,
            "end": info.end.isoformat() if info else None,
            "explanation": info.explanation if info else "",
            "at": self.at.isoformat() if self.at else None,
            "why": self.why,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Suggestion:
        """Read what to_json wrote; KeyError, TypeError or ValueError if it is something else."""
        info = None
        if data["start"] is not None:
            said = str(data["explanation"])
            info = RenewalInfo(moment(data["start"]), moment(data["end"]), said)
        at = moment(data["at"]) if data["at"] is not None else None
        if (info is None) is not (at is None):
            raise ValueError("a window without a moment in it, or the other way round")
        after, why = moment(data["ask_after"]), str(data["why"])
        return cls(int(data["generation"]), after, info, at, why)


def renewal_id(facts: CertificateFacts) -> str:
    """What a CA calls a certificate in renewal information (RFC 9773 §4.1).

    Empty for one that does not say by which key it was signed.
    """
    if not facts.authority_key:
        return ""
    number = int(facts.serial, 16)
    serial = number.to_bytes(number.bit_length() // 8 + 1, "big")  # as in DER: never negative
    return f"{_b64(bytes.fromhex(facts.authority_key))}.{_b64(serial)}"


def suggested(
    known: Suggestion | None,
    generation: int,
    info: RenewalInfo,
    *,
    settled: datetime,
    draw: float,
    now: datetime,
) -> Suggestion:
    """What to keep of an answer; ``draw`` in [0, 1) says where in a window that is new.

    A window that is as it was keeps its moment: otherwise each answer would put it off. The first
    answer about a certificate is not believed before ``settled``, nor are those after it if that
    was needed: a CA that would have everything renewed at once is asked for an order a day, and not
    without end, also if the window moves with the clock.
    """
    wait = info.retry_after or POLL
    kept = replace(info, retry_after=None)
    first = known is None or known.generation != generation or known.info is None
    at = known.at if known and not first and known.info == kept else None
    if at is None:
        at = info.start + (info.end - info.start) * draw
        at = max(at, settled) if first or (known and known.at == settled) else at
    after = now + min(max(wait, SHORTEST_POLL), LONGEST_POLL)
    return Suggestion(generation, after, kept, at)


def unanswered(
    known: Suggestion | None,
    generation: int,
    why: str,
    *,
    retry_after: timedelta | None,
    now: datetime,
) -> Suggestion:
    """What to keep where there was no answer, and ``why``: the window that is known stays."""
    after = now + min(max(retry_after or RETRY, SHORTEST_POLL), LONGEST_POLL)
    if known is not None and known.generation == generation:
        return replace(known, ask_after=after, why=why)
    return Suggestion(generation, after, why=why)


def _b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
