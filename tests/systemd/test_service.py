"""certrotd.service as systemd starts, reloads, watches and stops it."""

import time

from tests.systemd.machine import HOST, NGINX_TLS, UNIT, Machine

HOOK = """#!/bin/sh
trap 'touch /srv/seen/interrupted' TERM
touch /srv/seen/begun
n=0
while [ ! -e /srv/seen/go ] && [ $n -lt 3000 ]; do sleep 0.1; n=$((n + 1)); done
"""


def internal(machine: Machine) -> None:
    """A certificate from certrotd's own authority, without a target."""
    machine.config["issuers"] = {"ca": {"type": "internal"}}
    machine.config["certificates"] = [{"name": "web", "names": [HOST]}]
    machine.configure()


def seen_by(machine: Machine) -> None:
    """A directory that programs of the service may write to."""
    machine.run("install", "-d", "-o", "certrotd", "/srv/seen")
    machine.drop_in("seen", "ReadWritePaths=/srv/seen")


def test_from_start_to_a_served_certificate_as_its_own_user(machine: Machine) -> None:
    """The whole way: ordered at Pebble, proven by DNS, installed, nginx reloaded by systemctl."""
    machine.configure()
    old = machine.served()
    machine.systemctl("start", UNIT)
    assert machine.show("ActiveState") == "active"
    machine.until(lambda: machine.live() == 1)
    leaf = machine.leaf()
    assert machine.serves(leaf)
    assert machine.pair(f"{NGINX_TLS}/web.key", f"{NGINX_TLS}/web.crt") == leaf != old
    assert "Pebble" in leaf.issuer.rfc4514_string()
    pid = machine.show("MainPID")
    assert machine.run("stat", "--format=%U", f"/proc/{pid}").strip() == "certrotd"
    machine.until(lambda: machine.show("StatusText").startswith("1 certificate, next due "))
    assert machine.run("sh", "-c", "find /var/lib/certrotd ! -user certrotd") == ""


def test_root_rotates_by_hand_and_the_service_goes_on(machine: Machine) -> None:
    """sudo certrotd rotate leaves nothing that the service's user cannot change."""
    internal(machine)
    machine.systemctl("start", UNIT)
    machine.until(lambda: machine.live() == 1)
    machine.run("/opt/certrotd/bin/certrotd", "rotate", "web", "--force")
    assert machine.live() == 2
    assert machine.run("sh", "-c", "find /var/lib/certrotd ! -user certrotd") == ""
    machine.run("/opt/certrotd/bin/certrotd", "rotate", "web", "--force", user="certrotd")
    assert machine.live() == 3

    machine.run("chown", "root:", "/var/lib/certrotd/audit/head.json")
    wrong = "nothing can rotate: /var/lib/certrotd/audit/head.json belongs to root"
    machine.until(lambda: machine.show("StatusText").startswith(wrong))
    machine.run("chown", "certrotd:", "/var/lib/certrotd/audit/head.json")
    machine.until(lambda: machine.show("StatusText").startswith("1 certificate"))


def test_it_is_active_only_when_ready(machine: Machine) -> None:
    """What is ordered after certrotd must not start on certificates nobody has looked at."""
    internal(machine)
    # it stops itself before it can have looked at anything
    program = "exec /opt/certrotd/bin/certrotd run"
    machine.drop_in("stopped", "ExecStart=", f"ExecStart=/bin/sh -c 'kill -STOP $$$$; {program}'")
    machine.systemctl("start", "--no-block", UNIT)
    machine.until(
        lambda: (
            "(stopped)"
            in machine.run("cat", f"/proc/{machine.show('MainPID')}/status", check=False)
        )
    )
    assert machine.show("ActiveState") == "activating"
    machine.systemctl("kill", "--signal=CONT", UNIT)
    machine.wait("ActiveState", "active")


def test_a_configuration_that_is_wrong_ends_the_start(machine: Machine) -> None:
    """systemctl start says so at once, instead of trying the same every five seconds."""
    internal(machine)
    machine.write("/etc/certrotd/config.yaml", "issuers: {ca: {type: intern}}\n")
    machine.fails("systemctl", "start", UNIT)
    assert machine.show("ExecMainStatus") == "2"
    assert machine.show("ActiveState") == "failed"
    assert machine.show("NRestarts") == "0"
    assert "/etc/certrotd/config.yaml:1: issuers.ca.type: " in machine.log()


def test_a_reload_of_a_broken_file_keeps_the_old_configuration(machine: Machine) -> None:
    """The status says where and what, for as long as the file is wrong."""
    internal(machine)
    machine.systemctl("start", UNIT)
    machine.until(lambda: machine.live() == 1)
    pid = machine.show("MainPID")
    machine.config["certificates"].append({"name": "www", "names": [f"www.{HOST}"]})
    machine.config["concurency"] = 1
    machine.configure()
    machine.systemctl("reload", UNIT)
    wrong = "configuration not reloaded: /etc/certrotd/config.yaml:"
    machine.until(lambda: machine.show("StatusText").startswith(wrong))
    machine.wait("ActiveState", "active")
    time.sleep(3)
    status = machine.show("StatusText")
    assert status.startswith(wrong)
    assert "concurency" in status
    assert "; 1 certificate" in status
    assert machine.generations("www") == []

    del machine.config["concurency"]
    machine.configure()
    machine.systemctl("reload", UNIT)
    machine.until(lambda: machine.live("www") == 1)
    machine.until(lambda: machine.show("StatusText").startswith("2 certificates"))
    assert (machine.show("MainPID"), machine.show("ActiveState")) == (pid, "active")


def test_what_hangs_is_killed_and_started_again(machine: Machine) -> None:
    """A stopped process answers nobody; systemd notices by the missing signs of life."""
    internal(machine)
    machine.drop_in("watch", "WatchdogSec=5s", "RestartSec=100ms")
    machine.systemctl("start", UNIT)
    pid = machine.show("MainPID")
    time.sleep(7)
    assert (machine.show("MainPID"), machine.show("NRestarts")) == (pid, "0")
    machine.run("kill", "-STOP", pid)
    machine.wait("NRestarts", "1")
    machine.wait("ActiveState", "active")
    assert machine.show("MainPID") != pid
    assert "Watchdog timeout" in machine.log()


def test_a_stop_in_the_middle_of_a_rotation_leaves_a_whole_pair(machine: Machine) -> None:
    """What a rotation runs is not interrupted, and the service serves one pair or the other."""
    machine.configure()
    machine.systemctl("start", UNIT)
    machine.until(lambda: machine.live() == 1)
    old = machine.leaf()
    machine.until(lambda: "rotating" not in machine.show("StatusText"))
    seen_by(machine)
    machine.write("/srv/hook", HOOK, mode="0755")
    machine.config["targets"]["slow"] = {"type": "command", "command": ["/srv/hook"]}
    entry = machine.config["certificates"][0]
    entry |= {"targets": ["nginx", "slow"], "key": "ecdsa-p384"}
    machine.configure()
    machine.systemctl("restart", UNIT)
    machine.until(lambda: machine.exists("/srv/seen/begun"))
    machine.systemctl("stop", "--no-block", UNIT)
    machine.wait("ActiveState", "deactivating")
    words = "stopping: finishing or undoing web"
    machine.until(lambda: machine.show("StatusText").startswith(words))
    time.sleep(1)
    assert machine.show("ActiveState") == "deactivating"
    machine.run("touch", "/srv/seen/go")
    machine.wait("ActiveState", "inactive")
    assert machine.show("Result") == "success"
    assert not machine.exists("/srv/seen/interrupted")
    leaf = machine.leaf()
    assert machine.pair(f"{NGINX_TLS}/web.key", f"{NGINX_TLS}/web.crt") == leaf
    assert machine.serves(leaf)

    machine.certrotd("rotate", "web")  # by hand, so that nothing is postponed
    assert machine.generations() == [1, 2]
    assert machine.leaf() != old
    assert machine.serves(machine.leaf())


def test_a_stop_during_the_order_leaves_the_old_pair(machine: Machine) -> None:
    """Before anything was swapped, an interrupted rotation has changed nothing."""
    machine.configure()
    machine.systemctl("start", UNIT)
    machine.until(lambda: machine.live() == 1)
    old = machine.leaf()
    nowhere = {"servers": ["127.0.0.1:5399"], "timeout": "60s"}
    machine.config["dns"]["propagation"] = nowhere
    machine.config["certificates"][0]["key"] = "ecdsa-p384"
    machine.configure()
    machine.systemctl("reload", UNIT)
    machine.until(lambda: machine.log().count("web: order done") == 2)
    machine.wait("StatusText", "1 certificate, rotating web")
    machine.systemctl("stop", UNIT)
    assert machine.show("Result") == "success"
    assert "web: authorize paused" in machine.log()
    assert machine.leaf() == old
    assert machine.serves(old)

    del machine.config["dns"]["propagation"]["timeout"]
    machine.config["dns"]["propagation"]["servers"] = ["127.0.0.1:5353"]
    machine.configure()
    machine.systemctl("start", UNIT)
    machine.until(lambda: machine.live() == 2)
    assert machine.generations() == [1, 2]
    assert machine.leaf() != old
    assert machine.log().count("web: order done") == 2  # it went on with the order it had


def test_a_credential_reaches_what_needs_it_and_nobody_else(machine: Machine) -> None:
    """The secret is root's; systemd hands it over, and certrotd to the program it is for."""
    internal(machine)
    machine.write("/etc/certrotd/credentials/api", "t0p-s3cret\n", mode="0600")
    machine.fails("cat", "/etc/certrotd/credentials/api", user="certrotd")
    seen_by(machine)
    hook = '#!/bin/sh\ncd /srv/seen\nenv > environment\nprintf %s "$TOKEN" > new\nmv new token\n'
    machine.write("/srv/hook", hook, mode="0755")
    environment = {"TOKEN": {"credential": "api"}}
    machine.config["targets"] = {
        "told": {"type": "command", "command": ["/srv/hook"], "environment": environment}
    }
    machine.config["certificates"][0]["targets"] = ["told"]
    machine.configure()
    machine.drop_in("secret", "LoadCredential=api:/etc/certrotd/credentials/api")
    machine.systemctl("start", UNIT)
    machine.until(lambda: machine.exists("/srv/seen/token"))
    assert machine.read("/srv/seen/token") == "t0p-s3cret"
    assert "NOTIFY_SOCKET" not in machine.read("/srv/seen/environment")
    assert "t0p-s3cret" not in machine.log()

    # a shell has none, but by systemd-run
    name = machine.config["certificates"][0]["name"]
    program = ("/opt/certrotd/bin/certrotd", "rotate", name, "--force")
    machine.fails(*program, user="certrotd")
    machine.run("rm", "-f", "/srv/seen/token")
    own = ("-p", "User=certrotd", "-p", "LoadCredential=api:/etc/certrotd/credentials/api")
    machine.run("systemd-run", "--pipe", "--wait", *own, *program)
    assert machine.read("/srv/seen/token") == "t0p-s3cret"

    # the control: without it, the log and the status say what is missing
    machine.run("rm", f"/etc/systemd/system/{UNIT}.d/secret.conf")
    machine.systemctl("daemon-reload")
    machine.config["certificates"] = [
        {"name": "www", "names": [f"www.{HOST}"], "targets": ["told"]}
    ]
    machine.configure()
    machine.systemctl("restart", UNIT)
    machine.until(lambda: "failing (www)" in machine.show("StatusText"))
    assert "LoadCredential=api:PATH" in machine.log()


def test_a_rotation_by_hand_shows_in_the_status_line_at_once(machine: Machine) -> None:
    """Whoever mends what failed looks at systemctl status next, not after the daemon's backoff."""
    machine.systemctl("stop", "pebble.service")
    machine.configure()
    machine.systemctl("start", UNIT)
    machine.until(lambda: "failing (web)" in machine.show("StatusText"))
    machine.systemctl("start", "pebble.service")
    machine.certrotd("rotate", "web")
    machine.until(
        lambda: machine.show("StatusText").startswith("1 certificate, next due "), within=5.0
    )
    assert machine.live() == 1


def test_root_mode_tests_and_signals_nginx_itself(machine: Machine) -> None:
    """For targets that only root may touch; the same units, one file more."""
    machine.run("sh", "-c", "! runuser -u certrotd -- nginx -t")  # why there is this mode
    machine.config["targets"]["nginx"] = {
        "type": "nginx",
        "probe": machine.config["targets"]["nginx"]["probe"],
    }
    machine.configure()
    machine.follow("root")
    machine.until(lambda: machine.live() == 1)
    assert machine.serves(machine.leaf()), machine.log()
    pid = machine.show("MainPID")
    assert machine.run("stat", "--format=%U", f"/proc/{pid}").strip() == "root"

    machine.run("rm", f"/etc/systemd/system/{UNIT}.d/root.conf")
    machine.systemctl("daemon-reload")
    machine.systemctl("restart", UNIT)
    machine.until(lambda: machine.show("StatusText").startswith("1 certificate, next due "))
    assert machine.run("sh", "-c", "find /var/lib/certrotd ! -user certrotd") == ""
