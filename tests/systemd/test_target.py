"""Targets ``systemd`` and ``signal`` tell units of a real systemd, with the rights they have."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from certrotd import errors
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.pki.facts import fingerprint
from tests.builders import OLD
from tests.contract.test_targets import Bench, TargetClaims
from tests.parts import pki
from tests.systemd.machine import NGINX_TLS, Machine

NGINX, PEBBLE, OWN = "nginx.service", "pebble.service", "own.service"

# as the daemon does it: from an entry of the configuration to the target
_ACT = """
import importlib, json, pathlib, sys
import pydantic
from certrotd.clock import SystemClock
from certrotd.config.context import Context
from certrotd.config.targets import TargetEntry
from certrotd.errors import Failure

entry, act = json.loads(sys.argv[1]), sys.argv[2]
built = importlib.import_module(f"certrotd.targets.{entry['type']}").build(
    pydantic.TypeAdapter(TargetEntry).validate_python(entry),
    Context("it", pathlib.Path("/nowhere"), SystemClock()),
)
try:
    getattr(built, act)()
except Failure as failure:
    print(json.dumps([type(failure).__name__, failure.message, failure.hint]))
else:
    print("null")
"""


@dataclass(frozen=True)
class Within:
    """A target that acts in the machine, as a user of it."""

    machine: Machine
    entry: dict[str, Any]
    user: str = "root"

    def check(self) -> None:
        self._do("check")

    def apply(self) -> None:
        self._do("apply")

    def _do(self, act: str) -> None:
        python = ("/opt/certrotd/bin/python", "-I", "-c", _ACT, json.dumps(self.entry), act)
        failed = json.loads(self.machine.run(*python, user=self.user).splitlines()[-1])
        if failed is not None:
            kind, message, hint = failed
            raise {"NeedsOperator": NeedsOperator, "Transient": Transient}.get(
                kind, getattr(errors, kind, Failure)
            )(message, hint=hint)


def unit(machine: Machine, name: str = NGINX, *, user: str = "root", **options: str) -> Within:
    """A target of type ``systemd``."""
    return Within(machine, {"type": "systemd", "unit": name, **options}, user)


def bench_of(machine: Machine, target: Within, *, hears: bool) -> Bench:
    """The machine's nginx, serving OLD, told by that target."""

    def put(pair: pki.Pair) -> None:
        machine.write(f"{NGINX_TLS}/web.key", pair.key_pem, owner="certrotd", mode="0600")
        machine.write(f"{NGINX_TLS}/web.crt", pair.fullchain_pem, owner="certrotd")

    def put_garbage() -> None:
        machine.write(f"{NGINX_TLS}/web.crt", "garbage", owner="certrotd")

    made = Bench(target, put, put_garbage, lambda: fingerprint(machine.served()), hears)
    put(OLD)
    machine.systemctl("reload", NGINX)
    made.awaits(OLD)
    return made


class TestUnit(TargetClaims):
    """nginx.service, reloaded by certrotd's own user, whom a polkit rule lets."""

    @pytest.fixture
    def bench(self, machine: Machine) -> Bench:
        return bench_of(machine, unit(machine, user="certrotd"), hears=True)


class TestMainProcess(TargetClaims):
    """nginx's master as systemd knows it, told by a signal; only the probe sees what it did."""

    @pytest.fixture
    def bench(self, machine: Machine) -> Bench:
        target = Within(machine, {"type": "signal", "unit": NGINX, "process": "nginx"})
        return bench_of(machine, target, hears=False)


@pytest.fixture
def own(machine: Machine) -> Iterator[Machine]:
    """The machine, with room for a unit of the test's own."""
    yield machine
    machine.run("systemctl", "kill", "--signal=KILL", OWN, check=False)
    machine.run("systemctl", "stop", OWN, check=False)
    machine.run("sh", "-c", "rm -f /etc/systemd/system/own*.service")
    machine.systemctl("daemon-reload")


def service(machine: Machine, *lines: str, name: str = OWN, unit: str = "") -> None:
    """A service that runs, with further lines."""
    text = "\n".join(["[Unit]", unit, "[Service]", "ExecStart=/bin/sleep infinity", *lines, ""])
    machine.write(f"/etc/systemd/system/{name}", text)
    machine.systemctl("daemon-reload")


def test_a_reload_keeps_the_process_and_a_restart_does_not(machine: Machine) -> None:
    """What was asked for is what happens."""
    pid = machine.show("MainPID", NGINX)
    unit(machine, verb="reload").apply()
    assert machine.show("MainPID", NGINX) == pid
    unit(machine, verb="reload-or-restart").apply()
    assert machine.show("MainPID", NGINX) == pid
    unit(machine, verb="restart").check()
    assert machine.show("MainPID", NGINX) == pid
    unit(machine, verb="restart").apply()
    assert machine.show("MainPID", NGINX) not in (pid, "0")


def test_a_reload_that_fails_is_told_though_the_unit_runs_on(machine: Machine) -> None:
    """systemctl is-active says active all the while."""
    machine.write(f"{NGINX_TLS}/web.crt", "garbage", owner="certrotd")
    with pytest.raises(NeedsOperator) as said:
        unit(machine).apply()
    assert said.value.message.startswith(f"reload of {NGINX} failed: Job for {NGINX} failed")
    assert said.value.message.endswith("; it is active (running) now")
    assert said.value.hint == f"journalctl -u {NGINX} shows why"


def test_a_restart_that_fails_is_told_and_another_brings_the_unit_back(machine: Machine) -> None:
    """With the old files in their place again, as on the way back."""
    certificate = machine.read(f"{NGINX_TLS}/web.crt")
    machine.write(f"{NGINX_TLS}/web.crt", "garbage", owner="certrotd")
    with pytest.raises(NeedsOperator, match=f"restart of {NGINX} failed: .*; it is failed"):
        unit(machine, verb="restart").apply()
    machine.write(f"{NGINX_TLS}/web.crt", certificate, owner="certrotd")
    unit(machine, verb="restart").apply()
    assert machine.show("ActiveState", NGINX) == "active"


def test_a_service_that_dies_after_its_start_is_told(own: Machine) -> None:
    """systemd calls the job done as soon as the program was started."""
    service(own, "ExecReload=/bin/kill -KILL $MAINPID", "ExecReload=/bin/sleep 1")
    own.systemctl("start", OWN)
    with pytest.raises(NeedsOperator, match=rf"^reload of {OWN} .*failed"):
        unit(own, OWN).apply()


def test_a_unit_that_cannot_reload_is_found_by_the_check(own: Machine) -> None:
    """It does not exist, does not run, is masked, or cannot do what is asked."""
    with pytest.raises(NeedsOperator, match=r"^no-such\.service does not exist"):
        unit(own, "no-such.service").check()
    with pytest.raises(NeedsOperator, match=f"^{PEBBLE} cannot be reloaded: it has no ExecReload"):
        unit(own, PEBBLE).check()
    unit(own, PEBBLE, verb="reload-or-restart").check()
    own.systemctl("stop", NGINX)
    with pytest.raises(NeedsOperator, match=rf"^{NGINX} is not running but inactive \(dead\)"):
        unit(own).check()
    unit(own, verb="try-restart").check()
    unit(own, verb="try-restart").apply()
    assert own.show("ActiveState", NGINX) == "inactive"
    own.run("ln", "-s", "/dev/null", f"/etc/systemd/system/{OWN}")
    own.systemctl("daemon-reload")
    with pytest.raises(NeedsOperator, match=f"^{OWN} is masked"):
        unit(own, OWN).check()
    own.write("/etc/systemd/system/own-bad.service", "[Service]\nRestart=yes\n")
    own.systemctl("daemon-reload")
    with pytest.raises(NeedsOperator, match=r"^own-bad\.service has a wrong setting"):
        unit(own, "own-bad.service").check()


def test_an_instance_of_a_template_is_a_unit(own: Machine) -> None:
    """Its name is escaped where busctl is asked."""
    service(own, "ExecReload=/bin/true", name="own@.service")
    own.systemctl("start", "own@a-b.service")
    unit(own, "own@a-b.service").check()
    unit(own, "own@a-b.service").apply()
    own.systemctl("stop", "own@a-b.service")


@pytest.mark.parametrize(
    ("user", "name", "verb"),
    [
        ("certrotd", NGINX, "restart"),
        ("certrotd", NGINX, "reload-or-restart"),
        ("certrotd", PEBBLE, "restart"),
        ("nobody", NGINX, "reload"),
    ],
)
def test_what_polkit_does_not_allow_is_refused_in_words(
    machine: Machine, user: str, name: str, verb: str
) -> None:
    """One verb on named units for one user: whatever else is asked for, nothing happens."""
    pid = machine.show("MainPID", name)
    with pytest.raises(NeedsOperator) as said:
        unit(machine, name, user=user, verb=verb).apply()
    number = machine.run("id", "--user", user).strip()
    refused = f"systemd does not let user {number} {verb} {name}: "
    assert said.value.message.startswith(f"{refused}Interactive authentication required")
    assert "polkit rule" in said.value.hint
    assert machine.show("MainPID", name) == pid


def test_a_job_that_takes_too_long_is_left(own: Machine) -> None:
    """It goes on; whoever asks again gets another one."""
    service(own, "ExecReload=/bin/sleep 60")
    own.systemctl("start", OWN)
    with pytest.raises(Transient, match=f"^reload of {OWN} did not end in time"):
        unit(own, OWN, timeout="2s").apply()


def test_a_job_that_the_units_own_limit_ends_is_told(own: Machine) -> None:
    """Long before the target's own."""
    service(own, "ExecReload=/bin/sleep 60", "TimeoutStartSec=1s")
    own.systemctl("start", OWN)
    with pytest.raises(Failure, match=f"^reload of {OWN} failed"):
        unit(own, OWN, timeout="30s").apply()


def test_a_job_that_somebody_cancels_is_told(own: Machine) -> None:
    """An operator at a shell."""
    service(own, "ExecReload=/bin/sleep 60")
    own.systemctl("start", OWN)
    asked = f"systemctl list-jobs --no-legend | grep -q {OWN}"
    own.run("sh", "-c", f"(until {asked}; do sleep 0.1; done; systemctl cancel) >/dev/null 2>&1 &")
    with pytest.raises(Transient, match=f"^reload of {OWN} failed: Job for {OWN} canceled"):
        unit(own, OWN, timeout="30s").apply()


def test_a_job_that_waits_for_a_unit_that_fails_is_told(own: Machine) -> None:
    """It never began."""
    service(own, unit="Requires=own-needed.service\nAfter=own-needed.service")
    service(own, "Type=oneshot", "ExecStart=", "ExecStart=/bin/true", name="own-needed.service")
    own.systemctl("start", OWN)
    own.systemctl("stop", OWN)
    service(own, "Type=oneshot", "ExecStart=", "ExecStart=/bin/false", name="own-needed.service")
    with pytest.raises(NeedsOperator, match=f"A dependency job for {OWN} failed"):
        unit(own, OWN, verb="restart").apply()


def test_a_signal_needs_a_main_process_and_the_right_to_it(own: Machine) -> None:
    """Both are found by the check; a unit's process is not taken for another's."""
    entry = {"type": "signal", "unit": NGINX}
    Within(own, entry).check()
    with pytest.raises(NeedsOperator, match=r"^cannot signal process .*not permitted"):
        Within(own, entry, user="certrotd").check()
    with pytest.raises(NeedsOperator, match=f"of {NGINX} is nginx, not haproxy"):
        Within(own, {**entry, "process": "haproxy"}).check()
    own.systemctl("stop", NGINX)
    with pytest.raises(NeedsOperator, match=f"^{NGINX} has no main process: it is loaded, inactiv"):
        Within(own, entry).check()


def test_a_signal_goes_to_the_process_of_the_services_pid_file(machine: Machine) -> None:
    """nginx's own, which root wrote; another process is not taken for it."""
    entry = {"type": "signal", "pid_file": "/run/nginx.pid", "process": "nginx"}
    Within(machine, entry).check()
    Within(machine, entry).apply()
    machine.run("sh", "-c", "echo $$ > /srv/stale.pid; touch -d '1 hour ago' /srv/stale.pid")
    machine.run("sh", "-c", f"echo {machine.show('MainPID', PEBBLE)} > /srv/other.pid")
    with pytest.raises(NeedsOperator, match="is not running"):
        Within(machine, {**entry, "pid_file": "/srv/stale.pid"}).check()
    with pytest.raises(NeedsOperator, match="is pebble, not nginx"):
        Within(machine, {**entry, "pid_file": "/srv/other.pid"}).check()


def test_a_right_that_polkit_does_not_give_is_found_before_anything_is_told(
    machine: Machine,
) -> None:
    """By the real polkit, of the real manager: the rule is for one verb, and the check sees it."""
    pid = machine.show("MainPID", NGINX)
    unit(machine, user="certrotd").check()  # the control
    for name, verb in ((NGINX, "restart"), (PEBBLE, "restart")):
        with pytest.raises(NeedsOperator, match="systemd does not let user") as said:
            unit(machine, name, user="certrotd", verb=verb).check()
        assert "polkit" in (said.value.hint or "")
    unit(machine, verb="restart").check()  # root may, and a check tells nothing
    assert machine.show("MainPID", NGINX) == pid


def test_an_nginx_whose_configuration_is_broken_is_found_by_the_check(machine: Machine) -> None:
    """The unit runs on all the while, and its reload would fail behind the swap."""
    machine.write("/etc/nginx/conf.d/broken.conf", "no such directive;")
    try:
        for user in ("root", "certrotd"):
            with pytest.raises(NeedsOperator, match="unknown directive"):
                unit(machine, user=user).check()
    finally:
        machine.run("rm", "/etc/nginx/conf.d/broken.conf")
    unit(machine, user="certrotd").check()
