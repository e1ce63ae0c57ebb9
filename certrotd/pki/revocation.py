"""That a certificate is revoked: for which reason (RFC 5280 §5.3.1), and how far that has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.pki.certificate import moment

REASONS = {
    "unspecified": 0,
    "keyCompromise": 1,
    "affiliationChanged": 3,
    "superseded": 4,
    "cessationOfOperation": 5,
}
"""What a subscriber may say to a public CA, with the numbers of RFC 5280 §5.3.1."""
COMPROMISED = "keyCompromise"
ACCOUNT, CERTIFICATE_KEY = "account", "certificate-key"
SIGNERS = (ACCOUNT, CERTIFICATE_KEY)
"""Who may sign a revocation (RFC 8555 §7.6)."""

REVOCATIONS = "revocations"
"""The fact of a rotation that says what became of revocations, as revocations_to_json."""


class NotEntitled(NeedsOperator):
    """The CA does not let this signer revoke that certificate; another one may."""


class RevocationRefused(NeedsOperator):
    """The CA will not revoke that certificate, whoever asks and however often."""


class KeyNotCompared(NeedsOperator):
    """Generations that may have a compromised key could not be read, and are not revoked."""


def reason_named(text: str) -> str:
    """The reason of that name, however it is spelt; raises InvalidInput."""
    plain = text.replace("-", "").replace("_", "").lower()
    for name in REASONS:
        if name.lower() == plain:
            return name
    raise InvalidInput(f"no reason {text!r}", hint=f"one of {', '.join(REASONS)}")


@dataclass(frozen=True, slots=True)
class RevocationAsked:
    """That a person wants a generation revoked; ``at_once``: before there is another one."""

    generation: int
    reason: str
    by: str = ""
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class Revocation:
    """The revocation of one generation, which nothing goes back to from here on.

    ``reason`` as in REASONS, ``by`` of SIGNERS (empty: the account, else the key); ``asked`` is
    when it was wanted, ``done`` when the CA confirmed it. ``why`` says why it did not, for good if
    it is ``refused``. Of the certificate: ``fingerprint``, when it ends by itself, and ``key``, its
    key_digest() (empty if that is not known).
    """

    reason: str
    asked: datetime
    fingerprint: str
    not_after: datetime
    by: str = ""
    done: datetime | None = None
    why: str = ""
    refused: bool = False
    key: str = ""

    def is_open(self, now: datetime) -> bool:
        """Whether the CA is still to be asked."""
        return self.done is None and not self.refused and self.not_after > now

    def matters(self, now: datetime) -> bool:
        """Whether it is to be remembered: whoever has a compromised key may ask again for years."""
        return self.not_after > now or self.compromises(self.key)

    def compromises(self, key: str) -> bool:
        """Whether others know the key of that digest."""
        return self.reason == COMPROMISED and self.key != "" and self.key == key

    def words(self, number: int) -> str:
        """Where it stands, for people."""
        what = f"generation {number}"
        if self.done is not None:
            return f"{what} is revoked ({self.reason})"
        state = "the CA refuses to revoke" if self.refused else "still to be revoked:"
        why = f": {self.why}" if self.why else ""
        return f"{state} {what} ({self.reason}){why}"

    def to_json(self) -> dict[str, Any]:
        """A JSON object that from_json reads back to an equal value."""
        return {
            "reason": self.reason,
            "asked": self.asked.isoformat(),
            "fingerprint": self.fingerprint,
            "not_after": self.not_after.isoformat(),
            "by": self.by,
            "done": self.done.isoformat() if self.done else None,
            "why": self.why,
            "refused": self.refused,
            "key": self.key,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Revocation:
        """Read what to_json wrote; KeyError, TypeError or ValueError if it is something else."""
        return cls(
            reason=str(data["reason"]),
            asked=moment(data["asked"]),
            fingerprint=str(data["fingerprint"]),
            not_after=moment(data["not_after"]),
            by=str(data["by"]),
            done=moment(data["done"]) if data["done"] is not None else None,
            why=str(data["why"]),
            refused=bool(data["refused"]),
            key=str(data.get("key", "")),
        )


def revocations_in(data: Mapping[str, Any]) -> dict[int, Revocation]:
    """Revocations by generation, as JSON keeps them; raises as Revocation.from_json."""
    return {int(number): Revocation.from_json(each) for number, each in data.items()}


def words_of(facts: Mapping[str, Any]) -> list[str]:
    """What the facts of a rotation say of revocations, for people."""
    known = revocations_in(facts.get(REVOCATIONS) or {})
    return [each.words(number) for number, each in known.items()]


def revocations_to_json(known: Mapping[int, Revocation]) -> dict[str, Any]:
    """What revocations_in() reads."""
    return {str(number): each.to_json() for number, each in known.items()}
