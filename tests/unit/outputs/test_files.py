"""Output files: read without trust, replaced together, and swept."""

import errno
import os
import random
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from certrotd.errors import Failure, InvalidInput, NeedsOperator, raise_first
from certrotd.files.acl import NAME, read_acl
from certrotd.files.disktrouble import DiskTrouble
from certrotd.files.writing import temporary_of
from certrotd.keyring.delivery import Delivery
from certrotd.keyring.material import Algorithm
from certrotd.outputs.errors import NotExpressible
from certrotd.outputs.files import OutputFiles
from certrotd.outputs.json_keystore import JsonKeystore
from certrotd.outputs.port import Contents
from certrotd.outputs.yaml_ciphers import YamlCiphers
from tests.contract.output_cases import bits, delivery_of
from tests.parts import locate
from tests.unit.stores.crashing import crash
from tests.unit.stores.unprivileged import plain_user

CBC = [Algorithm.AES_256_CBC]


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """A directory for the application's files."""
    folder = tmp_path / "etc"
    folder.mkdir(mode=0o700)
    return folder


def keystore(folder: Path, **options: object) -> OutputFiles:
    """One file."""
    output = JsonKeystore(folder / "keys.json")
    return OutputFiles(output, **options)  # type: ignore[arg-type]


def ciphers(folder: Path) -> tuple[YamlCiphers, OutputFiles]:
    """A YAML file and its key files."""
    output = YamlCiphers(folder / "enc.yml", "production", folder, "app", bits())
    return output, OutputFiles(output)


def contents(folder: Path, count: int = 1) -> Contents:
    """What the keystore is to be."""
    output = JsonKeystore(folder / "keys.json")
    return output.render(delivery_of(output, count), {})


def there(folder: Path) -> dict[str, bytes]:
    """Every file in a directory."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class TestReading:
    def test_a_file_that_is_not_there_is_none(self, etc: Path) -> None:
        """The first rendering writes it."""
        files = keystore(etc)
        assert files.present() == {etc / "keys.json": None}
        (etc / "keys.json").write_bytes(b"{}")
        assert files.present() == {etc / "keys.json": b"{}"}

    def test_a_symbolic_link_is_not_followed(self, etc: Path) -> None:
        """Who may write in that directory would choose which file is read, and replaced."""
        (etc / "keys.json").symlink_to("/etc/hostname")
        files = keystore(etc)
        with pytest.raises(NeedsOperator, match="is a symbolic link") as refused:
            files.present()
        assert refused.value.hint == "name its target as the path"
        with pytest.raises(NeedsOperator, match="is a symbolic link"):
            files.write(contents(etc))
        assert (etc / "keys.json").is_symlink()

    def test_what_is_no_file_of_a_few_keys_is_refused(self, etc: Path) -> None:
        """A pipe would never end, a large file fill the memory."""
        os.mkfifo(etc / "keys.json")
        with pytest.raises(InvalidInput, match="is not a regular file"):
            keystore(etc).present()
        (etc / "keys.json").unlink()
        (etc / "keys.json").write_bytes(bytes(1024 * 1024 + 1))
        with pytest.raises(InvalidInput, match="is larger than"):
            keystore(etc).present()

    def test_a_disk_that_fails_is_not_an_absent_file(
        self, etc: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A new file would be written over keys that are still needed."""

        def fail(*_: object, **__: object) -> int:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "open", fail)
        with pytest.raises(DiskTrouble, match="Input/output error"):
            keystore(etc).present()

    def test_the_files_that_the_first_names_are_read_too(self, etc: Path) -> None:
        """The key files of symmetric-encryption."""
        output, files = ciphers(etc)
        delivery = delivery_of(output, 2, algorithms=CBC)
        files.write(output.render(delivery, files.present()))
        found = {path.name for path, data in files.present().items() if data}
        assert found == {"enc.yml"} | {
            f"app_v{n}.{kind}" for n in (1, 2) for kind in ("encrypted_key", "kekek")
        }
        assert output.parse(files.present())


class TestWriting:
    def test_a_file_is_written_for_its_owner_alone(self, etc: Path) -> None:
        """And no temporary file is left."""
        files = keystore(etc)
        files.write(contents(etc))
        assert there(etc) == {"keys.json": contents(etc)[etc / "keys.json"]}
        assert stat.S_IMODE((etc / "keys.json").stat().st_mode) == 0o600

    def test_a_file_that_is_right_is_left_alone(self, etc: Path) -> None:
        """Its watchers are not woken."""
        files = keystore(etc)
        files.write(contents(etc))
        before = (etc / "keys.json").stat().st_ino
        files.write(contents(etc))
        assert (etc / "keys.json").stat().st_ino == before
        (etc / "keys.json").chmod(0o640)
        files.write(contents(etc))
        assert (etc / "keys.json").stat().st_ino != before
        assert stat.S_IMODE((etc / "keys.json").stat().st_mode) == 0o600

    def test_the_key_files_of_a_key_that_is_gone_are_removed(self, etc: Path) -> None:
        """Also those that a crash left after the YAML did not name them any more."""
        output, files = ciphers(etc)
        two = delivery_of(output, 2, algorithms=CBC)
        files.write(output.render(two, files.present()))
        left = {name: data for name, data in there(etc).items() if name.startswith("app_v2")}
        one = Delivery("app", two.keys[:1], 1)
        files.write(output.render(one, files.present()))
        assert set(there(etc)) == {"enc.yml", "app_v1.encrypted_key", "app_v1.kekek"}
        for name, data in left.items():
            (etc / name).write_bytes(data)
        files.write(output.render(one, files.present()))
        assert set(there(etc)) == {"enc.yml", "app_v1.encrypted_key", "app_v1.kekek"}

    def test_an_access_control_list_survives(self, etc: Path) -> None:
        """Whom the application's file let in, the new one lets in."""
        files = keystore(etc, mode=0o640)
        files.write(contents(etc))
        acl = (
            b"\2\0\0\0\1\0\6\0\xff\xff\xff\xff\2\0\4\0\1\0\0\0\4\0\4\0\xff\xff\xff\xff"
            b"\x10\0\4\0\xff\xff\xff\xff \0\0\0\xff\xff\xff\xff"
        )
        try:
            os.setxattr(etc / "keys.json", NAME, acl)
        except OSError:
            locate.lacking("no access control lists here")
        files.write(contents(etc, 2))
        assert read_acl(etc / "keys.json") == acl

    def test_a_file_in_place_keeps_its_inode(self, etc: Path) -> None:
        """It may be bind-mounted by itself."""
        files = keystore(etc, in_place=True)
        files.write(contents(etc))
        before = (etc / "keys.json").stat().st_ino
        files.write(contents(etc, 2))
        assert (etc / "keys.json").stat().st_ino == before
        assert there(etc) == {"keys.json": contents(etc, 2)[etc / "keys.json"]}

    def test_a_full_disk_leaves_the_old_file(
        self, etc: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whole, and with no part of the new one beside it."""
        files = keystore(etc)
        files.write(contents(etc))
        before = there(etc)

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            with pytest.raises(DiskTrouble, match="No space left") as refused:
                files.write(contents(etc, 2))
        assert refused.value.errno == errno.ENOSPC
        assert there(etc) == before

    @pytest.mark.usefixtures("as_root")
    def test_a_file_is_given_to_its_owner(self, etc: Path) -> None:
        """The application reads it as a user of its own."""
        files = keystore(etc, owner="nobody", group="65534", mode=0o440)
        files.write(contents(etc))
        status = (etc / "keys.json").stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (
            65534,
            65534,
            0o440,
        )
        assert list(files.findings()) == []
        os.chown(etc / "keys.json", 0, 0)
        (found,) = files.findings()
        assert "belongs to root" in found

    @pytest.mark.usefixtures("as_root")
    def test_a_file_stays_its_owners_unless_another_is_named(self, etc: Path) -> None:
        """The application goes on reading the .env it had."""
        keystore(etc).write(contents(etc))
        os.chown(etc / "keys.json", 65534, 1)
        keystore(etc).write(contents(etc, 2))
        status = (etc / "keys.json").stat()
        assert (status.st_uid, status.st_gid) == (65534, 1)
        keystore(etc, group="0").write(contents(etc, 3))
        status = (etc / "keys.json").stat()
        assert (status.st_uid, status.st_gid) == (65534, 0)

    def test_a_group_that_does_not_matter_is_left_out(self) -> None:
        """It cannot be given, and nobody reads the file by it."""
        with plain_user() as home:
            folder = home / "etc"
            folder.mkdir()
            keystore(folder).write(contents(folder))
            if os.getuid() == 0:
                os.seteuid(0)
                os.chown(folder / "keys.json", 65534, 54321)
                os.seteuid(65534)
            keystore(folder).write(contents(folder, 2))
            assert there(folder) == {"keys.json": contents(folder, 2)[folder / "keys.json"]}


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_any_point_leaves_files_that_the_application_can_start_from(
    etc: Path, after: bool
) -> None:
    """Once more, and they are what was to be written; nothing is left beside them."""
    deaths = []
    for moment in range(30):
        for path in etc.iterdir():
            path.unlink()
        output, files = ciphers(etc)
        two = delivery_of(output, 2, algorithms=CBC)
        files.write(output.render(Delivery("app", two.keys[:1], 1), files.present()))
        second = output.render(two, files.present())

        def act(files: OutputFiles = files, second: Contents = second) -> None:
            files.write(second)

        if crash(act, moment, after=after):
            deaths.append(moment)
        assert output.parse(files.present()) is not None
        act()
        files.sweep()
        assert there(etc) == {p.name: d for p, d in second.items()}
    assert len(deaths) > 10
    assert deaths[-1] < 29  # it was killed at every point that there is


class TestSweeping:
    def test_what_a_crash_left_is_swept(self, etc: Path) -> None:
        """Beside the files, which stay."""
        files = keystore(etc)
        files.write(contents(etc))
        before, left = there(etc), temporary_of(etc / "keys.json")
        left.write_bytes(b"half")
        files.sweep()
        assert there(etc) == before

    def test_a_file_that_cannot_be_read_keeps_nothing_from_being_swept(self, etc: Path) -> None:
        """It is reported as a problem of its own."""
        (etc / "keys.json").symlink_to("elsewhere")
        left = temporary_of(etc / "keys.json")
        left.write_bytes(b"half")
        keystore(etc).sweep()
        assert not left.exists()


class TestLookingAhead:
    @pytest.mark.parametrize("dry", [False, True])
    def test_files_that_can_be_written_have_no_problem(self, etc: Path, dry: bool) -> None:
        """And nothing is changed by the look."""
        raise_first(keystore(etc).problems(dry=dry))
        assert there(etc) == {}
        keystore(etc).write(contents(etc))
        before = there(etc)
        raise_first(keystore(etc).problems(dry=dry))
        files = ciphers(etc)[1]
        raise_first(files.problems(dry=dry))
        assert there(etc) == before

    @pytest.mark.parametrize(
        ("prepare", "kind", "words"),
        [
            (lambda etc: etc.rmdir(), NeedsOperator, "is not a directory"),
            (lambda etc: (etc / "keys.json").mkdir(), Failure, "not a regular file|directory"),
            (lambda etc: (etc / "keys.json").symlink_to("x"), NeedsOperator, "symbolic link"),
            (lambda etc: (etc / "keys.json").write_bytes(b"{"), NotExpressible, "is not JSON"),
        ],
    )
    def test_what_would_keep_it_from_being_written_is_found(
        self, etc: Path, prepare: Callable[[Path], object], kind: type[Failure], words: str
    ) -> None:
        """Before a key is made."""
        prepare(etc)
        first, *_ = keystore(etc).problems(dry=True)
        assert isinstance(first, kind)
        assert re.search(words, str(first))

    def test_an_unknown_owner_is_found(self, etc: Path) -> None:
        """With every other problem."""
        files = keystore(etc, owner="no-such-user", group="no-such-group")
        (problem,) = files.problems(dry=True)
        assert "no-such-user" in str(problem)

    def test_a_directory_that_is_not_writable_is_found(self) -> None:
        """As the user that certrotd runs as."""
        with plain_user() as home:
            folder = home / "etc"
            folder.mkdir(mode=0o500)
            with pytest.raises(NeedsOperator, match="is not writable"):
                raise_first(keystore(folder).problems())

    @pytest.mark.usefixtures("as_root")
    def test_a_file_of_somebody_else_is_found(self) -> None:
        """It could not be given back after a failure."""
        with plain_user() as home:
            folder = home / "etc"
            folder.mkdir()
            os.seteuid(0)
            (folder / "keys.json").write_bytes(contents(folder)[folder / "keys.json"] or b"")
            (folder / "keys.json").chmod(0o644)
            os.seteuid(65534)
            with pytest.raises(NeedsOperator, match="belongs to root"):
                raise_first(keystore(folder).problems())


class TestFindings:
    def test_a_key_file_that_others_may_read_is_a_finding(self, etc: Path) -> None:
        """It says what to do; a group that the output names is none."""
        files = keystore(etc)
        files.write(contents(etc))
        assert list(files.findings()) == []
        (etc / "keys.json").chmod(0o640)
        (found,) = files.findings()
        how = f'(chmod 600 {etc}/keys.json, or set mode: "0640")'
        assert f"has mode 0640, not 0600 {how}" in found
        (etc / "keys.json").chmod(0o644)
        (found,) = files.findings()
        assert found.endswith(f"(chmod 600 {etc}/keys.json)")
        (etc / "keys.json").chmod(0o640)
        assert list(keystore(etc, mode=0o640).findings()) == []

    def test_a_directory_in_which_others_replace_files_is_a_finding(self, etc: Path) -> None:
        """They would put keys of theirs there."""
        keystore(etc).write(contents(etc))
        etc.chmod(0o770)
        (found,) = keystore(etc).findings()
        assert found == f"others may replace what is in {etc} (chmod go-w {etc})"
        output, files = ciphers(etc)
        files.write(output.render(delivery_of(output, 1, algorithms=CBC), files.present()))
        assert list(files.findings()) == [found]
        etc.chmod(0o1777)
        assert list(keystore(etc).findings()) == []


def test_random_parts_are_drawn_once(etc: Path) -> None:
    """A file that is right stays, although what wraps its keys is random."""
    output = YamlCiphers(etc / "enc.yml", "production", etc, "app", random.Random(5).randbytes)
    files = OutputFiles(output)
    delivery = delivery_of(output, 2, algorithms=CBC)
    files.write(output.render(delivery, files.present()))
    before = there(etc)
    files.write(output.render(delivery, files.present()))
    assert there(etc) == before
