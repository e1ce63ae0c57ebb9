"""What a process says of a keyring that it uses, and what many of them say together.

As JSON: ``{"format": 1, "keyring", "client", "instance", "at", "delivery", "counts": {VERSION:
[MESSAGES, BYTES]}, "failures"}``. Counts are of everything that the instance has encrypted since it
began, so a heartbeat that is lost takes nothing with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from certrotd.errors import InvalidInput
from certrotd.id import is_name
from certrotd.jsontext import parsed

FORMAT = 1
MAX_BYTES = 64 * 1024
"""Of a heartbeat as JSON."""
MAX_VERSIONS = 1000
MOST = 2**63 - 1
_INSTANCE = re.compile(r"[0-9a-f]{16}", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_VERSION = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
_FIELDS = {"format", "keyring", "client", "instance", "at", "delivery", "counts", "failures"}

Counts = Mapping[int, tuple[int, int]]
"""Messages and bytes by the version that encrypted them."""


@dataclass(frozen=True)
class Heartbeat:
    """One process, ``instance``, of the application ``client``, as it was ``at`` that time.

    ``delivery_hash`` is of the keys that it decrypts and encrypts with; ``counts`` and ``failures``
    (ciphertexts that it could not decrypt) are since the instance began. Raises InvalidInput.
    """

    keyring: str
    client: str
    instance: str
    at: datetime
    delivery_hash: str
    counts: Counts = field(default_factory=dict)
    failures: int = 0

    def __post_init__(self) -> None:
        for what, name in (("keyring", self.keyring), ("client", self.client)):
            if not is_name(name):
                raise InvalidInput(f"the {what} of a heartbeat is no name")
        if not _INSTANCE.fullmatch(self.instance):
            raise InvalidInput("the instance of a heartbeat is not 16 hexadecimal digits")
        if not _HASH.fullmatch(self.delivery_hash):
            raise InvalidInput("the delivery of a heartbeat is no SHA-256 in hexadecimal")
        if self.at.utcoffset() != timedelta(0):
            raise InvalidInput("the time of a heartbeat is not in UTC")
        if len(self.counts) > MAX_VERSIONS or not all(1 <= v < 10**10 for v in self.counts):
            raise InvalidInput(f"a heartbeat counts {MAX_VERSIONS} versions at most, from 1 on")
        numbers = [self.failures, *(n for pair in self.counts.values() for n in pair)]
        if not all(0 <= number <= MOST for number in numbers):
            raise InvalidInput("a count of a heartbeat is negative or too large")

    def render(self) -> bytes:
        """It as JSON."""
        told = {
            "format": FORMAT,
            "keyring": self.keyring,
            "client": self.client,
            "instance": self.instance,
            "at": self.at.isoformat(),
            "delivery": self.delivery_hash,
            "counts": {str(version): list(pair) for version, pair in sorted(self.counts.items())},
            "failures": self.failures,
        }
        return json.dumps(told, separators=(",", ":")).encode()


def parse(data: bytes) -> Heartbeat:
    """The heartbeat that render() wrote; raises InvalidInput for anything else."""
    if len(data) > MAX_BYTES:
        raise InvalidInput(f"a heartbeat is {MAX_BYTES} bytes at most")
    try:
        told = parsed(data)
    except ValueError:
        raise InvalidInput("the heartbeat is not JSON") from None
    return read(told)


def read(told: object) -> Heartbeat:
    """The heartbeat in parsed JSON; raises InvalidInput."""
    if not isinstance(told, dict) or told.keys() != _FIELDS:
        raise InvalidInput("the heartbeat has not the fields of one")
    if type(told["format"]) is not int or told["format"] != FORMAT:
        raise InvalidInput(f"the heartbeat is not of format {FORMAT}")
    texts = [told[name] for name in ("keyring", "client", "instance", "at", "delivery")]
    if not all(isinstance(each, str) for each in texts):
        raise InvalidInput("a field of the heartbeat is no text")
    keyring, client, instance, at, delivery = texts
    counts, failures = _counts(told["counts"]), _number(told["failures"])
    return Heartbeat(keyring, client, instance, _time(at), delivery, counts, failures)


def _counts(told: object) -> Counts:
    if not isinstance(told, dict) or not all(_VERSION.fullmatch(each) for each in told):
        raise InvalidInput("the counts of the heartbeat are not by version")
    return {int(version): _pair(each) for version, each in told.items()}


def _pair(told: object) -> tuple[int, int]:
    if not isinstance(told, list) or len(told) != 2:
        raise InvalidInput("a count of the heartbeat is not a pair of numbers")
    return _number(told[0]), _number(told[1])


def _number(told: Any) -> int:
    if type(told) is not int:  # True is an int, too
        raise InvalidInput("a count of the heartbeat is no whole number")
    return told


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        if at.isoformat() != text:
            raise ValueError(text)
        at.utcoffset()
    except ValueError:
        raise InvalidInput("the time of the heartbeat is not as ISO 8601 has it") from None
    return at


@dataclass(frozen=True)
class Merged:
    """What all instances of a keyring say together, by their last heartbeats.

    ``having`` have the expected delivery, ``lacking`` have another one.
    """

    having: tuple[Heartbeat, ...]
    lacking: tuple[Heartbeat, ...]


def merged(
    heartbeats: Iterable[Heartbeat],
    *,
    keyring: str,
    expected: str,
    now: datetime,
    stale: timedelta,
) -> Merged:
    """What the heartbeats of ``keyring`` say of the delivery whose hash is ``expected``.

    Of one instance the last heartbeat counts. Left out are those of other keyrings, and one that is
    older than ``stale``, or as far in the future: whoever wrote it is gone.
    """
    last: dict[tuple[str, str], Heartbeat] = {}
    for each in heartbeats:
        if each.keyring == keyring:
            who = each.client, each.instance
            last[who] = max(last.get(who, each), each, key=lambda beat: beat.at)
    timely = [each for _, each in sorted(last.items()) if abs(now - each.at) <= stale]
    return Merged(
        having=tuple(each for each in timely if each.delivery_hash == expected),
        lacking=tuple(each for each in timely if each.delivery_hash != expected),
    )


def increments(before: Heartbeat | None, after: Heartbeat) -> Counts:
    """What an instance has encrypted between two of its heartbeats, or until its first one."""
    earlier = before.counts if before else {}
    grown = {}
    for version, (messages, size) in after.counts.items():
        past = earlier.get(version, (0, 0))
        more = max(0, messages - past[0]), max(0, size - past[1])
        if any(more):
            grown[version] = more
    return grown
