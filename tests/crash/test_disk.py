"""Real disks that are full or read-only, without anybody tampering with system calls."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.crash.found import Found
from tests.crash.lab import Driver
from tests.crash.scenarios import NAME, RENEWAL
from tests.parts import locate
from tests.parts.site import Site, why_failed

PAGE = 4096
SIZE = 512 * 1024
MOST_FREE = 100 * 1024


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """The usual scenario on a file system of its own."""
    locate.require_root()
    with mounted(tmp_path / "disk") as disk:
        prepared = Site(disk / "site")
        RENEWAL.prepare(prepared)
        # what the target notes down is not on the disk that fills up
        log = prepared.directory / "told.log"
        log.symlink_to(shutil.move(log, tmp_path / "told.log"))
        yield prepared


@contextmanager
def mounted(directory: Path) -> Iterator[Path]:
    """A small file system in memory."""
    directory.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0755", "tmpfs", str(directory)]
    if subprocess.run(argv, capture_output=True, check=False).returncode != 0:
        locate.require("a root that may mount")  # a container's may not
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@contextmanager
def free(disk: Path, left: int) -> Iterator[None]:
    """Fills a file system but for so many bytes."""
    filler = disk / "filler"
    handle = os.open(filler, os.O_WRONLY | os.O_CREAT)
    try:
        with contextlib.suppress(OSError):
            while True:
                os.write(handle, bytes(PAGE))
        os.ftruncate(handle, max(0, os.fstat(handle).st_size - left))
        yield
    finally:
        os.close(handle)
        filler.unlink()


@pytest.mark.timeout(3600)
def test_every_amount_of_free_space_is_enough_or_said(site: Site) -> None:
    """A disk does not fill up at a system call of one's choice, and it stays full."""
    disk, found = site.directory.parent, Found(site)
    codes = []
    with Driver() as driver:
        assert driver.run(site, "rotate", "--all").code == 0
        for left in range(0, MOST_FREE, PAGE):
            live = site.generation(NAME)
            with free(disk, left):
                run = driver.run(site, "rotate", "--all", "--force", "--json")
                problems = [*found.whole(replace(RENEWAL, old=live, new=live + 1))]
                problems += found.consistent()
                assert problems == [], f"{left} bytes: {run}"
            codes.append(run.code)
            if run.code:
                assert "No space left on device" in why_failed(run, NAME)
                assert run.row(NAME)["why"].count("free some space") == 1
            # a failure that could not even be closed is told once more by the run that closes it
            recovered = driver.run(site, "rotate", "--all", "--json")
            if run.code and recovered.code:
                assert "nothing was changed" in why_failed(recovered, NAME)
                recovered = driver.run(site, "rotate", "--all", "--json")
            assert recovered.code == 0, f"{left} bytes: {run}, then {recovered}"
            assert list(found.settled()) == []
            found.forget_earlier()
    assert set(codes) == {0, 1}  # both ends of the range were met
    assert codes == sorted(codes, reverse=True)


def test_a_full_disk_costs_no_certificate(site: Site) -> None:
    """What cannot be stored is not asked for: the first check is as large as a generation."""
    before = site.generations(NAME)
    with Driver() as driver:
        driver.run(site, "rotate", "--all")
        with free(site.directory.parent, 4 * PAGE):
            run = driver.run(site, "rotate", "--all", "--force", "--json")
    assert "No space left on device" in why_failed(run, NAME)
    assert "preflight failed" in run.stderr
    assert "obtain" not in run.stderr
    assert site.generations(NAME) == before


def test_a_file_system_that_turned_read_only_is_said(site: Site) -> None:
    """The kernel's answer to a broken disk; the old certificate is served on."""
    disk = str(site.directory.parent)
    live = site.live(NAME)
    site.write()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    run = subprocess.run(
        site.command_line("rotate", "--all", "--force"), capture_output=True, text=True, check=False
    )
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert run.returncode == 1
    assert "Read-only file system" in run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    assert site.live(NAME) == live
    assert site.rotate("--force").row(NAME)["result"] == "done"
    assert list(Found(site).settled()) == []
