"""What is Azure Key Vault's own: versions in each key, logins, and its errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from certrotd.config.secrets import CredentialSecret
from certrotd.kek import azure_keyvault
from certrotd.kek.azure_keyvault import AzureKeyVault
from certrotd.kek.port import (
    Damaged,
    Disabled,
    KekUnavailable,
    Unfit,
    WrongKek,
)
from tests.contract.kek_rigs import (
    CONTEXT,
    KEY,
    ONCE,
    Around,
    EntraToken,
    certified,
    kek,
    refusal,
    secret,
    soon,
)
from tests.parts.azure_vault import AzureVault
from tests.parts.front import Front, Response, fronting


class TestAzure:
    @pytest.fixture
    def vault(self) -> AzureVault:
        made = AzureVault()
        made.make_key("kek")
        return made

    @pytest.fixture
    def front(self, vault: AzureVault, around: Around) -> Front:
        self.ca_file, pair = certified(around)
        front = around.stack.enter_context(fronting(vault, pair))
        vault.url = front.url
        return front

    def keeper(self, front: Front, key: str = "kek", algorithm: str = "RSA-OAEP-256") -> Any:
        options = {"verify_challenge_resource": False, "connection_verify": str(self.ca_file)}
        return AzureKeyVault(front.url, key, algorithm, EntraToken, 30, options)

    def test_an_old_version_unwraps(self, vault: AzureVault, front: Front) -> None:
        """Each wrapped key names its version; a new one wraps from now on."""
        used = kek(self.keeper(front))
        wrapped = used.wrap(KEY, CONTEXT)
        vault.make_key("kek")
        assert used.unwrap(wrapped, CONTEXT) == KEY
        anew = used.rewrap(wrapped, CONTEXT)
        vault.keys["kek"][0].enabled = False
        assert isinstance(refusal(lambda: used.unwrap(wrapped, CONTEXT)), Disabled)
        assert used.unwrap(anew, CONTEXT) == KEY

    def test_a_vault_without_the_version_is_the_wrong_one(
        self, vault: AzureVault, front: Front
    ) -> None:
        """A key of the same name in another vault; the right one may have been restored there."""
        wrapped = kek(self.keeper(front)).wrap(KEY, CONTEXT)
        right = vault.keys["kek"]
        vault.keys["kek"] = []
        vault.make_key("kek")
        used = kek(self.keeper(front))
        assert isinstance(refusal(lambda: used.unwrap(wrapped, CONTEXT)), WrongKek)
        vault.keys["kek"] += right
        assert used.unwrap(wrapped, CONTEXT) == KEY

    def test_a_key_that_is_not_there_is_unfit(self, front: Front) -> None:
        """It was never made, or its name is misspelt."""
        assert isinstance(refusal(lambda: kek(self.keeper(front, "nokey")).wrap(KEY, {})), Unfit)

    def test_an_algorithm_of_another_type_is_unfit(self, front: Front) -> None:
        """An RSA key does not wrap as AES does."""
        used = kek(self.keeper(front, algorithm="A256KW"))
        assert isinstance(refusal(lambda: used.wrap(KEY, {})), Unfit)

    @pytest.mark.parametrize(
        "data", [b"", b"text", b"\0wrapped", b"../secrets\0x", b"a" * 65 + b"\0x", b"abc\0"]
    )
    def test_what_names_no_version_is_damaged(self, front: Front, data: bytes) -> None:
        """It would be a part of a URL."""
        with pytest.raises(Damaged):
            self.keeper(front).decrypt(data, CONTEXT, soon())
        assert front.got == []

    def test_another_error_of_unwrapping_says_nothing_of_the_key(self, front: Front) -> None:
        """It is not called damaged, so that nobody restores a backup over it."""
        data = self.keeper(front).encrypt(ONCE, CONTEXT, soon()).data
        front.always(Response(400, b'{"error":{"code":"ApiVersionNotSupported"}}'))
        failure = refusal(lambda: self.keeper(front).decrypt(data, CONTEXT, soon()))
        assert isinstance(failure, Unfit)

    def test_what_the_vault_cannot_unwrap_is_damaged(self, front: Front) -> None:
        """It has the version, and that did not wrap it."""
        data = self.keeper(front).encrypt(ONCE, CONTEXT, soon()).data
        with pytest.raises(Damaged):
            self.keeper(front).decrypt(data[:-1] + bytes([data[-1] ^ 1]), CONTEXT, soon())

    def test_an_identifier_without_a_version_is_no_answer(self, front: Front) -> None:
        """Without it the key could not be unwrapped again."""
        body = json.dumps({"kid": f"{front.url}/keys/kek", "value": "AAAA"}).encode()
        front.always(Response(200, body, {"Content-Type": "application/json"}))
        with pytest.raises(KekUnavailable, match="cannot be read"):
            self.keeper(front).encrypt(ONCE, CONTEXT, soon())

    def test_a_certificate_that_is_not_trusted_is_reported(self, front: Front) -> None:
        """Somebody is between, with a root that the machine does not know."""
        options = {"verify_challenge_resource": False}
        keeper = AzureKeyVault(front.url, "kek", login=EntraToken, options=options)
        assert "not trusted" in str(refusal(lambda: keeper.encrypt(ONCE, {}, soon())))

    def test_a_login_that_fails_is_the_operators(self, front: Front) -> None:
        """The secret has expired, or the machine has no identity."""

        class Refused:
            def get_token(self, *scopes: str, **options: Any) -> Any:
                from azure.core.exceptions import ClientAuthenticationError

                raise ClientAuthenticationError("AADSTS7000222: the secret has expired")

        keeper = self.keeper(front)
        object.__setattr__(keeper, "login", Refused)
        assert "AADSTS7000222" in str(refusal(lambda: keeper.encrypt(ONCE, {}, soon())))

    def test_a_client_secret_that_cannot_be_read_passes(self, front: Front) -> None:
        """It is read when the first key is wrapped."""
        login = azure_keyvault.Login("t", "c", CredentialSecret(credential="none"))
        keeper = AzureKeyVault(front.url, "kek", login=login.credential)
        with pytest.raises(KekUnavailable):
            keeper.encrypt(ONCE, {}, soon())

    def test_a_login_is_what_the_entry_says(self, around: Around) -> None:
        """A service principal, a managed identity, or what the SDK finds."""
        value = secret(around, "client-secret", "s3cret")
        found = [
            type(login.credential()).__name__
            for login in (
                azure_keyvault.Login("tenant", "client", value, "https://login.example.com"),
                azure_keyvault.Login(client_id="client"),
                azure_keyvault.Login(),
            )
        ]
        assert found == [
            "ClientSecretCredential",
            "ManagedIdentityCredential",
            "DefaultAzureCredential",
        ]
