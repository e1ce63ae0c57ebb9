"""Keys that never leave their service, each behind a front that can get in the way."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from certrotd.kek.aws_kms import AwsKms
from certrotd.kek.azure_keyvault import AzureKeyVault
from certrotd.kek.managed.aws_kms import AwsManagedKey
from certrotd.kek.managed.azure_keyvault import AzureManagedKey
from certrotd.kek.managed.vault import VaultManagedKey
from certrotd.kek.service import ServiceKek
from certrotd.kek.vault import Vault
from tests.contract.kek_rigs import Around, EntraToken, aws_error, certified, secret
from tests.parts.azure_vault import AzureVault
from tests.parts.front import Front, Request, Response, fronting, passed_on
from tests.parts.key_services import Moto, Transit

DAY = timedelta(days=1)
USED = 1_790_000_000.0
CONFIG = "min_decryption_version"


@dataclass(frozen=True)
class Rig:
    """A key behind a front; ``kek`` wraps by the same key; ``denied`` is what forbids all."""

    key: Any
    kek: ServiceKek
    front: Front
    denied: Response
    throttled: Response

    def asked(self, *parts: str) -> int:
        """How many requests had all of these in their method, path or target."""
        texts = [
            f"{each.method} {each.path} {each.headers.get('x-amz-target', '')}"
            for each in self.front.got
        ]
        return sum(all(part in text for part in parts) for text in texts)


class MotoFront:
    """moto, and the two answers that it does not give: the period, and the last use of a key."""

    def __init__(self, moto: Moto) -> None:
        self._ask = passed_on(moto.url)
        self._days: Any = None

    def __call__(self, request: Request) -> Response:
        operation = request.headers.get("x-amz-target", "").rpartition(".")[2]
        if operation == "GetKeyLastUsage":
            usage = {"Operation": "Encrypt", "Timestamp": USED}
            return self._json({"KeyLastUsage": usage})
        if operation == "EnableKeyRotation":
            self._days = json.loads(request.body).get("RotationPeriodInDays")
        answer = self._ask(request)
        if operation == "GetKeyRotationStatus" and self._days and answer.status == 200:
            return self._json({**json.loads(answer.body), "RotationPeriodInDays": self._days})
        return answer

    def _json(self, content: Mapping[str, Any]) -> Response:
        headers = {"Content-Type": "application/x-amz-json-1.1"}
        return Response(200, json.dumps(content).encode(), headers)


def aws(around: Around, moto: Moto) -> Rig:
    around.monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    around.monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    front = around.stack.enter_context(fronting(MotoFront(moto)))
    alias = f"alias/k{time.monotonic_ns()}"
    key_id = moto.ask("create_key")["KeyMetadata"]["KeyId"]
    moto.ask("create_alias", AliasName=alias, TargetKeyId=key_id)
    service = AwsKms(alias, moto.REGION, front.url, None, 30)
    busy = aws_error("ThrottlingException", wait="7")
    denied = aws_error("AccessDeniedException")
    return Rig(AwsManagedKey(service, 30), ServiceKek(service, 30), front, denied, busy)


def vault(around: Around, transit: Transit) -> Rig:
    front = around.stack.enter_context(fronting(passed_on(transit.url)))
    name = f"managed-{time.monotonic_ns()}"
    transit.ask("POST", f"keys/{name}", type="aes256-gcm96")
    service = Vault(front.url, name, secret(around, "token", transit.token))
    denied = Response(403, b'{"errors":["permission denied"]}')
    busy = Response(429, b'{"errors":["rate limit"]}', {"Retry-After": "7"})
    return Rig(VaultManagedKey(service, 30), ServiceKek(service, 30), front, denied, busy)


def azure(around: Around, service: AzureVault) -> Rig:
    ca_file, pair = certified(around)
    front = around.stack.enter_context(fronting(service, pair))
    service.url = front.url
    service.make_key("managed")
    options = {"verify_challenge_resource": False, "connection_verify": str(ca_file)}
    keeper = AzureKeyVault(front.url, "managed", login=EntraToken, options=options)
    denied = Response(403, b'{"error":{"code":"Forbidden"}}')
    busy = Response(429, b'{"error":{"code":"Throttled"}}', {"Retry-After": "7"})
    return Rig(AzureManagedKey(keeper, 30), ServiceKek(keeper, 30), front, denied, busy)
