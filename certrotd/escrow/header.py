"""What a backup says of itself in clear: enough to choose one, and nothing of a key."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from certrotd.errors import InvalidInput
from certrotd.escrow.age import PublicKeys, Recipients, Shared
from certrotd.escrow.canary import canary
from certrotd.escrow.errors import damaged
from certrotd.id import is_name
from certrotd.jsontext import parsed
from certrotd.keyring.keyring import Keyring, fingerprint
from certrotd.keyring.material import MAX_ID, Algorithm
from certrotd.keyring.states import State


@dataclass(frozen=True, slots=True)
class Held:
    """One version in a backup, in the state it had then; a destroyed one without its key."""

    number: int
    state: State
    since: datetime
    id: str
    algorithm: Algorithm
    fingerprint: str

    @property
    def live(self) -> bool:
        """Whether its key is in the backup."""
        return self.state is not State.DESTROYED


@dataclass(frozen=True, slots=True)
class SealedTo:
    """Who can open it: public keys, a passphrase (none is named), or ``threshold`` of ``of``."""

    recipients: tuple[str, ...] = ()
    threshold: int = 0
    of: int = 0

    @classmethod
    def told(cls, to: Recipients) -> SealedTo:
        """The same of recipients, without a secret."""
        if isinstance(to, Shared):
            return cls((to.recipient,), to.threshold, to.of)
        return cls(to.recipients) if isinstance(to, PublicKeys) else cls()

    def __str__(self) -> str:
        if self.threshold:
            return f"{self.threshold} of {self.of} shares"
        return ", ".join(self.recipients) or "a passphrase"


@dataclass(frozen=True)
class Header:
    """Keyring, revision, time and versions of a backup.

    ``seal`` is the fingerprint of the keyring's seal: two keyrings of one name differ in it.
    """

    keyring: str
    revision: int
    made: datetime
    seal: str
    sealed_to: SealedTo
    versions: tuple[Held, ...]
    canaries: Mapping[int, bytes] = field(repr=False)

    @classmethod
    def of(cls, keyring: Keyring, to: Recipients, *, at: datetime) -> Header:
        """That of a backup of ``keyring``, made at ``at``."""
        held = []
        for version in keyring.versions.all:
            entry = keyring.entries[version.number]
            held.append(
                Held(
                    version.number,
                    version.state,
                    version.since,
                    entry.id,
                    entry.algorithm,
                    entry.fingerprint,
                )
            )
        canaries = {
            each.number: canary(keyring.name, keyring.key(each.number))
            for each in held
            if each.live
        }
        return cls(
            keyring.name,
            keyring.revision,
            at,
            fingerprint(keyring.seal.material, keyring.seal.material),
            SealedTo.told(to),
            tuple(held),
            canaries,
        )

    @property
    def live(self) -> Mapping[int, Held]:
        """The versions whose keys are in it, by number."""
        return {each.number: each for each in self.versions if each.live}

    def to_json(self) -> dict[str, Any]:
        """As it is written, and as ``--json`` shows it."""
        return {
            "keyring": self.keyring,
            "revision": self.revision,
            "made": self.made.isoformat(),
            "seal": self.seal,
            "sealed_to": {
                "recipients": list(self.sealed_to.recipients),
                "threshold": self.sealed_to.threshold,
                "of": self.sealed_to.of,
            },
            "versions": [
                {
                    "number": each.number,
                    "state": each.state.value,
                    "since": each.since.isoformat(),
                    "id": each.id,
                    "algorithm": each.algorithm.value,
                    "fingerprint": each.fingerprint,
                }
                for each in self.versions
            ],
            "canaries": {
                str(number): base64.b64encode(each).decode()
                for number, each in self.canaries.items()
            },
        }

    def line(self) -> bytes:
        """The line of the file."""
        return json.dumps(self.to_json(), sort_keys=True, separators=(",", ":")).encode()


def read(line: bytes) -> Header:
    """The header that a line holds; raises BackupUnreadable.

    Its values have their types and lengths; whether certrotd wrote them is not known yet.
    """
    try:
        header = _read(parsed(line))
    except (KeyError, ValueError, TypeError, AttributeError, InvalidInput):
        raise damaged("its header is not what certrotd writes") from None
    if header.line() != line:
        raise damaged("its header is not what certrotd writes")
    return header


def _read(told: Any) -> Header:
    name, revision, to = _text(told["keyring"]), _number(told["revision"]), told["sealed_to"]
    if not is_name(name):
        raise ValueError("no name")
    return Header(
        name,
        revision,
        _time(told["made"]),
        _text(told["seal"]),
        SealedTo(tuple(map(_text, to["recipients"])), _number(to["threshold"]), _number(to["of"])),
        tuple(
            Held(
                _number(each["number"]),
                State(each["state"]),
                _time(each["since"]),
                _text(each["id"]),
                Algorithm(each["algorithm"]),
                _text(each["fingerprint"]),
            )
            for each in told["versions"]
        ),
        {
            int(number): base64.b64decode(each, validate=True)
            for number, each in told["canaries"].items()
        },
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > 16 * MAX_ID or not value.isprintable():
        raise ValueError("no text")
    return value


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError("no number")
    return value


def _time(value: str) -> datetime:
    at = datetime.fromisoformat(value)
    if at.tzinfo is None:
        raise ValueError("no time zone")
    return at
