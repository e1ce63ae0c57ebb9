"""A key of the transit engine of Vault or OpenBao; the context is its associated data.

A derived key is given the context, too. A key is known by its name, so that an engine that was
moved or restored elsewhere still unwraps.
"""

from __future__ import annotations

import functools
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from certrotd.clock import Deadline
from certrotd.dial import Timeout
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.https.client import HttpsClient
from certrotd.https.http1 import Answer
from certrotd.https.waits import asked_wait
from certrotd.kek import envelope
from certrotd.kek.answers import decoded, encoded, read
from certrotd.kek.port import Context, Damaged, Denied, Disabled, Kek, KekUnavailable, Unfit
from certrotd.kek.service import Encrypted, ServiceKek
from certrotd.pki.roots import trust

if TYPE_CHECKING:
    from certrotd.config.keks import VaultKekEntry
    from certrotd.config.secrets import Reference

AEAD = ("aes128-gcm96", "aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305")
"""The key types that take associated data."""
T = TypeVar("T")


@dataclass(frozen=True)
class Vault:
    """The key ``key`` of the engine at ``mount``; the token is read for each request.

    ``proxy``: by that of the environment.
    """

    address: str
    key: str
    token: Reference
    mount: str = "transit"
    namespace: str | None = None
    ca_bundle: Path | None = None
    proxy: bool = False

    type = "vault"

    @property
    def place(self) -> str:
        """As KeyService.place."""
        return f"the Vault key {self.mount}/{self.key}"

    def identity(self, deadline: Deadline) -> bytes:
        """As KeyService.identity: the key's name."""
        del deadline
        return self.key.encode()

    def encrypt(self, secret: bytes, context: Context, deadline: Deadline) -> Encrypted:
        """As KeyService.encrypt; takes read on keys/KEY, for Vault makes a key that is missing."""
        self._check_type(deadline)
        given = {"plaintext": encoded(secret), **_bound(context)}
        text = self.asked(
            "POST", f"encrypt/{self.key}", given, deadline, lambda found: found["ciphertext"]
        )
        return read(self.place, lambda: Encrypted(text.encode("ascii"), self.key.encode()))

    def decrypt(self, encrypted: bytes, context: Context, deadline: Deadline) -> bytes:
        """As KeyService.decrypt."""
        try:
            text = encrypted.decode("ascii")
        except UnicodeDecodeError:
            raise envelope.damaged(self.place) from None
        given = {"ciphertext": text, **_bound(context)}
        return self.asked(
            "POST",
            f"decrypt/{self.key}",
            given,
            deadline,
            lambda found: decoded(found["plaintext"]),
        )

    def asked(
        self,
        method: str,
        path: str,
        given: Mapping[str, Any] | None,
        deadline: Deadline,
        take: Callable[[Mapping[str, Any]], T],
    ) -> T:
        """What ``take`` finds in the data of one answer of the engine."""
        answer = self._exchange(method, path, given, deadline)
        if answer.status == 204:
            return read(self.place, lambda: take({}))
        try:
            content = json.loads(answer.content)
        except ValueError:
            content = None
        if answer.status == 200:
            return read(self.place, lambda: take(content["data"]))
        errors = content.get("errors") if isinstance(content, dict) else None
        said = "; ".join(str(each) for each in errors) if isinstance(errors, list) else ""
        raise self._judged(answer, said, deadline.clock.now())

    def _check_type(self, deadline: Deadline) -> None:
        """Raises Unfit unless the key takes associated data."""
        path = f"keys/{self.key}"
        kind = self.asked("GET", path, None, deadline, lambda found: str(found["type"]))
        if kind not in AEAD:
            raise Unfit(
                f"{self.place} is of the type {kind}", hint=f"make one of {', '.join(AEAD[:3])}"
            )

    def _exchange(
        self, method: str, path: str, given: Mapping[str, Any] | None, deadline: Deadline
    ) -> Answer:
        headers = {"X-Vault-Request": "true", "X-Vault-Token": self._token()}
        if self.namespace is not None:
            headers["X-Vault-Namespace"] = self.namespace
        client = HttpsClient(
            self._context, whom=f"{self.place} at ", agent="certrotd", direct=not self.proxy
        )
        try:
            return client.exchange(
                method,
                f"{self.address}/v1/{self.mount}/{path}",
                body=None if given is None else json.dumps(given).encode(),
                headers=headers,
                timeout=Timeout(deadline),
            )
        except Transient as error:
            raise KekUnavailable(error.message, hint=error.hint) from None
        except NeedsOperator as error:
            raise Unfit(error.message, hint=error.hint) from None

    def _token(self) -> str:
        try:
            token = self.token.resolve().reveal().decode("ascii")
        except (NeedsOperator, Transient) as error:
            raise KekUnavailable(error.message, hint=error.hint) from None
        except UnicodeDecodeError:
            token = ""
        if not token or not token.isprintable() or " " in token:
            raise Denied(f"the token of {self.place} is none", hint="it is one word in ASCII")
        return token

    @functools.cached_property
    def _context(self) -> ssl.SSLContext | None:
        if self.address.startswith("http://"):
            return None
        try:
            return trust(self.ca_bundle)
        except NeedsOperator as error:
            raise Unfit(error.message, hint=error.hint) from None

    def _judged(self, answer: Answer, said: str, now: datetime) -> Failure:
        """What an error of the engine means, of which most have the status 400."""
        status = answer.status
        if status in (412, 429) or status >= 472:  # 472 and 473: a standby; 503: sealed
            return KekUnavailable(
                f"{self.place} is away: {said or status}",
                hint="a sealed Vault has to be unsealed" if status == 503 else "",
                retry_after=asked_wait(answer.headers.get("retry-after"), now=now),
            )
        if status == 403:
            return Denied(
                f"{self.place} refuses: {said or status}",
                hint="the token has expired, or its policy lacks encrypt, decrypt or read",
            )
        if 300 <= status < 400:  # a standby that forwards no requests
            return Unfit(
                f"{self.place} is at another server, and redirects are not followed",
                hint="name the active server, or one that forwards requests to it",
            )
        if "disallowed by policy" in said:
            return Disabled(
                f"the version of {self.place} that wrapped the key is below min_decryption_version",
                hint="lower min_decryption_version, and rewrap the keyrings before raising it",
            )
        if "authentication failed" in said or "invalid ciphertext" in said:
            return Damaged(
                f"the wrapped key is damaged: {self.place} does not authenticate it",
                hint="if this is another Vault than the one that wrapped it, correct the address; "
                "else restore it from a backup",
            )
        return Unfit(
            f"{self.place} cannot be used: {said or status}",
            hint="check the address, the mount and the name of the key",
        )


def _bound(context: Context) -> dict[str, str]:
    data = encoded(envelope.associated_data(context))
    return {"associated_data": data, "context": data}


def service_of(entry: VaultKekEntry) -> Vault:
    """The key of a configuration entry."""
    return Vault(
        entry.address,
        entry.key,
        entry.token,
        entry.mount,
        entry.namespace,
        entry.ca_bundle,
        entry.use_proxy,
    )


def build(name: str, entry: VaultKekEntry) -> Kek:
    """The KEK of a configuration entry."""
    del name
    return ServiceKek(service_of(entry), entry.timeout.total_seconds())
