"""What a certificate says, as plain values that need no X.509 library to be kept and compared."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from certrotd.value import value


@value
class CertificateFacts:
    """What one certificate says of itself.

    ``names`` are the canonical subject alternative names, in the certificate's order; dates are
    UTC; ``fingerprint`` is the SHA-256 of the DER, ``serial`` the serial number and
    ``authority_key`` the identifier of the key that signed it (RFC 5280 §4.2.1.1; empty without
    one), all lower hex; ``key_type`` as keys.key_type_of.
    """

    names: tuple[str, ...]
    key_type: str
    subject: str
    issuer: str
    serial: str
    not_before: datetime
    not_after: datetime
    fingerprint: str
    is_ca: bool
    authority_key: str = ""

    def to_json(self) -> dict[str, Any]:
        """A JSON object that from_json reads back to an equal value."""
        return {
            "names": list(self.names),
            "key_type": self.key_type,
            "subject": self.subject,
            "issuer": self.issuer,
            "serial": self.serial,
            "not_before": self.not_before.isoformat(),
            "not_after": self.not_after.isoformat(),
            "fingerprint": self.fingerprint,
            "is_ca": self.is_ca,
            "authority_key": self.authority_key,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CertificateFacts:
        """Read what to_json wrote; KeyError, TypeError or ValueError if it is something else."""
        return cls(
            names=tuple(data["names"]),
            key_type=data["key_type"],
            subject=data["subject"],
            issuer=data["issuer"],
            serial=data["serial"],
            not_before=moment(data["not_before"]),
            not_after=moment(data["not_after"]),
            fingerprint=data["fingerprint"],
            is_ca=data["is_ca"],
            authority_key=data["authority_key"],
        )


def moment(text: str) -> datetime:
    """An ISO 8601 time with its zone; ValueError without one, TypeError if it is no text."""
    read = datetime.fromisoformat(text)
    if read.tzinfo is None:  # it could not be compared with any other
        raise ValueError(f"{text} has no time zone")
    return read
