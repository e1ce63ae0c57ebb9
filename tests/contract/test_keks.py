"""What every KEK promises; a new one is one more line of BACKENDS, and a rig beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certrotd.clock import ManualClock
from certrotd.config.secrets import FileSecret
from certrotd.errors import Failure, Transient
from certrotd.kek import file
from certrotd.kek.credential import CredentialKek
from certrotd.kek.passphrase import Cost, Function, PassphraseKek
from certrotd.kek.port import (
    MAX_KEY,
    ContextMismatch,
    Disabled,
    Kek,
    KekRefused,
    KekUnavailable,
    Truncated,
    WrongKek,
)
from tests.fakes.kek import MemoryKek

KEY = bytes(range(32))
CONTEXT = {"keyring": "payments", "version": "3"}
Trouble = Callable[[], None]


@dataclass(frozen=True)
class Rig:
    """A KEK, one of the same type with another key, and what can befall the first.

    ``troubles`` by name; ``rotate`` gives it a new version where it has versions.
    """

    kek: Kek
    other: Kek
    troubles: Mapping[str, Trouble]
    rotate: Trouble = field(default=lambda: None)


def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    clock = ManualClock(datetime(2026, 6, 1, tzinfo=UTC))
    kek = MemoryKek(clock)

    def becomes(**changes: object) -> Trouble:
        return lambda: kek.__dict__.update(changes)

    troubles = {
        "down": becomes(down=True),
        "slow": becomes(seconds=60.0),
        "throttled": becomes(throttled=timedelta(seconds=7)),
        "disabled": becomes(disabled=True),
    }
    return Rig(kek, MemoryKek(clock, "other"), troubles, kek.rotate)


def in_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    kek, other = file.make(tmp_path / "kek"), file.make(tmp_path / "other")
    return Rig(kek, other, {"down": kek.path.unlink})


def credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    for name in ("kek", "other"):
        (tmp_path / name).write_bytes(os.urandom(31) + b"\n")  # which is no line's end
        (tmp_path / name).chmod(0o440)  # as systemd has it, with an ACL
    kek, other = CredentialKek("kek"), CredentialKek("other")
    return Rig(kek, other, {"down": lambda: monkeypatch.delenv("CREDENTIALS_DIRECTORY")})


def passphrase(cost: Cost) -> Callable[[Path, pytest.MonkeyPatch], Rig]:
    def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
        for name in ("right", "wrong"):
            (tmp_path / name).write_text(f"correct horse battery {name}\n")
        right, wrong = (FileSecret(file=tmp_path / name) for name in ("right", "wrong"))
        kek = PassphraseKek("main", right, cost)
        return Rig(kek, PassphraseKek("main", wrong, cost), {"down": right.file.unlink})

    return rig


Made = Callable[[Path, pytest.MonkeyPatch], Rig]
BACKENDS: dict[str, tuple[Made, tuple[str, ...]]] = {
    "memory": (memory, ("down", "slow", "throttled", "disabled")),
    "file": (in_file, ("down",)),
    "credential": (credential, ("down",)),
    "scrypt": (passphrase(Cost(Function.SCRYPT, 4, 8, 1)), ("down",)),
    "argon2id": (passphrase(Cost(Function.ARGON2ID, 64, 1, 2)), ("down",)),
}
"""Each KEK's rig, and which troubles can be had of it."""
TROUBLES = [(name, each) for name, (_, troubles) in BACKENDS.items() for each in troubles]


@pytest.fixture(params=BACKENDS)
def rig(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """Each of the KEKs, with what surrounds it."""
    return BACKENDS[request.param][0](tmp_path, monkeypatch)


def shows_nothing(failure: Failure) -> None:
    """No byte of a key is in what people read: one line of it."""
    for text in (str(failure), repr(failure)):
        assert "\n" not in text
        assert KEY.hex() not in text
        assert repr(KEY)[2:-1] not in text


class TestKeks:
    def test_a_wrapped_key_is_unwrapped(self, rig: Rig) -> None:
        """And nothing of it is to be seen in what is kept."""
        wrapped = rig.kek.wrap(KEY, CONTEXT)
        assert KEY not in wrapped
        assert rig.kek.unwrap(wrapped, CONTEXT) == KEY
        backwards = dict(reversed(CONTEXT.items()))
        assert rig.kek.unwrap(wrapped, backwards) == KEY

    @pytest.mark.parametrize("key", [b"", b"\0" * 16, b"k" * MAX_KEY], ids=["0", "16", "most"])
    def test_keys_of_every_length_are_wrapped(self, rig: Rig, key: bytes) -> None:
        """A key that a KMS makes may be a Tink keyset."""
        assert rig.kek.unwrap(rig.kek.wrap(key, CONTEXT), CONTEXT) == key

    def test_a_longer_key_is_not_wrapped(self, rig: Rig) -> None:
        """Rather than by some KEKs, and not by the next one."""
        with pytest.raises(ValueError, match="4096 bytes at most"):
            rig.kek.wrap(b"k" * (MAX_KEY + 1), CONTEXT)

    def test_a_key_wrapped_twice_looks_different(self, rig: Rig) -> None:
        """Who sees both does not learn that they are one."""
        assert rig.kek.wrap(KEY, CONTEXT) != rig.kek.wrap(KEY, CONTEXT)

    def test_another_kek_does_not_unwrap_it(self, rig: Rig) -> None:
        """It says so, instead of that the key is damaged."""
        wrapped = rig.kek.wrap(KEY, CONTEXT)
        with pytest.raises(WrongKek) as refused:
            rig.other.unwrap(wrapped, CONTEXT)
        shows_nothing(refused.value)
        assert refused.value.hint

    @pytest.mark.parametrize(
        "context",
        [{}, {"keyring": "payments"}, {**CONTEXT, "version": "4"}, {**CONTEXT, "more": ""}],
        ids=["none", "less", "other", "more"],
    )
    def test_a_key_of_another_context_is_not_unwrapped(
        self, rig: Rig, context: dict[str, str]
    ) -> None:
        """Somebody copied it from one keyring or version to another."""
        wrapped = rig.kek.wrap(KEY, CONTEXT)
        with pytest.raises(ContextMismatch) as refused:
            rig.kek.unwrap(wrapped, context)
        shows_nothing(refused.value)

    def test_a_truncated_key_is_reported_at_every_length(self, rig: Rig) -> None:
        """A full disk cuts anywhere."""
        wrapped = rig.kek.wrap(KEY, CONTEXT)
        for length in range(len(wrapped)):
            with pytest.raises(Truncated):
                rig.kek.unwrap(wrapped[:length], CONTEXT)

    def test_a_flipped_bit_is_noticed_in_every_byte(self, rig: Rig) -> None:
        """Whichever reason it is given, it is none that another try helps."""
        wrapped = rig.kek.wrap(KEY, CONTEXT)
        for index in range(len(wrapped)):
            flipped = bytearray(wrapped)
            flipped[index] ^= 1
            with pytest.raises(KekRefused) as refused:
                rig.kek.unwrap(bytes(flipped), CONTEXT)
            shows_nothing(refused.value)

    def test_what_follows_a_wrapped_key_is_refused(self, rig: Rig) -> None:
        """Nobody wrapped that."""
        with pytest.raises(KekRefused):
            rig.kek.unwrap(rig.kek.wrap(KEY, CONTEXT) + b"\0", CONTEXT)

    def test_a_rewrapped_key_is_the_same_key(self, rig: Rig) -> None:
        """By the new version where the KEK has versions; the old one is read until then."""
        wrapped = rig.kek.wrap(KEY, CONTEXT)
        rig.rotate()
        assert rig.kek.unwrap(wrapped, CONTEXT) == KEY
        anew = rig.kek.rewrap(wrapped, CONTEXT)
        assert anew != wrapped
        assert rig.kek.unwrap(anew, CONTEXT) == KEY
        with pytest.raises(ContextMismatch):
            rig.kek.rewrap(wrapped, {})
        with pytest.raises(WrongKek):
            rig.other.rewrap(wrapped, CONTEXT)

    def test_a_kek_describes_itself_without_its_key(self, rig: Rig) -> None:
        """For the inventory that an assessor reads."""
        described = rig.kek.describe()
        assert described.type
        assert described.place
        assert described.id == rig.kek.describe().id
        assert not described.id or described.id != rig.other.describe().id

    @pytest.mark.parametrize("act", ["wrap", "unwrap", "rewrap"])
    @pytest.mark.parametrize(("rig", "trouble"), TROUBLES, indirect=["rig"])
    def test_a_kek_in_trouble_says_who_can_help(self, rig: Rig, trouble: str, act: str) -> None:
        """One that is away is tried again; one that is disabled needs somebody."""
        wrapped = rig.kek.wrap(KEY, CONTEXT)
        rig.troubles[trouble]()
        with pytest.raises(Disabled if trouble == "disabled" else KekUnavailable) as refused:
            getattr(rig.kek, act)(KEY if act == "wrap" else wrapped, CONTEXT)
        shows_nothing(refused.value)
        if trouble == "throttled":
            assert isinstance(refused.value, Transient)
            assert refused.value.retry_after == timedelta(seconds=7)

    def test_nothing_of_a_kek_is_in_its_repr(self, rig: Rig, tmp_path: Path) -> None:
        """A traceback with locals shows reprs."""
        secrets = [each.read_bytes().strip() for each in tmp_path.iterdir() if each.is_file()]
        for secret in secrets:
            assert repr(secret)[2:-1] not in repr(rig.kek)
