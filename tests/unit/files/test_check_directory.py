"""Whether files could be written somewhere is told without writing any."""

import os
import tempfile
from pathlib import Path

import pytest

from certrotd.files.disktrouble import DiskTrouble
from certrotd.files.writable import check_directory
from tests.unit.config.written import not_root


def refusal(path: Path, *, room: int = 0) -> str:
    """What is said of a directory that cannot be used."""
    with pytest.raises(DiskTrouble) as caught:
        check_directory(path, room=room)
    return caught.value.message


def test_a_directory_that_could_be_made_is_fine(tmp_path: Path) -> None:
    """And is not made."""
    check_directory(tmp_path / "a" / "b", room=1)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    """Nor can there be one below it."""
    file = tmp_path / "file"
    file.touch()
    assert refusal(file) == f"cannot write in {file}: Not a directory"
    assert refusal(file / "a") == f"cannot create {file}/a in {file}: Not a directory"


def test_a_directory_of_somebody_else_is_reported() -> None:
    """The service's user meets it, not the root that wrote the configuration."""
    # not below tmp_path, whose parents are for their owner alone
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        with not_root():
            assert refusal(Path(folder)) == f"cannot write in {folder}: Permission denied"


def test_a_full_disk_is_reported(tmp_path: Path) -> None:
    """The negative control of what fits."""
    check_directory(tmp_path, room=4096)
    assert refusal(tmp_path, room=2**62) == f"cannot write in {tmp_path}: No space left on device"


@pytest.mark.parametrize(
    ("inodes", "free", "full"), [(100, 0, True), (100, 1, False), (0, 0, False)]
)
def test_a_file_system_without_inodes_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inodes: int, free: int, full: bool
) -> None:
    """With gigabytes to spare; one that makes them as they are needed counts none."""
    real = list(os.statvfs(tmp_path))
    real[5:8] = inodes, free, free
    monkeypatch.setattr("os.statvfs", lambda _path: os.statvfs_result(real))
    if full:
        assert "No space left on device" in refusal(tmp_path)
    else:
        check_directory(tmp_path)


def test_a_file_system_that_is_mounted_read_only_is_reported() -> None:
    """Root may write anywhere, and not there."""
    mounts = [line.split()[:4] for line in Path("/proc/mounts").read_text().splitlines()]
    read_only = [at for _, at, _, how in mounts if "ro" in how.split(",") and Path(at).is_dir()]
    if not read_only:
        pytest.skip("nothing is mounted read-only here")
    assert refusal(Path(read_only[0])).endswith("Read-only file system")
