"""What a certificate's state is replaced by, and what is done with a damaged one."""

import errno
import os
from datetime import timedelta
from pathlib import Path

import pytest

from certrotd.files.disktrouble import DiskTrouble
from certrotd.pki.generation import CertificateState
from certrotd.stores.local import LocalStore
from tests.builders import NOW, seal
from tests.unit.stores.unprivileged import plain_user

pytestmark = pytest.mark.usefixtures("unsynced")


def test_a_state_that_cannot_be_written_leaves_the_old_one_intact() -> None:
    """An empty state would redeploy what was withdrawn (acme.sh #7247)."""
    with plain_user() as directory:
        store = LocalStore(directory / "store")
        seal(store, 1)
        store.record("web", CertificateState(withdrawn=(4,)))
        (directory / "store" / "web").chmod(0o500)
        with pytest.raises(DiskTrouble, match=r"cannot write .*state\.json: Permission denied"):
            store.record("web", CertificateState())
        assert store.look("web").state == CertificateState(withdrawn=(4,))


class TestMending:
    """A state that certrotd did not write, put aside."""

    def damage(self, store: LocalStore, content: bytes) -> Path:
        """The state's path, with something else in it."""
        path = store.root / "web" / "state.json"
        path.write_bytes(content)
        return path

    def test_a_damaged_state_is_kept_beside_the_new_one(self, store: LocalStore) -> None:
        """Somebody may want to know how it came to that."""
        seal(store, 1)
        path = self.damage(store, b"{half")
        aside = store.mend("web", CertificateState(withdrawn=(3,)), now=NOW)
        assert aside == f"{path}.unreadable-20260601T120000.000000Z"
        assert Path(aside).read_bytes() == b"{half"
        assert store.look("web").state == CertificateState(withdrawn=(3,))

    def test_only_the_last_few_are_kept(self, store: LocalStore) -> None:
        """A disk that damages files does not also fill up."""
        seal(store, 1)
        for day in range(5):
            self.damage(store, b"%d" % day)
            store.mend("web", CertificateState(), now=NOW + timedelta(days=day))
        kept = sorted((store.root / "web").glob("state.json.*"))
        assert [each.read_bytes() for each in kept] == [b"2", b"3", b"4"]

    def test_a_damaged_state_never_replaces_an_earlier_one(self, store: LocalStore) -> None:
        """The clock may stand still; then the damaged state stays where it is."""
        seal(store, 1)
        self.damage(store, b"first")
        aside = Path(store.mend("web", CertificateState(), now=NOW))
        path = self.damage(store, b"second")
        with pytest.raises(DiskTrouble, match="File exists"):
            store.mend("web", CertificateState(), now=NOW)
        assert (aside.read_bytes(), path.read_bytes()) == (b"first", b"second")

    def test_a_file_of_somebody_else_is_moved(
        self, store: LocalStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Linux lets nobody have a second name for it (fs.protected_hardlinks)."""
        seal(store, 1)
        path = self.damage(store, b"{half")

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
        aside = Path(store.mend("web", CertificateState(withdrawn=(3,)), now=NOW))
        assert aside.read_bytes() == b"{half"
        assert store.look("web").state == CertificateState(withdrawn=(3,))
        assert path.exists()

    def test_a_disk_that_is_full_leaves_what_was_there(
        self, store: LocalStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is still seen to be damaged by the next run."""
        seal(store, 1)
        path = self.damage(store, b"{half")
        full = DiskTrouble("write", OSError(errno.ENOSPC, "No space left on device"))

        def refuse(*_: object, **__: object) -> None:
            raise full

        monkeypatch.setattr("certrotd.stores.local.write_file", refuse)
        with pytest.raises(DiskTrouble):
            store.mend("web", CertificateState(), now=NOW)
        assert path.read_bytes() == b"{half"
        assert store.look("web").damaged
