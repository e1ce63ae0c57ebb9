"""Alerts by HTTP POST, signed as Standard Webhooks describes it.

The body is JSON: ``{"type": "alert.EVENT", "timestamp": …, "data": {…}}``. Beside it go

- ``webhook-id``: the same at every try, so that a receiver can tell a repetition,
- ``webhook-timestamp``: seconds since 1970 of this try,
- ``webhook-signature``: ``v1,`` and the HMAC-SHA256 of ``ID.TIMESTAMP.BODY`` in base64.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import socket
import ssl
import threading
from datetime import timedelta
from pathlib import Path
from typing import Self
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import certrotd
from certrotd.clock import Deadline
from certrotd.config.context import Context
from certrotd.config.notifications import WebhookEntry, is_loopback, signing_key
from certrotd.config.secrets import Reference
from certrotd.dial import RESOLVER, NotLookedUp, connect
from certrotd.errors import Failure, NeedsOperator, Transient, one_line
from certrotd.notify.message import Message
from certrotd.pki.roots import load_roots

MAX_SHOWN = 300
MAX_WAIT = timedelta(minutes=10)
_AGAIN = frozenset({408, 429})


class Webhook:
    """Posts each message to one URL; the secret is read at every try, so that it may change."""

    def __init__(self, name: str, url: str, secret: Reference, ca_bundle: Path | None) -> None:
        self._what = f"notification {name}"
        self._url = urlsplit(url)
        self._secret = secret
        self._ca_bundle = ca_bundle

    def send(self, message: Message, *, deadline: Deadline) -> None:
        """As Notifier.send."""
        body = payload(message)
        key = signing_key(self._secret.resolve().reveal(), f"{self._what}: ")
        seconds = int(deadline.clock.now().timestamp())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"certrotd/{certrotd.__version__}",
            "Connection": "close",
            "webhook-id": message.id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": signature(key, message.id, seconds, body),
        }
        if deadline.passed:
            raise Transient(f"{self._what}: no time is left to send it")
        try:
            with _HungUp(deadline) as line:
                connection = self._connection(deadline)
                connection._create_connection = line.connect  # type: ignore[attr-defined]
                with contextlib.closing(connection):
                    connection.request("POST", self._path, body, headers)
                    with connection.getresponse() as answer:
                        self._judge(answer)
        except (OSError, http.client.HTTPException) as error:
            raise self._explained(error, deadline) from error

    @property
    def _path(self) -> str:
        return f"{self._url.path or '/'}{'?' if self._url.query else ''}{self._url.query}"

    def _connection(self, deadline: Deadline) -> http.client.HTTPConnection:
        host, wait = str(self._url.hostname), deadline.remaining
        if self._url.scheme == "http":
            return http.client.HTTPConnection(host, self._url.port or 80, timeout=wait)
        port, context = self._url.port or 443, _trust(self._ca_bundle, self._what)
        proxy = _proxy(host, self._what)
        if proxy is None:
            return http.client.HTTPSConnection(host, port, timeout=wait, context=context)
        tunnel = http.client.HTTPSConnection(
            str(proxy.hostname), proxy.port or 80, timeout=wait, context=context
        )
        tunnel.set_tunnel(host, port, _login(proxy))
        return tunnel

    def _through(self) -> str:
        """The proxy on the way, for a message."""
        proxy = None
        if self._url.scheme != "http":
            proxy = _proxy(str(self._url.hostname), self._what)
        if proxy is None:
            return ""
        return f" (through the proxy {proxy.netloc.rpartition('@')[2]})"

    def _judge(self, answer: http.client.HTTPResponse) -> None:
        """Content with any 2xx; what else was answered is told with the beginning of its body."""
        status = answer.status
        if 200 <= status < 300:
            return
        if 300 <= status < 400:
            raise NeedsOperator(
                f"{self._what}: {self._url.hostname} redirects (HTTP {status}), which is not "
                "followed",
                hint="configure the URL it leads to",
            )
        said = one_line(answer.read(MAX_SHOWN).decode("utf-8", "replace")).strip()
        words = f"{self._what}: {self._url.hostname} answered {status}{said and f': {said}'}"
        if status >= 500 or status in _AGAIN:
            raise Transient(words, retry_after=_retry_after(answer.headers.get("Retry-After")))
        raise NeedsOperator(words, hint="the receiver refuses it: compare URL and secret")

    def _explained(self, error: Exception, deadline: Deadline) -> Failure:
        host = f"{self._url.hostname}{self._through()}"
        if isinstance(error, NotLookedUp):
            return Transient(f"{self._what}: {error}", hint=RESOLVER)
        if isinstance(error, ssl.SSLCertVerificationError):
            return NeedsOperator(
                f"{self._what}: the certificate of {host} is not trusted: {error.verify_message}",
                hint="a private CA's root goes into ca_bundle",
            )
        if isinstance(error, http.client.HTTPException) and not deadline.passed:
            kind = type(error).__name__
            return Transient(f"{self._what}: {host} does not speak HTTP properly ({kind})")
        if isinstance(error, TimeoutError) or deadline.passed:
            return Transient(f"{self._what}: {host} did not answer in time")
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        return Transient(f"{self._what}: {host} cannot be reached: {reason[:MAX_SHOWN]}")


def payload(message: Message) -> bytes:
    """The body: what is sent, as JSON."""
    kind, _, name = message.subject.partition("/")
    data = {
        "host": message.host,
        "state": message.state,
        "event": message.kind,
        "severity": message.severity,
        "id": message.subject or None,
        "kind": kind or None,
        "name": name or None,
        "title": message.title,
        "what": message.what,
        "todo": message.todo,
        "rotation": message.rotation or None,
        "key": message.key,
    }
    document = {
        "type": f"alert.{message.kind}",
        "timestamp": message.at.isoformat(),
        "data": data,
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def signature(key: bytes, identifier: str, seconds: int, body: bytes) -> str:
    """The value of webhook-signature (Standard Webhooks, "Signature scheme")."""
    signed = f"{identifier}.{seconds}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


class _HungUp:
    """Ends a connection at the deadline: the timeout of a socket begins anew at each octet.

    It holds a second descriptor of the connection, because TLS takes the first one over.
    """

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._lock = threading.Lock()
        self._twin: socket.socket | None = None
        self._timer = threading.Timer(deadline.remaining, self._hang_up)
        self._timer.daemon = True

    def connect(self, address: tuple[str, int], *_: object) -> socket.socket:
        """As socket.create_connection, within the deadline."""
        sock = connect(*address, deadline=self._deadline)
        with self._lock:
            self._twin = sock.dup()
        return sock

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            if self._twin is not None:
                self._twin.close()
                self._twin = None

    def _hang_up(self) -> None:
        with self._lock:
            if self._twin is not None:
                with contextlib.suppress(OSError):  # the other side may have done so already
                    self._twin.shutdown(socket.SHUT_RDWR)


def _trust(ca_bundle: Path | None, what: str) -> ssl.SSLContext:
    if ca_bundle is None:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    load_roots(context, ca_bundle, what=f"{what}: ca_bundle", hint="it is the receiver's root")
    return context


def _proxy(host: str, what: str) -> SplitResult | None:
    """The proxy of the environment (HTTPS_PROXY, NO_PROXY) for a host."""
    address = getproxies().get("https")
    if not address or is_loopback(host) or proxy_bypass(host):
        return None
    proxy = urlsplit(address if "://" in address else f"http://{address}")
    if proxy.scheme != "http" or not proxy.hostname:
        raise NeedsOperator(
            f"{what}: HTTPS_PROXY is not the address of an HTTP proxy",
            hint="such as http://proxy.example.com:3128",
        )
    return proxy


def _login(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    login = f"{proxy.username}:{proxy.password or ''}".encode()
    return {"Proxy-Authorization": f"Basic {base64.b64encode(login).decode()}"}


def _retry_after(value: str | None) -> timedelta | None:
    """The seconds a receiver asks for, at most ten minutes; a date says nothing."""
    if value is None or not (value.isascii() and value.isdigit()):
        return None
    return min(timedelta(seconds=int(value[:6])), MAX_WAIT)


def build(entry: WebhookEntry, context: Context) -> Webhook:
    """The notifier of a configuration entry."""
    return Webhook(context.name, entry.url, entry.secret, entry.ca_bundle)
