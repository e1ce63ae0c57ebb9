"""The shared key of a dynamic update (RFC 8945), kept out of every repr and message."""

from __future__ import annotations

from dataclasses import dataclass

from certrotd.config.secrets import Secret
from certrotd.config.solvers import tsig_key
from certrotd.dns.names import fqdn
from certrotd.dns.words import shown
from certrotd.errors import NeedsOperator

ALGORITHMS = (
    "hmac-sha1",
    "hmac-sha224",
    "hmac-sha256",
    "hmac-sha256-128",
    "hmac-sha384",
    "hmac-sha384-192",
    "hmac-sha512",
    "hmac-sha512-256",
)
"""What RFC 8945 §6 lets anyone use; HMAC-MD5 is not among them."""


@dataclass(frozen=True)
class TsigKey:
    """A TSIG key: its name, its algorithm as BIND spells it, and the secret."""

    name: str
    algorithm: str
    secret: Secret

    @classmethod
    def parse(cls, name: str, algorithm: str, secret: str) -> TsigKey:
        """Read a key as ``tsig-keygen`` prints it, ``secret`` in base64.

        Raises InvalidInput for the name and NeedsOperator for the rest, never quoting the secret.
        """
        key_name = fqdn(name)
        spelled = algorithm.lower().removesuffix(".")
        if spelled not in ALGORITHMS:
            raise NeedsOperator(
                f"TSIG key {key_name} has the algorithm {shown(algorithm)}",
                hint=f"use one of {', '.join(ALGORITHMS)}",
            )
        octets = tsig_key(secret.encode("ascii", "replace"), f"TSIG key {key_name}")
        return cls(key_name, spelled, Secret(octets))
