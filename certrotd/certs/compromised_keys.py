"""The keys that others know, whatever certificate they were met in: the document ``compromised``.

``{"version": 1, "keys": {DIGEST: {"of": WORDS, "since": TIME}}}``, with key_digest() of each.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from certrotd.jsontext import parsed
from certrotd.state.ports import Conflict, Document
from certrotd.state.typed import TypedDocument

VERSION = 1
TRIES = 20


@dataclass(frozen=True)
class CompromisedKey:
    """``of`` is whose key it was, in words, and ``since`` when it was said to be compromised."""

    of: str
    since: datetime


class CompromisedKeys:
    """What one state remembers; safe to use from many threads and processes.

    Nothing is ever forgotten: who has a key has it for good. ``report`` hears of a document that
    is damaged, which is kept aside, unless it is ``dry``.
    """

    def __init__(
        self, document: Document, report: Callable[[str], None], *, dry: bool = False
    ) -> None:
        self._dry = dry
        self._kept = TypedDocument(
            document,
            _parse,
            _render,
            report=report,
            loss=": restore it, or a key that was revoked as compromised may be used for another "
            "certificate",
        )
        self._lock = threading.Lock()
        self._known: Mapping[str, CompromisedKey] = {}

    def of(self, key: str) -> str | None:
        """Whose the key of that digest was; None if nobody said that it is compromised.

        Raises DiskTrouble.
        """
        with self._lock:
            found = self._read().get(key)
        return found.of if found is not None else None

    def add(self, key: str, of: str, *, now: datetime) -> None:
        """Remember it, durably; raises DiskTrouble, and Conflict where others are always first."""
        with self._lock:
            for left in reversed(range(TRIES)):
                known = self._read()
                if key in known:
                    return
                try:
                    self._kept.replace({**known, key: CompromisedKey(of, now)})
                except Conflict:
                    if not left:
                        raise
                    continue
                self._known = {**known, key: CompromisedKey(of, now)}
                return

    def _read(self) -> Mapping[str, CompromisedKey]:
        if self._kept.changed():
            self._known = (self._kept.peek() if self._dry else self._kept.read()) or {}
        return self._known


def _render(known: Mapping[str, CompromisedKey]) -> bytes:
    keys = {key: {"of": each.of, "since": each.since.isoformat()} for key, each in known.items()}
    return json.dumps({"version": VERSION, "keys": keys}).encode()


def _parse(data: bytes) -> Mapping[str, CompromisedKey]:
    try:
        told = parsed(data)
        if told["version"] != VERSION:
            raise ValueError(f"version {told['version']}")
        return {
            str(key): CompromisedKey(str(each["of"]), datetime.fromisoformat(each["since"]))
            for key, each in told["keys"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
