"""A key of Azure Key Vault or Managed HSM, which wraps and unwraps (wrapKey, unwrapKey).

It takes no associated data: the seal alone binds the context. Whoever has the public key of an RSA
key can wrap, so that such a KEK hides keys, and does not tell who wrapped them. The key is known by
its name, so that a vault that was restored elsewhere still unwraps. What the vault makes of a
one-time key is ``version of the key | NUL | wrapped``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from certrotd.clock import Deadline
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.extras import how_to_install
from certrotd.https.waits import asked_wait
from certrotd.kek import envelope
from certrotd.kek.answers import decoded, encoded, read
from certrotd.kek.port import Context, Denied, Disabled, Kek, KekUnavailable, Unfit, WrongKek
from certrotd.kek.service import Encrypted, ServiceKek
from certrotd.kek.vendor_client import VendorClient, hush

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

    from certrotd.config.keks import AzureKeyVaultKekEntry
    from certrotd.config.secrets import Reference

API = "7.4"
_VERSION = re.compile(rb"[0-9a-zA-Z]{1,64}")
_DISABLED = {"KeyDisabled", "KeyNotYetValid", "KeyExpired"}
_BAD = {"BadParameter", "KeyOperationFailed", "CryptographicError"}
T = TypeVar("T")


@dataclass(frozen=True)
class Login:
    """As what certrotd asks: a service principal, a managed identity, or what the SDK finds.

    ``proxy``: by that of the environment.
    """

    tenant: str | None = None
    client_id: str | None = None
    client_secret: Reference | None = None
    authority: str | None = None
    proxy: bool = False

    def credential(self) -> TokenCredential:
        """What gives tokens; raises NeedsOperator or Transient for a secret that is not there."""
        from azure.identity import (
            ClientSecretCredential,
            DefaultAzureCredential,
            ManagedIdentityCredential,
        )

        how: dict[str, Any] = {"use_env_settings": self.proxy}
        place = {"authority": self.authority, **how} if self.authority else how
        if self.client_secret is not None and self.tenant and self.client_id:
            secret = self.client_secret.resolve().reveal().decode()
            return ClientSecretCredential(self.tenant, self.client_id, secret, **place)
        if self.client_id:
            return ManagedIdentityCredential(client_id=self.client_id, **how)
        return DefaultAzureCredential(
            exclude_interactive_browser_credential=True,
            exclude_shared_token_cache_credential=True,
            exclude_visual_studio_code_credential=True,
            **place,
        )


@dataclass(frozen=True)
class AzureKeyVault:
    """The key ``key`` of the vault at that URL; ``options`` are more of the SDK's client.

    ``proxy``: by that of the environment.
    """

    vault: str
    key: str
    algorithm: str = "RSA-OAEP-256"
    login: Callable[[], TokenCredential] = field(default_factory=lambda: Login().credential)
    seconds: float = 10.0
    options: Mapping[str, Any] = field(default_factory=dict)
    proxy: bool = False
    _sdk: VendorClient = field(default_factory=VendorClient, init=False, repr=False, compare=False)

    type = "azure-keyvault"

    @property
    def place(self) -> str:
        """As KeyService.place."""
        return f"the key {self.key} of {self.vault}"

    def identity(self, deadline: Deadline) -> bytes:
        """As KeyService.identity: the name of the key."""
        del deadline
        return self.key.encode()

    def encrypt(self, secret: bytes, context: Context, deadline: Deadline) -> Encrypted:
        """As KeyService.encrypt; takes the permission keys/wrapKey."""
        del context
        given = {"alg": self.algorithm, "value": encoded(secret, url_safe=True)}
        data = self.asked(
            "POST",
            "/wrapkey",
            given,
            deadline,
            lambda found: (
                b"%b\0%b"
                % (version_of(found["kid"]).encode(), decoded(found["value"], url_safe=True))
            ),
        )
        return Encrypted(data, self.key.encode())

    def decrypt(self, encrypted: bytes, context: Context, deadline: Deadline) -> bytes:
        """As KeyService.decrypt; takes the permission keys/unwrapKey."""
        del context
        version, _, wrapped = encrypted.partition(b"\0")
        if not _VERSION.fullmatch(version) or not wrapped:
            raise envelope.damaged(self.place)
        given = {"alg": self.algorithm, "value": encoded(wrapped, url_safe=True)}
        return self.asked(
            "POST",
            f"/{version.decode()}/unwrapkey",
            given,
            deadline,
            lambda found: decoded(found["value"], url_safe=True),
        )

    def asked(
        self,
        method: str,
        path: str,
        given: Mapping[str, Any] | None,
        deadline: Deadline,
        take: Callable[[Mapping[str, Any]], T],
    ) -> T:
        """What ``take`` finds in the answer to one request; the client does not retry."""
        client = self._sdk.get(self._client)  # first: it says which libraries are missing
        from azure.core.exceptions import (
            AzureError,
            ClientAuthenticationError,
            ServiceRequestError,
            ServiceResponseError,
        )
        from azure.core.rest import HttpRequest

        query = "" if "api-version=" in path else f"{'&' if '?' in path else '?'}api-version={API}"
        url = f"{self.vault}/keys/{self.key}{path}{query}"
        try:
            answer = client.send_request(HttpRequest(method, url, json=given))
            answer.read()
        except (ServiceRequestError, ServiceResponseError) as error:
            failure: Failure = self._unreachable(error)
        except ClientAuthenticationError as error:
            failure = Denied(
                f"{self.place} was not asked: {error.message}",
                hint="see to the tenant, client_id and client_secret, or the managed identity",
            )
        except AzureError as error:
            failure = KekUnavailable(f"{self.place} did not answer: {error.message}")
        else:
            if answer.status_code == 200:
                return read(self.place, lambda: take(answer.json()))
            wait = asked_wait(answer.headers.get("Retry-After"), now=deadline.clock.now())
            failure = self._judged(answer.status_code, wait, _codes(answer), path)
        raise failure from None

    def _client(self) -> Any:
        try:
            from azure.keyvault.keys import KeyClient

            credential = self.login()
        except ImportError:
            raise Unfit(
                f"{self.place} needs libraries that are not installed", hint=how_to_install("azure")
            ) from None
        except (NeedsOperator, Transient) as error:
            raise KekUnavailable(error.message, hint=error.hint) from None
        hush("azure", "msal")
        return KeyClient(
            self.vault,
            credential,
            retry_total=0,
            connection_timeout=self.seconds,
            read_timeout=self.seconds,
            use_env_settings=self.proxy,
            **self.options,
        )

    def _unreachable(self, error: Exception) -> Failure:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return Unfit(
                f"the certificate of {self.vault} is not trusted",
                hint="check the URL; with use_proxy, REQUESTS_CA_BUNDLE names the roots of a proxy "
                "that inspects",
            )
        return KekUnavailable(f"{self.place} did not answer: {type(error).__name__}")

    def _judged(self, status: int, wait: timedelta | None, codes: set[str], path: str) -> Failure:
        """What an error of the vault means."""
        said = " ".join(sorted(codes)) or str(status)
        if status in (408, 429) or status >= 500:
            return KekUnavailable(f"{self.place} is busy: {said}", retry_after=wait)
        if codes & _DISABLED:
            return Disabled(
                f"{self.place} is disabled, expired or not yet valid, as a whole or in the version "
                "that wrapped the key",
                hint="enable that version",
            )
        if status in (401, 403):
            return Denied(
                f"{self.place} refuses: {said}",
                hint="certrotd needs keys/wrapKey, keys/unwrapKey and keys/get on it, and the "
                "vault's firewall has to let it in",
            )
        if path.endswith("/unwrapkey"):
            if status == 404:
                return WrongKek(
                    f"{self.vault} has no key {self.key} in the version that wrapped the key",
                    hint="name the vault that has it; a deleted key can be recovered for a while",
                )
            if status == 400 and codes & _BAD:
                return envelope.damaged(self.place)
        return Unfit(
            f"{self.place} cannot be used: {said}",
            hint="check the name of the key, its type and the algorithm",
        )


def _codes(answer: Any) -> set[str]:
    """The codes of an error, the outer and those within it."""
    found = set()
    try:
        error = answer.json()["error"]
        while isinstance(error, dict):
            found.add(str(error["code"])[:80])
            error = error.get("innererror")
    except (ValueError, KeyError, TypeError):
        pass
    return found


def version_of(kid: str) -> str:
    """The version in a key's identifier, https://VAULT/keys/NAME/VERSION; raises ValueError."""
    version = kid.rpartition("/")[2]
    if kid.count("/") != 5 or not _VERSION.fullmatch(version.encode()):
        raise ValueError("no version")
    return version


def service_of(entry: AzureKeyVaultKekEntry) -> AzureKeyVault:
    """The key of a configuration entry."""
    principal = entry.tenant, entry.client_id, entry.client_secret
    return AzureKeyVault(
        entry.vault,
        entry.key,
        entry.algorithm,
        Login(*principal, entry.authority, entry.use_proxy).credential,
        entry.timeout.total_seconds(),
        proxy=entry.use_proxy,
    )


def build(name: str, entry: AzureKeyVaultKekEntry) -> Kek:
    """The KEK of a configuration entry."""
    del name
    return ServiceKek(service_of(entry), entry.timeout.total_seconds())
