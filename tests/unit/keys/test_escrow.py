"""Backups of a configured keyring: made, tried, and gone on from, here and on a new host."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from unittest.mock import Mock

import pyrage  # type: ignore[import-untyped]
import pytest

from certrotd.assessment.transitions import destructions
from certrotd.config.secrets import Secret
from certrotd.errors import Failure, LockHeld, NeedsOperator, Transient
from certrotd.escrow.age import Identities, Key, Passphrase, Shares
from certrotd.escrow.drill import Drilled
from certrotd.escrow.drill import Found as Wrong
from certrotd.escrow.restore import Destruction, NotRestored
from certrotd.keyring.document import Unreadable
from certrotd.keyring.states import State
from certrotd.keys import escrow
from certrotd.keys.escrow import Back
from certrotd.keys.report import facts_of
from certrotd.keys.rotation import activate, adopt, redeliver, rotate_because
from certrotd.lifecycle.decision import DAEMON, Asked, Wait
from tests.unit.escrow.samples import keys
from tests.unit.keys.rings import DAY, FORCED, Rings, keyring_of, script

RECIPIENT, IDENTITY = keys()


@pytest.fixture
def rings(tmp_path: Path) -> Rings:
    """A keyring that is backed up before each key is used; old keys go as soon as they can."""
    here = tmp_path / "host"
    here.mkdir(mode=0o700)
    return host(here, tmp_path / "backups")


def host(place: Path, backups: Path) -> Rings:
    rings = Rings(place)
    rings.orders.update(
        {
            "backup": {"directory": str(backups), "recipients": list(RECIPIENT.recipients)},
            "drains": {"cookies": "1d"},
            "grace": "0d",
            "watch": "0d",
        }
    )
    return rings


@pytest.fixture
def spare(rings: Rings, tmp_path: Path) -> Rings:
    """A new host: the same configuration, the backups, no state and no KEK."""
    place = tmp_path / "spare"
    place.mkdir(mode=0o700)
    spare = host(place, tmp_path / "backups")
    spare.clock = rings.clock
    return spare


def damage(rings: Rings) -> None:
    """Flip a bit in the newest backup."""
    with rings.keyring() as keyring:
        assert keyring.backups is not None
        file = keyring.backups.directory / keyring.backups.list()[0].name
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)


def drilled(rings: Rings, data: bytes | None = None, by: Key = IDENTITY) -> Drilled:
    with rings.site() as site:
        return escrow.drilled(keyring_of(site), site.audit, by, data)


def restored(rings: Rings, data: bytes, *, anew: bool = False, audited: bool = True) -> Back:
    def destroyed() -> tuple[Destruction, ...]:
        return destructions(rings.records(), "orders") if audited else ()

    with rings.site() as site:
        return escrow.restore(
            *(keyring_of(site), site.audit, data, IDENTITY), anew=anew, destroyed=destroyed
        )


def newest(rings: Rings) -> bytes:
    with rings.keyring() as keyring:
        assert keyring.backups is not None
        return keyring.backups.read(keyring.backups.list()[0])


def backed_up(rings: Rings) -> bytes:
    """One that is made by hand, now."""
    with rings.site() as site:
        return Path(escrow.back_up(keyring_of(site), site.audit)).read_bytes()


def destroyed(rings: Rings) -> bytes:
    """Version 1 is destroyed; the backup from before that."""
    rings.done()
    rings.done(FORCED)
    data = newest(rings)
    rings.clock.advance(2 * DAY)
    assert drilled(rings).succeeded
    for _ in range(3):
        rings.done()
    assert rings.states() == {1: State.DESTROYED, 2: State.ACTIVE}
    return data


class TestBackup:
    """One is made before each key, and whenever somebody wants."""

    def test_each_key_is_in_a_backup_before_it_is_used(self, rings: Rings) -> None:
        """And one by hand is one more; the audit log has where it is."""
        rings.done()
        rings.done(FORCED)
        with rings.site() as site:
            keyring = keyring_of(site)
            place = escrow.back_up(keyring, site.audit)
            assert keyring.backups is not None
            assert len(keyring.backups.list()) == 3
        assert Path(place).stat().st_mode & 0o077 == 0
        last = rings.records()[-1]
        assert (last.event, last.details) == ("keyring.backed_up", {"backup": place})

    def test_without_an_entry_there_is_no_backup(self, rings: Rings) -> None:
        """Neither is there one to try; the hint says what to add."""
        rings.done()
        del rings.orders["backup"]
        with rings.site() as site:
            keyring = keyring_of(site)
            for act in (
                partial(escrow.back_up, keyring, site.audit),
                partial(escrow.drilled, keyring, site.audit, IDENTITY),
            ):
                with pytest.raises(NeedsOperator, match="does not say where") as caught:
                    act()
                assert "backup:" in caught.value.hint

    def test_nothing_is_backed_up_before_the_first_key(self, rings: Rings) -> None:
        """There is no keyring."""
        refused = pytest.raises(NeedsOperator, match="the keyring orders has no key yet")
        with rings.site() as site, refused:
            escrow.back_up(keyring_of(site), site.audit)

    def test_a_rotation_under_way_puts_it_off(self, rings: Rings) -> None:
        """Both write the same keyring."""
        rings.done()
        with (
            rings.keyring() as keyring,
            keyring.lock(),
            rings.site() as site,
            pytest.raises(LockHeld),
        ):
            escrow.back_up(keyring_of(site), site.audit)


class TestDrill:
    """Whether the newest backup would bring every key back."""

    def test_a_good_backup_succeeds_and_is_evidence(self, rings: Rings) -> None:
        """It is in the audit log, and in what destroying a key goes by."""
        rings.done()
        found = drilled(rings)
        assert found.succeeded
        assert found.versions == (1,)
        assert rings.records()[-1].event == "keyring.drilled"
        with rings.keyring() as keyring:
            assert keyring.look().drilled == rings.clock.now()

    def test_a_damaged_backup_fails_and_is_no_evidence(self, rings: Rings) -> None:
        """Nor is the success of before any more."""
        rings.done()
        drilled(rings)
        damage(rings)
        found = drilled(rings)
        assert [each.code for each in found.findings] == [Wrong.FORGED]
        assert "is damaged, or not made by" in found.findings[0].why
        assert rings.records()[-1].event == "keyring.drill_failed"
        with rings.keyring() as keyring:
            assert keyring.look().drilled is None

    @pytest.mark.parametrize(
        "by",
        [
            Identities(Secret(b'{"keys": []}\n')),
            Identities(Secret(str(pyrage.x25519.Identity.generate()).encode())),
            Passphrase(Secret(b"correct horse battery staple")),
            Passphrase(Secret(b"short")),
            Shares(Secret(b"academic acid\n")),
        ],
        ids=["no identity", "another identity", "a passphrase", "a short one", "no share"],
    )
    def test_a_key_that_is_of_no_use_leaves_the_last_drill_as_it_was(
        self, rings: Rings, by: Key
    ) -> None:
        """Who drilled took the wrong file: that tells nothing of the backup, on no machine."""
        rings.done()
        assert drilled(rings).succeeded
        before = rings.records()
        for data in (None, newest(rings)):
            with pytest.raises(Failure):
                drilled(rings, data, by)
        assert rings.records() == before
        with rings.keyring() as keyring:
            assert keyring.look().drilled == rings.clock.now()

    def test_an_older_backup_is_tried_and_does_not_count(self, rings: Rings) -> None:
        """The one that is named is tried; the newest one was proven, and still is."""
        rings.done()
        old = newest(rings)
        rings.done(FORCED)
        assert drilled(rings).succeeded
        before = rings.records()
        found = drilled(rings, old)
        assert [each.code for each in found.findings] == [Wrong.OLDER, Wrong.MISSING]
        assert "of revision 1, and one of revision 4 was made" in found.findings[0].why
        assert rings.records() == before
        with rings.keyring() as keyring:
            assert keyring.look().drilled == rings.clock.now()
            assert keyring.backups is not None
            for each in keyring.backups.directory.iterdir():
                each.unlink()
        assert drilled(rings, old).findings[0].code is Wrong.OLDER  # as the last drill knows

    def test_a_copy_of_the_newest_backup_that_lacks_a_key_fails(self, rings: Rings) -> None:
        """Nobody made a backup since: this is what a drill is for."""
        rings.done()
        data = newest(rings)
        with rings.keyring() as keyring:
            assert keyring.backups is not None
            rings.done(FORCED)
            keyring.backups.directory.joinpath(keyring.backups.list()[0].name).unlink()
        assert [each.code for each in drilled(rings, data).findings] == [Wrong.MISSING]
        assert rings.records()[-1].event == "keyring.drill_failed"

    def test_a_drill_that_cannot_be_recorded_does_not_count(
        self, rings: Rings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An assessor would not find it; once the audit log is written again, it does."""
        rings.done()
        with rings.site() as site, monkeypatch.context() as full:
            full.setattr(site.audit, "record", Mock(side_effect=Transient("the disk is full")))
            with pytest.raises(Transient):
                escrow.drilled(keyring_of(site), site.audit, IDENTITY)
        with rings.keyring() as keyring:
            assert keyring.look().drilled is None
        drilled(rings)
        with rings.keyring() as keyring:
            assert keyring.look().drilled == rings.clock.now()

    def test_an_identity_of_the_configuration_that_opens_nothing_is_a_finding(
        self, rings: Rings
    ) -> None:
        """Nobody is there to be told; the last drill stays."""
        identity = rings.place / "identity"
        identity.write_text(str(pyrage.x25519.Identity.generate()))
        identity.chmod(0o600)
        rings.orders["backup"]["drill"] = {"identity": {"file": str(identity)}}
        rings.done()
        with rings.site() as site:
            [finding] = escrow.drill_when_due(keyring_of(site), site.audit)
        assert finding.kind == "drill_failed"
        assert "no restore drill can be made: this identity does not open" in finding.words
        identity.write_bytes(IDENTITY.text.reveal())
        with rings.site() as site:
            assert not escrow.drill_when_due(keyring_of(site), site.audit)

    def test_a_backup_is_tried_on_a_machine_without_the_keyring(
        self, rings: Rings, spare: Rings
    ) -> None:
        """It opens and is whole; that is no evidence that the newest keys would come back."""
        rings.done()
        data = newest(rings)
        for given in (data, None):
            found = drilled(spare, given)
            assert found.succeeded
            assert found.versions == (1,)
        with spare.keyring() as keyring:
            assert keyring.drills.peek() is None
        assert spare.states() == {}
        assert not (spare.place / "kek").exists()

    def test_a_backup_is_tried_where_the_keyring_cannot_be_read(self, rings: Rings) -> None:
        """Before anybody restores it; what was known of drills stays."""
        rings.done()
        rings.document.write_bytes(b"")
        assert drilled(rings).succeeded
        with rings.keyring() as keyring:
            assert keyring.drills.peek() is None

    def test_without_any_backup_there_is_nothing_to_try(self, rings: Rings, spare: Rings) -> None:
        """A finding where the keyring is there, and a failure where nothing is."""
        rings.done()
        for each in Path(str(rings.orders["backup"]["directory"])).iterdir():
            each.unlink()
        assert [each.code for each in drilled(rings).findings] == [Wrong.NO_BACKUP]
        with pytest.raises(NeedsOperator, match="there is no backup"):
            drilled(spare)

    def test_a_backup_of_another_keyring_is_refused(self, rings: Rings, spare: Rings) -> None:
        """Whoever named the file took the wrong one: no drill of this one has failed."""
        rings.config["keyrings"]["users"] = {"backup": dict(rings.orders["backup"])}
        rings.done()
        rings.done(name="users")
        with rings.keyring("users") as keyring:
            assert keyring.backups is not None
            data = keyring.backups.read(keyring.backups.list()[0])
        for each in (rings, spare):
            with pytest.raises(NeedsOperator, match="of the keyring users, not of orders"):
                drilled(each, data)
            with each.keyring() as keyring:
                assert keyring.drills.peek() is None
        with pytest.raises(NeedsOperator, match="of the keyring users, not of orders"):
            restored(rings, data)

    def test_what_is_kept_of_a_drill_and_garbled_is_no_drill(self, rings: Rings) -> None:
        """A new one is needed."""
        rings.done()
        drilled(rings)
        [kept] = (rings.place / "state/drills").glob("orders*")
        kept.write_bytes(b'{"keyring": 7}')
        with rings.keyring() as keyring:
            assert keyring.look().drilled is None


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


class TestFacts:
    """What the report for assessors is made of."""

    def test_all_that_is_known_of_a_keyring_is_in_them(self, rings: Rings) -> None:
        """With its KEKs, consumers, counts, drains, backups and drill; and no key."""
        count = script(rings.place / "count", "echo 12")
        told = script(rings.place / "told", "exit 0")
        rings.config["targets"] = {"app": {"type": "command", "command": [str(told)]}}
        rings.orders.update(
            {
                "owner": "shop team",
                "purpose": "addresses",
                "custodians": ["eve"],
                "datasets": {"rows": {"census": [str(count)]}, "more": {"census": ["/bin/false"]}},
                "consumers": {
                    "app": {"target": "app", "acknowledge": {"command": ["/bin/true"]}},
                    "mute": {"target": "app"},
                },
            }
        )
        with rings.keyring() as keyring:
            assert facts_of(keyring) is None, "there is no key yet"
        rings.done()
        rings.done(FORCED)
        drilled(rings)
        with rings.site() as site:
            [check] = site.wing("key").checks()
            check.look()
        with rings.keyring() as keyring:
            facts = facts_of(keyring)
        assert facts is not None
        assert (facts.name, facts.owner, facts.custodians) == ("orders", "shop team", ("eve",))
        assert facts.wrapped_by == ("local (file)",)
        assert [each.version.number for each in facts.versions] == [1, 2]
        consumers = {each.name: each.acknowledged for each in facts.consumers}
        assert consumers == {"app": rings.clock.now(), "mute": None}
        datasets = {each.name: each.values for each in facts.datasets}
        assert datasets == {"rows": 12, "more": None}
        [drain] = facts.drains
        assert drain.until == rings.clock.now() + DAY
        assert len(facts.backups) == 2
        assert facts.backups[0].versions == (1, 2)
        assert facts.drills[0].succeeded
        assert not any(secret.hex() in repr(facts) for secret in rings.secrets().values())

    def test_a_keyring_that_is_hardly_configured_has_facts(self, tmp_path: Path) -> None:
        """No backup, no drill, no drain that runs."""
        rings = Rings(tmp_path, {"orders": {"drains": {"cookies": "1d"}}})
        rings.orders["consumers"] = {"app": {"acknowledge": {"command": ["/bin/false"]}}}
        rings.rotate()
        with rings.keyring() as keyring:
            facts = facts_of(keyring)
        assert facts is not None
        assert (facts.backups, facts.drills, facts.outputs) == ((), (), ())
        assert facts.drains[0].until is None
        assert facts.consumers[0].acknowledged is None


def test_a_keyring_that_cannot_be_read_has_no_facts(rings: Rings) -> None:
    """A report is not made of what nobody knows."""
    rings.done()
    rings.document.write_bytes(b"")
    with rings.keyring() as keyring, pytest.raises(Unreadable):
        facts_of(keyring)
