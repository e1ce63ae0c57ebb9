"""A symmetric key of Google Cloud KMS; the context is its additional authenticated data.

Requests and answers carry CRC32C checksums, which both sides check. The API is asked over REST:
gRPC keeps threads of its own, and does not survive a fork.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from certrotd.clock import Deadline
from certrotd.errors import Failure
from certrotd.extras import how_to_install
from certrotd.https.waits import asked_wait
from certrotd.kek import envelope
from certrotd.kek.answers import read
from certrotd.kek.crc32c import crc32c
from certrotd.kek.port import Context, Denied, Disabled, Kek, KekUnavailable, Unfit
from certrotd.kek.service import Encrypted, ServiceKek
from certrotd.kek.vendor_client import VendorClient, hush

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

    from certrotd.config.keks import GcpKmsKekEntry

SCOPE = "https://www.googleapis.com/auth/cloudkms"
_GOOGLE = "https://cloudkms.googleapis.com"
T = TypeVar("T")


@dataclass(frozen=True)
class Login:
    """As what certrotd asks: the service account whose key is in a file, or what the SDK finds."""

    file: Path | None = None
    proxy: bool = False

    def credentials(self) -> Credentials:
        """The credentials; raises google.auth's errors, ValueError or OSError."""
        from google.oauth2.service_account import Credentials as ServiceAccount

        load: Any = ServiceAccount.from_service_account_file  # which is untyped
        credentials: Credentials = (
            self._default() if self.file is None else load(str(self.file), scopes=[SCOPE])
        )
        return credentials

    def _default(self) -> Any:
        """Those of the environment, or of the machine, which the metadata server tells."""
        import google.auth
        import requests
        from google.auth.compute_engine import Credentials as OfTheMachine
        from google.auth.compute_engine import _metadata
        from google.auth.transport.requests import Request

        untyped: Any = google.auth.default, _metadata.get_universe_domain, Request
        default, universe_domain, request_with = untyped
        session = requests.Session()
        session.trust_env = self.proxy
        request = request_with(session)
        found, _ = default(scopes=[SCOPE], request=request)
        if isinstance(found, OfTheMachine):  # it would ask by a session of its own
            found = found.with_universe_domain(universe_domain(request))
        return found


@dataclass(frozen=True)
class GcpKms:
    """The key of that resource name; ``proxy``: by that of the environment."""

    key: str
    login: Callable[[], Credentials] = field(default_factory=lambda: Login().credentials)
    endpoint: str | None = None
    seconds: float = 10.0
    proxy: bool = False
    _sdk: VendorClient = field(default_factory=VendorClient, init=False, repr=False, compare=False)

    type = "gcp-kms"

    @property
    def place(self) -> str:
        """As KeyService.place."""
        return f"the Google Cloud KMS key {self.key}"

    def identity(self, deadline: Deadline) -> bytes:
        """As KeyService.identity: the resource name."""
        del deadline
        return self.key.encode()

    def encrypt(self, secret: bytes, context: Context, deadline: Deadline) -> Encrypted:
        """As KeyService.encrypt; takes cloudkms.cryptoKeyVersions.useToEncrypt."""
        aad = envelope.associated_data(context)
        given = {
            "name": self.key,
            "plaintext": secret,
            "plaintext_crc32c": crc32c(secret),
            "additional_authenticated_data": aad,
            "additional_authenticated_data_crc32c": crc32c(aad),
        }
        found = self._asked("encrypt", given, deadline, lambda found: found)
        verified = found.verified_plaintext_crc32c
        verified = verified and found.verified_additional_authenticated_data_crc32c
        data = bytes(found.ciphertext)
        if not verified or crc32c(data) != found.ciphertext_crc32c:
            raise self._corrupted()
        return Encrypted(data, self.key.encode())

    def decrypt(self, encrypted: bytes, context: Context, deadline: Deadline) -> bytes:
        """As KeyService.decrypt; takes cloudkms.cryptoKeyVersions.useToDecrypt."""
        aad = envelope.associated_data(context)
        given = {
            "name": self.key,
            "ciphertext": encrypted,
            "ciphertext_crc32c": crc32c(encrypted),
            "additional_authenticated_data": aad,
            "additional_authenticated_data_crc32c": crc32c(aad),
        }
        found = self._asked("decrypt", given, deadline, lambda found: found)
        secret = bytes(found.plaintext)
        if crc32c(secret) != found.plaintext_crc32c:
            raise self._corrupted()
        return secret

    def _asked(
        self, method: str, given: dict[str, Any], deadline: Deadline, take: Callable[[Any], T]
    ) -> T:
        """What ``take`` finds in the answer to one request; the client does not retry."""
        client = self._sdk.get(self._client)  # first: it says which libraries are missing
        import requests
        from google.api_core.exceptions import GoogleAPICallError
        from google.auth.exceptions import GoogleAuthError, TransportError
        from google.protobuf.json_format import ParseError  # type: ignore[import-untyped]

        try:
            found = getattr(client, method)(
                request=given, retry=None, timeout=max(0.1, deadline.remaining)
            )
        except GoogleAPICallError as error:
            failure = self._judged(error, deadline.clock.now())
        except (TransportError, requests.RequestException, ParseError) as error:
            failure = self._silent(error)
        except GoogleAuthError as error:
            failure = self._unauthenticated(error)
        else:
            return read(self.place, lambda: take(found))
        raise failure from None

    def _client(self) -> Any:
        try:
            from google.cloud.kms_v1 import KeyManagementServiceClient
            from google.cloud.kms_v1.services.key_management_service.transports import (
                KeyManagementServiceRestTransport,
            )
        except ImportError:
            raise Unfit(
                f"{self.place} needs libraries that are not installed", hint=how_to_install("gcp")
            ) from None
        hush("google")
        parts = urlsplit(self.endpoint or _GOOGLE)
        transport = KeyManagementServiceRestTransport(
            host=parts.netloc, url_scheme=parts.scheme, credentials=self._credentials()
        )
        # the SDK has no setting for its sessions, of which the second one is for tokens
        for session in (transport._session, transport._session._auth_request_session):
            session.trust_env = self.proxy
        return KeyManagementServiceClient(transport=transport)

    def _credentials(self) -> Credentials:
        from google.auth.exceptions import GoogleAuthError, TransportError

        try:
            return self.login()
        except TransportError as error:
            raise self._silent(error) from None
        except GoogleAuthError as error:
            raise self._unauthenticated(error) from None
        except (ValueError, OSError) as error:  # whose words may show what is in the file
            raise self._unauthenticated(type(error).__name__) from None

    def _silent(self, error: Exception) -> KekUnavailable:
        return KekUnavailable(f"{self.place} did not answer: {type(error).__name__}")

    def _unauthenticated(self, error: object) -> Denied:
        return Denied(
            f"{self.place} was not asked: its credentials cannot be used: {error}",
            hint="name a service account's key, or see to what the Google SDK finds",
        )

    def _corrupted(self) -> KekUnavailable:
        return KekUnavailable(
            f"{self.place} and certrotd do not agree on a checksum",
            hint="something on the way changes the data, or this machine's memory is faulty",
        )

    def _judged(self, error: Any, now: datetime) -> Failure:
        """What an error of the API means."""
        status = int(error.code or 0)
        said = str(error.message)[:300]
        reason = _reason(error.response)
        if status in (408, 429, 499) or status >= 500:
            headers = getattr(error.response, "headers", {})
            wait = asked_wait(headers.get("Retry-After"), now=now)
            return KekUnavailable(f"{self.place} is busy: {said}", retry_after=wait)
        if reason == "FAILED_PRECONDITION":
            return Disabled(
                f"{self.place}, or the version that wrapped the key, is not enabled: {said}",
                hint="enable that version; a destroyed one cannot come back",
            )
        if status in (401, 403):
            return Denied(
                f"{self.place} refuses: {said}",
                hint="certrotd needs roles/cloudkms.cryptoKeyEncrypterDecrypter on it",
            )
        if status == 400 and "ecryption failed" in said:
            return envelope.damaged(self.place)
        return Unfit(
            f"{self.place} cannot be used: {reason}: {said}",
            hint="check its resource name and its purpose, ENCRYPT_DECRYPT",
        )


def _reason(response: Any) -> str:
    """The canonical code of an error, which HTTP's status does not tell; empty without one."""
    try:
        return str(response.json()["error"]["status"])[:80]
    except (AttributeError, ValueError, KeyError, TypeError):
        return ""


def build(name: str, entry: GcpKmsKekEntry) -> Kek:
    """The KEK of a configuration entry."""
    del name
    seconds = entry.timeout.total_seconds()
    login = Login(entry.credentials, entry.use_proxy).credentials
    service = GcpKms(entry.key, login, entry.endpoint, seconds, entry.use_proxy)
    return ServiceKek(service, seconds)
