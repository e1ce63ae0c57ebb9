"""A CA over real HTTPS that behaves, except where a test scripts it not to."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Self

from josepy.b64 import b64decode

from certrotd.acme.issuer import AcmeIssuer
from certrotd.clock import Clock, SystemClock
from certrotd.config.context import IssuerContext, Surroundings
from certrotd.config.issuers import AcmeEntry
from certrotd.pki import keys
from certrotd.pki.keys import KeyType
from tests.builders import state_folder
from tests.parts import pki

NAME = "a.example.test"
CSR = keys.signing_request(keys.generate(KeyType.ECDSA_P256), [NAME])


@dataclass(frozen=True)
class Reply:
    """One scripted answer; ``cut`` closes the connection instead, ``drip`` pauses at every byte.

    It is not given before ``after`` is set.
    """

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    after: threading.Event | None = None
    drip: float = 0.0


@dataclass(frozen=True)
class Seen:
    """One request as it arrived; ``payload`` is None for a POST-as-GET or no POST."""

    method: str
    path: str
    header: Mapping[str, Any]
    payload: Any
    raw: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def problem(kind: str, detail: str = "", **more: object) -> dict[str, object]:
    """An ACME problem document."""
    return {"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail, **more}


NXDOMAIN = problem("dns", "NXDOMAIN looking up TXT")


class Skipping(SystemClock):
    """The machine's date; for the rest, no time passes but that of sleeps, which are skipped."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def monotonic(self) -> float:
        return self.skipped

    def sleep(self, seconds: float) -> None:
        self.skipped += max(seconds, 0.0)


def acme_entry(directory: str, ca_bundle: Path, **changes: Any) -> AcmeEntry:
    """An entry of the configuration, not examined; times are in seconds."""
    for name in {"timeout", "request_timeout"} & set(changes):
        changes[name] = timedelta(seconds=changes[name])
    changes["contact"] = tuple(f"mailto:{each}" for each in changes.get("contact", ()))
    values = {"timeout": timedelta(seconds=60), **changes}
    return AcmeEntry.model_construct(
        type="acme", directory=directory, ca_bundle=ca_bundle, **values
    )


def context(
    state_dir: Path, clock: Clock | None = None, site: Surroundings | None = None
) -> IssuerContext:
    """What an issuer called "scripted" is built with."""
    clock = clock or SystemClock()
    folder = state_folder(state_dir, "accounts/scripted", clock.now)
    site = site or Surroundings()
    return IssuerContext("scripted", state_dir, clock, folder=folder, site=site)


class ScriptedCA:
    """Answers one order for NAME; ``script[path]`` are answers given first, in their order.

    ``date`` is what it takes for the time (None: the machine's).
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.root = pki.make_root("scripted CA's web server")
        self.ca_file = directory / "ca.pem"
        self.ca_file.write_bytes(self.root.fullchain_pem)
        self.script: dict[str, deque[Reply]] = {}
        self.seen: list[Seen] = []
        self.connections = 0
        self.order = {"status": "pending", "identifiers": [{"type": "dns", "value": NAME}]}
        self.authorization: dict[str, Any] = {
            "status": "pending",
            "identifier": {"type": "dns", "value": NAME},
        }
        self.challenge: dict[str, Any] = {"type": "dns-01", "status": "pending", "token": "t" * 24}
        self.meta: dict[str, Any] = {}
        self.date: str | None = None
        issuing = pki.make_intermediate(pki.make_root("issuing root"), "issuing intermediate")
        self.chain = pki.make_leaf(issuing, NAME).fullchain_pem
        self._nonces = 0
        self._server = self._serve(directory)
        self.base = f"https://127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{self.base}/directory"

    def on(self, path: str, *replies: Reply) -> None:
        """Script the next answers at a path."""
        self.script.setdefault(path, deque()).extend(replies)

    def asked(self, path: str) -> int:
        """How many requests a path has had."""
        return sum(seen.path == path for seen in self.seen)

    def issuer(self, state_dir: Path, clock: Clock | None = None, **changes: Any) -> AcmeIssuer:
        """An issuer of this CA, its settings changed as said."""
        return AcmeIssuer(self.entry(**changes), context(state_dir, clock))

    def entry(self, **changes: Any) -> AcmeEntry:
        """The configuration of this CA, some of it changed; times are in seconds."""
        return acme_entry(**{"directory": self.url, "ca_bundle": self.ca_file, **changes})

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, seen: Seen) -> Reply:
        """The scripted answer, else what an honest CA would say."""
        self.seen.append(seen)
        waiting = self.script.get(seen.path)
        if waiting:
            return waiting.popleft()
        match seen.path:
            case "/directory":
                return Reply(body=self._directory())
            case "/nonce":
                return Reply(body=b"")
            case "/account":
                return Reply(201, {"status": "valid"}, {"Location": f"{self.base}/accounts/1"})
            case "/accounts/1" | "/key-change":
                return Reply(body={"status": "valid"})
            case "/orders":
                return Reply(201, self.order_body(), {"Location": f"{self.base}/order"})
            case "/order":
                return Reply(body=self.order_body())
            case "/authz":
                return Reply(body=self.authorization_body())
            case "/challenge":
                self.challenge["status"] = self.authorization["status"] = "valid"
                self.order["status"] = "ready"
                return Reply(body=self.challenge_body())
            case "/finalize":
                if self.order["status"] != "ready":
                    return Reply(403, problem("orderNotReady", "not ready"))
                self.order["status"] = "valid"
                return Reply(body=self.order_body())
            case "/certificate":
                return Reply(body=self.chain)
        return Reply(404, problem("malformed", "no such page"))

    def order_body(self, **changes: Any) -> dict[str, Any]:
        """The order as shown."""
        shown: dict[str, Any] = {
            **self.order,
            "authorizations": [f"{self.base}/authz"],
            "finalize": f"{self.base}/finalize",
        }
        if self.order["status"] == "valid":
            shown["certificate"] = f"{self.base}/certificate"
        return {**shown, **changes}

    def authorization_body(self, **changes: Any) -> dict[str, Any]:
        """The authorization as shown."""
        return {**self.authorization, "challenges": [self.challenge_body()], **changes}

    def challenge_body(self, **changes: Any) -> dict[str, Any]:
        """The challenge as shown."""
        return {**self.challenge, "url": f"{self.base}/challenge", **changes}

    def nonce(self) -> str:
        """A fresh one."""
        self._nonces += 1
        return f"nonce{self._nonces:06}AA"[:12]

    def _directory(self) -> dict[str, Any]:
        paths = {"newNonce": "/nonce", "newAccount": "/account", "newOrder": "/orders"}
        paths["keyChange"] = "/key-change"
        return {
            **{name: f"{self.base}{path}" for name, path in paths.items()},
            "meta": self.meta,
        }

    def _serve(self, directory: Path) -> http.server.ThreadingHTTPServer:
        ca = self

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: object, client_address: object) -> None:
                """Quiet: clients that hang up are what some tests are about."""

            def process_request(self, request: Any, client_address: Any) -> None:
                ca.connections += 1
                super().process_request(request, client_address)

        class Handler(_Handler):
            owner = ca

        server = Server(("127.0.0.1", 0), Handler)
        pair = pki.make_leaf(self.root, "127.0.0.1", "localhost").write(directory, "web")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        return server


class _Handler(http.server.BaseHTTPRequestHandler):
    owner: ClassVar[ScriptedCA]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def date_time_string(self, timestamp: float | None = None) -> str:
        said = self.owner.date
        return super().date_time_string(timestamp) if said is None else said

    def do_GET(self) -> None:
        self._answer(Seen("GET", self.path, {}, None, headers=dict(self.headers)))

    def do_HEAD(self) -> None:
        self._answer(Seen("HEAD", self.path, {}, None, headers=dict(self.headers)))

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        jws = json.loads(raw)
        payload = b64decode(jws["payload"])
        self._answer(
            Seen(
                "POST",
                self.path,
                json.loads(b64decode(jws["protected"])),
                json.loads(payload) if payload else None,
                raw,
                dict(self.headers),
            )
        )

    def _answer(self, seen: Seen) -> None:
        reply = self.owner.answer(seen)
        if reply.after is not None:
            reply.after.wait(100)
        if reply.cut:
            self.close_connection = True
            return
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        headers = {"Content-Length": str(len(body)), **reply.headers}
        self.send_response(reply.status)
        for name, value in headers.items():
            self.send_header(name, value)
        if seen.method != "GET" and "Replay-Nonce" not in reply.headers:
            self.send_header("Replay-Nonce", self.owner.nonce())
        self.end_headers()
        if seen.method != "HEAD":
            self._write(body, reply.drip)

    def _write(self, body: bytes, drip: float) -> None:
        step = 1 if drip else max(1, len(body))
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            time.sleep(drip)

    def log_message(self, *args: object) -> None:
        """Quiet."""
