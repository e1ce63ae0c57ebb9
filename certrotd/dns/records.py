"""The TXT record of a DNS challenge, and the port through which it is published.

A solver is anything with ``present`` and ``withdraw``; what it can check ahead of an order is the
separate power ``Preflight``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from certrotd.clock import Deadline
from certrotd.dns.names import check
from certrotd.dns.words import shown
from certrotd.errors import InvalidInput, NeedsOperator

_KEY_AUTHORIZATION = re.compile(r"(?:[A-Za-z0-9_-]{1,400}\.[A-Za-z0-9_-]{1,100})?")
_VALUE = re.compile(r"[A-Za-z0-9_-]{1,255}")


@dataclass(frozen=True, order=True)
class TxtRecord:
    """One TXT value at one name.

    ``name`` is the lower-case FQDN without a trailing dot, after following CNAMEs; ``value`` is
    the base64url digest of the key authorization (RFC 8555 §8.4), one character-string of at most
    255 octets. Raises InvalidInput for anything else: both come from the CA and from DNS.
    ``key_authorization`` is what ``value`` is of, where that is known (RFC 8555 §8.1); it makes no
    other record.
    """

    name: str
    value: str
    key_authorization: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        check(self.name)
        if not _VALUE.fullmatch(self.value):
            raise InvalidInput(
                f"TXT value {shown(self.value)} for {self.name} is not base64url of at most 255"
                " characters"
            )
        if not _KEY_AUTHORIZATION.fullmatch(self.key_authorization):
            raise InvalidInput(
                f"the key authorization {shown(self.key_authorization)} is not one of RFC 8555 §8.1"
            )

    def to_json(self) -> dict[str, str]:
        """What the journal keeps of it."""
        known = {"key_authorization": self.key_authorization} if self.key_authorization else {}
        return {"name": self.name, "value": self.value, **known}

    @classmethod
    def from_json(cls, data: object) -> TxtRecord:
        """Read :meth:`to_json` back; raises InvalidInput for anything else."""
        if not isinstance(data, Mapping) or set(data) - {"key_authorization"} != {"name", "value"}:
            raise InvalidInput("a TXT record has the keys 'name' and 'value', and only those")
        name, value, known = data["name"], data["value"], data.get("key_authorization", "")
        if not (isinstance(name, str) and isinstance(value, str) and isinstance(known, str)):
            raise InvalidInput("the name and the value of a TXT record are strings")
        return cls(name, value, known)


class Unpublished(NeedsOperator):
    """The record was refused: it is certain that nothing was published."""


class Solver(Protocol):
    """Publishes challenge records. Both acts are idempotent: they run again after a crash."""

    def present(self, record: TxtRecord, *, deadline: Deadline) -> None:
        """Add the value beside whatever else is at that name.

        Raises Unpublished where it certainly is not there.
        """
        ...

    def withdraw(self, record: TxtRecord, *, deadline: Deadline) -> None:
        """Delete exactly that value; others at the name stay, and absent is fine."""
        ...


@runtime_checkable
class Preflight(Protocol):
    """The power to say, before an order is spent, that presenting obviously cannot work."""

    def preflight(self, *, deadline: Deadline, dry: bool = False) -> None:
        """Raise a Failure if credentials, addresses or programs are visibly wrong.

        A ``dry`` look leaves no trace: nothing is written, registered or published.
        """
        ...


@runtime_checkable
class Coverage(Protocol):
    """The power to say, before an order is spent, where nothing could be published."""

    def covers(self, name: str, *, deadline: Deadline, dry: bool = False) -> None:
        """Raise a Failure if nothing can be published at ``name``; ``dry`` as of preflight."""
        ...
