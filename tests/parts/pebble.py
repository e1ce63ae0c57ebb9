"""Pebble: Let's Encrypt's test CA, with nonce failures, ARI, profiles and EAB."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.parts import locate, pki
from tests.parts.client import https
from tests.parts.process import Server, free_port


class Pebble(Server):
    """A CA that keeps everything in memory: `restart` makes it forget accounts and roots.

    dns: "ip:port" of the server it asks for TXT (by TCP, with one plain query: no recursion).
    nonce_reject, authz_reuse: percent. retry_after: seconds, 0 sends no such header.
    validates_within: how many seconds it takes at most to look at a challenge, by chance.
    eab: HMAC key (base64url) per key id; any makes a binding required.
    profiles: certificate lifetime in seconds per name; replaces the default ones.
    names: further names and addresses of its web server, such as that which pods reach it by.
    pair: the files of that web server's certificate and key, which are good for loopback.
    binary: another Pebble than the one that scripts/parts builds.
    """

    def __init__(
        self,
        directory: Path,
        *,
        dns: str,
        nonce_reject: int = 5,
        authz_reuse: int = 0,
        retry_after: int = 1,
        validates_within: int = 0,
        strict: bool = True,
        chain_length: int = 1,
        alternate_roots: int = 0,
        eab: Mapping[str, str] | None = None,
        profiles: Mapping[str, int] | None = None,
        validity_period: int = 90 * 86_400,
        blocked: Sequence[str] = (),
        names: Sequence[str] = (),
        binary: Path | None = None,
    ) -> None:
        super().__init__(directory)
        self._binary = binary or locate.require("pebble")
        self._dns = dns
        self._strict = strict
        self._alternate_roots = alternate_roots
        self._environment = {
            "PEBBLE_VA_NOSLEEP": "0" if validates_within else "1",
            "PEBBLE_VA_SLEEPTIME": str(validates_within),
            "PEBBLE_VA_ALWAYS_VALID": "0",
            "PEBBLE_WFE_NONCEREJECT": str(nonce_reject),
            "PEBBLE_AUTHZREUSE": str(authz_reuse),
            "PEBBLE_CHAIN_LENGTH": str(chain_length),
            "PEBBLE_ALTERNATE_ROOTS": str(alternate_roots),
        }
        address = f"127.0.0.1:{free_port()}"
        management = f"127.0.0.1:{free_port()}"
        self.directory_url = f"https://{address}/dir"
        self.management_url = f"https://{management}"

        own_root = pki.make_root("Pebble's own web server")
        self.ca_file = directory / "ca.pem"
        self.ca_file.write_bytes(own_root.fullchain_pem)
        own = pki.make_leaf(own_root, "127.0.0.1", "localhost", *names)
        self.pair = certificate, key = own.write(directory, "web")
        lifetimes = profiles or {"default": validity_period, "shortlived": 6 * 86_400}
        self._config = directory / "pebble.json"
        self._config.write_text(
            json.dumps(
                {
                    "pebble": {
                        "listenAddress": address,
                        "managementListenAddress": management,
                        "certificate": str(certificate),
                        "privateKey": str(key),
                        "keyAlgorithm": "ecdsa",
                        "externalAccountBindingRequired": bool(eab),
                        "externalAccountMACKeys": dict(eab or {}),
                        "domainBlocklist": list(blocked),
                        "retryAfter": {"authz": retry_after, "order": retry_after},
                        "profiles": {
                            name: {"description": name, "validityPeriod": seconds}
                            for name, seconds in lifetimes.items()
                        },
                    }
                },
                indent=2,
            )
        )

    def command(self) -> Sequence[str | Path]:
        strict = ["-strict"] if self._strict else []
        return [self._binary, "-config", self._config, "-dnsserver", self._dns, *strict]

    def environment(self) -> Mapping[str, str]:
        return self._environment

    def is_ready(self) -> bool:
        https(self.directory_url, ca_file=self.ca_file)
        https(f"{self.management_url}/roots/0", ca_file=self.ca_file)
        return True

    def roots(self) -> list[bytes]:
        """The root certificates in PEM, the alternate ones after the first."""
        return self._certificates("roots")

    def intermediates(self) -> list[bytes]:
        """The certificates that sign leaves, in PEM, one per root."""
        return self._certificates("intermediates")

    def _certificates(self, kind: str) -> list[bytes]:
        return [
            https(f"{self.management_url}/{kind}/{index}", ca_file=self.ca_file)
            for index in range(1 + self._alternate_roots)
        ]

    def set_renewal_info(self, certificate: x509.Certificate, response: str) -> None:
        """Makes the renewal information of a certificate that text, well-formed or not."""
        pem = certificate.public_bytes(Encoding.PEM).decode()
        body = json.dumps({"certificate": pem, "ariResponse": response}).encode()
        https(f"{self.management_url}/set-renewal-info/", ca_file=self.ca_file, body=body)

    def certificate_status(self, serial: int) -> str:
        """ "Valid" or "Revoked"."""
        url = f"{self.management_url}/cert-status-by-serial/{serial:x}"
        status = json.loads(https(url, ca_file=self.ca_file))["Status"]
        return str(status)
