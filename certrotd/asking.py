"""One request to a URL of the configuration, and whether its answer is a success."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import certrotd
from certrotd.clock import Deadline
from certrotd.config.notifications import is_loopback
from certrotd.dial import Timeout
from certrotd.errors import NeedsOperator, Transient, one_line
from certrotd.https.client import HttpsClient
from certrotd.https.http1 import Answer
from certrotd.https.waits import asked_wait
from certrotd.pki.roots import trust

MAX_SHOWN = 300
MAX_WAIT = timedelta(minutes=10)
"""However long a receiver asks to be left alone."""
_AGAIN = frozenset({408, 429})


@dataclass(frozen=True)
class Asked:
    """Who is at ``url``, and how it is trusted: ``whom`` names it in messages, before its host.

    ``roots`` is a PEM file, None for the machine's; ``roots_name`` is what the configuration calls
    it, and ``roots_hint`` what it has to be. ``socket`` is connected to instead of the host.
    ``proxy``: by that of the environment, unless the host is this machine.
    """

    url: str
    whom: str
    roots: Path | None = None
    roots_name: str = "roots"
    roots_hint: str = ""
    socket: Path | None = None
    proxy: bool = False

    def ask(
        self,
        method: str,
        *,
        headers: Mapping[str, str],
        deadline: Deadline,
        body: bytes | None = None,
        judged: int | None = None,
    ) -> Answer:
        """As HttpsClient.exchange, over a connection of its own; nothing is followed."""
        url, context = urlsplit(self.url), None
        if url.scheme == "https":
            context = trust(self.roots, what=self.roots_name, hint=self.roots_hint)
        client = HttpsClient(
            context,
            whom=self.whom,
            agent=f"certrotd/{certrotd.__version__}",
            direct=not self.proxy or is_loopback(str(url.hostname)),
            socket_path=self.socket,
        )
        return client.exchange(
            method,
            self.url,
            body=body,
            headers={**headers, "Connection": "close"},
            timeout=Timeout(deadline),
            judged=judged,
        )

    def post(
        self,
        body: bytes,
        *,
        headers: Mapping[str, str],
        deadline: Deadline,
        what: str,
        hint: str,
        expected: int | None = None,
    ) -> None:
        """POST, which succeeds with any 2xx, or with the ``expected`` status alone.

        ``what`` begins every message, ``hint`` is what to compare where it is refused. Raises
        NeedsOperator or, for what may be otherwise later, Transient.
        """
        answer = self.ask("POST", headers=headers, deadline=deadline, body=body, judged=MAX_SHOWN)
        status, host = answer.status, urlsplit(self.url).hostname
        if status == expected or (expected is None and 200 <= status < 300):
            return
        if 300 <= status < 400:
            raise NeedsOperator(
                f"{what}: {host} redirects (HTTP {status}), which is not followed",
                hint="configure the target URL",
            )
        said = one_line(answer.content.decode("utf-8", "replace")).strip()
        words = f"{what}: {host} answered {status}{said and f': {said}'}"
        if status >= 500 or status in _AGAIN:
            wait = asked_wait(answer.headers.get("retry-after"), now=deadline.clock.now())
            raise Transient(words, retry_after=None if wait is None else min(wait, MAX_WAIT))
        raise NeedsOperator(words, hint=hint)
