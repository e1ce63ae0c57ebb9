"""A certificate revoked at its CA (RFC 8555 §7.6), and what the CA's refusals mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from acme import messages
from cryptography import x509
from josepy.jwk import JWK

from certrotd.acme.account import AccountFolder
from certrotd.acme.client import Client
from certrotd.acme.network import account_jwk
from certrotd.acme.problems import Refused
from certrotd.acme.transport import check_url
from certrotd.pki.keys import PrivateKey, key_type_of
from certrotd.pki.revocation import NotEntitled, RevocationRefused

_ANOTHER_SIGNER = ("unauthorized", "accountDoesNotExist")


def revoke(client: Client, certificate: x509.Certificate, reason: int) -> bool:
    """Have it revoked, signed as the client signs; whether it was already.

    Raises RevocationRefused of a CA that revokes nothing, and what asking the CA raises.
    """
    where = client.directory.to_partial_json().get("revokeCert")
    if not isinstance(where, str):
        raise RevocationRefused("the CA revokes nothing by ACME: its directory has no revokeCert")
    check_url(where)
    try:
        client.post(where, messages.Revocation(certificate=certificate, reason=reason))
    except Refused as refused:
        if refused.code == "alreadyRevoked":
            return True
        raise
    return False


@contextmanager
def refusals() -> Iterator[None]:
    """What a CA refuses in the block is raised as NotEntitled or RevocationRefused.

    Only once the right account has asked: what is said of another key is no answer to the question.
    """
    try:
        yield
    except Refused as refused:
        if refused.code in _ANOTHER_SIGNER:
            raise NotEntitled(refused.message) from refused
        if refused.of_the_ca:
            raise RevocationRefused(refused.message) from refused
        raise


def refuse_without_account(folder: AccountFolder, name: str) -> None:
    """Raises NotEntitled where no account can sign: none is there, or it was deactivated.

    A new one would have ordered nothing that it may revoke. Raises NeedsOperator where its key is
    lost.
    """
    if folder.deactivated() is not None:
        raise NotEntitled(f"the account of issuer {name} was deactivated")
    if not folder.is_changing() and folder.known_key() is None:
        raise NotEntitled(f"issuer {name} has no account")


def signer_of(key: PrivateKey) -> JWK:
    """The certificate's own key as it signs; raises NotEntitled for a kind that ACME has not."""
    jwk = account_jwk(key)
    if jwk is None:
        kind = key_type_of(key.public_key())
        raise NotEntitled(f"a key of type {kind} does not sign requests to a CA")
    return jwk
