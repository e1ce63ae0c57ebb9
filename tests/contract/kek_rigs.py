"""What the contract suite of KEKs needs of each: two of them, and what befalls the first."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certrotd.clock import Deadline, ManualClock, SystemClock
from certrotd.config.secrets import FileSecret
from certrotd.errors import Failure, NeedsOperator
from certrotd.kek import file
from certrotd.kek.aws_kms import AwsKms
from certrotd.kek.azure_keyvault import AzureKeyVault
from certrotd.kek.credential import CredentialKek
from certrotd.kek.gcp_kms import GcpKms
from certrotd.kek.passphrase import Cost, Function, PassphraseKek
from certrotd.kek.pkcs11 import Pkcs11
from certrotd.kek.port import Kek
from certrotd.kek.service import KeyService, ServiceKek
from certrotd.kek.vault import Vault
from tests.fakes.kek import MemoryKek
from tests.parts import azure_vault, google_kms, pki
from tests.parts.azure_vault import AzureVault
from tests.parts.front import Front, Response, fronting, passed_on
from tests.parts.google_kms import GoogleKms
from tests.parts.key_services import Moto, SoftHsm, Transit

KEY = bytes(range(32))
ONCE = bytes(32)
"""A one-time key."""
CONTEXT = {"keyring": "payments", "version": "3"}
Trouble = Callable[[], None]
Part = Callable[[type[Any]], Any]
"""Starts a server of a kind, once for all tests of a module."""


@dataclass(frozen=True)
class Rig:
    """A KEK, one of the same type with another key, and what can befall the first.

    ``troubles`` by name; ``rotate`` gives it a new version where it has versions.
    """

    kek: Kek
    other: Kek
    troubles: Mapping[str, Trouble]
    rotate: Trouble = field(default=lambda: None)


@dataclass(frozen=True)
class Around:
    """What a rig is made in: ``part()`` gives a server that all tests of a module share."""

    tmp_path: Path
    monkeypatch: pytest.MonkeyPatch
    stack: ExitStack
    part: Part


def memory(around: Around) -> Rig:
    clock = ManualClock(datetime(2026, 6, 1, tzinfo=UTC))
    kek = MemoryKek(clock)

    def becomes(**changes: object) -> Trouble:
        return lambda: kek.__dict__.update(changes)

    troubles = {
        "down": becomes(down=True),
        "slow": becomes(seconds=60.0),
        "throttled": becomes(throttled=timedelta(seconds=7)),
        "disabled": becomes(disabled=True),
    }
    return Rig(kek, MemoryKek(clock, "other"), troubles, kek.rotate)


def in_file(around: Around) -> Rig:
    kek, other = file.make(around.tmp_path / "kek"), file.make(around.tmp_path / "other")
    return Rig(kek, other, {"down": kek.path.unlink})


def credential(around: Around) -> Rig:
    around.monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(around.tmp_path))
    for name in ("kek", "other"):
        (around.tmp_path / name).write_bytes(os.urandom(31) + b"\n")  # which is no line's end
        (around.tmp_path / name).chmod(0o440)  # as systemd has it, with an ACL
    kek, other = CredentialKek("kek"), CredentialKek("other")
    return Rig(kek, other, {"down": lambda: around.monkeypatch.delenv("CREDENTIALS_DIRECTORY")})


def passphrase(cost: Cost) -> Callable[[Around], Rig]:
    def rig(around: Around) -> Rig:
        right, wrong = (
            secret(around, name, f"correct horse battery {name}") for name in ("right", "wrong")
        )
        kek = PassphraseKek("main", right, cost)
        return Rig(kek, PassphraseKek("main", wrong, cost), {"down": right.file.unlink})

    return rig


def aws_kms(around: Around) -> Rig:
    """moto; that a key is disabled is the one answer that it does not give, so the front does."""
    moto: Moto = around.part(Moto)
    front = around.stack.enter_context(fronting(passed_on(moto.url)))
    around.monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    around.monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    ids = [moto.ask("create_key")["KeyMetadata"]["KeyId"] for _ in range(2)]
    kek, other = (ServiceKek(AwsKms(each, moto.REGION, front.url), 30) for each in ids)
    troubles = {
        **of_the_way(kek, front, throttled=aws_error("ThrottlingException", wait="7")),
        "disabled": lambda: front.always(aws_error("DisabledException")),
        "denied": lambda: front.always(aws_error("AccessDeniedException")),
        "missing": lambda: front.always(aws_error("NotFoundException")),
    }
    return Rig(kek, other, troubles, lambda: void(moto.ask("rotate_key_on_demand", KeyId=ids[0])))


def aws_error(code: str, *, wait: str = "") -> Response:
    """An error as AWS has it."""
    headers = {"Content-Type": "application/x-amz-json-1.1"}
    if wait:
        headers["Retry-After"] = wait
    return Response(400, json.dumps({"__type": code, "message": "said"}).encode(), headers)


def vault(around: Around) -> Rig:
    """Vault's own transit engine; what is busy or forbidden the server around it would say."""
    transit: Transit = around.part(Transit)
    front = around.stack.enter_context(fronting(passed_on(transit.url)))
    token = secret(around, "token", transit.token)
    name = f"kek-{time.monotonic_ns()}"
    for each in (name, f"{name}-other"):
        transit.ask("POST", f"keys/{each}", type="aes256-gcm96")
    kek, other = (ServiceKek(Vault(front.url, each, token), 30) for each in (name, f"{name}-other"))

    def delete() -> None:
        transit.ask("POST", f"keys/{name}/config", deletion_allowed=True)
        transit.ask("DELETE", f"keys/{name}")

    throttled = Response(429, b'{"errors":["rate limit"]}', {"Retry-After": "7"})
    troubles = {
        **of_the_way(kek, front, throttled=throttled),
        "denied": lambda: write(token.file, "another"),
        "missing": delete,
    }
    return Rig(kek, other, troubles, lambda: void(transit.ask("POST", f"keys/{name}/rotate")))


def pkcs11(around: Around) -> Rig:
    """SoftHSM; it is slow when another process holds its locks."""
    token = SoftHsm(around.tmp_path / "hsm")
    for name, value in token.environment.items():
        around.monkeypatch.setenv(name, value)
    pin = secret(around, "pin", token.PIN)
    for label in ("kek", "other"):
        token.make_key(label)
    kek, other = (
        ServiceKek(Pkcs11(token.MODULE, token.label, label, pin), 30) for label in ("kek", "other")
    )

    def lock() -> None:
        for each in token.tokens.glob("*/*.object"):
            stream = around.stack.enter_context(each.open("r+b"))
            fcntl.lockf(stream, fcntl.LOCK_EX)
        object.__setattr__(kek, "timeout", 5)  # enough for a process to begin

    troubles = {
        "down": lambda: void(token.tokens.rename(token.directory / "away")),
        "slow": lock,
        "disabled": lambda: token.forbid("kek", "ENCRYPT", "DECRYPT"),
        "denied": lambda: write(pin.file, "000000"),
    }
    return Rig(kek, other, troubles)


def azure_keyvault(aes: int = 0) -> Callable[[Around], Rig]:
    def rig(around: Around) -> Rig:
        service = AzureVault()
        ca_file, pair = certified(around)
        front = around.stack.enter_context(fronting(service, pair))
        service.url = front.url
        options = {"verify_challenge_resource": False, "connection_verify": str(ca_file)}
        algorithm = f"A{aes}KW" if aes else "RSA-OAEP-256"
        for name in ("kek", "other"):
            service.make_key(name, aes=aes)
        kek, other = (
            ServiceKek(
                AzureKeyVault(front.url, name, algorithm, EntraToken, 30, options), timeout=30
            )
            for name in ("kek", "other")
        )

        def disable() -> None:
            service.keys["kek"][-1].enabled = False

        forbidden = b'{"error":{"code":"Forbidden","innererror":{"code":"ForbiddenByRbac"}}}'
        throttled = Response(429, b'{"error":{"code":"Throttled"}}', {"Retry-After": "7"})
        troubles = {
            **of_the_way(kek, front, throttled=throttled),
            "disabled": disable,
            "denied": lambda: front.always(Response(403, forbidden)),
        }
        return Rig(kek, other, troubles, lambda: service.make_key("kek", aes=aes))

    return rig


class EntraToken:
    """A token for the vault, as Entra ID would give it."""

    def get_token(self, *scopes: str, **options: Any) -> Any:
        from azure.core.credentials import AccessToken

        return AccessToken(azure_vault.TOKEN, int(time.time()) + 3600)


def gcp_kms(around: Around) -> Rig:
    service = GoogleKms()
    front = around.stack.enter_context(fronting(service))
    names = [service.make_key("kek"), service.make_key("other")]
    kek, other = (ServiceKek(GcpKms(each, google_token, front.url, 30), 30) for each in names)

    def disable() -> None:
        service.keys[names[0]][-1].state = "DISABLED"

    busy = google_kms.error(429, "RESOURCE_EXHAUSTED", "Quota exceeded.")
    denied = google_kms.error(403, "PERMISSION_DENIED", "Permission denied.")
    troubles = {
        **of_the_way(kek, front, throttled=Response(429, busy.body, {"Retry-After": "7"})),
        "disabled": disable,
        "denied": lambda: front.always(denied),
        "missing": lambda: service.keys.clear(),
    }
    return Rig(kek, other, troubles, lambda: void(service.make_key("kek")))


def google_token() -> Any:
    """A token for the API, as Google's metadata server would give it."""
    from google.oauth2.credentials import Credentials

    return Credentials(google_kms.TOKEN)  # type: ignore[no-untyped-call]


def of_the_way(kek: ServiceKek, front: Front, *, throttled: Response) -> dict[str, Trouble]:
    """What befalls every service that is asked over the network."""
    headers = {**throttled.headers, "Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}
    until = replace(throttled, headers=headers)

    def hang() -> None:
        front.hangs = True
        hurried(kek)

    return {
        "down": lambda: setattr(front, "down", True),
        "slow": hang,
        "throttled": lambda: front.always(throttled),
        "busy_until": lambda: front.always(until),
        "truncated": lambda: setattr(front, "cuts", True),
        "nonsense": lambda: front.always(Response(200, b"<html>Sign in</html>")),
        "empty": lambda: front.always(
            Response(200, b"{}", {"Content-Type": "application/x-amz-json-1.1"})
        ),
        "broken": lambda: front.always(Response(500, b"<html>oops</html>")),
    }


def hurried(kek: ServiceKek) -> None:
    """From now on it has little time, so that the test has not to wait long."""
    object.__setattr__(kek, "timeout", 0.4)


def void(result: object) -> None:
    """What nobody needs."""
    del result


def certified(around: Around) -> tuple[Path, tuple[Path, Path]]:
    """The root's file, and certificate and key of a server on loopback."""
    root = pki.make_root()
    ca_file = around.tmp_path / "root.pem"
    ca_file.write_bytes(root.fullchain_pem)
    return ca_file, pki.make_leaf(root, "127.0.0.1").write(around.tmp_path, "front")


def secret(around: Around, name: str, value: str) -> FileSecret:
    """A secret in a file."""
    path = around.tmp_path / name
    write(path, value)
    return FileSecret(file=path)


def write(path: Path, value: str) -> None:
    path.write_text(f"{value}\n")


_WAY = ("down", "slow", "throttled", "busy_until", "truncated", "nonsense", "empty", "broken")
BACKENDS: dict[str, tuple[Callable[[Around], Rig], tuple[str, ...]]] = {
    "memory": (memory, ("down", "slow", "throttled", "disabled")),
    "file": (in_file, ("down",)),
    "credential": (credential, ("down",)),
    "scrypt": (passphrase(Cost(Function.SCRYPT, 4, 8, 1)), ("down",)),
    "argon2id": (passphrase(Cost(Function.ARGON2ID, 64, 1, 2)), ("down",)),
    "aws-kms": (aws_kms, (*_WAY, "disabled", "denied", "missing")),
    "vault": (vault, (*_WAY, "denied", "missing")),
    "pkcs11": (pkcs11, ("down", "slow", "disabled", "denied")),
    "azure-keyvault": (azure_keyvault(), (*_WAY, "disabled", "denied")),
    "azure-hsm": (azure_keyvault(aes=256), (*_WAY, "disabled", "denied")),
    "gcp-kms": (gcp_kms, (*_WAY, "disabled", "denied", "missing")),
}
"""Each KEK's rig, and which troubles can be had of it."""


def kek(keeper: KeyService) -> ServiceKek:
    """The KEK of a service that has time enough."""
    return ServiceKek(keeper, 30)


def soon() -> Deadline:
    """For one call of a service."""
    return Deadline(SystemClock(), 30)


def refusal(call: Callable[[], object]) -> Failure:
    """What a call raises; it is for the operator, with a hint."""
    with pytest.raises(NeedsOperator) as refused:
        call()
    assert refused.value.hint
    return refused.value
