"""The program that speaks to Apprise: run by file, alone, with everything in its environment.

``CERTROTD_MESSAGE`` is JSON with ``title``, ``body``, ``type``, ``seconds`` (how long it may run)
and ``urls`` (how many); ``CERTROTD_URL_0`` and so on are the URLs. Prints a line of JSON per URL:
null if it was sent, else why not.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
import time
from typing import Any
from urllib.parse import unquote

LOCAL = frozenset(
    {"blink1", "dbus", "gio", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows"}
)
"""Schemas that stay on this machine: of no use to a daemon, and in part programs it would run."""

SHARE = 0.9
"""Of the time that services may take together; the rest is for Apprise itself."""

MAX_SHOWN = 300
_SCHEMA = re.compile(r"([a-z0-9]{1,40}):", re.IGNORECASE)


def main() -> None:
    """Send the message to every URL; each has what is left of the time."""
    message = json.loads(os.environ.pop("CERTROTD_MESSAGE"))
    urls = [os.environ.pop(f"CERTROTD_URL_{index}") for index in range(message["urls"])]
    signal.alarm(max(1, round(message["seconds"])))  # whoever waits for us may be gone
    end = time.monotonic() + SHARE * message["seconds"]
    for index, url in enumerate(urls):
        # one that hangs must leave time for those after it
        seconds = max(0.1, (end - time.monotonic()) / (len(urls) - index))
        sys.stdout.write(f"{json.dumps(_send(url, message, seconds))}\n")
        sys.stdout.flush()
    os._exit(0)  # not waiting for what Apprise's thread pools have not finished


def schema_of(url: str) -> str:
    """The part of a URL that names the service and is no secret; "" if there is none."""
    match = _SCHEMA.match(url)
    return match[1].lower() if match else ""


def scrubbed(text: str, url: str) -> str:
    """``text`` without any part of the URL, which is secret as a whole."""
    parts = {part for whole in (url, unquote(url)) for part in re.split(r"[/:@?&=#,]+", whole)}
    secret = {part for part in parts if len(part) > 3 and part.lower() != schema_of(url)}
    for part in sorted(secret, key=len, reverse=True):
        text = text.replace(part, "***")
    return text[:MAX_SHOWN]


def _send(url: str, message: dict[str, Any], seconds: float) -> str | None:
    """Why the message was not sent within the seconds, or None."""
    try:
        import apprise
    except ImportError:
        from certrotd.extras import how_to_install

        return f"Apprise is not installed: {how_to_install('notify')}"
    schema = schema_of(url)
    if schema in LOCAL:
        return f"{schema}: stays on this machine, which is not supported"
    heard = _Heard()
    logger = logging.getLogger("apprise")
    logger.addHandler(heard)
    try:
        asset = apprise.AppriseAsset(
            app_id="certrotd",
            app_desc="certrotd",
            app_url="",
            async_mode=False,
            http_redirects=False,
            storage_mode="memory",
            service_timeout=seconds,
        )
        service = apprise.Apprise.instantiate(url, asset=asset)
        if service is None:
            return scrubbed(f"Apprise does not take the URL{heard}", url)
        sender = apprise.Apprise(service, asset=asset)
        sent = sender.notify(
            message["body"],
            title=message["title"],
            notify_type=message["type"],
            body_format=apprise.NotifyFormat.TEXT,
        )
    except Exception as error:  # noqa: BLE001  # a plugin's defect is a reason like any other
        return scrubbed(f"{schema}: {type(error).__name__}: {error}", url)
    finally:
        logger.removeHandler(heard)
    return None if sent else scrubbed(f"{schema}: not sent{heard}", url)


class _Heard(logging.Handler):
    """The last warning of Apprise."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self._last = record.getMessage()

    def __str__(self) -> str:
        return f": {self._last}" if self._last else ""


if __name__ == "__main__":
    main()
