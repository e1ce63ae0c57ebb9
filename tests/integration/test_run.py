"""The daemon as its users run it: it obtains, reloads, stops, and makes room for others."""

import json
import signal
import subprocess
import sys
from pathlib import Path

from tests.integration.daemon import HOST, OTHER, reload, running, stop
from tests.parts import Bind, Parts, Pebble, Resolver
from tests.parts.process import free_port, wait_until
from tests.parts.site import Site, exposed_keys, orders


def test_the_daemon_obtains_a_missing_certificate_and_nginx_serves_it(
    parts: Parts, acme_site: Site, ca: Pebble, zones: tuple[Bind, Resolver]
) -> None:
    """From a configuration to nginx serving a certificate, without anybody asking for it."""
    site, spent = acme_site, orders(ca)
    site.certificate("web", HOST, f"*.{HOST}")
    nginx = site.serve(parts, {HOST: "web"})
    site.certificate("www", OTHER)
    old = site.leaf("web")
    site.config["certificates"][0]["key"] = "ecdsa-p384"  # a reason to renew
    with running(site) as daemon:
        daemon.wait_for("www: done")
        wait_until(lambda: nginx.served(HOST) == site.leaf("web") != old)
        wait_until(lambda: site.status("web")["state"] == "ok")
        assert site.status("www")["decision"] == "wait"
        ended = stop(daemon)
    assert (ended.code, ended.lines[-1]) == (0, "certrotd: stopped")
    assert orders(ca) == spent + 3
    assert zones[0].txt(f"_acme-challenge.{HOST}") == set()
    assert (site.leftovers(), exposed_keys(site.directory)) == ([], [])
    kept = json.loads((site.state / "clock.json").read_bytes())
    assert kept["version"] == 1


def test_a_bad_certificate_is_reported_and_the_rest_runs(site: Site) -> None:
    """A typo in one entry at start must not take the others down with it."""
    site.internal()
    site.certificate("web", HOST)
    site.certificate("bad", "not a name")
    with running(site) as daemon:
        daemon.wait_for("web: done")
        ended = stop(daemon)
    assert f"skipped: {site.path}:" in ended.stderr
    assert "certificates[bad].names[0]: " in ended.stderr
    assert site.generation("web") == 1


def test_a_broken_file_at_reload_keeps_the_old_configuration(site: Site) -> None:
    """systemctl reload after a slip of the editor, with the place of the slip."""
    site.internal()
    site.certificate("web", HOST)
    with running(site) as daemon:
        daemon.wait_for("web: done")
        site.certificate("www", OTHER)
        site.config["concurency"] = 1
        reload(site, daemon)
        daemon.wait_for(f"not reloaded: {site.path}:")
        assert not (site.store / "www").exists()

        del site.config["concurency"]
        reload(site, daemon)  # the control: mended, it is taken
        daemon.wait_for("reloaded: 2 certificates")
        daemon.wait_for("www: done")

        site.config["state_dir"] = str(site.directory / "elsewhere")
        reload(site, daemon)
        daemon.wait_for("state_dir changed: restart certrotd")
        site.config["state_dir"] = str(site.state)
    assert (site.generation("web"), site.generation("www")) == (1, 1)
    assert not (site.directory / "elsewhere").exists()


def test_a_rotation_in_flight_ends_under_the_old_configuration(site: Site) -> None:
    """What was begun for a target is not left half-way because the target was renamed."""
    site.internal()
    entry = site.certificate("web", HOST, targets=["slow"])
    gate = site.gate("slow")
    with running(site) as daemon:
        gate.wait()
        entry["targets"] = []
        site.config["targets"] = {}
        site.certificate("www", OTHER)
        reload(site, daemon)
        daemon.wait_for("reloaded: 2 certificates")
        assert not (site.store / "www").exists()  # one configuration at a time
        gate.open()
        daemon.wait_for("web: record done")
        daemon.wait_for("www: done")
    assert (site.generations("web"), site.leftovers()) == ([1], [])


def test_a_second_one_says_who_is_there(site: Site) -> None:
    """Two daemons on one state directory would only be in each other's way."""
    site.internal()
    site.certificate("daemon", HOST)  # a name that is nobody's lock but its own
    with running(site) as daemon:
        daemon.wait_for("daemon: done")
        second = site.run("run")
        assert second.code == 1
        assert f"is in use by process {daemon.pid} (certrotd run, since" in second.stderr
        assert len(second.lines) == 1
    with running(site):
        pass  # the control: when the first is gone there is room


def test_a_wrong_configuration_at_start_ends_it(site: Site) -> None:
    """There is no old one to keep."""
    site.config["concurrency"] = 0
    ended = site.run("run")
    assert ended.code == 2
    assert f"{site.path}:" in ended.stderr


def test_a_stop_during_a_rotation_leaves_a_complete_pair(parts: Parts, site: Site) -> None:
    """systemctl stop at the worst moment: the old pair is back, and proven."""
    site.internal()
    entry = site.certificate("web", HOST)
    site.rotate()
    nginx = site.pinned(parts, "web", HOST)  # the proof takes its time
    entry["key"] = "ecdsa-p384"
    with running(site) as daemon:
        daemon.wait_for("web: apply done")
        assert site.generation("web") == 2
        ended = stop(daemon)
    assert ended.code == 0
    assert "stopping: finishing or undoing web" in ended.stderr
    assert "web: stopped: prove" in ended.stderr
    assert nginx.served(HOST) == site.leaf("web") == site.leaf("web", 1)
    assert (site.generations("web"), site.leftovers()) == ([1, 2], [])
    assert site.status("web")["failures"] == 0
    assert site.status("web")["decision"] == "deploy"  # at once: there is nothing to wait for


def test_a_rotation_that_does_not_end_in_time_is_left_to_the_next_start(site: Site) -> None:
    """A supervisor kills who does not go; better to say what was left, and go."""
    site.internal()
    entry = site.certificate("web", HOST)
    site.rotate()
    gate = site.gate("slow")
    entry["targets"] = ["slow"]
    site.write()
    impatient = (
        "import sys; from pathlib import Path; from certrotd.cli.run import write;"
        "import certrotd.daemon.run as daemon; daemon.END = 0.3;"
        "sys.exit(daemon.run(Path(sys.argv[1]), write))"
    )
    command = [sys.executable, "-c", impatient, str(site.path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    gate.wait()
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    gate.open()
    assert process.returncode == 1
    assert "stopped before web ended: the next start continues" in stderr
    assert site.status("web")["state"] == "in flight"
    with running(site) as daemon:
        daemon.wait_for("web: done")
    assert site.leftovers() == []


def test_a_restart_continues_with_the_same_order(
    acme_site: Site, ca: Pebble, zones: tuple[Bind, Resolver]
) -> None:
    """A restart of the machine in the middle of an order costs no order."""
    site, (bind, resolver) = acme_site, zones
    site.certificate("web", HOST)
    spent = orders(ca)
    nowhere = f"127.0.0.1:{free_port('both')}"
    site.dns(resolver, port=bind.port, servers=[nowhere], timeout="60s")
    with running(site) as daemon:
        daemon.wait_for("web: order done")
        wait_until(lambda: len(bind.txt(f"_acme-challenge.{HOST}")) == 1)
        ended = stop(daemon)
    assert "told to stop" in ended.stderr
    assert bind.txt(f"_acme-challenge.{HOST}") == set()
    site.dns(resolver, port=bind.port)
    with running(site) as daemon:
        daemon.wait_for("web: done")
    assert (orders(ca), site.generations("web"), site.leftovers()) == (spent + 1, [1], [])


def test_rotate_beside_it_shares_the_locks(site: Site) -> None:
    """A person at a shell and the daemon: one rotates, the other says who."""
    site.internal()
    entry = site.certificate("web", HOST)
    site.rotate()
    gate = site.gate("slow")
    entry["targets"] = ["slow"]
    with running(site) as daemon:
        gate.wait()
        refused = site.run("rotate", "web", "--force", "--wait", "0s")
        assert refused.code == 1
        assert f"by process {daemon.pid} (certrotd run" in refused.stdout
        gate.open()
        daemon.wait_for("web: done")
        site.rotate("web", "--force")
        assert site.generation("web") == 2


def test_a_budget_holds_orders_back_across_a_restart(acme_site: Site, ca: Pebble) -> None:
    """A crash loop must not order without end; rotate by hand is counted, and not refused."""
    site, spent = acme_site, orders(ca)
    site.config["issuers"]["ca"]["budget"] = {"orders": 1, "per": "1h"}
    site.certificate("web", HOST)
    site.certificate("www", OTHER)
    for _ in range(2):
        with running(site) as daemon:
            daemon.wait_for("orders of the account: 1 in 1 hours")
            wait_until((site.store / "web" / "live").exists)
    assert orders(ca) == spent + 1
    site.rotate("www")
    kept: dict[str, dict[str, list[float]]]
    kept = json.loads((Path(site.state) / "budget" / "ca.json").read_bytes())
    assert orders(ca) == spent + 2
    assert len(kept["stamps"]["orders"]) == 1  # of so many no more need to be remembered


def test_a_clock_behind_the_last_run_stops_orders_and_is_reported(site: Site) -> None:
    """A machine that starts in 1970 asks no CA for anything."""
    site.internal()
    site.state.mkdir()
    late = {"version": 1, "last_run": "2100-01-01T00:00:00+00:00"}
    (site.state / "clock.json").write_text(json.dumps(late))
    site.certificate("web", HOST)
    with running(site) as daemon:
        daemon.wait_for("which is before the last run (2100-01-01 00:00Z)")
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("reloaded: 1 certificate")
    assert not (site.store / "web").exists()
    (site.state / "clock.json").unlink()
    with running(site) as daemon:
        daemon.wait_for("web: done")
