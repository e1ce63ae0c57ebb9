"""Whom alerts go to: one class per type of notifier, and the line that lists them."""

import re
from base64 import b64decode
from datetime import timedelta
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from certrotd.config.base import AbsolutePath, Entry, EntryFindings, Items, Text, refuse, shown
from certrotd.config.durations import Duration
from certrotd.config.looks import library, roots
from certrotd.config.secrets import SecretRef, formed
from certrotd.errors import NeedsOperator

SHORTEST_KEY, LONGEST_KEY = 24, 64
_MAKE_ONE = "make one: echo whsec_$(openssl rand -base64 32)"

Severity = Literal["warning", "error"]
AlertKind = Literal[
    "rotation_failed",
    "rolled_back",
    "stuck",
    "recovered_after_crash",
    "attempts_running_out",
    "expiring",
    "unplanned_rotation",
    "other_issuer",
    "damaged",
    "served_mismatch",
    "acknowledgement_missing",
    "decryption_failures",
    "audit_broken",
    "config_refused",
    "clock_wrong",
    "trouble",
]
"""What an alert can be about."""


def is_loopback(host: str) -> bool:
    """Whether ``host`` (a name, or an IP address without brackets) is this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def receiver_url(url: str) -> str:
    """An https URL without credentials; http leads only to this machine."""
    parts = urlsplit(web_url(url))
    if parts.scheme == "http" and not is_loopback(str(parts.hostname)):
        raise refuse(f"must begin with https:// unless it is this machine, got {shown(url)}")
    return url


def web_url(url: str) -> str:
    """An https or http URL without credentials."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise refuse(f"is not a URL: {shown(url)}") from None
    usable = parts.hostname and port != 0 and not re.search(r"[^\x21-\x7e]|\\", url)
    if parts.scheme not in ("http", "https") or not usable:
        raise refuse(f"must be a URL such as https://ops.example.com/hook, got {shown(url)}")
    if "@" in parts.netloc or parts.fragment:
        raise refuse("must be a URL without a user name, a password or a fragment")
    return url


class _NotificationEntry(Entry):
    """What every notifier has."""

    events: Items[AlertKind] = Field(
        default=(), description="Kinds of alerts to send (empty: all)."
    )
    severity: Severity = Field(
        default="warning", description="The least severity to send: warning or error."
    )
    remind: Duration = Field(
        default=timedelta(days=1),
        description="How long until an unresolved alert is sent again.",
    )
    timeout: Duration = Field(
        default=timedelta(seconds=30), description="How long one delivery may take."
    )
    use_proxy: bool = Field(
        default=False,
        description="Whether to go through the proxy that the environment names (HTTPS_PROXY, "
        "NO_PROXY).",
    )


class AppriseEntry(_NotificationEntry):
    """Any service that Apprise supports: mail, Slack, Matrix, Telegram, PagerDuty, ntfy, …"""

    type: Literal["apprise"] = Field(description="Services that Apprise supports.")
    urls: Annotated[Items[SecretRef], Field(min_length=1, max_length=20)] = Field(
        description="The Apprise URLs, each a secret, such as a file that holds "
        "slack://TOKEN/TOKEN/TOKEN."
    )

    def examine(self) -> EntryFindings:
        """Apprise is there."""
        yield from library("apprise", ("type",), extra="notify")


class WebhookEntry(_NotificationEntry):
    """A signed HTTP POST as Standard Webhooks describes it."""

    type: Literal["webhook"] = Field(description="A signed HTTP POST (Standard Webhooks).")
    url: Annotated[Text, AfterValidator(receiver_url)] = Field(
        description="The receiver's URL; https, unless it is this machine."
    )
    secret: SecretRef = Field(description="The signing key: whsec_ and 24 to 64 octets in base64.")
    ca_bundle: AbsolutePath | None = Field(
        default=None,
        description="PEM file of the roots that verify the receiver's TLS certificate (null: the "
        "system's).",
    )

    def examine(self) -> EntryFindings:
        """The roots are there, and the key is one."""
        yield from roots(self.ca_bundle, ("ca_bundle",))
        yield from formed(self.secret, ("secret",), signing_key)


def signing_key(secret: bytes, what: str = "") -> bytes:
    """The octets in ``whsec_BASE64`` (or BASE64 alone); NeedsOperator without showing any.

    ``what`` begins the message, with a colon.
    """
    try:
        key = b64decode(secret.strip().removeprefix(b"whsec_"), validate=True)
    except ValueError:
        key = None
    if key is None:
        raise NeedsOperator(f"{what}the secret is not whsec_ and base64", hint=_MAKE_ONE)
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise NeedsOperator(
            f"{what}the secret has {len(key)} octets, not {SHORTEST_KEY} to {LONGEST_KEY}",
            hint=_MAKE_ONE,
        )
    return key


Notification = Annotated[AppriseEntry | WebhookEntry, Field(discriminator="type")]
"""Every type of notifier; a new one is added here."""
