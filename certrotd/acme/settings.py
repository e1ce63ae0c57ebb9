"""What an ACME issuer is told; the wiring makes it from the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from certrotd.pki.keys import KeyType


@dataclass(frozen=True)
class AcmeSettings:
    """One CA and one account there.

    ``name`` is the issuer's and its folder's; ``contact`` e-mail addresses; ``ca_bundle`` the
    roots of the CA's web server, None for the machine's; ``preferred_chain`` the issuer's common
    name of a chain's topmost certificate, "" for the CA's own choice; ``timeout`` bounds each of
    ordering, validating and finalizing, ``request_timeout`` one exchange, both in seconds;
    ``also_hosts`` are hosts beyond its directory's domain that the CA may name.
    """

    name: str
    directory: str
    contact: tuple[str, ...]
    ca_bundle: Path | None
    preferred_chain: str
    agree_to_terms: bool
    account_key: KeyType
    timeout: float
    request_timeout: float
    also_hosts: tuple[str, ...] = ()
