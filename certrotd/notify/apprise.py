"""Alerts through Apprise, in a process of its own.

Apprise loads some 180 modules, keeps threads of its own, and not every one of its services has a
timeout: a child with a deadline costs the daemon no memory and can be ended. Its URLs are secrets;
they go there by its environment, never by its arguments.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from certrotd.clock import Deadline
from certrotd.config.context import Context
from certrotd.config.notifications import AppriseEntry
from certrotd.config.secrets import Reference
from certrotd.errors import NeedsOperator, Transient
from certrotd.notify.message import Message
from certrotd.process import environment, run

CHILD = Path(__file__).with_name("apprise_child.py")
MAX_URL = 8192
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy")
_ROOTS = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
_TYPES = {"warning": "warning", "error": "failure"}


class Apprise:
    """Sends each message to every URL; the URLs are read at every try, so that they may change."""

    def __init__(self, name: str, urls: Sequence[Reference], *, proxy: bool = False) -> None:
        self._passed = (*_ROOTS, *_PROXIES) if proxy else _ROOTS
        self._what = f"notification {name}"
        self._urls = tuple(urls)
        self._message = ""
        self._sent: set[int] = set()

    def send(self, message: Message, *, deadline: Deadline) -> None:
        """As Notifier.send; a URL that has taken the message is left out at the next try."""
        if message.id != self._message:
            self._message, self._sent = message.id, set()
        left = [index for index in range(len(self._urls)) if index not in self._sent]
        outcomes = self._run(message, [self._url(index) for index in left], deadline)
        failed = []
        for index, why in zip(left, outcomes, strict=True):
            if why is None:
                self._sent.add(index)
            else:
                failed.append(f"URL {index + 1}: {why}")
        if failed:
            raise Transient(f"{self._what}: {'; '.join(failed)}")

    def _run(self, message: Message, urls: Sequence[str], deadline: Deadline) -> list[str | None]:
        told = {
            "title": message.heading,
            "body": message.text,
            "type": "success" if message.state == "resolved" else _TYPES[message.severity],
            "seconds": max(1.0, deadline.remaining),
            "urls": len(urls),
        }
        variables = {name: os.environ[name] for name in self._passed if name in os.environ}
        variables |= {f"CERTROTD_URL_{index}": url for index, url in enumerate(urls)}
        variables["CERTROTD_MESSAGE"] = json.dumps(told)
        # -P: the folder of the program is not where modules come from, nor is any other
        ran = run(
            [sys.executable, "-P", str(CHILD)],
            what=f"{self._what}: Apprise",
            deadline=deadline,
            variables=environment(variables),
            errors_too=False,
        )
        outcomes = [_outcome(line) for line in ran.output.splitlines()[: len(urls)]]
        missing = f"Apprise {ran.how} without reporting the result"
        return [*outcomes, *([missing] * (len(urls) - len(outcomes)))]

    def _url(self, index: int) -> str:
        url = self._urls[index].resolve().reveal()
        try:
            text = url.strip().decode()
        except UnicodeDecodeError:
            text = ""
        if not text.isprintable() or "://" not in text or " " in text or len(text) > MAX_URL:
            raise NeedsOperator(
                f"{self._what}: URL {index + 1} is not a single Apprise URL",
                hint="such as mailto://user:password@example.com",
            )
        return text


def _outcome(line: bytes) -> str | None:
    try:
        why = json.loads(line)
    except ValueError:
        why = "Apprise printed an unknown result"
    return None if why is None else str(why)


def build(entry: AppriseEntry, context: Context) -> Apprise:
    """The notifier of a configuration entry."""
    return Apprise(context.name, entry.urls, proxy=entry.use_proxy)
