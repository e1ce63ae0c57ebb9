"""certrotd-rotate.timer instead of the daemon."""

from tests.systemd.machine import ROTATE, TIMER, Machine


def test_it_does_one_rotation(machine: Machine) -> None:
    """A host without a daemon: what is due is done, and the next run finds nothing to do."""
    machine.configure()
    soon = ("OnCalendar=", "OnActiveSec=1s", "RandomizedDelaySec=0", "AccuracySec=100ms")
    machine.drop_in("soon", *soon, unit=TIMER, section="Timer")
    machine.systemctl("start", TIMER)
    machine.until(lambda: machine.live() == 1)
    machine.wait("ActiveState", "inactive", ROTATE)
    assert machine.show("Result", ROTATE) == "success"
    leaf = machine.leaf()
    assert machine.serves(leaf)
    assert machine.run("sh", "-c", "find /var/lib/certrotd ! -user certrotd") == ""

    machine.systemctl("start", ROTATE)
    assert (machine.generations(), machine.leaf()) == ([1], leaf)


def test_a_rotation_that_fails_is_a_failed_unit(machine: Machine) -> None:
    """Without a daemon to ask, systemctl --failed is where an operator looks."""
    machine.configure()
    machine.systemctl("stop", "pebble.service")
    machine.fails("systemctl", "start", ROTATE)
    assert ROTATE in machine.run("systemctl", "--failed", "--plain", "--no-legend")
    assert "127.0.0.1:14000" in machine.log(ROTATE)


def test_it_runs_every_hour_at_a_minute_of_its_own(machine: Machine) -> None:
    """A thousand machines must not ask the authority in the same second."""
    machine.systemctl("start", TIMER)
    [line] = machine.run("systemctl", "list-timers", "--plain", "--no-legend", TIMER).splitlines()
    assert ROTATE in line
    assert machine.show("RandomizedDelayUSec", TIMER) == "30min"
    assert machine.show("Persistent", TIMER) == "yes"
    assert machine.show("FixedRandomDelay", TIMER) == "yes"
