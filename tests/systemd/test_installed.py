"""What the documentation's commands leave on a machine, and what the user certrotd may do there."""

import re

from tests.systemd.machine import ROTATE, TIMER, UNIT, Machine


def test_the_service_is_hardened(machine: Machine) -> None:
    """What reads untrusted answers from a network holds the keys: it may do little else."""
    for unit in (UNIT, ROTATE):
        report = machine.run("systemd-analyze", "security", "--no-pager", unit)
        [exposure] = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", report)
        assert float(exposure) <= 1.5, report
    control = machine.run("systemd-analyze", "security", "--no-pager", "nginx.service")
    assert "UNSAFE" in control


def test_systemd_has_nothing_to_remark_about_the_units(machine: Machine) -> None:
    """A directive that systemd does not know is ignored, and protects nobody."""
    assert machine.run("systemd-analyze", "verify", UNIT, ROTATE, TIMER) == ""
    machine.drop_in("slip", "ProtectSystm=strict")
    assert "ProtectSystm" in machine.run("systemd-analyze", "verify", UNIT)


def test_the_user_and_its_directories_are_made(machine: Machine) -> None:
    """certrotd reads its configuration and cannot change it, and does not see the credentials."""
    assert machine.run("id", "--name", "--user", "certrotd").strip() == "certrotd"
    listed = machine.run("stat", "--format=%U:%G %a", "/etc/certrotd", "/etc/certrotd/credentials")
    assert listed.split("\n")[:2] == ["root:certrotd 750", "root:root 700"]
    machine.fails("ls", "/etc/certrotd/credentials", user="certrotd")
    machine.fails("touch", "/etc/certrotd/conf.d/more.yaml", user="certrotd")


def test_polkit_allows_one_verb_on_named_units(machine: Machine) -> None:
    """Whoever takes over certrotd can reload nginx, and neither stop it nor start anything."""
    ask = ("systemctl", "--no-ask-password")
    machine.run(*ask, "reload", "nginx.service", user="certrotd")
    for refused in (
        (*ask, "restart", "nginx.service"),
        (*ask, "stop", "nginx.service"),
        (*ask, "reload-or-restart", "nginx.service"),
        (*ask, "kill", "nginx.service"),
        (*ask, "reload", "dbus.service"),
        (*ask, "enable", "nginx.service"),
        (*ask, "daemon-reload"),
        ("systemd-run", "--no-ask-password", "true"),
    ):
        assert "auth" in machine.fails(*refused, user="certrotd").lower(), refused
    machine.fails(*ask, "reload", "nginx.service", user="nobody")
    assert machine.show("ActiveState", "nginx.service") == "active"


def test_installing_once_more_upgrades_the_units_and_keeps_what_was_added(machine: Machine) -> None:
    """A new version's units come in; drop-ins and the running service stay."""
    machine.configure()
    machine.systemctl("start", UNIT)
    machine.write(f"/etc/systemd/system/{UNIT}", "[Service]\nExecStart=/bin/false\n")
    machine.follow("install")
    machine.systemctl("try-restart", UNIT)
    assert machine.show("ActiveState") == "active"
    assert "paths.conf" in machine.show("DropInPaths")


def test_after_the_uninstall_nothing_is_left(machine: Machine) -> None:
    """Neither files, nor units, nor the user; copies that the configuration named stay."""
    machine.configure()
    machine.follow("root")
    machine.systemctl("start", UNIT)
    machine.systemctl("enable", "--now", TIMER)
    machine.until(lambda: machine.live() > 0)
    machine.run("cp", "-a", "/opt/certrotd", "/root/kept")
    try:
        machine.follow("uninstall")
        search = "find / /run -xdev -iname '*certrotd*' -not -path '/root/*'"
        assert machine.run("sh", "-c", search) == ""
        listed = machine.run("systemctl", "list-units", "--all", "--plain", "certrotd*")
        assert "0 loaded units" in listed
        machine.fails("id", "certrotd")
        assert machine.exists("/etc/nginx/tls/web.crt")
    finally:
        machine.run("mv", "/root/kept", "/opt/certrotd")
        machine.run("ln", "-sf", "/opt/certrotd/bin/certrotd", "/usr/local/bin/certrotd")
        machine.install()
