"""Wrapping by a key that a service keeps: it wraps a one-time key, and that seals the data key.

The services differ in what they take (AWS 4,096 bytes, RSA-OAEP 190), so each is given 32 bytes.
The context is associated data of the seal, and of the service where it knows such. The body of an
envelope is ``u16 length | check, 8 bytes | one-time key as the service wrapped it | nonce |
ciphertext | tag``. The check is of everything after it: what a disk has damaged is known as such,
whatever the service would say to it.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from certrotd.clock import Clock, Deadline, SystemClock
from certrotd.kek import envelope, sealing
from certrotd.kek.bounded import within
from certrotd.kek.port import MAX_KEY, Context, Damaged, KekUnavailable

PAUSES = (0.2, 0.8)
"""Seconds before the second and the third try, while there is time."""

_HEAD = struct.Struct(">H8s")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Encrypted:
    """What a service made of a one-time key, and the identity of the key that it used."""

    data: bytes
    identity: bytes


class KeyService(Protocol):
    """A key kept elsewhere; each call tries once and ends at the deadline, or soon after.

    All of it raises KekUnavailable (with ``retry_after`` where the service asks for time),
    Disabled, Denied or Unfit; decrypt() also WrongKek or Damaged.
    """

    @property
    def type(self) -> str:
        """As in the configuration."""
        ...

    @property
    def place(self) -> str:
        """The key in words, for messages: the service's kind and its name."""
        ...

    def identity(self, deadline: Deadline) -> bytes:
        """What is the same for all versions of the key, and no other key's."""
        ...

    def encrypt(self, secret: bytes, context: Context, deadline: Deadline) -> Encrypted:
        """32 bytes, encrypted by the present version."""
        ...

    def decrypt(self, encrypted: bytes, context: Context, deadline: Deadline) -> bytes:
        """What encrypt() encrypted."""
        ...


@dataclass(frozen=True)
class ServiceKek:
    """The KEK that a service keeps; a call with its retries takes ``timeout`` seconds at most.

    ``draw`` gives so many random bytes.
    """

    service: KeyService
    timeout: float = 10.0
    clock: Clock = field(default_factory=SystemClock, repr=False)
    draw: Callable[[int], bytes] = field(default=os.urandom, repr=False)

    def wrap(self, key: bytes, context: Context) -> bytes:
        """As Kek.wrap."""
        return self._wrap(key, context, self._deadline())

    def unwrap(self, wrapped: bytes, context: Context) -> bytes:
        """As Kek.unwrap."""
        return self._unwrap(wrapped, context, self._deadline())

    def rewrap(self, wrapped: bytes, context: Context) -> bytes:
        """As Kek.rewrap: unwrapped by its version, wrapped by the present one."""
        deadline = self._deadline()
        return self._wrap(self._unwrap(wrapped, context, deadline), context, deadline)

    def _wrap(self, key: bytes, context: Context, deadline: Deadline) -> bytes:
        if len(key) > MAX_KEY:
            raise ValueError(f"a key has {MAX_KEY} bytes at most")
        once = self.draw(sealing.SIZE)
        place = self.service.place
        made = asked(place, lambda by: self.service.encrypt(once, context, by), deadline)
        rest = made.data + sealing.seal(once, key, context)
        body = _HEAD.pack(len(made.data), _check(rest)) + rest
        return envelope.sealed(envelope.kek_id(self.service.type, made.identity), body, context)

    def _unwrap(self, wrapped: bytes, context: Context, deadline: Deadline) -> bytes:
        found = envelope.opened(wrapped, context)
        body = found.by(self._id(deadline), self.service.place)
        encrypted, sealed = self._parts(body)
        place = self.service.place
        once = asked(place, lambda by: self.service.decrypt(encrypted, context, by), deadline)
        if len(once) != sealing.SIZE:
            raise Damaged(
                f"{self.service.place} unwraps something that certrotd has not wrapped",
                hint="restore it from a backup",
            )
        return sealing.unseal(once, sealed, context, self.service.place)

    def _parts(self, body: bytes) -> tuple[bytes, bytes]:
        """The wrapped one-time key, and what it seals."""
        if len(body) < _HEAD.size:
            raise envelope.damaged(self.service.place)
        length, check = _HEAD.unpack_from(body)
        rest = body[_HEAD.size :]
        if check != _check(rest) or not 0 < length < len(rest):
            raise envelope.damaged(self.service.place)
        return rest[:length], rest[length:]

    def _id(self, deadline: Deadline) -> bytes:
        identity = asked(self.service.place, self.service.identity, deadline)
        return envelope.kek_id(self.service.type, identity)

    def _deadline(self) -> Deadline:
        return Deadline(self.clock, self.timeout)


def asked(place: str, ask: Callable[[Deadline], T], deadline: Deadline) -> T:
    """What ``ask`` answers; a service that is away is asked again, one that asks for time is not.

    ``place`` names it in messages. Raises what ``ask`` does.
    """
    for pause in PAUSES:
        try:
            return within(deadline, place, ask)
        except KekUnavailable as error:
            if error.retry_after is not None or deadline.remaining <= pause:
                raise
        deadline.pause(pause)
    return within(deadline, place, ask)


def _check(data: bytes) -> bytes:
    return hashlib.sha256(b"certrotd kek check\0" + data).digest()[:8]
