"""Rights of copies: what cannot be given is found before an order, what was granted stays."""

import errno
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from certrotd.cli.rotate import rotate
from certrotd.errors import NeedsOperator, raise_first
from certrotd.files.acl import NAME, read_acl
from certrotd.files.disktrouble import DiskTrouble
from certrotd.files.giving import may_give_away
from certrotd.files.writing import temporary_of
from certrotd.stores.install import Copies, FileInstaller
from certrotd.stores.local import LocalStore
from tests.builders import NEW, OLD
from tests.parts import locate, pki
from tests.unit.stores.crashing import kill_at
from tests.unit.stores.unprivileged import plain_user

ALL = 0xFFFFFFFF
DAEMON = 1


def installer(etc: Path, **options: Any) -> FileInstaller:
    """An installer of key and chain as web.key and web.crt."""
    paths = {"privkey": etc / "web.key", "fullchain": etc / "web.crt"}
    return FileInstaller("web", (Copies(paths, **options),), etc.parent / "displaced")


def install(target: FileInstaller, pair: pki.Pair = NEW, backup: str = "r1") -> None:
    """The pair's copies installed."""
    target.install(pair.key_pem, pair.fullchain_pem, backup)


def acl(
    *, owner: int = 6, daemon: int = 4, group: int = 0, mask: int = 4, others: int = 0
) -> bytes:
    """An access control list by which the user daemon has rights of his own."""
    entries = [
        (1, owner, ALL),
        (2, daemon, DAEMON),
        (4, group, ALL),
        (16, mask, ALL),
        (32, others, ALL),
    ]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *each) for each in entries)


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """A directory with copies of before, one of which lets the user daemon in."""
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "web.key").write_bytes(OLD.key_pem)
    (etc / "web.crt").write_bytes(OLD.fullchain_pem)
    try:
        os.setxattr(etc / "web.key", NAME, acl())
    except OSError:
        locate.lacking("no access control lists here")
    return etc


class TestAccessControlLists:
    @pytest.mark.parametrize("in_place", [False, True])
    def test_an_access_control_list_survives_a_new_copy_and_an_undo(
        self, etc: Path, in_place: bool
    ) -> None:
        """setfacl on a copy would else last until the next renewal."""
        target = installer(etc, in_place=in_place)
        install(target)
        assert target.installed(NEW.key_pem, NEW.fullchain_pem)
        assert read_acl(etc / "web.key") == acl()
        assert stat.S_IMODE((etc / "web.key").stat().st_mode) == 0o640  # the mask
        os.removexattr(etc / "web.key", NAME)
        target.restore("r1")
        assert (etc / "web.key").read_bytes() == OLD.key_pem
        assert read_acl(etc / "web.key") == acl()
        assert read_acl(etc / "web.crt") is None

    def test_the_configured_mode_is_that_of_owner_group_and_others(self, etc: Path) -> None:
        """Only what a mode cannot say is taken from the old copy."""
        install(installer(etc, mode=0o440))
        assert read_acl(etc / "web.key") == acl(owner=4, group=4)

    def test_the_target_of_a_link_gives_no_access_rights(self, etc: Path) -> None:
        """The link is replaced, and whoever may read what it led to is no matter."""
        (etc / "web.key").rename(etc / "elsewhere")
        (etc / "web.key").symlink_to("elsewhere")
        install(installer(etc))
        assert read_acl(etc / "web.key") is None
        assert stat.S_IMODE((etc / "web.key").lstat().st_mode) == 0o600

    def test_a_list_that_cannot_be_read_is_reported(
        self, etc: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is not taken for none."""

        def refuse(*_: object, **__: object) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "getxattr", refuse)
        with pytest.raises(DiskTrouble, match=r"cannot read .*web\.key: Input/output error"):
            install(installer(etc))
        assert (etc / "web.key").read_bytes() == OLD.key_pem


class TestTogether:
    def test_the_renames_of_a_pair_come_right_after_one_another(
        self, etc: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A service that starts just then reads the new key and the old certificate."""
        target = installer(etc)
        made = kill_at(monkeypatch, 10_000, after=False)
        install(target)
        renames = [i for i, call in enumerate(made) if call == "rename"][-2:]
        assert renames[1] - renames[0] == 1
        made.clear()
        target.restore("r1")
        renames = [i for i, call in enumerate(made) if call == "rename"]
        assert renames[1] - renames[0] == 1

    @pytest.mark.parametrize("failing", [0, 1])
    def test_a_disk_that_is_full_for_one_leaves_both_as_they_were(
        self, etc: Path, monkeypatch: pytest.MonkeyPatch, failing: int
    ) -> None:
        """And nothing beside them."""
        target, left = installer(etc), [failing]
        real: Callable[..., int] = os.write

        def write(handle: int, data: bytes) -> int:
            if os.readlink(f"/proc/self/fd/{handle}").startswith(str(etc)):
                left[0] -= 1
                if left[0] < 0:
                    raise OSError(errno.ENOSPC, "No space left on device")
            return real(handle, data)

        monkeypatch.setattr(os, "write", write)
        with pytest.raises(DiskTrouble, match="No space left"):
            install(target)
        assert target.installed(OLD.key_pem, OLD.fullchain_pem)
        assert sorted(os.listdir(etc)) == ["web.crt", "web.key"]

    def test_a_rename_that_fails_leaves_no_temporary_file(
        self, etc: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The undo puts the first one back."""
        target = installer(etc)
        real, seen = os.rename, list[str]()

        def rename(source: Any, to: Any, **options: Any) -> None:
            if str(to) == "web.crt":
                raise OSError(errno.EIO, "Input/output error")
            seen.append(str(to))
            real(source, to, **options)

        monkeypatch.setattr(os, "rename", rename)
        with pytest.raises(DiskTrouble, match=r"cannot write .*web\.crt: Input/output error"):
            install(target)
        assert seen[-1] == "web.key"
        assert sorted(os.listdir(etc)) == ["web.crt", "web.key"]
        monkeypatch.setattr(os, "rename", real)
        target.restore("r1")
        assert target.installed(OLD.key_pem, OLD.fullchain_pem)


class TestOwners:
    """What a plain user may not give away."""

    @pytest.mark.parametrize(
        ("options", "why"),
        [
            ({"owner": "root"}, "may not give files to root"),
            ({"owner": "1"}, "may not give files to "),
            ({"group": "1"}, "is not in group 1"),
        ],
    )
    @pytest.mark.parametrize("dry", [False, True])
    def test_a_foreign_owner_is_found_before_an_order(
        self, options: dict[str, str], why: str, dry: bool
    ) -> None:
        """Also by a dry run: the order would be spent for nothing."""
        with plain_user() as home:
            if os.geteuid() == 0:
                pytest.skip("root gives away what he likes")
            etc = home / "etc"
            etc.mkdir()
            with pytest.raises(NeedsOperator, match=why) as refused:
                raise_first(installer(etc, **options).problems(dry=dry))
            assert "CAP_CHOWN" in str(refused.value.hint)
            raise_first(installer(etc).problems(dry=dry))
            own = {"owner": str(os.geteuid()), "group": str(os.getegid())}
            raise_first(installer(etc, **own).problems(dry=dry))
            assert os.listdir(etc) == []

    def test_a_dry_run_as_a_plain_user_fails_for_a_foreign_owner(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It is what a user asks before he believes it."""

        def dry_run(home: Path, owner: str) -> int:
            (home / "etc").mkdir()
            (home / "state").mkdir(mode=0o700)
            path = home / "config.yaml"
            path.write_text(
                f"state_dir: {home}/state\nissuers: {{lab: {{type: internal}}}}\n"
                "certificates:\n- name: web\n  names: [a.example.test]\n"
                f"  install: [{{privkey: {home}/etc/web.key, owner: {owner}}}]\n"
            )
            return rotate(path, [], force=False, dry_run=True, as_json=False)

        # the control; and whatever is loaded is loaded by somebody who may read it
        assert dry_run(tmp_path, str(os.geteuid())) == 0
        with plain_user() as home:
            assert dry_run(home, "root") == 1
        assert "may not give files to root" in " ".join(capsys.readouterr().out.split())

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root has somebody else's file")
    def test_a_copy_that_could_not_be_given_back_is_found_before_an_order(
        self, tmp_path: Path
    ) -> None:
        """A rollback would be stuck: the old copy was root's."""
        with plain_user() as home:
            etc = home / "etc"
            etc.mkdir()
            os.seteuid(0)
            (etc / "web.key").write_bytes(OLD.key_pem)
            os.seteuid(65534)
            with pytest.raises(NeedsOperator, match=r"web\.key belongs to root") as refused:
                raise_first(installer(etc).problems())
            assert refused.value.hint == f"chown nobody: {etc}/web.key, or remove it"

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to a foreign group")
    @pytest.mark.parametrize(("mode", "matters"), [(0o644, False), (0o600, False), (0o640, True)])
    def test_a_foreign_group_matters_where_it_may_do_more_than_everybody(
        self, mode: int, matters: bool
    ) -> None:
        """Who is given a file by chown alone leaves it in the group of root."""
        with plain_user() as home:
            etc = home / "etc"
            etc.mkdir()
            key = etc / "web.key"
            key.write_bytes(OLD.key_pem)
            os.seteuid(0)
            os.chown(key, 65534, 54321)
            key.chmod(mode)
            os.seteuid(65534)
            target = installer(etc)
            if matters:
                with pytest.raises(NeedsOperator, match="is not in group 54321"):
                    raise_first(target.problems())
                return
            raise_first(target.problems())
            install(target)
            assert key.read_bytes() == NEW.key_pem
            target.restore("r1")
            assert (key.read_bytes(), key.stat().st_mode & 0o777) == (OLD.key_pem, mode)

    def test_the_right_to_give_files_away_is_a_capability(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A service with CAP_CHOWN may, a container's root without it may not."""
        said = "CapInh:\t0000000000000000\nCapEff:\t%s\nCapBnd:\t0\n"
        for effective, may in (("0000000000000001", True), ("000001fffffffffe", False)):
            monkeypatch.setattr(Path, "read_text", lambda _, it=effective: said % it)
            assert may_give_away() is may

        def gone(_: Path) -> str:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")

        monkeypatch.setattr(Path, "read_text", gone)
        assert may_give_away() is (os.geteuid() == 0)


class TestFileSystems:
    """What vfat and SMB cannot do, which is met here as they answer."""

    def test_an_owner_that_the_file_system_cannot_keep_is_found_before_an_order(
        self, etc: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And nothing is left there."""

        def refuse(*_: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "fchmod", refuse)
        with pytest.raises(DiskTrouble, match="Operation not permitted"):
            raise_first(installer(etc, mode=0o640).problems())
        raise_first(installer(etc, mode=0o640).problems(dry=True))
        assert sorted(os.listdir(etc)) == ["web.crt", "web.key"]

    def test_modes_that_are_silently_not_kept_are_found_before_an_order(
        self, etc: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The key would be for everybody."""
        real = os.fchmod
        monkeypatch.setattr(os, "fchmod", lambda handle, _: real(handle, 0o755))
        with pytest.raises(NeedsOperator, match="keeps no modes") as refused:
            raise_first(installer(etc, mode=0o640).problems())
        assert "would have 0755 and not 0640" in refused.value.message
        assert not temporary_of(etc / "web.key").exists()

    @pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
    def test_a_store_that_cannot_hold_links_is_found_before_an_order(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        """Its `live` could not be made after the certificate was issued."""

        def refuse(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        store = LocalStore(tmp_path / "store")
        store.check("web")
        assert os.listdir(tmp_path / "store" / "web") == ["generations"]
        monkeypatch.setattr(os, "symlink", refuse)
        with pytest.raises(NeedsOperator, match="cannot hold symbolic links") as refused:
            store.check("web")
        assert "store_dir" in str(refused.value.hint)
        store.check("web", dry=True)

    def test_a_full_disk_is_not_taken_for_one_without_links(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Room is what it needs then."""

        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "symlink", refuse)
        with pytest.raises(DiskTrouble, match="No space left"):
            LocalStore(tmp_path / "store").check("web")


def test_temporary_files_of_a_preflight_are_removed(tmp_path: Path) -> None:
    """A disk that failed then may work by the next run, which need not have anything due."""
    (etc := tmp_path / "etc").mkdir()
    (etc / ".web.key.certrotd-tmp").write_bytes(b"")
    (etc / ".other.certrotd-tmp").write_bytes(b"")
    installer(etc).sweep()
    assert os.listdir(etc) == [".other.certrotd-tmp"]
