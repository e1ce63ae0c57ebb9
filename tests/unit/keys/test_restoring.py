"""A keyring goes on from its backup, here and on a new host."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from certrotd.errors import Failure, NeedsOperator
from certrotd.escrow.restore import NotRestored
from certrotd.keyring.states import State
from certrotd.keys.rotation import activate, adopt, redeliver, rotate_because
from certrotd.lifecycle.decision import DAEMON, Asked, Wait
from tests.unit.keys.backed_up import backed_up, damage, destroyed, drilled, host, newest, restored
from tests.unit.keys.rings import FORCED, Rings


@pytest.fixture
def rings(tmp_path: Path) -> Rings:
    """A keyring that is backed up before each key is used; old keys go as soon as they can."""
    return host(tmp_path, "host")


@pytest.fixture
def spare(rings: Rings, tmp_path: Path) -> Rings:
    """A new host: the same configuration, the backups, no state and no KEK."""
    spare = host(tmp_path, "spare")
    spare.clock = rings.clock
    return spare


class TestNoKeyring:
    """On a host that has lost its state, and still has its backups."""

    @pytest.mark.parametrize("asked", [DAEMON, FORCED])
    def test_no_first_key_is_made_where_there_are_backups(
        self, rings: Rings, spare: Rings, asked: Asked
    ) -> None:
        """The control: once they are moved away, a new keyring is begun; or one is restored."""
        rings.done()
        data, place = newest(rings), Path(str(rings.orders["backup"]["directory"]))
        decision = spare.rotate(asked).decision
        assert isinstance(decision, Wait)
        assert decision.code == "backups"
        words = f"there are backups of orders in {place}: restore one, or move them away"
        assert decision.why == words
        refused = spare.ask(partial(rotate_because, "audit")).failure
        assert refused is not None
        assert refused.message == words
        assert spare.states() == {}
        if asked is DAEMON:
            restored(spare, data)
            assert spare.secrets() == rings.secrets()
        else:
            place.rename(place.with_name("moved"))
            spare.done()
            assert spare.secrets() != rings.secrets()

    def test_no_key_is_taken_over_where_there_are_backups(self, rings: Rings, spare: Rings) -> None:
        """The output may have the newest key alone."""
        rings.done()
        output = (rings.place / "keys.json").read_bytes()
        (spare.place / "keys.json").write_bytes(output)
        (spare.place / "keys.json").chmod(0o600)
        refused = spare.ask(partial(adopt, None, None)).failure
        assert isinstance(refused, NeedsOperator)
        assert "there are backups of orders in" in refused.message
        assert spare.states() == {}

    def test_no_first_key_is_made_while_the_disk_of_the_backups_is_away(
        self, rings: Rings, tmp_path: Path
    ) -> None:
        """Nobody knows whether there are any; the control: it is mounted."""
        place = tmp_path / "disk" / "keys" / "orders"
        rings.orders["backup"]["directory"] = str(place)
        failure = rings.rotate().failure
        assert isinstance(failure, NeedsOperator)
        assert f"there is no {place.parent}" in failure.message
        assert rings.states() == {}
        assert not (tmp_path / "disk").exists()
        place.parent.mkdir(parents=True)
        rings.done()

    def test_backups_of_another_keyring_keep_no_key_from_being_made(self, rings: Rings) -> None:
        """They may share a directory."""
        rings.config["keyrings"]["users"] = {"backup": dict(rings.orders["backup"])}
        rings.done()
        rings.done(name="users")
        assert rings.states() == {1: State.ACTIVE}


class TestRestore:
    """Going on from a backup."""

    def test_what_cannot_be_wrapped_takes_the_place_of_nothing(self, rings: Rings) -> None:
        """The disk of the KEK is away: what is there, and cannot be read, stays where it is."""
        rings.done()
        data = newest(rings)
        rings.document.write_bytes(b"damaged")
        (rings.place / "kek").rename(rings.place / "elsewhere")
        with pytest.raises(Failure, match="kek is not there"):
            restored(rings, data)
        assert rings.document.name == "orders.json"
        assert rings.document.read_bytes() == b"damaged"
        (rings.place / "elsewhere").rename(rings.place / "kek")
        restored(rings, data)
        assert rings.states() == {1: State.PRE_ACTIVE}

    def test_a_new_host_goes_on_with_the_same_keys(self, rings: Rings, spare: Rings) -> None:
        """Under a KEK of its own, at a higher revision; its outputs are delivered after."""
        rings.done()
        rings.done(FORCED)
        back = restored(spare, backed_up(rings))
        assert back.notes == ()
        assert spare.secrets() == rings.secrets()
        assert spare.states() == rings.states()
        assert (spare.place / "kek").read_bytes() != (rings.place / "kek").read_bytes()
        assert not (spare.place / "keys.json").exists()
        assert spare.records()[-1].event == "keyring.restored"
        assert spare.records()[-1].details["revision"] == back.revision
        assert not spare.ask(redeliver).failed
        mine, theirs = ((each.place / "keys.json").read_bytes() for each in (rings, spare))
        assert mine == theirs
        spare.done(FORCED)
        assert spare.states()[3] is State.ACTIVE

    def test_the_next_backup_is_the_newest_though_a_newer_one_is_damaged(
        self, rings: Rings, spare: Rings
    ) -> None:
        """It is what a drill takes, and what a restore would go on from."""
        rings.done()
        rings.done(FORCED)
        data = backed_up(rings)
        for _ in range(3):
            rings.done(FORCED)
        damage(rings)
        with rings.keyring() as keyring:
            assert keyring.backups is not None
            high = keyring.backups.list()[0].revision
        back = restored(spare, data)
        assert back.revision == high + 1
        assert not spare.ask(redeliver).failed
        made = backed_up(spare)
        assert newest(spare) == made
        assert drilled(spare).succeeded

    def test_backups_that_cannot_be_looked_at_keep_no_keyring_from_being_restored(
        self, rings: Rings, spare: Rings
    ) -> None:
        """That the next backup may be of a revision that is there is said."""
        rings.done()
        data, place = newest(rings), Path(str(rings.orders["backup"]["directory"]))
        place.rename(place.with_name("moved"))
        place.write_text("")
        back = restored(spare, data)
        assert any("the next backup may not be the newest" in note for note in back.notes)
        assert spare.secrets() == rings.secrets()

    def test_an_unreadable_keyring_is_kept_aside_and_replaced(self, rings: Rings) -> None:
        """At a revision above the one that was lost: nobody can put that back."""
        rings.done()
        rings.done(FORCED)
        secrets, data = rings.secrets(), backed_up(rings)
        rings.document.write_bytes(b"garbage")
        before = {each.name for each in rings.document.parent.iterdir()}
        back = restored(rings, data)
        with rings.keyring() as keyring:
            assert keyring.store.highest() == back.revision > 6
        folder = rings.place / "state/keyrings"
        [aside] = [each for each in folder.iterdir() if each.name not in before]
        assert aside.read_bytes() == b"garbage"
        aside.unlink()
        assert rings.secrets() == secrets
        assert rings.view().state == "ok"

    def test_a_kek_that_is_lost_is_replaced_by_another_for_a_restore(self, rings: Rings) -> None:
        """certrotd makes none: whoever restores decides that the old one is gone."""
        rings.done()
        secrets, data = rings.secrets(), newest(rings)
        (rings.place / "kek").unlink()
        with pytest.raises(Failure, match="is not there"):
            restored(rings, data)
        assert not (rings.place / "kek").exists()
        (rings.place / "kek").write_bytes(bytes(range(32)))
        (rings.place / "kek").chmod(0o600)
        restored(rings, data)
        for each in (rings.place / "state/keyrings").glob("*unreadable*"):
            each.unlink()
        assert rings.secrets() == secrets

    def test_a_newer_keyring_is_not_replaced_unless_it_is_said(self, rings: Rings) -> None:
        """What is newer than the backup stays all the same, and decrypts."""
        rings.done()
        old = newest(rings)
        rings.done(FORCED)
        secrets = rings.secrets()
        with pytest.raises(NotRestored):
            restored(rings, old)
        back = restored(rings, old, anew=True)
        assert any("newer than the backup" in note for note in back.notes)
        assert rings.secrets() == secrets
        assert rings.states()[2] is State.DECRYPT_ONLY

    def test_a_destroyed_key_stays_destroyed_where_the_keyring_is_there(self, rings: Rings) -> None:
        """Its key is in the backup, and comes back to nobody."""
        data = destroyed(rings)
        assert drilled(rings, data).still_held == (1,)
        back = restored(rings, data, anew=True)
        assert back.revision > 6
        assert rings.states()[1] is State.DESTROYED
        assert set(rings.secrets()) == {2}

    def test_a_destroyed_key_stays_destroyed_where_the_audit_log_knows(self, rings: Rings) -> None:
        """The keyring is unreadable; the control is a restore without the log."""
        data = destroyed(rings)
        rings.document.write_bytes(b"garbage")
        restored(rings, data)
        for each in (rings.place / "state/keyrings").glob("*unreadable*"):
            each.unlink()
        assert rings.states()[1] is State.DESTROYED
        assert set(rings.secrets()) == {2}

    def test_without_the_audit_log_a_destroyed_key_is_back(
        self, rings: Rings, spare: Rings
    ) -> None:
        """Nobody knows there that it was destroyed, as the documentation says."""
        data = destroyed(rings)
        restored(spare, data, audited=False)
        assert set(spare.secrets()) == {1, 2}

    def test_a_key_that_was_not_in_use_when_it_was_backed_up_is_pointed_out(
        self, rings: Rings, spare: Rings
    ) -> None:
        """The backup of a rotation is from before the activation: what to do about it is said."""
        rings.done()
        rings.done(FORCED)
        back = restored(spare, newest(rings))
        assert spare.states() == {1: State.ACTIVE, 2: State.PRE_ACTIVE}
        [note] = back.notes
        assert "version 2 is pre-active, and may have encrypted" in note
        assert note.endswith("certrotd keys activate orders")
        assert not spare.ask(activate).failed
        assert spare.states() == {1: State.DECRYPT_ONLY, 2: State.ACTIVE}

    def test_a_rotation_in_flight_is_finished_or_cancelled_first(self, rings: Rings) -> None:
        """It would go on with a keyring that it does not know."""
        rings.done()
        data = newest(rings)
        rings.orders["consumers"] = {"app": {"acknowledge": {"file": "/nowhere/app.ack"}}}
        rings.rotate(FORCED)
        with pytest.raises(NeedsOperator, match="is in flight") as caught:
            restored(rings, data)
        assert "certrotd keys cancel orders" in caught.value.hint

    @pytest.mark.parametrize("data", [b"", b"garbage", b"{}\n"])
    def test_what_is_no_backup_changes_nothing(self, rings: Rings, data: bytes) -> None:
        """It is refused before anything is looked at."""
        rings.done()
        before = rings.document.read_bytes()
        with pytest.raises(Failure):
            restored(rings, data)
        assert rings.document.read_bytes() == before
