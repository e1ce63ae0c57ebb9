"""A KEK that a service keeps: how often it is asked, and what is found out without asking."""

from __future__ import annotations

import struct
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.clock import Deadline, ManualClock, SystemClock
from certrotd.errors import Failure
from certrotd.kek import bounded, envelope
from certrotd.kek.bounded import within
from certrotd.kek.port import Context, Damaged, Denied, KekUnavailable, WrongKek
from certrotd.kek.service import Encrypted, ServiceKek

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CONTEXT = {"keyring": "payments"}


@dataclass
class Locker:
    """A service whose next answers are failures, in that order."""

    failures: list[Failure] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    name: bytes = b"locker"
    secret: bytes = bytes(32)
    type = "locker"
    place = "the locker"

    def _called(self, what: str) -> None:
        self.calls.append(what)
        if self.failures:
            raise self.failures.pop(0)

    def identity(self, deadline: Deadline) -> bytes:
        return self.name

    def encrypt(self, secret: bytes, context: Context, deadline: Deadline) -> Encrypted:
        self._called("encrypt")
        return Encrypted(bytes(a ^ 255 for a in secret), self.name)

    def decrypt(self, encrypted: bytes, context: Context, deadline: Deadline) -> bytes:
        self._called("decrypt")
        return bytes(a ^ 255 for a in encrypted)


def kek(locker: Locker, *, timeout: float = 10.0) -> ServiceKek:
    return ServiceKek(locker, timeout, ManualClock(NOW))


def away() -> KekUnavailable:
    return KekUnavailable("the locker is away")


class TestTries:
    def test_a_service_that_is_away_is_asked_three_times(self) -> None:
        """A connection that broke is the usual case, and the next one stands."""
        locker = Locker([away(), away()])
        wrapped = kek(locker).wrap(b"key", CONTEXT)
        assert locker.calls == ["encrypt"] * 3
        assert kek(locker).unwrap(wrapped, CONTEXT) == b"key"

    def test_a_fourth_try_is_somebody_elses(self) -> None:
        """The rotation waits; a request does not."""
        locker = Locker([away(), away(), away()])
        with pytest.raises(KekUnavailable):
            kek(locker).wrap(b"key", CONTEXT)
        assert locker.calls == ["encrypt"] * 3

    def test_a_service_that_asks_for_time_is_given_it(self) -> None:
        """Asking again at once makes it worse."""
        busy = KekUnavailable("busy", retry_after=timedelta(seconds=7))
        locker = Locker([busy])
        with pytest.raises(KekUnavailable) as refused:
            kek(locker).wrap(b"key", CONTEXT)
        assert refused.value.retry_after == timedelta(seconds=7)
        assert locker.calls == ["encrypt"]

    def test_a_refusal_is_not_asked_again(self) -> None:
        """It would be the same; a wrong PIN would lock the token."""
        locker = Locker([Denied("no")])
        with pytest.raises(Denied):
            kek(locker).wrap(b"key", CONTEXT)
        assert locker.calls == ["encrypt"]

    def test_no_try_is_begun_without_time(self) -> None:
        """The pause would take it all."""
        locker = Locker([away(), away()])
        with pytest.raises(KekUnavailable):
            kek(locker, timeout=0.1).wrap(b"key", CONTEXT)
        assert locker.calls == ["encrypt"]


class TestEnvelope:
    def test_what_the_service_is_given_is_no_data_key(self) -> None:
        """What it logs, or loses, opens nothing by itself."""
        seen: list[bytes] = []

        class Watched(Locker):
            def encrypt(self, secret: bytes, context: Context, deadline: Deadline) -> Encrypted:
                seen.append(secret)
                return super().encrypt(secret, context, deadline)

        once = kek(Watched())
        once.wrap(b"k" * 32, CONTEXT)
        once.wrap(b"k" * 32, CONTEXT)
        assert len(set(seen)) == 2
        assert b"k" * 32 not in seen

    def test_damage_is_found_without_asking(self) -> None:
        """Services answer what they cannot decrypt with errors that mean something else."""
        locker = Locker()
        wrapped = bytearray(kek(locker).wrap(b"key", CONTEXT))
        wrapped[-1] ^= 1
        locker.calls.clear()
        with pytest.raises(Damaged):
            kek(locker).unwrap(bytes(wrapped), CONTEXT)
        assert locker.calls == []

    @pytest.mark.parametrize("body", [b"", b"x" * 9, struct.pack(">H", 3)], ids=len)
    def test_a_body_that_is_too_short_is_damaged(self, body: bytes) -> None:
        """Whoever wrote that did not wrap anything."""
        wrapped = envelope.sealed(envelope.kek_id("locker", b"locker"), body, CONTEXT)
        with pytest.raises(Damaged):
            kek(Locker()).unwrap(wrapped, CONTEXT)

    @pytest.mark.parametrize("length", [0, 40, 41, 65535])
    def test_parts_that_are_none_are_damaged(self, length: int) -> None:
        """Also with a check that is right."""
        import hashlib

        rest = b"r" * 40
        check = hashlib.sha256(b"certrotd kek check\0" + rest).digest()[:8]
        body = struct.pack(">H8s", length, check) + rest
        wrapped = envelope.sealed(envelope.kek_id("locker", b"locker"), body, CONTEXT)
        locker = Locker()
        with pytest.raises(Damaged):
            kek(locker).unwrap(wrapped, CONTEXT)
        assert locker.calls == []

    @given(st.binary(max_size=200))
    def test_no_body_makes_it_raise_anything_else(self, body: bytes) -> None:
        """Whoever can write the keyring writes what he likes."""
        wrapped = envelope.sealed(envelope.kek_id("locker", b"locker"), body, CONTEXT)
        with pytest.raises(Damaged):
            kek(Locker()).unwrap(wrapped, CONTEXT)

    def test_what_certrotd_has_not_wrapped_is_not_used(self) -> None:
        """Another program may use the same key, for secrets of other lengths."""

        class Other(Locker):
            def decrypt(self, encrypted: bytes, context: Context, deadline: Deadline) -> bytes:
                return b"short"

        wrapped = kek(Locker()).wrap(b"key", CONTEXT)
        with pytest.raises(Damaged, match="has not wrapped"):
            kek(Other()).unwrap(wrapped, CONTEXT)

    def test_the_context_is_bound_by_the_seal(self) -> None:
        """This service binds nothing, as Azure's does not."""
        wrapped = kek(Locker()).wrap(b"key", CONTEXT)
        found = envelope.opened(wrapped, CONTEXT)
        forged = envelope.sealed(found.kek_id, found.body, {"keyring": "other"})
        with pytest.raises(Damaged):
            kek(Locker()).unwrap(forged, {"keyring": "other"})

    def test_an_alias_that_moved_wraps_by_the_key_it_leads_to(self) -> None:
        """The envelope names the key that did it, and not the one that was there before."""
        moved = Locker(name=b"second")
        wrapped = kek(moved).wrap(b"key", CONTEXT)
        assert kek(moved).unwrap(wrapped, CONTEXT) == b"key"
        with pytest.raises(WrongKek):
            kek(Locker()).unwrap(wrapped, CONTEXT)


class TestBounds:
    def test_a_call_that_hangs_is_left_behind(self) -> None:
        """An SDK's own timeouts do not cover all of it."""
        release, began = threading.Event(), time.monotonic()
        try:
            with pytest.raises(KekUnavailable, match=r"the locker did not answer within 0\.2 s"):
                within(Deadline(SystemClock(), 0.2), "the locker", lambda _: release.wait(30))
        finally:
            release.set()
        assert time.monotonic() - began < 10

    def test_too_many_that_hang_are_not_joined_by_more(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each is a thread."""
        monkeypatch.setattr(bounded, "_calls", threading.BoundedSemaphore(1))
        release = threading.Event()
        asked: list[int] = []
        with pytest.raises(KekUnavailable):
            within(Deadline(SystemClock(), 0.1), "it", lambda _: release.wait(30))
        with pytest.raises(KekUnavailable):
            within(Deadline(SystemClock(), 0.1), "it", lambda _: asked.append(1))
        assert asked == []
        release.set()
        within(Deadline(SystemClock(), 10), "it", lambda _: asked.append(2))
        assert asked == [2]

    def test_what_a_call_raises_is_raised(self) -> None:
        """With its type, from whichever thread."""

        def fail(by: Deadline) -> None:
            raise WrongKek("another")

        with pytest.raises(WrongKek):
            within(Deadline(SystemClock(), 10), "it", fail)

    def test_a_machine_without_threads_is_reported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It passes, and the slot is free again."""

        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(bounded, "_calls", threading.BoundedSemaphore(1))
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            with pytest.raises(KekUnavailable, match="can't start new thread"):
                within(Deadline(SystemClock(), 10), "it", _nothing)
        assert within(Deadline(SystemClock(), 10), "it", lambda _: 3) == 3


def _nothing(by: Deadline) -> None:
    """A call."""
