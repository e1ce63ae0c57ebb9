"""What an order for a certificate shows to whoever proves control of its names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from certrotd.errors import Failure, NeedsOperator

NOT_OFFERED = "is not offered"


DNS_01, DNS_ACCOUNT_01, DNS_PERSIST_01 = "dns-01", "dns-account-01", "dns-persist-01"
_BEFORE = re.compile(r"^(?:(?:_[a-z2-7]{16}\.)?_acme-challenge|_validation-persist)\.")
"""What stands before a name that is to be proven; the name itself may have underscores."""


@dataclass(frozen=True, slots=True)
class Persistent:
    """What a TXT record says that stays (dns-persist-01, draft-ietf-acme-dns-persist).

    It authorizes the ``account``, by its URL, at a CA that goes by one of the domain names
    ``issuers``; the domain's subdomains and wildcard, too, if it is a ``wildcard`` record.
    """

    issuers: tuple[str, ...]
    account: str
    wildcard: bool


@dataclass(frozen=True, slots=True)
class Challenge:
    """A TXT record the CA wants to see.

    ``name`` ends with the name to prove, lower case, without a trailing dot: ``_acme-challenge.``
    is before it (dns-01, RFC 8555 §8.4), or a label of the account's and that
    (dns-account-01, draft-ietf-acme-dns-account-label), or ``_validation-persist.``. ``value`` is
    the unpadded base64url of the SHA-256 of the key authorization. A wildcard and its parent give
    two challenges of one name. ``key_authorization`` is that itself, or empty where it does not
    matter. ``persistent``: the record is for its owner to set once, with what it says; ``value`` is
    the shortest that does.
    """

    name: str
    value: str
    key_authorization: str = ""
    persistent: Persistent | None = None

    @property
    def proves(self) -> str:
        """The name that the record is for."""
        return _BEFORE.sub("", self.name, count=1)


@dataclass(frozen=True, slots=True)
class Missed:
    """The chain that was ``wanted``, by a name or a fingerprint, and those ``offered``."""

    wanted: str
    offered: tuple[str, ...]

    def __str__(self) -> str:
        return f"the preferred chain {self.wanted!r} {NOT_OFFERED}, but: {', '.join(self.offered)}"

    def to_json(self) -> dict[str, Any]:
        """A JSON object that from_json reads back to an equal value."""
        return {"wanted": self.wanted, "offered": list(self.offered)}

    @classmethod
    def from_json(cls, data: object) -> Missed | None:
        """Read what to_json wrote; None for anything else."""
        match data:
            case {"wanted": str(wanted), "offered": [*offered]}:
                return cls(wanted, tuple(str(each) for each in offered))
        return None


class OrderGone(Failure):
    """The order is unknown to the CA, invalid or expired: only a new one can go on."""


class ValidationFailed(Failure):
    """The CA looked and was not satisfied; repeated at once it would use up the CA's patience.

    CAs count failed validations per name and hour and then refuse: back off by hours, or wait
    for somebody. ``kinds`` are those of the CA's problems (RFC 8555 §6.7), where it named any.
    """

    def __init__(self, message: str, *, hint: str = "", kinds: Iterable[str] = ()) -> None:
        super().__init__(message, hint=hint)
        self.kinds = frozenset(kinds)


class IssuanceRefused(NeedsOperator):
    """The CA will not issue on the order as it is finalized, and says so: nothing was issued."""
