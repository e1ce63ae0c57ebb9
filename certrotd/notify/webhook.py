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
from pathlib import Path

from certrotd.asking import Asked
from certrotd.clock import Deadline
from certrotd.config.context import Context
from certrotd.config.notifications import WebhookEntry, signing_key
from certrotd.config.secrets import Reference
from certrotd.notify.message import Message


class Webhook:
    """Posts each message to one URL; the secret is read at every try, so that it may change."""

    def __init__(
        self,
        name: str,
        url: str,
        secret: Reference,
        ca_bundle: Path | None,
        *,
        proxy: bool = False,
    ) -> None:
        self._what = f"notification {name}"
        self._secret = secret
        self._asked = Asked(
            url,
            f"the receiver of {self._what} at ",
            ca_bundle,
            f"{self._what}: ca_bundle",
            "it is the receiver's root",
            proxy=proxy,
        )

    def send(self, message: Message, *, deadline: Deadline) -> None:
        """As Notifier.send."""
        body = payload(message)
        key = signing_key(self._secret.resolve().reveal(), f"{self._what}: ")
        seconds = int(deadline.clock.now().timestamp())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message.id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": signature(key, message.id, seconds, body),
        }
        self._asked.post(
            body,
            headers=headers,
            deadline=deadline,
            what=self._what,
            hint="the receiver refuses it: compare URL and secret",
        )


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


def build(entry: WebhookEntry, context: Context) -> Webhook:
    """The notifier of a configuration entry."""
    return Webhook(context.name, entry.url, entry.secret, entry.ca_bundle, proxy=entry.use_proxy)
