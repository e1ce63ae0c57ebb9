"""Backups of a configured keyring: made, tried, and gone on from, here and on a new host."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from unittest.mock import Mock

import pyrage  # type: ignore[import-untyped]
import pytest

from certrotd.config.secrets import Secret
from certrotd.errors import Failure, LockHeld, NeedsOperator, Transient
from certrotd.escrow.age import Identities, Key, Passphrase, Shares
from certrotd.escrow.drill import Found as Wrong
from certrotd.keys import escrow
from tests.unit.keys.backed_up import IDENTITY, damage, drilled, host, newest, restored
from tests.unit.keys.rings import FORCED, Rings, keyring_of


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
