"""Keeps the newest keys of a source in use: looks for them, tells of them, and survives forks."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from certrotd.client.background import Background
from certrotd.client.beats import Beats, Channel
from certrotd.client.errors import KeyringClosed, SourceUnavailable
from certrotd.client.settings import Settings
from certrotd.client.sources import Held, Source
from certrotd.client.usage import Counter, Usage
from certrotd.errors import Failure

if TYPE_CHECKING:
    from certrotd.client.live import Cipher, Live, Sealing
    from certrotd.codecs.port import Codec
    from certrotd.keyring.heartbeat import Heartbeat

NOTHING: Any = (None, b"", (), None)
"""The short way of encrypting while there is none."""
_ASK_AGAIN = 1.0
"""Seconds between looks for a key that ciphertext names and nobody has: it may be hostile."""
_FOR_EVER = float("inf")


class Following:
    """The keys of ``source``, of which the newest are in use.

    ``_sealing`` and ``_openers`` are the short way to encrypt and decrypt, for as long as a thread
    looks for newer keys; else they are empty, and ``_ready()`` looks when it is time.
    """

    def __init__(
        self, source: Source, channel: Channel | None, settings: Settings, codec: Codec
    ) -> None:
        self._source = source
        self._channel = channel
        self._settings = settings
        self._codec = codec
        self._monotonic = settings.clock.monotonic
        self._held: Held | None = None
        self._name = ""
        self._troubles: dict[str, Failure] = {}
        self._closed = False
        self._begin({})

    def _begin(self, inherited: dict[int, int]) -> None:
        """A new instance; of each version so many messages are another one's."""
        self._lock = threading.RLock()
        self._instance = os.urandom(8).hex()
        self._inherited = inherited
        self._usages: dict[int, Usage] = {}
        self._failures = Counter()
        self._beats = Beats(self._channel) if self._channel else None
        self._background: Background | None = None
        self._live: Live | None = None
        self._sealing: Sealing = NOTHING
        self._openers: Mapping[bytes, Cipher] = {}
        self._look_at = self._beat_at = self._ask_at = 0.0
        self._told = ""

    def _open(self) -> None:
        """The first look, whose failure is the caller's."""
        with self._lock:
            self._adopt(self._source.newer(None))
            self._renew()

    def _ready(self) -> Live:
        """The newest keys; raises KeyringClosed."""
        live = self._live
        if live is None or self._monotonic() >= self._look_at:
            # whoever has keys need not wait for another thread that is looking
            if self._lock.acquire(blocking=live is None):
                try:
                    if not self._closed and (
                        self._live is None or self._monotonic() >= self._look_at
                    ):
                        self._renew()
                finally:
                    self._lock.release()
            live = self._live
        if live is None:
            raise KeyringClosed(self._name)
        return live

    def _sought(self, live: Live) -> Live | None:
        """Other keys than those of ``live``, if there are any by now."""
        with self._lock:
            if not self._closed and self._live is live and self._monotonic() >= self._ask_at:
                self._ask_at = self._monotonic() + _ASK_AGAIN
                self._renew()
            return None if self._live is live else self._live

    def _tick(self) -> bool:
        """What the thread does now and then; raises nothing. False when it is not needed."""
        with self._lock:
            if self._closed:
                return False
            try:
                self._renew()
                self._settled("thread")
            except Exception as error:  # noqa: BLE001  # a defect must not end the thread
                place = self._source.place
                self._report("thread", SourceUnavailable(f"{place}: {type(error).__name__}"))
            return True

    def _renew(self) -> None:
        """Look for newer keys, tell of them once they are in use, and look again.

        Whoever rotates the keyring asks for heartbeats after it has written the document: if this
        one came too late to be heard, the second look finds what was written.
        """
        self._look()
        self._start()
        for _ in range(2):  # a new delivery may have come between
            if self._beat_is_due():
                self._beat()
                self._look()

    def _look(self) -> None:
        self._look_at = self._monotonic() + self._settings.refresh
        try:
            self._adopt(self._source.newer(self._held))
            self._settled("keys")
        except Failure as failure:
            self._report("keys", failure)
            if self._live is None:
                self._adopt(None)
        if self._background is not None:
            self._look_at = _FOR_EVER

    def _adopt(self, found: Held | None) -> None:
        """Use these keys from now on, or those that were held before; raises Unsupported."""
        from certrotd.client.live import made

        held = found or self._held
        if held is None or (found is None and self._live is not None):
            return
        active = held.delivery.active
        counted = max(held.used.get(active, 0), self._inherited.get(active, 0))
        usage = self._usages.get(active)
        if usage is None:
            usage = Usage(held.delivery.encrypting.key.algorithm, counted)
        usage.learn(counted)
        live = made(held, self._codec, usage)
        self._usages[active] = usage
        self._held, self._live = held, live
        self._publish()
        self._name = held.delivery.keyring
        self._settled("kek")
        for trouble in held.troubles:
            self._report("kek", trouble)

    def _publish(self) -> None:
        live = self._live
        if live is not None and self._background is not None:
            self._openers = live.openers
            self._sealing = live.sealing or NOTHING

    def _start(self) -> None:
        if not self._settings.background or self._background is not None:
            return
        try:
            self._background = Background(self, self._beats, seconds=self._settings.refresh)
        except RuntimeError:  # the system has no thread to give: then it goes without
            return
        self._look_at = _FOR_EVER
        self._publish()

    def _beat_is_due(self) -> bool:
        if self._beats is None or self._live is None:
            return False
        return self._live.hash != self._told or self._monotonic() >= self._beat_at

    def _beat(self) -> None:
        heartbeat = self._heartbeat()
        if self._beats is None or heartbeat is None:
            return
        self._told = heartbeat.delivery_hash
        self._beat_at = self._monotonic() + self._settings.every
        if not self._tried(partial(self._beats.send, heartbeat)):
            again = min(self._settings.refresh, self._settings.every)
            self._beat_at = self._monotonic() + again

    def _heartbeat(self) -> Heartbeat | None:
        """What this instance says now; None while it uses no keys."""
        from certrotd.keyring.heartbeat import Heartbeat

        live = self._live
        if live is None or self._beats is None:
            return None
        counts = {
            version: (usage.messages, usage.bytes)
            for version, usage in self._usages.items()
            if usage.messages
        }
        return Heartbeat(
            live.held.delivery.keyring,
            self._settings.client,
            self._instance,
            self._settings.clock.now(),
            live.hash,
            counts,
            self._failures.value,
        )

    def _tried(self, act: Callable[[], None]) -> bool:
        try:
            act()
        except Failure as failure:
            self._report("heartbeats", failure)
            return False
        self._settled("heartbeats")
        return True

    def _report(self, what: str, failure: Failure) -> None:
        """Tell it, once for as long as it lasts."""
        if str(failure) != str(self._troubles.get(what)):
            self._troubles[what] = failure
            self._settings.on_trouble(failure)

    def _settled(self, what: str) -> None:
        self._troubles.pop(what, None)

    def close(self) -> None:
        """Let go of the keys, and tell certrotd that this process uses them no more."""
        with self._lock:
            if self._closed:
                return
            final = self._heartbeat()
            self._closed = True
            self._live, self._sealing, self._openers = None, NOTHING, {}
            self._held, self._usages = None, {}
            background, self._background = self._background, None
            beats = self._beats
        if background is not None:
            background.stop()
        if beats is not None:
            self._tried(partial(beats.leave, final))

    def _before_fork(self) -> None:
        # a child begins with one thread: what another one holds then, it holds for ever
        if self._background is not None:
            self._background.stop()

    def _after_fork_in_parent(self) -> None:
        if self._background is not None:
            try:
                self._background.resume()
            except RuntimeError:  # the system has no thread to give: then it goes without
                self._background, self._look_at = None, 0.0
                self._sealing, self._openers = NOTHING, {}

    def _after_fork_in_child(self) -> None:
        """The child is an instance of its own, which begins with its first use of the keyring."""
        if not self._closed:
            self._begin(
                self._inherited
                | {version: each.before + each.messages for version, each in self._usages.items()}
            )
