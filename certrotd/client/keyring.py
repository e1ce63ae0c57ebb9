"""A keyring as an application has it: encrypts, decrypts, and follows every rotation.

Encrypting and decrypting take no lock and ask no clock. What they use is replaced as a whole, by
one assignment, when a newer revision is ready; after a fork, and when the keyring is closed, it is
emptied instead, and the long way makes it anew or says why not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, SupportsIndex, TypeVar

from certrotd.client import forking
from certrotd.client.beats import Channel
from certrotd.client.errors import CannotDecrypt
from certrotd.client.following import NOTHING, Following
from certrotd.client.settings import Settings, reported
from certrotd.client.sources import Source
from certrotd.clock import Clock, SystemClock
from certrotd.codecs.errors import UnknownKey
from certrotd.errors import Failure

if TYPE_CHECKING:
    from certrotd.client.keks import KekLike
    from certrotd.client.live import Live
    from certrotd.codecs.port import Codec

_MOST = 64 * 1024 * 1024 - 33
"""What Tink's codec takes: that is loaded when it is used."""
_SHORT = 64 * 1024
"""Bytes that take an event loop no time worth a thread."""
T = TypeVar("T")


class Keyring(Following):
    """The keys of one keyring, in use by this process; any number of threads may use it."""

    def __init__(
        self, source: Source, channel: Channel | None, settings: Settings, codec: Codec
    ) -> None:
        from certrotd.client.live import bad_tag

        super().__init__(source, channel, settings, codec)
        self._bad_tag = bad_tag()

    @classmethod
    def open(
        cls,
        source: str | os.PathLike[str],
        *,
        name: str = "",
        kek: KekLike | None = None,
        keks: Mapping[str, KekLike] | None = None,
        codec: Codec | None = None,
        client: str = "",
        heartbeats: str | os.PathLike[str] | None = None,
        heartbeat_mode: int = 0o640,
        refresh: float = 5.0,
        every: float = 60.0,
        background: bool = True,
        on_trouble: Callable[[Failure], None] = reported,
        clock: Clock | None = None,
    ) -> Self:
        """The keyring ``name`` at ``source``, ready for use.

        ``source`` is the path of a sealed document, which ``kek`` or one of ``keks`` (by the names
        of certrotd's configuration) opens, or ``unix:PATH`` of certrotd's socket. New revisions are
        looked for every ``refresh`` seconds. Heartbeats of the application ``client`` go to the
        directory or socket ``heartbeats``, by default to the socket that the keys come from, every
        ``every`` seconds. Without ``background`` both happen only when the keyring is used.
        ``on_trouble`` is told, from any thread, why the keys that are there stay in use.

        Raises InvalidInput for arguments that fit nothing, Unreadable, KeksUnavailable,
        SourceUnavailable or NotPermitted where there are no keys to be had.
        """
        from certrotd.client.live import authenticated

        clock = clock or SystemClock()
        settings = Settings(client, refresh, every, background, on_trouble, clock)
        place, channel = settings.connected(
            source, name=name, kek=kek, keks=keks, heartbeats=heartbeats, mode=heartbeat_mode
        )
        if codec is None:
            from certrotd.codecs.tink import Tink

            codec = Tink()
        authenticated(codec)
        keyring = cls(place, channel, settings, codec)
        keyring._open()
        forking.register(keyring)
        return keyring

    @property
    def name(self) -> str:
        """Of the keyring."""
        return self._name

    @property
    def revision(self) -> int:
        """Of what is in use."""
        return self._held.revision if self._held else 0

    @property
    def delivery_hash(self) -> str:
        """What this process acknowledges."""
        return self._held.delivery.hash if self._held else ""

    @property
    def trouble(self) -> Failure | None:
        """Why the keys that are in use may not be the newest, if something is wrong."""
        return next(iter(self._troubles.values()), None)

    def encrypt(self, data: bytes, *, associated_data: bytes) -> bytes:
        """``data`` under the key that encrypts now; it opens with the same associated data only.

        Raises KeyExhausted, KeyringClosed, or CodecError for data that is too large.
        """
        seal, prefix, nonces, usage = self._sealing
        size = len(data)
        if size <= _MOST:
            for nonce in nonces:
                usage.bytes += size
                return prefix + nonce + seal(nonce, data, associated_data)
        return self._ready().encrypt(data, associated_data)

    def decrypt(self, ciphertext: bytes, *, associated_data: bytes) -> bytes:
        """What was encrypted; raises UnknownKey, or CannotDecrypt for whatever else it may be."""
        try:
            return self._openers[ciphertext[:5]](ciphertext[5:17], ciphertext[17:], associated_data)
        except self._bad_tag:
            next(self._failures.steps)
            raise CannotDecrypt from None
        except (KeyError, ValueError, TypeError):
            pass  # another form, another key, another revision: or nothing that opens at all
        return self._at_length(lambda live: live.decrypt(_octets(ciphertext), associated_data))

    def needs_reencryption(self, ciphertext: bytes) -> bool:
        """Whether another key wrote it than the one that encrypts now; raises as decrypt()."""
        return self._at_length(lambda live: live.needs_reencryption(_octets(ciphertext)))

    @classmethod
    async def aopen(cls, source: str | os.PathLike[str], **arguments: Any) -> Self:
        """As open(), in a thread."""
        return await _in_thread(lambda: cls.open(source, **arguments))

    async def aencrypt(self, data: bytes, *, associated_data: bytes) -> bytes:
        """As encrypt(), in a thread where it may take time."""
        if self._sealing is not NOTHING and len(data) <= _SHORT:
            return self.encrypt(data, associated_data=associated_data)
        return await _in_thread(lambda: self.encrypt(data, associated_data=associated_data))

    async def adecrypt(self, ciphertext: bytes, *, associated_data: bytes) -> bytes:
        """As decrypt(), in a thread where it may take time."""
        if bytes(ciphertext[:5]) in self._openers and len(ciphertext) <= _SHORT:
            return self.decrypt(ciphertext, associated_data=associated_data)
        return await _in_thread(lambda: self.decrypt(ciphertext, associated_data=associated_data))

    async def aclose(self) -> None:
        """As close(), in a thread."""
        await _in_thread(self.close)

    def close(self) -> None:
        """Let go of the keys, and tell certrotd that this process uses them no more."""
        forking.unregister(self)
        super().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Keyring {self.name}, revision {self.revision}>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a keyring is neither pickled nor copied: open it where it is used")

    def _at_length(self, act: Callable[[Live], T]) -> T:
        """``act`` with the newest keys; for a key that they lack, with newer ones if there are."""
        live = self._ready()
        try:
            try:
                return act(live)
            except UnknownKey:
                newer = self._sought(live)
                if newer is None:
                    raise
            return act(newer)
        except (UnknownKey, CannotDecrypt):
            next(self._failures.steps)
            raise


def _octets(ciphertext: bytes | bytearray | memoryview) -> bytes:
    """It as codecs take it; drivers of databases give the others."""
    if not isinstance(ciphertext, bytes | bytearray | memoryview):
        raise TypeError(f"a ciphertext is bytes, not {type(ciphertext).__name__}")
    return bytes(ciphertext)


async def _in_thread(act: Callable[[], T]) -> T:
    import asyncio

    return await asyncio.to_thread(act)
