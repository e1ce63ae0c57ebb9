"""Alerts by HTTP POST, signed as Standard Webhooks describes it.

The body is JSON: ``{"type": "alert.EVENT", "timestamp": …, "data": {…}}``. Beside it go

- ``webhook-id``: the same at every try, so that a receiver can tell a repetition,
- ``webhook-timestamp``: seconds since 1970 of this try,
- ``webhook-signature``: ``v1,`` and the HMAC-SHA256 of ``ID.TIMESTAMP.BODY`` in base64.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import certrotd
from certrotd.clock import Deadline
from certrotd.config.context import Context
from certrotd.config.notifications import WebhookEntry, is_loopback, signing_key
from certrotd.config.secrets import Reference
from certrotd.dial import Timeout
from certrotd.errors import NeedsOperator, Transient, one_line
from certrotd.https.client import HttpsClient
from certrotd.https.http1 import Answer
from certrotd.notify.message import Message
from certrotd.pki.roots import trust

MAX_SHOWN = 300
MAX_WAIT = timedelta(minutes=10)
_AGAIN = frozenset({408, 429})


class Webhook:
    """Posts each message to one URL; the secret is read at every try, so that it may change."""

    def __init__(self, name: str, url: str, secret: Reference, ca_bundle: Path | None) -> None:
        self._what = f"notification {name}"
        self._url = url
        self._secret = secret
        self._ca_bundle = ca_bundle

    def send(self, message: Message, *, deadline: Deadline) -> None:
        """As Notifier.send."""
        body = payload(message)
        key = signing_key(self._secret.resolve().reveal(), f"{self._what}: ")
        seconds = int(deadline.clock.now().timestamp())
        headers = {
            "Content-Type": "application/json",
            "Connection": "close",
            "webhook-id": message.id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": signature(key, message.id, seconds, body),
        }
        timeout = Timeout(deadline)
        answer = self._client().exchange(
            "POST", self._url, body=body, headers=headers, timeout=timeout, judged=MAX_SHOWN
        )
        self._judge(answer)

    def _client(self) -> HttpsClient:
        url, context = urlsplit(self._url), None
        if url.scheme == "https":
            what, hint = f"{self._what}: ca_bundle", "it is the receiver's root"
            context = trust(self._ca_bundle, what=what, hint=hint)
        return HttpsClient(
            context,
            whom=f"the receiver of {self._what} at ",
            agent=f"certrotd/{certrotd.__version__}",
            direct=is_loopback(str(url.hostname)),
        )

    def _judge(self, answer: Answer) -> None:
        """Content with any 2xx; a failure quotes the beginning of any other answer."""
        status, host = answer.status, urlsplit(self._url).hostname
        if 200 <= status < 300:
            return
        if 300 <= status < 400:
            raise NeedsOperator(
                f"{self._what}: {host} redirects (HTTP {status}), which is not followed",
                hint="configure the target URL",
            )
        said = one_line(answer.content.decode("utf-8", "replace")).strip()
        words = f"{self._what}: {host} answered {status}{said and f': {said}'}"
        if status >= 500 or status in _AGAIN:
            raise Transient(words, retry_after=_retry_after(answer.headers.get("retry-after")))
        raise NeedsOperator(words, hint="the receiver refuses it: compare URL and secret")


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


def _retry_after(value: str | None) -> timedelta | None:
    """The seconds a receiver asks for, at most ten minutes; a date says nothing."""
    if value is None or not (value.isascii() and value.isdigit()):
        return None
    return min(timedelta(seconds=int(value[:6])), MAX_WAIT)


def build(entry: WebhookEntry, context: Context) -> Webhook:
    """The notifier of a configuration entry."""
    return Webhook(context.name, entry.url, entry.secret, entry.ca_bundle)
