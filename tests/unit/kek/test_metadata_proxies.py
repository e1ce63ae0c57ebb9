"""What the vendors' SDKs ask by themselves goes by the environment's proxy only with use_proxy."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from certrotd.dns.api import Reach
from certrotd.dns.records import TxtRecord
from certrotd.dns.route53 import Route53
from certrotd.errors import Failure
from certrotd.kek.aws_kms import AwsKms
from certrotd.kek.gcp_kms import GcpKms, Login
from tests.builders import soon

LATER = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds")
KEYS = {"AccessKeyId": "AK", "SecretAccessKey": "S", "Token": "T", "Expiration": LATER}
STS = f"""<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>AK</AccessKeyId>
<SecretAccessKey>S</SecretAccessKey><SessionToken>T</SessionToken><Expiration>{LATER}</Expiration>
</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""
ANSWERS = (
    ("latest/api/token", "a-token"),
    ("iam/security-credentials/role", json.dumps({"Code": "Success", **KEYS})),
    ("iam/security-credentials/", "role"),
    ("project/project-id", "a-project"),
    ("universe/universe-domain", "googleapis.com"),
    ("/token", json.dumps({"access_token": "t", "expires_in": 3600, "token_type": "Bearer"})),
    ("service-accounts/default/", json.dumps({"email": "default", "scopes": []})),
)


class Machine:
    """The metadata server, the services, and the proxy that the environment names."""

    def __init__(self) -> None:
        self.direct: list[str] = []
        self.by_proxy: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                proxied = self.path.startswith("http")  # RFC 9112 §3.2.2
                found = next((text for end, text in ANSWERS if end in self.path), "{}")
                what = self.path
                if b"AssumeRoleWithWebIdentity" in body:
                    what, found = "sts", STS
                (outer.by_proxy if proxied else outer.direct).append(what)
                self.send_response(200)
                self.send_header("Metadata-Flavor", "Google")
                kind = "application/json" if found.startswith("{") else "application/text"
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(found)))
                self.end_headers()
                self.wfile.write(found.encode())

            do_PUT = do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Machine:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Machine]:
    """A machine with a role of its own, of which nobody has configured anything."""
    from google.auth.compute_engine import _metadata

    with Machine() as it:
        for name in ("NO_PROXY", "no_proxy", "AWS_EC2_METADATA_DISABLED", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, it.url)
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", it.url)
        host = it.url.removeprefix("http://")
        monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", host)
        monkeypatch.setattr(_metadata, "_GCE_DEFAULT_MDS_IP", host)
        yield it


def aws(machine: Machine, proxy: bool) -> None:
    AwsKms("key", "us-east-1", machine.url, proxy=proxy).encrypt(b"x", {}, soon())


def route53(machine: Machine, proxy: bool) -> None:
    reach = Reach("it", None, proxy, 10.0)
    solver = Route53(reach, endpoint=machine.url, zone_id="Z1", zone_of=lambda *_: "example.test")
    solver.withdraw(TxtRecord("_acme-challenge.example.test", "v" * 43), deadline=soon())


def google(machine: Machine, proxy: bool) -> None:
    key = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
    kms = GcpKms(key, Login(proxy=proxy).credentials, machine.url, proxy=proxy)
    kms.encrypt(b"x", {}, soon())


@pytest.mark.parametrize("ask", [aws, route53, google])
def test_a_machine_s_own_role_is_asked_for_directly(
    machine: Machine, ask: Callable[[Machine, bool], None]
) -> None:
    """Whoever runs the proxy would read the credentials of the machine."""
    with suppress(Failure):
        ask(machine, False)
    assert any("security-credentials/role" in each or "/token" in each for each in machine.direct)
    assert machine.by_proxy == []
    with suppress(Failure):
        ask(machine, True)
    assert machine.by_proxy != []


@pytest.mark.parametrize("proxy", [False, True])
def test_a_web_identity_is_shown_directly(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: bool
) -> None:
    """The token of a pod is as good as its role."""
    (tmp_path / "token").write_text("a-token")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/certrotd")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", machine.url)
    with suppress(Failure):
        aws(machine, proxy)
    assert ("sts" in machine.by_proxy, "sts" in machine.direct) == (proxy, not proxy)
