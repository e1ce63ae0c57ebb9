"""Account keys of other ACME clients: read from their files, in PEM or as a JSON Web Key."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from josepy.errors import Error
from josepy.jwk import JWK

from certrotd.acme.network import account_jwk
from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.files.reading import read_status
from certrotd.jsontext import parsed
from certrotd.pki import keys

_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def read_account_key(path: Path) -> keys.PrivateKey:
    """The account key in a file that nobody but its owner may write.

    PEM or DER (PKCS#8, PKCS#1, SEC 1) as lego, acme.sh and dehydrated keep it, or a JSON Web Key
    (RFC 7517) as certbot's private_key.json is. Raises InvalidInput, never showing any of it,
    NeedsOperator for a file that others may write, and DiskTrouble.
    """
    try:
        data, status = read_status(path, limit=keys.MAX_KEY_BYTES)
    except FileNotFoundError:
        raise InvalidInput(f"there is no file {path}") from None
    if status.st_mode & _OTHERS:
        raise NeedsOperator(
            f"{path} may be written by others than its owner: the key could be anybody's",
            hint=f"if it is yours, chmod go-w {path}",
        )
    return account_key(data, what=str(path))


def account_key(data: bytes, *, what: str) -> keys.PrivateKey:
    """The account key in PEM, DER or JSON; ``what`` names its source. Raises InvalidInput."""
    key = parse_account_key(data, what=what)
    if account_jwk(key) is None:
        kind = keys.key_type_of(key.public_key())
        raise InvalidInput(f"{what} is {kind}, ACME accounts are RSA, P-256, P-384")
    return key


def parse_account_key(data: bytes, *, what: str) -> keys.PrivateKey:
    """The private key in PEM, DER or JSON, of whatever kind; as account_key()."""
    if not data.lstrip().startswith(b"{"):
        return keys.load(data, what=what)
    try:
        key: Any = JWK.from_json(parsed(data))
        pem = keys.to_pem(key.key)
    except (Error, ValueError, TypeError, AttributeError, KeyError):
        # an AttributeError for a public key
        raise InvalidInput(f"{what} is not a JSON Web Key with a private key") from None
    return keys.load(pem, what=what)
