"""The daemon on bad days: what is wrong is said, the rest goes on, and nothing is lost."""

import json
import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from certrotd.state.records import decode, encode
from tests.integration.daemon import HOST, OTHER, reload, running, stop
from tests.integration.test_small_disk import Disk, disk, fill
from tests.parts import locate
from tests.parts.process import wait_until
from tests.parts.site import Site, Started

__all__ = ["disk"]  # a fixture


def entry_on(site: Site, place: Path) -> None:
    """The site keeps its state in a place of its own."""
    site.state = place / "state"
    site.store = site.state / "certificates"
    site.config["state_dir"] = str(site.state)


def test_a_disk_that_fills_up_under_it_is_reported_and_costs_nothing(
    site: Site, disk: Disk
) -> None:
    """Nothing begins, and one line says why; with room again it goes on, without a restart."""
    place = disk(400)
    entry_on(site, place)
    site.internal()
    entry = site.certificate("web", HOST)
    with running(site) as daemon:
        daemon.wait_for("web: done")
        old = site.leaf("web")
        filler = fill(place, leave=0)
        entry["key"] = "ecdsa-p384"
        reload(site, daemon)
        assert "No space left on device" in daemon.wait_for("the disk: ")
        assert site.leaf("web") == old
        filler.unlink()
        daemon.wait_for("the disk: the problem is over", "web: done")
        assert site.leaf("web") != old
        assert daemon.is_over is False
    assert (site.generations("web"), site.leftovers()) == ([1, 2], [])


def test_a_disk_that_becomes_read_only_under_it(site: Site, disk: Disk) -> None:
    """What ext4 does after an error: the old pair stays, and whoever mends it needs no restart."""
    place = disk(1000)
    site.store = place / "certificates"
    site.config["store_dir"] = str(site.store)
    site.internal()
    entry = site.certificate("web", HOST)
    mount = str(locate.require("mount"))
    with running(site) as daemon:
        daemon.wait_for("web: done")
        old = site.leaf("web")
        subprocess.run([mount, "-o", "remount,ro", str(place)], check=True)
        entry["key"] = "ecdsa-p384"
        reload(site, daemon)
        said = daemon.wait_for("on a file system that is mounted read-only: nothing rotates")
        assert f"mount -o remount,rw {site.store}" in said
        assert site.leaf("web") == old
        subprocess.run([mount, "-o", "remount,rw", str(place)], check=True)
        daemon.wait_for("the directories: the problem is over")
        wait_until(lambda: site.leaf("web") != old)
        assert not daemon.is_over
    assert (site.generations("web"), site.leftovers()) == ([1, 2], [])


def test_a_state_directory_that_is_gone_is_no_reason_to_order_everything_anew(site: Site) -> None:
    """An unmounted file system looks like a host without certificates."""
    site.internal()
    site.certificate("web", HOST)
    away = site.directory / "away"
    with running(site) as daemon:
        daemon.wait_for("web: done")
        site.state.rename(away)
        daemon.wait_for(f"{site.state} is gone: nothing rotates")
        site.state.mkdir()
        reload(site, daemon)  # which looks at everything
        daemon.wait_for("reloaded: 1 certificate")
        assert list(site.state.iterdir()) == []
        shutil.rmtree(site.state)
        away.rename(site.state)
        daemon.wait_for("the directories: the problem is over")
        reload(site, daemon)
        daemon.wait_for("reloaded: 1 certificate")
        wait_until(lambda: site.status("web")["state"] == "ok")
    assert site.generations("web") == [1]


def limit_files(daemon: Started, count: int) -> None:
    """So many file descriptors for the process from now on."""
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (count, 4096))


def test_without_file_descriptors_it_says_so_and_continues_when_there_are_some(site: Site) -> None:
    """A leak elsewhere in the process must not end in a daemon that is silent for ever."""
    site.internal()
    entry = site.certificate("web", HOST)
    with running(site) as daemon:
        daemon.wait_for("web: done")
        entry["key"] = "ecdsa-p384"
        site.certificate("www", OTHER)
        site.write()
        limit_files(daemon, 3)  # whatever is open stays so
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("Too many open files")
        assert site.generations("web") == [1]
        limit_files(daemon, 1024)
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("reloaded: 2 certificates")
        wait_until(lambda: (site.store / "www" / "live").exists())
        wait_until(lambda: site.generations("web") == [1, 2] and not site.leftovers())


def test_a_solver_that_hangs_holds_up_nobody_else(acme_site: Site) -> None:
    """One provider's outage on the night ten others are due."""
    site = acme_site
    begun, go = site.directory / "begun", site.directory / "go"
    hooks = {
        "stuck": (f"touch {begun}; while [ ! -e {go} ]; do sleep 0.05; done; exit 1", "2m"),
        "slow": ("exec sleep 60", "1s"),
    }
    for name, (script, timeout) in hooks.items():
        hook = site.directory / f"{name}.sh"
        hook.write_text(f"#!/bin/sh\n{script}\n")
        hook.chmod(0o755)
        site.config["solvers"][name] = {"type": "exec", "command": [str(hook)], "timeout": timeout}
    site.certificate("hung", OTHER, solver="stuck")
    site.certificate("late", f"late.{HOST}", solver="slow")
    site.certificate("web", HOST, solver="dns")
    site.config["concurrency"] = 3
    with running(site) as daemon:
        daemon.wait_for("web: done", "late: failed: ")
        wait_until(begun.exists)
        assert not (site.store / "hung" / "live").exists()
        go.touch()
        daemon.wait_for("hung: failed: ")
        ended = stop(daemon)
    assert "did not end within 1s" in ended.stderr
    assert site.leftovers() == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "clock.json is not what certrotd wrote"),
        ("[" * 4_000, "clock.json is not what certrotd wrote"),
        ("[" * 100_000, "clock.json is not what certrotd wrote"),
        ('{"version": 9, "last_run": "2026-01-01T00:00:00+00:00"}', "clock.json is not what"),
    ],
)
def test_a_state_file_of_something_else_is_kept_aside(site: Site, content: str, said: str) -> None:
    """Damaged, or by a newer version: looked at by somebody later, and no reason to stand still."""
    site.internal()
    site.certificate("web", HOST)
    site.state.mkdir()
    (site.state / "clock.json").write_text(content)
    with running(site) as daemon:
        daemon.wait_for("web: done")
        ended = stop(daemon)
    assert said in ended.stderr
    assert (site.state / "clock.json.unreadable").read_text() == content
    assert json.loads((site.state / "clock.json").read_text())["version"] == 1


def test_a_damaged_state_of_a_certificate_does_not_keep_it_from_being_renewed(site: Site) -> None:
    """At three in the morning nobody is there to remove it: it is kept aside, said, and gone on."""
    site.internal()
    site.certificate("web", HOST)
    site.rotate()
    state = site.store / "web" / "state.json"
    state.write_bytes(b"{half")
    site.config["certificates"][0]["key"] = "ecdsa-p384"
    with running(site) as daemon:
        daemon.wait_for("web: done")
        ended = stop(daemon)
    assert ended.stderr.count(f"{state} is not a state that certrotd wrote: kept as {state}") == 1
    assert site.generations("web") == [1, 2]
    assert [each.read_bytes() for each in state.parent.glob("*.unreadable-*")] == [b"{half"]


def test_a_rollback_by_hand_survives_a_damaged_state_file(site: Site) -> None:
    """The history remembers: nobody's decision is undone by a broken file."""
    site.internal()
    site.certificate("web", HOST)
    site.rotate()
    site.rotate("--force", "web")
    site.run("rollback", "web")
    (site.store / "web" / "state.json").write_bytes(b"{half")
    with running(site) as daemon:
        daemon.wait_for("web: done")
        stop(daemon)
    assert (site.generation("web"), site.generations("web")) == (1, [1, 2])


def test_a_journal_of_a_newer_version_is_refused_and_left_as_it_is(site: Site) -> None:
    """A downgrade in mid-rotation: what is in flight is not guessed at; the others go on."""
    site.internal()
    site.certificate("web", HOST)
    site.certificate("www", OTHER)
    site.rotate()
    hang = site.directory / "begun"
    site.command("slow", f"touch {hang}\nsleep 30")
    site.config["certificates"][0].update(targets=["slow"], key="ecdsa-p384")
    daemon = site.start("run")
    wait_until(hang.exists)
    os.kill(daemon.pid, signal.SIGKILL)
    daemon.end()
    journal = site.state / "journal/certificate/web.jsonl"
    begin, *rest = decode(journal.read_bytes(), what="web")[0]
    begin["plan"] = [{"kind": "of-the-future", "intent": {}}, *list(begin["plan"])[1:]]
    newer = b"".join(encode(each) for each in (begin, *rest))
    journal.write_bytes(newer)
    site.config["certificates"][1]["key"] = "ecdsa-p384"
    with running(site) as again:
        again.wait_for("web: failed: the rotation in flight cannot be understood")
        wait_until(lambda: site.generations("www") == [1, 2])
    assert journal.read_bytes() == newer
    assert site.leaf("web") is not None


def test_a_bad_certificate_of_a_thousand_does_not_stop_the_others(site: Site) -> None:
    """At the start it is left out and said, and the rest runs; at a reload the old ones stay."""
    site.internal()
    for number in range(998):
        site.certificate(f"idle{number}", f"h{number}.example.test", enabled=False)
    web = site.certificate("web", HOST)
    bad = site.certificate("bad", "not a name")
    with running(site) as daemon:
        daemon.wait_for("web: done")
        web["key"] = "ecdsa-p384"
        reload(site, daemon)
        daemon.wait_for("not reloaded:")
        assert site.generations("web") == [1]
        bad["names"] = [OTHER]
        reload(site, daemon)
        daemon.wait_for("reloaded: 1,000 certificates")
        wait_until(lambda: site.generations("web") == [1, 2])
        ended = stop(daemon)
    assert ended.stderr.count("skipped: ") == 1


def test_configurations_of_the_past_take_no_memory(site: Site) -> None:
    """Whatever writes it may reload it every minute, for months."""
    site.internal()
    for number in range(2000):
        site.certificate(f"c{number}", f"c{number}.test")["enabled"] = False

    def memory(daemon: Started) -> int:
        status = Path(f"/proc/{daemon.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) // 1024

    with running(site) as daemon:
        sizes = []
        for _ in range(20):
            daemon.signal(signal.SIGHUP)
            daemon.wait_for("reloaded: 2,000 certificates")
            time.sleep(0.2)
            sizes.append(memory(daemon))
    assert sizes[-1] - sizes[2] < 5, str(sizes)


def test_a_log_nobody_reads_any_more_stops_nothing(site: Site) -> None:
    """The pipe to a log collector that died."""
    site.internal()
    site.certificate("web", HOST)
    read, write = os.pipe()
    site.write()
    daemon = subprocess.Popen(site.command_line("run"), stderr=write)
    os.close(write)
    os.close(read)
    wait_until(lambda: (site.store / "web" / "live").exists())
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(60) == 0


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_have_no_file_take_their_place(site: Site, closed: str) -> None:
    """The next file that is opened would get the number 2, and every line of the log."""
    site.internal()
    site.certificate("web", HOST)
    site.write()
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", *site.command_line("run")]
    daemon = subprocess.Popen(command)
    wait_until(lambda: (site.store / "web" / "live").exists())
    streams = {Path(f"/proc/{daemon.pid}/fd/{number}").resolve() for number in (0, 1, 2)}
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(60) == 0
    assert not [each for each in streams if each.is_relative_to(site.directory)]
    written = [each for each in site.state.rglob("*") if each.is_file()]
    assert not [each for each in written if b"certrotd: started" in each.read_bytes()]
