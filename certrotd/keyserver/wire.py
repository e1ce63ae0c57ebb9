"""What client and server say over the socket: one request and one answer a connection.

Each is a frame: its length in 4 bytes, big-endian, then a JSON object. Requests::

    {"op": "keyring", "keyring": NAME, "have": HASH or "", "revision": NUMBER}
    {"op": "heartbeat" or "leave", "heartbeat": {…}}

Answers: ``{"unchanged": true}``, ``{"heard": true}``, ``{"refused": CODE, "why": WORDS}``, or the
delivery as Provided.render() has it.
"""

from __future__ import annotations

import base64
import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from certrotd.clock import Deadline
from certrotd.errors import InvalidInput
from certrotd.id import is_name
from certrotd.jsontext import parsed
from certrotd.keyring.delivery import Delivered, Delivery
from certrotd.keyring.material import Algorithm, DataKey, Material
from certrotd.keyring.states import State

MAX_REQUEST = 128 * 1024
MAX_ANSWER = 4 * 1024 * 1024
PATH_BYTES = 107
"""What a path of a Unix socket may have (unix(7))."""
_LENGTH = struct.Struct(">I")
_MOMENT = 0.001


class Refusal(StrEnum):
    """Why a request gets no other answer."""

    MALFORMED = "malformed"
    FORBIDDEN = "forbidden"
    """The peer may not read this keyring, or there is none of that name: it is not told which."""
    UNAVAILABLE = "unavailable"
    """The server cannot read the keyring now."""
    BUSY = "busy"
    """Too many connections are open: try again later."""


class Ended(InvalidInput):
    """The other side hung up before its frame was whole."""


@dataclass(frozen=True)
class Provided:
    """What a server gives out: ``used`` are the messages by version that are counted already.

    A client never goes back to an older ``revision``.
    """

    delivery: Delivery
    revision: int = 0
    used: Mapping[int, int] = field(default_factory=dict)

    def render(self) -> dict[str, Any]:
        """It for JSON; this holds the keys."""
        return {
            "keyring": self.delivery.keyring,
            "revision": self.revision,
            "active": self.delivery.active,
            "keys": [
                {
                    "version": each.key.version,
                    "algorithm": each.key.algorithm.value,
                    "id": each.key.id,
                    "iv": base64.b64encode(each.key.iv).decode(),
                    "material": base64.b64encode(each.key.material.reveal()).decode(),
                    "state": each.state.value,
                    "created": each.created.isoformat(),
                    "used": self.used.get(each.key.version, 0),
                }
                for each in self.delivery.keys
            ],
        }


def provided(told: Mapping[str, Any]) -> Provided:
    """What render() gave; raises InvalidInput, which shows nothing of it."""
    try:
        if not is_name(told["keyring"]):
            raise ValueError
        keys = [_delivered(each) for each in told["keys"]]
        used = {each["version"]: _whole(each["used"]) for each in told["keys"]}
        delivery = Delivery(told["keyring"], keys, _whole(told["active"]))
        return Provided(delivery, _whole(told["revision"]), used)
    except (KeyError, ValueError, TypeError, AttributeError, InvalidInput):
        raise InvalidInput("the server's answer is no keyring") from None


def frame(told: Mapping[str, Any], *, most: int) -> bytes:
    """A frame; raises InvalidInput above ``most`` bytes."""
    data = json.dumps(told, separators=(",", ":")).encode()
    if len(data) > most:
        raise InvalidInput(f"{len(data)} bytes are more than the {most} of a frame")
    return _LENGTH.pack(len(data)) + data


def receive(connection: socket.socket, deadline: Deadline, *, most: int) -> dict[str, Any]:
    """The JSON object of the next frame; raises OSError, TimeoutError or InvalidInput."""
    [length] = _LENGTH.unpack(_exactly(connection, _LENGTH.size, deadline))
    if length > most:
        raise InvalidInput(f"a frame is {most} bytes at most")
    try:
        told = parsed(_exactly(connection, length, deadline))
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise InvalidInput("a frame is a JSON object")
    return told


def send(connection: socket.socket, data: bytes, deadline: Deadline) -> None:
    """Send all of it; raises OSError or TimeoutError."""
    connection.settimeout(_left(deadline))
    connection.sendall(data)


def _exactly(connection: socket.socket, count: int, deadline: Deadline) -> bytes:
    received = bytearray()
    while len(received) < count:
        connection.settimeout(_left(deadline))
        more = connection.recv(min(count - len(received), 65536))
        if not more:
            raise Ended("the connection ended within a frame")
        received += more
    return bytes(received)


def _left(deadline: Deadline) -> float:
    if deadline.passed:
        raise TimeoutError
    return max(_MOMENT, deadline.remaining)


def _delivered(told: Mapping[str, Any]) -> Delivered:
    created = datetime.fromisoformat(told["created"])
    if created.utcoffset() != timedelta(0) or not isinstance(told["id"], str):
        raise ValueError
    key = DataKey(
        _whole(told["version"]),
        Algorithm(told["algorithm"]),
        Material(base64.b64decode(told["material"], validate=True)),
        told["id"],
        base64.b64decode(told["iv"], validate=True),
    )
    state = State(told["state"])
    if not state.delivered:
        raise ValueError
    return Delivered(key, state, created)


def _whole(number: object) -> int:
    if type(number) is not int or not 0 <= number < 2**63:
        raise ValueError
    return number
