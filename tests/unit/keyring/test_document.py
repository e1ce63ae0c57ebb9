"""A keyring as it is kept: whatever befalls the document is noticed, and named in one line."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certrotd.clock import ManualClock
from certrotd.errors import Failure, InvalidInput, NeedsOperator
from certrotd.kek import sealing
from certrotd.kek.port import Context, KekUnavailable
from certrotd.keyring import document
from certrotd.keyring.document import (
    CutShort,
    Forged,
    Keks,
    KeksUnavailable,
    NoKek,
    Renamed,
    Replayed,
    Unreadable,
    opened,
    rewrapped,
    sealed,
)
from certrotd.keyring.keyring import Keyring, Wrapped, empty, fingerprint
from certrotd.keyring.material import Algorithm, DataKey, Material
from certrotd.keyring.states import State
from tests.fakes.kek import MemoryKek
from tests.unit.keyring.versions import FRESH, proof

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PLACE = "/state/keyrings/payments.json"
SECRETS = [bytes([n]) * 32 for n in (0xA1, 0xB2)]
SEAL = b"\xc3" * 32


def kek(name: str = "main") -> MemoryKek:
    return MemoryKek(ManualClock(NOW), name)


def payments() -> Keyring:
    """A keyring whose version 1 decrypts and version 2 encrypts."""
    keyring = empty("payments", Material(SEAL))
    for number, secret in enumerate(SECRETS, 1):
        key = DataKey(number, Algorithm.AES_256_GCM, Material(secret), id=f"v{number}")
        versions = keyring.versions.generate(at=NOW, why="due")
        keyring = keyring.added(key, versions)
        versions = versions.distribute(number, at=NOW, why="given")
        keyring = keyring.moved(versions.activate(number, at=NOW, why="acknowledged"))
    return keyring


def read(data: bytes, keks: Keks, least: int = 0) -> Keyring:
    return opened(data, keks, name="payments", place=PLACE, least=least).keyring


def forged(data: bytes, change: Callable[[Any], object]) -> bytes:
    """The document with another first line, sealed as whoever has the KEK could."""
    told = json.loads(data.partition(b"\n")[0])
    change(told)
    text = json.dumps(told, separators=(",", ":"), sort_keys=True).encode()
    return b"%s\n%s\n" % (text, document._mac(Material(SEAL), text))


def claims(failure: Failure) -> None:
    """One line that names the document and says what to do, and shows no key."""
    text = str(failure)
    assert PLACE in text
    assert failure.hint
    assert "\n" not in text
    for secret in (*SECRETS, SEAL):
        assert secret.hex() not in text


class TestRoundTrip:
    def test_a_keyring_is_read_back_with_everything_that_is_known(self) -> None:
        """States and their times, ids, fingerprints, counters; one revision later."""
        keyring = payments().counted(2, 10, 640, at=NOW).counted(2, 1, 64, at=NOW + timedelta(1))
        data, after = sealed(keyring, keks := {"main": kek()})
        assert (after.revision, keyring.revision) == (1, 0)
        found = read(data, keks)
        assert found == after
        assert found.versions == keyring.versions
        use = found.entries[2].use
        assert (use.messages, use.bytes, use.first, use.last) == (
            11,
            704,
            NOW,
            NOW + timedelta(1),
        )
        assert found.entries[1].fingerprint == fingerprint(
            Material(SECRETS[0]), after.seal.material
        )
        assert [key.material.reveal() for key in found.key_set()] == SECRETS[::-1]

    def test_no_key_is_in_the_document_or_in_what_is_shown(self) -> None:
        """Not as bytes, hex or base64, and none of its fingerprint is enough for one."""
        data, after = sealed(payments(), {"main": kek()})
        for secret in (*SECRETS, SEAL):
            for text in (data.decode("latin-1"), repr(after)):
                assert secret.decode("latin-1") not in text
                assert secret.hex() not in text
                assert base64.b64encode(secret).decode() not in text

    def test_a_key_is_wrapped_once_and_kept_so(self) -> None:
        """Counting messages does not ask a key service anything."""
        main = kek()
        data, _ = sealed(payments(), {"main": main})
        found = read(data, {"main": main})
        main.calls.clear()
        again, _ = sealed(found.counted(2, 1, 64, at=NOW), {"main": main})
        assert main.calls == []
        assert read(again, {"main": main}).revision == 2

    def test_a_destroyed_key_is_gone_from_the_document_and_what_is_known_of_it_is_not(
        self,
    ) -> None:
        """The report of the year names it."""
        keyring = payments()
        versions = keyring.versions.retire(1, at=NOW, why="census 0")
        versions = versions.disable(1, at=NOW, why="grace")
        gone = keyring.moved(versions.destroy(1, proof(), FRESH, at=NOW, why="over"))
        data, _ = sealed(gone, keks := {"main": kek()})
        found = read(data, keks)
        assert found.versions.version(1).state is State.DESTROYED
        assert (found.entries[1].secret, found.entries[1].id) == (None, "v1")
        assert found.live_ids == {"v2"}
        assert found.past_ids == ("v1",)
        assert [key.version for key in found.key_set()] == [2]
        with pytest.raises(InvalidInput, match="has no key of version 1"):
            found.key(1)

    def test_a_keyring_without_an_active_key_gives_consumers_none(self) -> None:
        """They would not know what to encrypt with."""
        keyring = payments()
        versions = keyring.versions.compromise(2, at=NOW, why="leaked")
        with pytest.raises(InvalidInput, match="no version of the keyring payments is active"):
            keyring.moved(versions).key_set()


class TestDamage:
    @pytest.fixture
    def main(self) -> MemoryKek:
        return kek()

    @pytest.fixture
    def data(self, main: MemoryKek) -> bytes:
        return sealed(payments(), {"main": main})[0]

    def test_a_truncated_document_is_named_at_every_length(
        self, main: MemoryKek, data: bytes
    ) -> None:
        """A disk that was full leaves any of them."""
        for length in range(len(data)):
            with pytest.raises(CutShort, match="is cut short") as refused:
                read(data[:length], {"main": main})
            claims(refused.value)

    def test_a_flipped_bit_is_noticed_in_every_byte(self, main: MemoryKek, data: bytes) -> None:
        """Wherever it is, and whatever it makes of the document."""
        for index in range(len(data)):
            changed = bytearray(data)
            changed[index] ^= 1
            with pytest.raises(Unreadable) as refused:
                read(bytes(changed), {"main": main})
            claims(refused.value)

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
    def test_whatever_else_is_there_is_no_keyring(self, data: bytes) -> None:
        """And one typed failure for it."""
        for each in (data, data + b"\n" + b"0" * 64 + b"\n"):
            with pytest.raises(Unreadable) as refused:
                read(each, {"main": kek()})
            claims(refused.value)

    def test_a_renamed_document_is_named(self, main: MemoryKek, data: bytes) -> None:
        """Two keyrings that were swapped, too."""
        with pytest.raises(Renamed, match="of the keyring payments, not of orders"):
            opened(data, {"main": main}, name="orders", place=PLACE)
        other = data.replace(b'"keyring":"payments"', b'"keyring":"orders"')
        with pytest.raises(NoKek, match="is not the one of keyring orders"):
            opened(other, {"main": main}, name="orders", place=PLACE)

    def test_a_replayed_document_is_named(self, main: MemoryKek, data: bytes) -> None:
        """What was destroyed since would be in use again."""
        newer, _ = sealed(read(data, {"main": main}), {"main": main})
        assert read(newer, {"main": main}, least=2).revision == 2
        with pytest.raises(Replayed, match="of revision 1, and revision 2 was there") as refused:
            read(data, {"main": main}, least=2)
        claims(refused.value)

    def test_a_revision_written_by_hand_breaks_the_seal(self, main: MemoryKek, data: bytes) -> None:
        """As does any change without the KEK."""
        with pytest.raises(Forged, match="its seal is broken"):
            read(data.replace(b'"revision":1', b'"revision":9'), {"main": main}, least=2)
        with pytest.raises(Forged):
            read(data.replace(b"decrypt-only", b"retired"), {"main": main})

    def test_wrapped_keys_that_changed_places_are_noticed(
        self, main: MemoryKek, data: bytes
    ) -> None:
        """Even where the seal were right: each is bound to its version."""

        def swap(told: Any) -> None:
            one, two = told["versions"]
            one["wrapped"], two["wrapped"] = two["wrapped"], one["wrapped"]

        with pytest.raises(NoKek, match="is not the one of algorithm aes-256-gcm"):
            read(forged(data, swap), {"main": main})

    @pytest.mark.parametrize(
        "change",
        [
            lambda told: told.pop("versions"),
            lambda told: told.update(versions=[1]),
            lambda told: told["versions"][0].update(algorithm="rot13"),
            lambda told: told["versions"][0].update(iv="?"),
            lambda told: told["versions"][0].update(wrapped=None),
            lambda told: told["versions"][1]["transitions"].pop(1),
            lambda told: told["versions"].append(told["versions"][1]),
            lambda told: told["versions"][0].update(before=0, id="v2"),
            lambda told: told.update(seal={"main": 7}),
            lambda told: told.update(seal={"main": "?"}),
            lambda told: told.update(revision="1"),
        ],
        ids=range(11),
    )
    def test_a_sealed_document_that_makes_no_sense_is_refused(
        self, main: MemoryKek, data: bytes, change: Callable[[Any], object]
    ) -> None:
        """Its writer was another program, or has a mistake."""
        with pytest.raises(Unreadable, match="is not what certrotd wrote") as refused:
            read(forged(data, change), {"main": main})
        claims(refused.value)

    def test_a_document_of_a_newer_format_is_left_to_the_newer_program(
        self, main: MemoryKek, data: bytes
    ) -> None:
        """After an upgrade was taken back."""
        newer = forged(data, lambda told: told.update(format=2))
        with pytest.raises(Unreadable, match="is of format 2, and this certrotd reads 1"):
            read(newer, {"main": main})

    def test_a_key_of_another_fingerprint_is_refused(self) -> None:
        """A KEK that gives back anything is not believed."""

        class Careless(MemoryKek):
            lies = False

            def unwrap(self, wrapped: bytes, context: Context) -> bytes:
                key = super().unwrap(wrapped, context)
                return b"z" * 32 if self.lies and context["purpose"] == "data key" else key

        careless = Careless(ManualClock(NOW))
        data, _ = sealed(payments(), {"main": careless})
        careless.lies = True
        with pytest.raises(Unreadable, match="is not what certrotd wrote"):
            read(data, {"main": careless})


class TestTwoKeks:
    def test_either_of_two_keks_opens_a_keyring(self) -> None:
        """Losing one is survivable, and is told."""
        keks = {"main": kek(), "spare": kek("spare")}
        data, after = sealed(payments(), keks)
        for name in keks:
            assert read(data, {name: keks[name]}) == after
        keks["main"].versions[:] = [os.urandom(32)]
        found = opened(data, keks, name="payments", place=PLACE)
        assert found.keyring == after
        [trouble] = found.troubles
        assert "the key was wrapped by" in str(trouble)

    def test_a_kek_that_is_away_is_asked_once(self) -> None:
        """A hundred versions do not wait a hundred times."""
        keks = {"main": kek(), "spare": kek("spare")}
        data, _ = sealed(payments(), keks)
        keks["main"].down = True
        keks["main"].calls.clear()
        found = opened(data, keks, name="payments", place=PLACE)
        assert keks["main"].calls == ["unwrap"]
        assert [str(each) for each in found.troubles] == ["main cannot be reached"]

    def test_a_keyring_whose_keks_are_away_is_waited_for(self) -> None:
        """As long as one of them may come back, and no longer than it asks for."""
        keks = {"main": kek(), "spare": kek("spare")}
        data, _ = sealed(payments(), keks)
        keks["main"].throttled = timedelta(seconds=7)
        keks["spare"].versions[:] = [os.urandom(32)]
        with pytest.raises(KeksUnavailable, match="too many requests; spare: spare has") as refused:
            read(data, keks)
        assert refused.value.retry_after == timedelta(seconds=7)
        assert PLACE in str(refused.value)

    def test_a_keyring_of_a_lost_kek_is_not_unwrapped_and_stays(self) -> None:
        """The line says which KEK it wants."""
        data, _ = sealed(payments(), {"main": kek()})
        with pytest.raises(NoKek, match="was wrapped by") as refused:
            read(data, {"main": kek()})
        claims(refused.value)
        with pytest.raises(NoKek, match="is wrapped by main, and none of these") as refused:
            read(data, {"other": kek("other")})
        claims(refused.value)

    def test_a_kek_that_is_added_wraps_every_key_and_one_that_is_left_out_none(self) -> None:
        """So a KEK is replaced without touching a data key."""
        old, new = kek("old"), kek("new")
        data, _ = sealed(payments(), {"old": old})
        data, both = sealed(read(data, {"old": old}), {"new": new, "old": old})
        assert read(data, {"new": new}) == read(data, {"old": old}) == both
        data, _ = sealed(both, {"new": new})
        assert read(data, {"new": new}).key_set() == both.key_set()
        with pytest.raises(NoKek):
            read(data, {"old": old})

    def test_a_new_key_is_not_kept_unless_every_kek_has_wrapped_it(self) -> None:
        """Else it would be lost with the other."""
        keks = {"main": kek(), "spare": kek("spare")}
        keks["spare"].down = True
        with pytest.raises(KekUnavailable, match="spare cannot be reached"):
            sealed(payments(), keks)
        with pytest.raises(NeedsOperator, match="not kept without a KEK"):
            sealed(payments(), {})

    def test_a_kek_that_does_not_give_back_what_it_was_given_is_not_used(self) -> None:
        """It is found out before the key is needed."""

        class Forgetful(MemoryKek):
            def wrap(self, key: bytes, context: Context) -> bytes:
                return sealing.wrap(self.versions[-1], bytes(len(key)), context)

        with pytest.raises(NeedsOperator, match="gives another key back"):
            sealed(payments(), {"main": Forgetful(ManualClock(NOW))})

    def test_a_rotated_kek_rewraps_the_same_keys(self) -> None:
        """Nothing else changes, and its old version is not needed any more."""
        keks = {"main": kek(), "spare": kek("spare")}
        keyring = payments()
        versions = keyring.versions.retire(1, at=NOW, why="census 0")
        versions = versions.disable(1, at=NOW, why="grace")
        keyring = keyring.moved(versions.destroy(1, proof(), FRESH, at=NOW, why="over"))
        _, after = sealed(keyring, keks)
        keks["main"].rotate()
        anew = rewrapped(after, "main", keks["main"])
        assert rewrapped(after, "other", keks["main"]) == after
        keks["main"].versions[:-1] = []
        data, _ = sealed(anew, keks)
        assert read(data, {"main": keks["main"]}).key_set() == after.key_set()
        assert anew.seal.by["spare"] == after.seal.by["spare"]


class TestImpossibleKeyrings:
    def test_versions_and_entries_belong_together(self) -> None:
        """A state without a key is a key lost."""
        keyring = payments()
        with pytest.raises(InvalidInput, match="without an entry"):
            replace(keyring, entries={})
        lost = {**keyring.entries, 1: replace(keyring.entries[1], secret=None)}
        with pytest.raises(InvalidInput, match="version 1 of payments is there without its key"):
            replace(keyring, entries=lost)

    def test_a_destroyed_version_has_no_key(self) -> None:
        """Whatever the document says."""
        keyring = payments()
        versions = keyring.versions.generate(at=NOW, why="due")
        gone = versions.destroy(3, proof(), FRESH, at=NOW, why="aborted")
        key = DataKey(3, Algorithm.AES_256_GCM, Material(b"c" * 32))
        with pytest.raises(InvalidInput, match="version 3 of payments is destroyed, and its key"):
            keyring.added(key, gone)

    def test_two_living_keys_do_not_share_an_id(self) -> None:
        """Ciphertext could not tell them apart."""
        keyring = payments()
        key = DataKey(3, Algorithm.AES_256_GCM, Material(b"c" * 32), id="v1")
        with pytest.raises(InvalidInput, match="two keys of payments have the id v1"):
            keyring.added(key, keyring.versions.generate(at=NOW, why="due"))

    def test_use_keeps_the_first_and_the_last_time(self) -> None:
        """Counts of several processes come in any order."""
        keyring = payments().counted(1, 1, 1, at=NOW).counted(1, 1, 1, at=NOW - timedelta(1))
        use = keyring.entries[1].use
        assert (use.first, use.last) == (NOW - timedelta(1), NOW)
        assert Wrapped(Material(b"x")).by == {}
