"""Services of KEKs are asked by no proxy of the environment, unless the configuration wants it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certrotd.clock import Deadline
from certrotd.errors import Failure
from certrotd.kek import azure_keyvault, gcp_kms
from certrotd.kek.aws_kms import AwsKms
from certrotd.kek.azure_keyvault import AzureKeyVault
from certrotd.kek.gcp_kms import GcpKms
from certrotd.kek.port import Context
from certrotd.kek.service import KeyService
from certrotd.kek.vault import Vault
from tests.builders import soon
from tests.contract.kek_rigs import EntraToken, google_token
from tests.parts import google_kms
from tests.parts.process import free_port
from tests.unit.notify.made import secret


class Proxy:
    """It counts who comes, and serves nobody."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.came = 0
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    def _serve(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                client, _ = self.socket.accept()
                self.came += 1
                client.close()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The one that the environment names, for every host."""
    made = Proxy()
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, made.url)
        monkeypatch.setenv(name.lower(), made.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)  # azure.identity tries ten times
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with made.socket:
        yield made


def vault(url: str, directory: Path, proxy: bool) -> KeyService:
    return Vault(url, "k", secret(directory / "token", "t0ken"), proxy=proxy)


def aws_kms(url: str, directory: Path, proxy: bool) -> KeyService:
    del directory
    return AwsKms("alias/x", "eu-central-1", url, proxy=proxy)


def azure(url: str, directory: Path, proxy: bool) -> KeyService:
    del directory
    return AzureKeyVault(url, "k", login=EntraToken, proxy=proxy)


class Entra:
    """Where the vault's tokens come from; the vault itself is asked only once it wants one."""

    def __init__(self, login: azure_keyvault.Login) -> None:
        self._login = login

    def encrypt(self, _secret: bytes, _context: Context, _deadline: Deadline) -> str:
        """A token."""
        from azure.core.exceptions import AzureError

        try:
            return str(self._login.credential().get_token("https://vault.azure.net/.default"))
        except AzureError as error:
            raise Failure(str(error)) from None


def entra(url: str, directory: Path, proxy: bool) -> Entra:
    value = secret(directory / "secret", "s3cret")
    tenant = "00000000-0000-0000-0000-000000000000"
    return Entra(azure_keyvault.Login(tenant, "client", value, url, proxy))


def gcp(url: str, directory: Path, proxy: bool) -> KeyService:
    del directory
    return GcpKms(f"{google_kms.RING}/cryptoKeys/k", google_token, url, proxy=proxy)


def google_tokens(url: str, directory: Path, proxy: bool) -> KeyService:
    """Where the tokens of a service account come from."""
    path = directory / "credentials.json"
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    given: dict[str, Any] = {"type": "service_account", "token_uri": url, "client_email": "a@b"}
    path.write_text(json.dumps({**given, "private_key": key.decode()}))
    login = gcp_kms.Login(path).credentials
    return GcpKms(f"{google_kms.RING}/cryptoKeys/k", login, url, proxy=proxy)


@pytest.mark.parametrize("make", [vault, aws_kms, azure, entra, gcp, google_tokens])
def test_a_proxy_of_the_environment_is_used_only_when_asked(
    make: Callable[[str, Path, bool], KeyService | Entra], proxy: Proxy, tmp_path: Path
) -> None:
    """It would see who asks for which keys, and could keep them away."""
    nobody = f"https://127.0.0.1:{free_port()}"
    with pytest.raises(Failure):
        make(nobody, tmp_path, False).encrypt(bytes(32), {}, soon(10))
    assert proxy.came == 0
    with pytest.raises(Failure):
        make(nobody, tmp_path, True).encrypt(bytes(32), {}, soon(10))
    assert proxy.came > 0
