"""What every installer of copies promises, the one in memory and the one on disk alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from certrotd.certs.ports import Installer
from certrotd.errors import raise_first
from certrotd.stores.install import Copies, FileInstaller
from tests.builders import NEW, OLD
from tests.fakes.installer import MemoryInstaller
from tests.parts import pki

Content = Mapping[str, bytes]


@dataclass(frozen=True)
class Bench:
    """An installer of a key and a chain, with what applications read there."""

    installer: Installer
    read: Callable[[], Content]
    write: Callable[[Content], None]

    def install(self, pair: pki.Pair, backup: str) -> None:
        """Both copies replaced by the pair's."""
        self.installer.install(pair.key_pem, pair.fullchain_pem, backup)

    def installed(self, pair: pki.Pair) -> bool:
        """Whether both copies are the pair's."""
        return self.installer.installed(pair.key_pem, pair.fullchain_pem)


def content(pair: pki.Pair) -> Content:
    """What applications read of a pair."""
    return {"key": pair.key_pem, "chain": pair.fullchain_pem}


def in_memory() -> Bench:
    """The fake."""
    installer = MemoryInstaller()

    def write(files: Content) -> None:
        installer.files = tuple(sorted(files.items()))

    return Bench(installer, lambda: dict(installer.files), write)


def on_disk(tmp_path: Path, *, in_place: bool) -> Bench:
    """The real one."""
    paths = {"key": tmp_path / "web.key", "chain": tmp_path / "web.crt"}
    copies = Copies({"privkey": paths["key"], "fullchain": paths["chain"]}, in_place=in_place)

    def read() -> Content:
        return {what: path.read_bytes() for what, path in paths.items() if path.exists()}

    def write(files: Content) -> None:
        for what, data in files.items():
            paths[what].write_bytes(data)

    return Bench(FileInstaller("web", (copies,), tmp_path / "displaced"), read, write)


@pytest.fixture(params=["memory", "files", "files in place"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """Each installer, with nothing there yet."""
    if request.param == "memory":
        return in_memory()
    return on_disk(tmp_path, in_place=request.param == "files in place")


def test_a_check_changes_nothing(bench: Bench) -> None:
    """It comes before every order."""
    raise_first(bench.installer.problems())
    assert bench.read() == {}
    bench.write(content(OLD))
    raise_first(bench.installer.problems())
    assert bench.read() == content(OLD)


def test_copies_are_installed_as_a_pair(bench: Bench) -> None:
    """Both, and known as such afterwards."""
    assert not bench.installed(NEW)
    bench.install(NEW, "r1")
    assert bench.read() == content(NEW)
    assert bench.installed(NEW)
    assert not bench.installed(OLD)


def test_half_a_pair_is_not_installed(bench: Bench) -> None:
    """A crash between the two is seen at the next start, and the act done again."""
    bench.install(NEW, "r1")
    bench.write({"key": OLD.key_pem})
    assert not bench.installed(NEW)
    assert not bench.installed(OLD)
    bench.install(NEW, "r1")
    assert bench.installed(NEW)


def test_restoring_puts_back_what_was_there(bench: Bench) -> None:
    """Rollback restores."""
    bench.write(content(OLD))
    bench.install(NEW, "r1")
    bench.installer.restore("r1")
    assert bench.read() == content(OLD)
    bench.installer.restore("r1")
    assert bench.read() == content(OLD)


def test_restoring_nothing_leaves_nothing(bench: Bench) -> None:
    """Where there was no file before, there is none after."""
    bench.install(NEW, "r1")
    bench.installer.restore("r1")
    assert bench.read() == {}


def test_installing_again_keeps_what_was_there_at_first(bench: Bench) -> None:
    """The second time it is half replaced, and not what anybody wants back."""
    bench.write(content(OLD))
    bench.install(NEW, "r1")
    bench.install(NEW, "r1")
    bench.installer.restore("r1")
    assert bench.read() == content(OLD)


def test_without_a_backup_nothing_is_restored(bench: Bench) -> None:
    """Nothing had been replaced when the crash came."""
    bench.write(content(OLD))
    bench.installer.restore("never")
    assert bench.read() == content(OLD)


def test_a_forgotten_backup_is_gone_and_the_others_are_not(bench: Bench) -> None:
    """Old keys are not kept for ever."""
    bench.write(content(OLD))
    bench.install(NEW, "r1")
    bench.install(OLD, "r2")
    bench.installer.forget("r1")
    bench.installer.forget("r1")
    bench.installer.restore("r1")
    assert bench.read() == content(OLD)
    bench.installer.restore("r2")
    assert bench.read() == content(NEW)


def test_sweeping_takes_every_backup_and_no_copy(bench: Bench) -> None:
    """Those of rotations whose journal is gone, and that could not be dropped in their time."""
    bench.installer.sweep()
    bench.write(content(OLD))
    bench.install(NEW, "r1")
    bench.install(OLD, "r2")
    bench.installer.sweep()
    bench.installer.restore("r1")
    bench.installer.restore("r2")
    assert bench.read() == content(OLD)


def test_a_copy_that_somebody_changed_stands_out(bench: Bench) -> None:
    """By what is known of it since it was installed."""
    bench.install(OLD, "r1")
    known = bench.installer.copies()
    assert len(known) == 2
    assert bench.installer.copies() == known
    bench.write({**content(OLD), "key": b"somebody else's"})
    assert bench.installer.copies() != known


def test_it_knows_whether_anything_is_there(bench: Bench) -> None:
    """One file of somebody else's is enough not to put a placeholder beside it."""
    assert bench.installer.vacant()
    bench.write({"key": b"somebody's"})
    assert not bench.installer.vacant()
