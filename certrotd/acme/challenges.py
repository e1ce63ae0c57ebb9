"""The challenges that are answered here, with the two that the acme library lacks.

Each is proven by a TXT record: dns-01 (RFC 8555 §8.4), dns-account-01
(draft-ietf-acme-dns-account-label) and dns-persist-01 (draft-ietf-acme-dns-persist).
"""

from __future__ import annotations

import hashlib
import re
from base64 import b32encode
from typing import Any

from acme import challenges
from josepy.json_util import field
from josepy.jwk import JWK

from certrotd.errors import InvalidInput, NeedsOperator, listed
from certrotd.pki.names import canonical, is_ip, is_wildcard
from certrotd.pki.order import (
    DNS_01,
    DNS_ACCOUNT_01,
    DNS_PERSIST_01,
    Challenge,
    Persistent,
)

PREFIX, PERSIST_PREFIX = "_acme-challenge.", "_validation-persist."
MAX_ISSUERS = 10
UNKNOWN_ISSUER = "CA-DOMAIN"
_ISSUERS = "issuer-domain-names"
_VALUE = re.compile(r"[\x21-\x3a\x3c-\x7e]{1,2000}")
"""What a parameter's value may hold (RFC 8659 §4.2)."""
SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    DNS_01: ({"url": "", "token": ""}, {"status": ""}),
    DNS_ACCOUNT_01: ({"url": "", "token": ""}, {"status": ""}),
    DNS_PERSIST_01: ({"url": "", _ISSUERS: [""]}, {"status": "", "accounturi": ""}),
}
"""Of each challenge, by example, the members it must have and those that it may have."""


@challenges.ChallengeResponse.register
class DNSAccount01Response(challenges.DNS01Response):
    """The answer to dns-account-01: that of dns-01."""

    typ = DNS_ACCOUNT_01


@challenges.Challenge.register
class DNSAccount01(challenges.DNS01):
    """dns-account-01: that of dns-01, under a name of the account's own."""

    response_cls = DNSAccount01Response
    typ = response_cls.typ


@challenges.ChallengeResponse.register
class DNSPersist01Response(challenges.ChallengeResponse):
    """The answer to dns-persist-01, an empty object."""

    typ = DNS_PERSIST_01


@challenges.Challenge.register
class DNSPersist01(challenges.Challenge):
    """dns-persist-01: no token, but the names that the CA goes by in such records."""

    typ = DNS_PERSIST_01
    issuers: list[str] = field(_ISSUERS)
    account: str = field("accounturi", omitempty=True, default="")


def account_label(account: str) -> str:
    """The label of the account at that URL (draft-ietf-acme-dns-account-label §3)."""
    digest = hashlib.sha256(account.encode()).digest()[:10]
    return f"_{b32encode(digest).decode().lower()}"


def record_name(kind: str, name: str, account: str) -> str:
    """Where the record is that proves the canonical ``name``, which is no wildcard."""
    match kind:
        case "dns-account-01":
            return f"{account_label(account)}.{PREFIX}{name}"
        case "dns-persist-01":
            return f"{PERSIST_PREFIX}{name}"
    return f"{PREFIX}{name}"


def persistent(
    name: str, issuers: tuple[str, ...] | list[str], account: str, *, wildcard: bool
) -> Challenge:
    """The record to set once for ``name``; NeedsOperator where no such record can be written.

    Where the CA is yet to say by which ``issuers`` it goes, UNKNOWN_ISSUER stands for one of them.
    """
    try:
        known = tuple(canonical(each) for each in issuers)
    except InvalidInput as error:
        raise NeedsOperator(f"the CA gives no usable name for itself: {error.message}") from None
    if len(known) > MAX_ISSUERS or any(is_ip(each) or is_wildcard(each) for each in known):
        raise NeedsOperator(f"the CA gives no usable names for itself: {listed(known)}")
    if not _VALUE.fullmatch(account):
        raise NeedsOperator("the account's URL cannot be written into a TXT record")
    value = f"{known[0] if known else UNKNOWN_ISSUER}; accounturi={account}" + (
        "; policy=wildcard" if wildcard else ""
    )
    found = Persistent(known, account, wildcard)
    return Challenge(record_name(DNS_PERSIST_01, name, account), value, persistent=found)


def wanted(
    chall: challenges.Challenge, name: str, key: JWK, account: str, *, wildcard: bool
) -> Challenge:
    """The record that a challenge of the CA's asks for; raises NeedsOperator.

    A persistent one names our account at this CA whatever the CA says: a record made for another
    account would let that one have certificates.
    """
    if isinstance(chall, DNSPersist01):
        if chall.account not in ("", account):
            raise NeedsOperator(
                f"the CA wants a record for the account {chall.account}, this one is {account}"
            )
        if not chall.issuers:
            raise NeedsOperator("the CA does not say by which domain names it goes in TXT records")
        return persistent(name, chall.issuers, account, wildcard=wildcard)
    assert isinstance(chall, challenges.DNS01), "there is no other kind"
    where = record_name(str(chall.typ), name, account)
    return Challenge(where, chall.validation(key), chall.key_authorization(key))


def response_to(chall: challenges.Challenge, key: JWK) -> challenges.ChallengeResponse:
    """What tells the CA to look."""
    if isinstance(chall, DNSPersist01):
        return DNSPersist01Response()
    assert isinstance(chall, challenges.DNS01), "there is no other kind"
    response: challenges.ChallengeResponse = chall.response(key)
    return response
