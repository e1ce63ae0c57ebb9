"""A keyring that is delivered as a sealed document: who opens it, and what is in it."""

from __future__ import annotations

import os
import stat
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from certrotd.client import Keyring
from certrotd.codecs.errors import UnknownKey
from certrotd.errors import Failure
from certrotd.kek.file import FileKek
from certrotd.keyring.document import GIVEN, Unreadable, inspected
from certrotd.keyring.keyring import Keyring as Kept
from certrotd.keyring.states import State
from certrotd.keys.outlet import FileOutlet
from certrotd.keys.rotation import adopt, compromise, overwrite, redeliver, restore
from certrotd.keys.sealed_outlet import SealedOutlet
from tests.unit.keys.rings import DAY, FORCED, Rings, why_not

AAD = b"orders"


@pytest.fixture
def rings(tmp_path: Path) -> Rings:
    """A keyring with a sealed document; an old key is withheld as soon as nothing is under it."""
    output = {"type": "keyring", "path": str(tmp_path / "orders.keyring")}
    return Rings(
        tmp_path,
        {
            "orders": {
                "outputs": [output],
                "drains": {"cookies": "1d"},
                "grace": "0d",
            }
        },
    )


def sealed(rings: Rings) -> Path:
    return rings.place / "orders.keyring"


def opened(rings: Rings) -> Keyring:
    """As an application does it."""
    return Keyring.open(sealed(rings), kek=rings.place / "kek", name="orders", background=False)


def outlet_of(rings: Rings) -> SealedOutlet:
    with rings.keyring() as keyring:
        [outlet] = keyring.outlets
    assert isinstance(outlet, SealedOutlet)
    return outlet


def kept(rings: Rings) -> Kept:
    with rings.keyring() as keyring:
        return keyring.world().keyring()


def revision(rings: Rings) -> int:
    keks = {"local": FileKek(rings.place / "kek")}
    data = sealed(rings).read_bytes()
    return inspected(data, keks, name="orders", place="it", uses=(GIVEN,)).revision


def test_the_client_library_opens_it_and_reads_what_the_old_key_encrypted(rings: Rings) -> None:
    """Through a rotation; the control is an application without the old key."""
    rings.done()
    with opened(rings) as keyring:
        value = keyring.encrypt(b"card", associated_data=AAD)
    rings.done(FORCED)
    with opened(rings) as keyring:
        assert keyring.decrypt(value, associated_data=AAD) == b"card"
        assert keyring.needs_reencryption(value)
        assert not keyring.needs_reencryption(keyring.encrypt(b"x", associated_data=AAD))
    assert stat.S_IMODE(sealed(rings).stat().st_mode) == 0o600


def test_a_withheld_key_is_not_in_it(rings: Rings) -> None:
    """Nobody decrypts with it any more, whatever KEK he has; restored, it is there again."""
    rings.done()
    with opened(rings) as keyring:
        value = keyring.encrypt(b"card", associated_data=AAD)
    rings.done(FORCED)
    rings.clock.advance(2 * DAY)
    rings.done()
    rings.done()
    assert rings.states()[1] is State.DISABLED
    with opened(rings) as keyring, pytest.raises(UnknownKey):
        keyring.decrypt(value, associated_data=AAD)
    told = inspected(
        sealed(rings).read_bytes(),
        {"local": FileKek(rings.place / "kek")},
        name="orders",
        place="it",
        uses=(GIVEN,),
    )
    assert set(told.entries) == {2}
    assert not rings.ask(partial(restore, 1, "an old cookie")).failed
    with opened(rings) as keyring:
        assert keyring.decrypt(value, associated_data=AAD) == b"card"


def test_a_staged_a_retired_and_a_compromised_key_decrypt(rings: Rings) -> None:
    """Each state that consumers are given is a state that the client reads."""
    rings.done()
    rings.done(FORCED)
    assert not rings.rollback().failed
    assert rings.states() == {1: State.ACTIVE, 2: State.SECONDARY}
    with opened(rings) as keyring:
        assert keyring.decrypt(keyring.encrypt(b"x", associated_data=AAD), associated_data=AAD)
    rings.done(FORCED)
    rings.clock.advance(2 * DAY)
    rings.orders["grace"] = "30d"
    rings.done()
    assert rings.states()[1] is State.RETIRED
    opened(rings).close()
    assert not rings.ask(partial(compromise, 2, "a laptop was stolen")).failed
    assert rings.states()[2] is State.COMPROMISED
    assert not rings.ask(redeliver).failed
    opened(rings).close()


def test_its_revisions_only_grow_even_after_it_was_lost(rings: Rings) -> None:
    """A client that has seen one never takes an older one for it."""
    seen = []
    rings.done()
    seen.append(revision(rings))
    for _ in range(3):
        rings.done(FORCED)
        seen.append(revision(rings))
    sealed(rings).unlink()
    rings.clock.advance(timedelta(minutes=1))
    report = rings.done()
    assert report.decision is not None
    assert report.decision.code == "undelivered"
    seen.append(revision(rings))
    assert seen == sorted(set(seen))


def test_a_client_follows_a_document_that_was_lost_and_delivered_anew(rings: Rings) -> None:
    """It does not take the new one for a replay."""
    rings.done()
    with opened(rings) as keyring:
        value = keyring.encrypt(b"card", associated_data=AAD)
        sealed(rings).unlink()
        rings.clock.advance(timedelta(minutes=1))
        rings.done()
        rings.done(FORCED)
        with opened(rings) as other:
            assert other.revision > keyring.revision
            assert other.decrypt(value, associated_data=AAD) == b"card"


def test_what_has_not_changed_is_not_written_again(rings: Rings) -> None:
    """The same file, and the same revision: no application reads it again for nothing."""
    rings.done()
    before = sealed(rings).stat().st_ino, revision(rings)
    assert not rings.ask(redeliver).failed
    assert (sealed(rings).stat().st_ino, revision(rings)) == before


@pytest.mark.parametrize("damage", [b"", b"{half", b"x\n" + b"0" * 64 + b"\n"])
def test_a_damaged_one_is_replaced(rings: Rings, damage: bytes) -> None:
    """Nobody but certrotd makes one: nothing of somebody else's is lost by that."""
    rings.done()
    sealed(rings).write_bytes(damage)
    with pytest.raises(Unreadable):
        opened(rings)
    with rings.keyring() as keyring:
        [words] = keyring.look(thorough=True).strange
    assert words.endswith("it is not a keyring of certrotd's")
    rings.clock.advance(timedelta(minutes=1))
    assert not rings.ask(redeliver).failed
    opened(rings).close()


def test_one_of_another_keyring_is_replaced(rings: Rings) -> None:
    """The name is in what is sealed."""
    rings.config["keyrings"]["users"] = {
        "outputs": [{"type": "keyring", "path": str(rings.place / "users.keyring")}]
    }
    rings.done()
    rings.done(name="users")
    sealed(rings).write_bytes((rings.place / "users.keyring").read_bytes())
    assert not rings.ask(redeliver).failed
    opened(rings).close()


def test_one_of_the_rotation_before_is_seen_as_such(rings: Rings) -> None:
    """Somebody put it back: the look says so, and delivering again mends it."""
    rings.done()
    old = sealed(rings).read_bytes()
    rings.done(FORCED)
    sealed(rings).write_bytes(old)
    with rings.keyring() as keyring:
        [words] = keyring.look(thorough=True).strange
    assert words.endswith("it is of another delivery")
    assert not rings.ask(overwrite).failed
    with rings.keyring() as keyring:
        assert keyring.look(thorough=True).strange == ()


def test_it_is_wrapped_by_the_keks_of_its_entry_alone(rings: Rings) -> None:
    """The application reaches one KEK, and that is not the one of certrotd's own keyring."""
    rings.config["keks"]["app"] = {"type": "file", "path": str(rings.place / "app.kek")}
    rings.orders["keks"] = ["local"]
    rings.orders["outputs"][0]["keks"] = ["app"]
    rings.done()
    opening = partial(Keyring.open, sealed(rings), name="orders", background=False)
    opening(kek=rings.place / "app.kek").close()
    with pytest.raises(Failure):
        opening(kek=rings.place / "kek")


def test_its_seal_is_not_that_of_the_keyring_itself(rings: Rings) -> None:
    """It is made of the keys that consumers have anyway, and of nothing else."""
    rings.done()
    there = outlet_of(rings)._there()
    assert there is not None
    assert there.seal.material != kept(rings).seal.material
    rings.done(FORCED)
    after = outlet_of(rings)._there()
    assert after is not None
    assert after.seal.material != there.seal.material


def test_it_is_nothing_to_adopt_from_nor_strange(rings: Rings) -> None:
    """No application makes its keys in this form."""
    rings.done()
    outlet = outlet_of(rings)
    assert outlet.imported() is None
    assert outlet.strange(kept(rings)) is None
    assert list(outlet.problems(None)) == []
    sealed(rings).write_bytes(b"mine")
    assert "has keys already" in why_not(rings.ask(partial(adopt, None, None)))
    [aside] = outlet.set_aside("x")
    assert aside.read_bytes() == b"mine"
    assert outlet.absent()
    assert outlet.digests() == {}


def test_a_temporary_file_of_a_crash_is_swept(rings: Rings) -> None:
    """At the next rotation."""
    rings.done()
    outlet_of(rings).sweep()
    assert {name for name in os.listdir(rings.place) if "keyring" in name} == {"orders.keyring"}


class TestFileOutlet:
    """What a file of an application's own form adds to that."""

    def test_problems_with_a_delivery_are_told_by_rendering_it(self, tmp_path: Path) -> None:
        """Nothing is written; a directory that is gone is told without."""
        from certrotd.keyring.delivery import Delivery

        rings = Rings(tmp_path)
        rings.done()
        with rings.keyring() as keyring:
            [outlet] = keyring.outlets
            assert isinstance(outlet, FileOutlet)
            delivery = Delivery.of(keyring.world().keyring())
        before = (tmp_path / "keys.json").read_bytes()
        assert outlet.problems(delivery) == []
        (tmp_path / "keys.json").write_bytes(b"{half")
        assert len(outlet.problems(delivery)) == 1
        (tmp_path / "keys.json").write_bytes(before)
        assert outlet.strange(kept(rings)) is None
        assert outlet.set_aside("x") == [tmp_path / "keys.json.x"]


def test_what_consumers_are_given_is_not_taken_for_the_keyring(rings: Rings) -> None:
    """Whoever may write in both places could take history and withheld keys away with it."""
    rings.done()
    document = rings.place / "state/keyrings/orders.json"
    document.write_bytes(sealed(rings).read_bytes())
    report = rings.rotate()
    assert "is what consumers are given" in str(report.failure)
