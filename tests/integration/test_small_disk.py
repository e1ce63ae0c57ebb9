"""Disks that are full or read-only: it is said in time, and nothing that was there is lost."""

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from certrotd.errors import NeedsOperator, raise_first
from certrotd.files.disktrouble import DiskTrouble
from certrotd.pki.generation import CertificateState
from certrotd.stores.install import Copies, FileInstaller
from certrotd.stores.local import LocalStore
from tests.builders import META, NEW, OLD, stage
from tests.parts import locate
from tests.parts.site import Site

PAGE = 4096
Disk = Callable[[int], Path]


@pytest.fixture
def disk(tmp_path: Path, as_root: None) -> Iterator[Disk]:
    """Mounts file systems of so many KiB."""
    mount, umount = locate.require("mount"), locate.require("umount")
    with ExitStack() as stack:

        def make(size: int) -> Path:
            place = tmp_path / f"disk-{size}"
            place.mkdir()
            options = f"size={size}k,mode=755"
            argv = [str(mount), "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                locate.require("a root that may mount")  # a container's may not
            stack.callback(subprocess.run, [umount, place], check=True)
            return place

        yield make


def fill(place: Path, *, leave: int) -> Path:
    """Leaves so many pages free."""
    filler = place / "filler"
    with filler.open("wb") as file:
        free = os.statvfs(place).f_bavail - leave
        file.write(bytes(free * PAGE))
    return filler


def test_a_disk_that_is_all_but_full_is_reported_by_the_check(disk: Disk) -> None:
    """Before an order is spent; with room for a generation it is content."""
    store = LocalStore(disk(48) / "store")
    with pytest.raises(DiskTrouble, match="No space left on device") as refused:
        store.check("web")
    assert refused.value.hint == "free some space on that file system"
    assert list((store.root / "web" / "generations").iterdir()) == []
    LocalStore(disk(128) / "store").check("web")


def test_a_disk_that_fills_up_at_any_moment_loses_nothing(disk: Disk) -> None:
    """A full disk empties state (acme.sh #7247); here it costs a later try and nothing else."""
    place = disk(512)
    store = LocalStore(place / "store")
    stage(store, 1, OLD)
    store.seal("web", 1, META)
    store.switch("web", 1)
    store.record("web", CertificateState(withdrawn=(9,)))
    before = store.look("web")
    failures = []
    for leave in range(40):
        stage(store, 2, NEW)
        filler = fill(place, leave=leave)
        try:
            store.seal("web", 2, META)
            store.record("web", CertificateState())
            store.switch("web", 2)
        except DiskTrouble as trouble:
            failures.append(trouble.errno)
        else:
            break
        finally:
            filler.unlink()
        if store.sealed("web", 2):
            assert store.read("web", 2) == (NEW.key_pem, NEW.fullchain_pem)
        else:
            assert store.look("web") == before
            assert store.staged_key("web", 2) == NEW.key_pem
            assert store.staged_chain("web", 2) == NEW.fullchain_pem
            store.seal("web", 2, META)
        assert store.read("web", 1) == (OLD.key_pem, OLD.fullchain_pem)
        assert store.live("web") == 1
        shutil.rmtree(store.root / "web" / "generations" / "000002")
        store.record("web", before.state)
        store.sweep("web")
    assert set(failures) == {errno.ENOSPC}
    assert len(failures) > 3
    assert store.live("web") == 2
    assert sorted(path.name for path in (store.root / "web").iterdir()) == [
        "generations",
        "live",
        "state.json",
    ]


def test_copies_on_a_disk_that_fills_up_are_restored(disk: Disk, tmp_path: Path) -> None:
    """The old pair is whole again, though there is no more room than before."""
    place = disk(256)
    paths = {shape: place / shape for shape in ("privkey", "fullchain", "combined")}
    installer = FileInstaller("web", (Copies(paths),), tmp_path / "displaced")
    installer.install(OLD.key_pem, OLD.fullchain_pem, "before")
    failures = []
    for leave in range(20):
        filler = fill(place, leave=leave)
        try:
            installer.install(NEW.key_pem, NEW.fullchain_pem, f"r{leave}")
            break
        except DiskTrouble as trouble:
            failures.append(trouble.errno)
            installer.restore(f"r{leave}")
            assert installer.installed(OLD.key_pem, OLD.fullchain_pem)
        finally:
            filler.unlink()
    assert set(failures) == {errno.ENOSPC}
    assert installer.installed(NEW.key_pem, NEW.fullchain_pem)
    assert sorted(path.name for path in place.iterdir()) == sorted(paths)


def test_a_read_only_disk_is_reported_by_the_checks(disk: Disk, tmp_path: Path) -> None:
    """Root's rights do not help there."""
    place = disk(512)
    store = LocalStore(place / "store")
    installer = FileInstaller("web", (Copies({"cert": place / "cert"}),), tmp_path / "displaced")
    store.check("web")
    raise_first(installer.problems())
    subprocess.run([locate.require("mount"), "-o", "remount,ro", place], check=True)
    with pytest.raises(DiskTrouble, match="Read-only file system") as refused:
        store.check("web")
    assert refused.value.hint == "the file system is mounted read-only"
    with pytest.raises(NeedsOperator, match="is not writable for user root"):
        raise_first(installer.problems())
    assert store.look("web").live is None


def test_the_audit_log_of_a_read_only_disk_can_be_read(disk: Disk, site: Site) -> None:
    """Evidence is looked at where nobody can change it any more."""
    place = disk(1024)
    site.internal()
    site.certificate("web", "example.test")
    site.config["state_dir"] = str(place / "state")
    assert site.run("rotate", "web").code == 0
    shown = site.run("audit", "show", "--json")
    subprocess.run([locate.require("mount"), "-o", "remount,ro", place], check=True)
    assert site.run("rotate", "web", "--force").code == 1, "the control"
    verified = site.run("audit", "verify")
    assert (verified.code, verified.stderr) == (0, "")
    assert site.run("audit", "show", "--json").stdout == shown.stdout
    lock = place / "state" / "audit" / "lock"
    subprocess.run([locate.require("mount"), "-o", "remount,rw", place], check=True)
    lock.unlink()
    subprocess.run([locate.require("mount"), "-o", "remount,ro", place], check=True)
    assert site.run("audit", "verify").code == 0
