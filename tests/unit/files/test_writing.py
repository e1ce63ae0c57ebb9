"""Whole files or none, whatever stands in their place and however full the disk is."""

import errno
import os
import socket
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from certrotd.errors import InvalidInput
from certrotd.files import writing as files
from certrotd.files.disktrouble import DiskTrouble
from certrotd.files.reading import read_file
from certrotd.files.writable import probe_file
from certrotd.files.writing import (
    NewFile,
    create_files,
    make_directory,
    remove_file,
    remove_tree,
    rename,
    replace_files,
    replace_symlink,
    sweep_temporaries,
    temporary_of,
    write_file,
    write_in_place,
)
from tests.parts import locate
from tests.parts.process import descriptors

Refuse = Callable[..., None]


def mode(path: Path) -> int:
    """The permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """``refuse("rename", errno.ENOSPC)`` makes a system call fail from now on."""

    def refuse(call: str, number: int = errno.ENOSPC, after: int = 0) -> None:
        real, count = getattr(os, call), 0

        def failing(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count > after:
                raise OSError(number, os.strerror(number))
            return real(*args, **kwargs)

        monkeypatch.setattr(os, call, failing)

    return refuse


class TestWriteFile:
    def test_the_new_content_replaces_the_old(self, tmp_path: Path) -> None:
        """And nothing else is left in the directory."""
        path = tmp_path / "key.pem"
        path.write_bytes(b"old")
        write_file(path, b"new", mode=0o600)
        assert path.read_bytes() == b"new"
        assert os.listdir(tmp_path) == ["key.pem"]

    def test_owner_then_mode_are_set_before_the_first_byte(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A key must never be readable by somebody it is not for, not even for a moment."""
        calls: list[str] = []
        for name in ("fchown", "fchmod", "write", "rename"):
            real = getattr(os, name)

            def spy(*args: Any, _name: str = name, _real: Any = real, **kwargs: Any) -> Any:
                if _name == "write":
                    status = os.fstat(args[0])
                    calls.append(f"write at {stat.S_IMODE(status.st_mode):o}")
                else:
                    calls.append(_name)
                return _real(*args, **kwargs) if _name != "fchown" else None

            monkeypatch.setattr(os, name, spy)
        replace_files([NewFile(tmp_path / "key.pem", b"secret", 0o640, (4711, 4712))])
        assert calls == ["fchown", "fchmod", "write at 640", "rename"]

    def test_an_owner_that_is_right_already_is_not_set(
        self, tmp_path: Path, refuse: Refuse
    ) -> None:
        """Without the right to change owners, keeping them must work."""
        refuse("fchown", errno.EPERM)
        ours = NewFile(tmp_path / "a", b"", 0o600, (os.getuid(), -1))
        replace_files([ours, NewFile(tmp_path / "b", b"", 0o600, (-1, -1))])

    def test_an_owner_that_cannot_be_set_leaves_the_old_file(
        self, tmp_path: Path, refuse: Refuse
    ) -> None:
        """The negative control: a wrong owner is a failure, not a warning."""
        path = tmp_path / "key.pem"
        path.write_bytes(b"old")
        refuse("fchown", errno.EPERM)
        with pytest.raises(DiskTrouble, match="the right to do so"):
            replace_files([NewFile(path, b"new", 0o600, (4711, -1))])
        assert path.read_bytes() == b"old"

    @pytest.mark.parametrize("umask", [0o000, 0o077])
    def test_the_mode_is_final_whatever_the_umask(self, tmp_path: Path, umask: int) -> None:
        """A service reads its certificate under any umask of ours."""
        before = os.umask(umask)
        try:
            write_file(tmp_path / "cert.pem", b"", mode=0o644)
        finally:
            os.umask(before)
        assert mode(tmp_path / "cert.pem") == 0o644

    def test_a_symbolic_link_is_replaced_never_followed(self, tmp_path: Path) -> None:
        """A link planted in a directory an application owns leads nowhere (CVE-2016-1247)."""
        victim = tmp_path / "victim"
        victim.write_bytes(b"precious")
        (tmp_path / "key.pem").symlink_to(victim)
        temporary_of(tmp_path / "key.pem").symlink_to(victim)
        write_file(tmp_path / "key.pem", b"new", mode=0o600)
        assert victim.read_bytes() == b"precious"
        assert not (tmp_path / "key.pem").is_symlink()

    @pytest.mark.parametrize("call", ["write", "fsync", "rename", "open"])
    def test_a_full_disk_leaves_the_old_file_intact(
        self, tmp_path: Path, refuse: Refuse, call: str
    ) -> None:
        """Nothing is emptied before there is something to take its place (acme.sh #7247)."""
        path = tmp_path / "key.pem"
        path.write_bytes(b"old")
        before = descriptors()
        refuse(call, after=1 if call == "open" else 0)
        with pytest.raises(DiskTrouble, match="free some space") as trouble:
            write_file(path, b"new", mode=0o600)
        assert trouble.value.errno == errno.ENOSPC
        assert path.read_bytes() == b"old"
        assert not descriptors() - before

    def test_a_failure_leaves_no_temporary_file(self, tmp_path: Path, refuse: Refuse) -> None:
        """It would be in the way of the space that is needed."""
        refuse("rename")
        with pytest.raises(DiskTrouble):
            write_file(tmp_path / "key.pem", b"new", mode=0o600)
        assert os.listdir(tmp_path) == []

    def test_a_temporary_file_of_a_crash_is_overwritten(self, tmp_path: Path) -> None:
        """The temporary name is always the same, so there is never more than one."""
        left = temporary_of(tmp_path / "key.pem")
        left.write_bytes(b"half a k")
        left.chmod(0o666)
        write_file(tmp_path / "key.pem", b"new", mode=0o600)
        assert os.listdir(tmp_path) == ["key.pem"]
        assert mode(tmp_path / "key.pem") == 0o600

    def test_short_writes_are_continued(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """write(2) may take less than it is given."""
        real = os.write
        monkeypatch.setattr(os, "write", lambda handle, data: real(handle, bytes(data[:3])))
        write_file(tmp_path / "key.pem", b"0123456789", mode=0o600)
        assert (tmp_path / "key.pem").read_bytes() == b"0123456789"

    def test_a_missing_directory_is_reported(self, tmp_path: Path) -> None:
        """The path of an install: entry may be wrong."""
        with pytest.raises(DiskTrouble, match="create the directory"):
            write_file(tmp_path / "nowhere" / "key.pem", b"", mode=0o600)


class TestWriteInPlace:
    def test_the_inode_stays(self, tmp_path: Path) -> None:
        """A single-file bind mount never sees a rename (moby #22627)."""
        path = tmp_path / "key.pem"
        path.write_bytes(b"a longer old content")
        before = path.stat().st_ino
        write_in_place(path, b"new", mode=0o640, owner=None)
        assert (path.stat().st_ino, path.read_bytes(), mode(path)) == (before, b"new", 0o640)

    def test_a_missing_file_is_created(self, tmp_path: Path) -> None:
        """The first installation has nothing to keep."""
        write_in_place(tmp_path / "key.pem", b"new", mode=0o600, owner=None)
        assert (tmp_path / "key.pem").read_bytes() == b"new"
        assert os.listdir(tmp_path) == ["key.pem"]

    def test_a_symbolic_link_is_refused(self, tmp_path: Path) -> None:
        """It cannot be replaced in place, and must not be followed."""
        (tmp_path / "victim").write_bytes(b"precious")
        (tmp_path / "key.pem").symlink_to("victim")
        with pytest.raises(DiskTrouble, match="symbolic link"):
            write_in_place(tmp_path / "key.pem", b"new", mode=0o600, owner=None)
        assert (tmp_path / "victim").read_bytes() == b"precious"

    @pytest.mark.parametrize("read", [False, True])
    def test_a_pipe_is_refused_and_not_waited_for(self, tmp_path: Path, read: bool) -> None:
        """Opening one for writing would wait for a reader, perhaps for ever."""
        path = tmp_path / "key.pem"
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK) if read else None
        before = descriptors()
        with pytest.raises(DiskTrouble):
            write_in_place(path, b"new", mode=0o600, owner=None)
        assert not descriptors() - before
        if reader is not None:
            os.close(reader)

    def test_the_old_content_is_overwritten_before_it_is_cut(
        self, tmp_path: Path, refuse: Refuse
    ) -> None:
        """A disk that is full still has room for what was there."""
        path = tmp_path / "key.pem"
        path.write_bytes(b"old")
        refuse("write")
        with pytest.raises(DiskTrouble):
            write_in_place(path, b"new", mode=0o600, owner=None)
        assert path.read_bytes() == b"old"


class TestCreateFiles:
    def test_the_file_has_its_mode_and_content(self, tmp_path: Path) -> None:
        """Staging is renamed into place as it is."""
        create_files(tmp_path, [("privkey.pem", b"key", 0o600)], sync=True)
        assert (mode(tmp_path / "privkey.pem"), os.listdir(tmp_path)) == (0o600, ["privkey.pem"])

    def test_files_that_a_crash_left_are_replaced(self, tmp_path: Path) -> None:
        """A step is done again after a crash."""
        create_files(tmp_path, [("privkey.pem", b"a longer key", 0o644)], sync=True)
        create_files(tmp_path, [("privkey.pem", b"key", 0o600)], sync=True)
        assert (tmp_path / "privkey.pem").read_bytes() == b"key"
        assert mode(tmp_path / "privkey.pem") == 0o600

    def test_a_failure_leaves_nothing(self, tmp_path: Path, refuse: Refuse) -> None:
        """Half a key is worth nothing and takes space."""
        refuse("fsync", errno.EIO)
        with pytest.raises(DiskTrouble, match="kernel log"):
            create_files(tmp_path, [("privkey.pem", b"key", 0o600)], sync=True)
        assert os.listdir(tmp_path) == []


class TestProbeFile:
    def test_a_probe_leaves_nothing(self, tmp_path: Path) -> None:
        """Nor does it trip over what a crash left."""
        (tmp_path / ".probe").write_bytes(b"left")
        probe_file(tmp_path / ".probe", 1000)
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("call", ["open", "write"])
    def test_a_failed_probe_is_reported(self, tmp_path: Path, refuse: Refuse, call: str) -> None:
        """And nothing is left then either."""
        before = descriptors()
        refuse(call)
        with pytest.raises(DiskTrouble, match="free some space"):
            probe_file(tmp_path / ".probe", 1000)
        assert os.listdir(tmp_path) == []
        assert not descriptors() - before


class TestReplaceSymlink:
    def test_the_link_points_at_the_new_target(self, tmp_path: Path) -> None:
        """By one rename: a reader sees the old or the new one."""
        replace_symlink(tmp_path / "live", "generations/000001")
        replace_symlink(tmp_path / "live", "generations/000002")
        assert os.readlink(tmp_path / "live") == "generations/000002"
        assert os.listdir(tmp_path) == ["live"]

    def test_a_link_that_a_crash_left_is_replaced(self, tmp_path: Path) -> None:
        """The crash came between the two calls."""
        temporary_of(tmp_path / "live").symlink_to("generations/000009")
        replace_symlink(tmp_path / "live", "generations/000001")
        assert os.readlink(tmp_path / "live") == "generations/000001"

    def test_a_failure_leaves_the_old_link(self, tmp_path: Path, refuse: Refuse) -> None:
        """Whole or not at all."""
        replace_symlink(tmp_path / "live", "generations/000001")
        refuse("rename")
        with pytest.raises(DiskTrouble):
            replace_symlink(tmp_path / "live", "generations/000002")
        assert os.readlink(tmp_path / "live") == "generations/000001"
        assert os.listdir(tmp_path) == ["live"]


class TestRemoving:
    def test_a_file_or_a_link_is_removed_and_absent_is_fine(self, tmp_path: Path) -> None:
        """Undoing may run twice."""
        (tmp_path / "file").write_bytes(b"")
        (tmp_path / "link").symlink_to("file")
        for name in ("link", "file", "file"):
            remove_file(tmp_path / name)
        assert os.listdir(tmp_path) == []

    def test_a_file_that_cannot_be_removed_is_reported(self, tmp_path: Path) -> None:
        """A directory, for example."""
        with pytest.raises(DiskTrouble, match="cannot remove"):
            remove_file(tmp_path)

    def test_a_directory_goes_with_its_content(self, tmp_path: Path) -> None:
        """And a link in it goes without what it points at."""
        (tmp_path / "precious").write_bytes(b"precious")
        folder = tmp_path / "staging"
        folder.mkdir()
        (folder / "key.pem").write_bytes(b"")
        (folder / "link").symlink_to(tmp_path / "precious")
        remove_tree(folder)
        remove_tree(folder)
        assert os.listdir(tmp_path) == ["precious"]

    def test_a_link_in_the_place_of_a_directory_is_refused(self, tmp_path: Path) -> None:
        """Following it would empty a directory that is none of ours."""
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc" / "passwd").write_bytes(b"precious")
        (tmp_path / "staging").symlink_to("etc")
        with pytest.raises(DiskTrouble):
            remove_tree(tmp_path / "staging")
        assert (tmp_path / "etc" / "passwd").read_bytes() == b"precious"

    def test_a_file_removed_by_somebody_else_is_no_failure(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is to be removed may go while it is looked at."""
        (tmp_path / "staging").mkdir()
        monkeypatch.setattr(os, "listdir", lambda _folder: ["gone"])
        remove_tree(tmp_path / "staging")
        assert not (tmp_path / "staging").exists()

    def test_temporaries_of_crashes_are_swept_and_nothing_else(self, tmp_path: Path) -> None:
        """They hold keys, and nothing would ever come back for them."""
        temporary_of(tmp_path / "key.pem").write_bytes(b"half a k")
        (tmp_path / "key.pem").write_bytes(b"key")
        sweep_temporaries(tmp_path)
        sweep_temporaries(tmp_path / "nowhere")
        assert os.listdir(tmp_path) == ["key.pem"]


def test_a_rename_that_fails_is_reported(tmp_path: Path) -> None:
    """Both names are in it."""
    (tmp_path / "a").write_bytes(b"")
    rename(tmp_path / "a", tmp_path / "b")
    with pytest.raises(DiskTrouble, match=r"rename .*a to b"):
        rename(tmp_path / "a", tmp_path / "b")


class TestMakeDirectory:
    def test_missing_parents_are_made_with_the_mode(self, tmp_path: Path) -> None:
        """Whatever the umask: a state directory is private."""
        before = os.umask(0)
        try:
            make_directory(tmp_path / "a" / "b", mode=0o700)
        finally:
            os.umask(before)
        assert [mode(tmp_path / "a"), mode(tmp_path / "a" / "b")] == [0o700, 0o700]

    def test_a_directory_that_is_there_keeps_its_mode(self, tmp_path: Path) -> None:
        """An administrator's choice is not undone."""
        (tmp_path / "a").mkdir(mode=0o750)
        make_directory(tmp_path / "a", mode=0o700)
        assert mode(tmp_path / "a") == 0o750

    def test_a_file_in_its_place_is_reported(self, tmp_path: Path) -> None:
        """It is not removed for us."""
        (tmp_path / "a").write_bytes(b"")
        with pytest.raises(DiskTrouble, match="Not a directory"):
            make_directory(tmp_path / "a", mode=0o700)

    def test_a_directory_made_by_another_process_is_no_failure(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two daemons start at once on a fresh host."""
        real = os.mkdir

        def quicker(path: Path, mode: int) -> None:
            real(path, 0o755)
            real(path, mode)

        monkeypatch.setattr(os, "mkdir", quicker)
        make_directory(tmp_path / "a", mode=0o700)
        assert mode(tmp_path / "a") == 0o755


class TestReadFile:
    def test_a_file_is_read_whole_up_to_the_limit(self, tmp_path: Path) -> None:
        """The limit itself is allowed."""
        (tmp_path / "a").write_bytes(b"12345")
        assert read_file(tmp_path / "a", limit=5) == b"12345"

    def test_a_file_above_the_limit_is_refused(self, tmp_path: Path) -> None:
        """A huge file must not fill the memory (CVE-2024-12401)."""
        (tmp_path / "a").write_bytes(b"123456")
        with pytest.raises(InvalidInput, match="larger than 5 bytes"):
            read_file(tmp_path / "a", limit=5)

    def test_absence_is_its_own_answer(self, tmp_path: Path) -> None:
        """Callers tell it from trouble."""
        with pytest.raises(FileNotFoundError):
            read_file(tmp_path / "a", limit=5)

    def test_a_link_is_followed_only_where_asked(self, tmp_path: Path) -> None:
        """Certificates of others may well be links; ours are not."""
        (tmp_path / "a").write_bytes(b"1")
        (tmp_path / "b").symlink_to("a")
        assert read_file(tmp_path / "b", limit=5) == b"1"
        with pytest.raises(DiskTrouble, match="symbolic link"):
            read_file(tmp_path / "b", limit=5, follow=False)

    @pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
    def test_a_path_that_is_no_file_is_refused_and_closed(
        self, tmp_path: Path, make: Callable[[Path], None]
    ) -> None:
        """A pipe would be waited for, a directory would leak its handle."""
        make(tmp_path / "a")
        before = descriptors()
        with pytest.raises(InvalidInput, match="not a regular file"):
            read_file(tmp_path / "a", limit=5)
        assert not descriptors() - before

    def test_a_socket_is_trouble(self, tmp_path: Path) -> None:
        """It cannot even be opened."""
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(tmp_path / "a"))
            with pytest.raises(DiskTrouble):
                read_file(tmp_path / "a", limit=5)

    def test_a_disk_error_while_reading_is_reported(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Opening worked, reading did not."""

        def broken(_handle: int, _size: int) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        (tmp_path / "a").write_bytes(b"1")
        monkeypatch.setattr(os, "read", broken)
        with pytest.raises(DiskTrouble, match="Input/output error"):
            read_file(tmp_path / "a", limit=5)


def test_an_error_without_a_number_is_reported_too() -> None:
    """Some libraries raise OSError with nothing but words."""
    trouble = DiskTrouble("do it", OSError("words"))
    assert (trouble.message, trouble.hint) == ("cannot do it: words", "")


def test_the_temporary_name_is_hidden_and_recognisable(tmp_path: Path) -> None:
    """Programs that read every file of a directory pass over it."""
    assert temporary_of(Path("/x/key.pem")).name == f".key.pem{files.TEMPORARY}"


def test_directories_that_threads_make_at_once_all_get_their_heir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is root's for a moment makes no heir of root for what is made in it meanwhile."""
    locate.require_root()
    os.chown(tmp_path, 65534, 65534)
    chown = os.chown

    def slowly(*given: Any, **named: Any) -> None:
        time.sleep(0.05)
        chown(*given, **named)

    monkeypatch.setattr(os, "chown", slowly)
    made = [tmp_path / "all" / name for name in ("web", "www", "api")]
    with ThreadPoolExecutor(len(made)) as threads:
        list(threads.map(partial(make_directory, mode=0o700), made))
    assert {each.stat().st_uid for each in (tmp_path / "all", *made)} == {65534}
