"""What API servers have stored in etcd, by the JSON gateway that every member has.

Of each value only the beginning is kept, which names its key.
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from certrotd.clock import Clock, Deadline
from certrotd.datasets.port import CutShort
from certrotd.dial import Timeout
from certrotd.errors import NeedsOperator, Transient
from certrotd.https.client import HttpsClient
from certrotd.jsontext import parsed
from certrotd.pki.roots import load_roots

PAGE = 20
"""So many values at most in one answer: each may be of 1.5 MiB."""
MOST = 10_000_000
"""So many values at most are read below one folder: an etcd of 8 GiB has fewer."""
MAX_ANSWER = 64 * 1024 * 1024
BEGINNING = 256
"""So many bytes of a value are kept."""
SECONDS = 60.0
Ask = Callable[[str, object], Any]


@dataclass(frozen=True)
class Etcd:
    """One member of it; ``ask`` posts JSON to a path of it, and gives the JSON of its answer."""

    ask: Ask
    prefix: str

    def stored(self, folder: str) -> Iterator[tuple[str, bytes]]:
        """What each value below a folder begins with, by its key; raises Failure."""
        whole = f"{self.prefix}/{folder}/".encode()
        start, end = whole, whole[:-1] + b"0"  # "0" is next after "/"
        more, seen = True, 0
        while more:
            asked = {"key": _text(start), "range_end": _text(end), "limit": PAGE}
            page = self.ask("/v3/kv/range", asked)
            there = _pairs(page)
            for key, value in there:
                if not start <= key < end:
                    raise Transient("etcd answers with keys that were not asked for")
                if (seen := seen + 1) > MOST:
                    raise CutShort(f"etcd has more than {MOST:,} {folder}, or never ends")
                yield key[len(whole) :].decode(errors="replace"), value
                start = key + b"\0"
            more = bool(page.get("more")) and bool(there)


def _pairs(page: Any) -> list[tuple[bytes, bytes]]:
    """Keys, and what their values begin with; raises Transient for what is none."""
    try:
        return [
            (base64.b64decode(each["key"]), base64.b64decode(each.get("value") or "")[:BEGINNING])
            for each in page.get("kvs") or ()
        ]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Transient("etcd answers with what is no list of keys and values") from None


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def etcd_of(
    endpoint: str, ca: Path | None, pair: tuple[Path, Path] | None, prefix: str, clock: Clock
) -> Etcd:
    """The member at an address; raises NeedsOperator for files that cannot be used."""
    client = HttpsClient(
        _context(ca, pair) if endpoint.startswith("https://") else None,
        whom="etcd ",
        agent="certrotd",
        direct=True,
        limit=MAX_ANSWER,
    )

    def ask(path: str, content: object) -> Any:
        answer = client.exchange(
            "POST",
            f"{endpoint}{path}",
            body=json.dumps(content).encode(),
            headers={"Content-Type": "application/json"},
            timeout=Timeout(Deadline(clock, SECONDS)),
        )
        if answer.status in (401, 403):
            raise NeedsOperator(f"etcd refuses to be read: status {answer.status}")
        try:
            found = parsed(answer.content)
        except ValueError:
            found = None
        if answer.status != 200 or not isinstance(found, dict):
            raise Transient(f"etcd answers with the status {answer.status}")
        return found

    return Etcd(ask, prefix.rstrip("/"))


def _context(ca: Path | None, pair: tuple[Path, Path] | None) -> ssl.SSLContext:
    if ca is None:
        context = ssl.create_default_context()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        load_roots(context, ca, what="etcd's CA", hint="API servers have it as --etcd-cafile")
    if pair is not None:
        try:
            context.load_cert_chain(*pair, password="")  # nobody is there to be asked for one
        except OSError as error:  # ssl.SSLError is one
            raise NeedsOperator(
                f"the client certificate {pair[0]} and its key {pair[1]} cannot be used: "
                f"{error.strerror or error}"
            ) from None
    return context
