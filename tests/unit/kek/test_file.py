"""The KEK in a file: made once, for its owner alone, and never read through a link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from certrotd.errors import Failure
from certrotd.files import writing
from certrotd.files.disktrouble import DiskTrouble
from certrotd.kek import file
from certrotd.kek.credential import CredentialKek
from certrotd.kek.port import KekUnavailable, Unfit


def test_a_kek_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """In a folder of its own, whatever the umask; nothing else is left beside it."""
    made = file.make(tmp_path / "keks" / "main")
    assert made.path.stat().st_mode & 0o7777 == 0o600
    assert made.path.parent.stat().st_mode & 0o7777 == 0o700
    assert [each.name for each in made.path.parent.iterdir()] == ["main"]
    assert len(made.path.read_bytes()) == 32


@pytest.mark.parametrize("there", ["kek", "link"])
def test_a_kek_is_never_made_over_anything(tmp_path: Path, there: str) -> None:
    """Everything that the other one has wrapped would be lost."""
    path = tmp_path / "kek"
    if there == "kek":
        kept = file.make(path).path.read_bytes()
    else:
        path.symlink_to("gone")
    with pytest.raises(Unfit, match="there is something at"):
        file.make(path)
    if there == "kek":
        assert path.read_bytes() == kept
    assert [each.name for each in tmp_path.iterdir()] == ["kek"]


def test_a_full_disk_leaves_no_part_of_a_kek(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is said to be full."""

    def full(handle: int, data: bytes) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(writing, "write_all", full)
    with pytest.raises(DiskTrouble, match="No space left"):
        file.make(tmp_path / "kek")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610])
def test_a_kek_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    """For its group, too: no service but certrotd needs it."""
    made = file.make(tmp_path / "kek")
    made.path.chmod(mode)
    with pytest.raises(Unfit, match="by others than its owner"):
        made.wrap(b"key", {})
    made.path.chmod(0o400)
    assert made.unwrap(made.wrap(b"key", {}), {}) == b"key"


def test_a_kek_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns it can make it readable."""
    made = file.make(tmp_path / "kek")
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    if made.path.stat().st_uid:
        with pytest.raises(Unfit, match="belongs to user"):
            made.wrap(b"key", {})
    else:
        assert made.wrap(b"key", {}), "what root owns is trusted"
        os.chown(made.path, 4712, -1)
        with pytest.raises(Unfit, match="belongs to user 4712"):
            made.wrap(b"key", {})


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_kek_of_another_length_is_refused(tmp_path: Path, size: int) -> None:
    """A text editor adds a newline."""
    made = file.make(tmp_path / "kek")
    made.path.write_bytes(b"k" * size)
    with pytest.raises(Unfit, match=r"bytes"):
        made.wrap(b"key", {})


def test_a_link_to_a_kek_is_refused(tmp_path: Path) -> None:
    """Whoever may write the folder could point it anywhere."""
    file.make(tmp_path / "real")
    (tmp_path / "kek").symlink_to("real")
    with pytest.raises(Unfit, match="is a symbolic link"):
        file.FileKek(tmp_path / "kek").wrap(b"key", {})


def test_a_fifo_is_no_kek(tmp_path: Path) -> None:
    """And nobody waits for what it would say."""
    os.mkfifo(tmp_path / "kek")
    with pytest.raises(Unfit, match="not a regular file"):
        file.FileKek(tmp_path / "kek").wrap(b"key", {})


def test_a_kek_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    """Its volume may be mounted later; a new one would be no help."""
    with pytest.raises(KekUnavailable, match="is not there") as refused:
        file.FileKek(tmp_path / "kek").wrap(b"key", {})
    assert "mount or restore it" in refused.value.hint


def test_a_kek_on_a_failing_disk_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it wrapped is as good as before."""
    made = file.make(tmp_path / "kek")

    def failing(path: object, flags: int) -> int:
        raise OSError(5, os.strerror(5))

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", failing)
        with pytest.raises(KekUnavailable, match="Input/output error"):
            made.wrap(b"key", {})


def test_a_credential_of_the_same_bytes_unwraps_what_the_file_wrapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moving a KEK into a credential is no rotation."""
    made = file.make(tmp_path / "kek")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert CredentialKek("kek").unwrap(made.wrap(b"key", {}), {}) == b"key"


class Volume:
    """What the kubelet makes of a Secret with the entry ``kek``; a test of its own looks at one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.kek = folder, folder / "kek"
        folder.mkdir()
        self.put(b"k" * 32)
        self.kek.symlink_to("..data/kek")

    def put(self, data: bytes) -> Path:
        """Another version of the Secret."""
        version = self.folder / f"..2027_01_01_{len(list(self.folder.glob('..2027*')))}"
        version.mkdir()
        self.file = version / "kek"
        self.file.write_bytes(data)
        self.file.chmod(0o440)
        new = self.folder / "..data_tmp"
        new.symlink_to(version.name)
        new.rename(self.folder / "..data")
        return version


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    """Of which root and the group of this process may read the entry."""
    if os.geteuid():
        pytest.skip("only root makes what the kubelet, which is root, makes")
    return Volume(tmp_path / "volume")


class TestVolume:
    """A KEK in a Secret that is mounted."""

    def test_it_is_read_through_the_kubelets_links(self, volume: Volume) -> None:
        """By its pod's group, too, and after the kubelet has put another version there."""
        made = file.FileKek(volume.kek)
        wrapped = made.wrap(b"key", {})
        assert made.unwrap(wrapped, {}) == b"key"
        volume.put(b"k" * 32)
        assert made.unwrap(wrapped, {}) == b"key"
        volume.put(b"o" * 32)
        with pytest.raises(Failure):
            made.unwrap(wrapped, {})

    @pytest.mark.parametrize("mode", [0o444, 0o460, 0o450, 0o404, 0o402, 0o644])
    def test_others_than_its_group_may_not_read_it(self, volume: Volume, mode: int) -> None:
        """0644 is the default of a volume."""
        volume.file.chmod(mode)
        with pytest.raises(Unfit, match="others than its owner and its pod's group") as refused:
            file.FileKek(volume.kek).wrap(b"key", {})
        assert "defaultMode: 0400" in refused.value.hint

    def test_a_group_that_certrotd_is_not_in_may_not_read_it(self, volume: Volume) -> None:
        """It is not the fsGroup of its pod; without a right it is no matter whose group it is."""
        os.chown(volume.file, 0, 4711)
        with pytest.raises(Unfit, match="by the group 4711, which is not certrotd's"):
            file.FileKek(volume.kek).wrap(b"key", {})
        volume.file.chmod(0o400)
        assert file.FileKek(volume.kek).wrap(b"key", {})

    def test_a_file_of_somebody_else_is_refused(self, volume: Volume) -> None:
        """The kubelet is root."""
        os.chown(volume.file, 4711, 0)
        with pytest.raises(Unfit, match="belongs to user 4711"):
            file.FileKek(volume.kek).wrap(b"key", {})

    @pytest.mark.parametrize("to", ["..", "/etc", "../volume", "data", "..2027/.."])
    def test_links_of_another_form_are_not_followed(self, volume: Volume, to: str) -> None:
        """As of any other KEK."""
        data = volume.folder / "..data"
        data.unlink()
        data.symlink_to(to)
        with pytest.raises(Unfit, match="is a symbolic link"):
            file.FileKek(volume.kek).wrap(b"key", {})

    def test_a_link_to_another_entry_is_not_followed(self, volume: Volume) -> None:
        """The kubelet makes none."""
        other = volume.folder / "other"
        other.symlink_to("..data/kek")
        with pytest.raises(Unfit, match="is a symbolic link"):
            file.FileKek(other).wrap(b"key", {})

    def test_an_entry_that_is_gone_is_missed(self, volume: Volume) -> None:
        """Somebody has removed it from the Secret."""
        volume.file.unlink()
        with pytest.raises(KekUnavailable, match="is not there"):
            file.FileKek(volume.kek).wrap(b"key", {})

    def test_a_version_that_is_replaced_meanwhile_is_read_anew(
        self, volume: Volume, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The kubelet removes the former one at once."""
        reads = [0]
        real = file.read

        def read(path: Path) -> tuple[bytes, os.stat_result]:
            reads[0] += 1
            if reads[0] <= changes:
                old = volume.file
                volume.put(b"k" * 32)
                old.unlink()
            return real(path)

        monkeypatch.setattr(file, "read", read)
        changes = 1
        assert file.FileKek(volume.kek).wrap(b"key", {})
        reads[0], changes = 0, 3
        with pytest.raises(KekUnavailable, match="changes all the time"):
            file.FileKek(volume.kek).wrap(b"key", {})
