"""A real nginx is told by a signal: the process of its pid file, or the main one of its unit."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from certrotd.errors import NeedsOperator
from certrotd.targets.signal import SignalTarget
from tests.parts import Nginx, Parts
from tests.parts.process import wait_until
from tests.parts.site import Site, probe, serves, why_failed
from tests.parts.systemctl import Systemctl, Unit
from tests.unit.targets.running import noting

HOST, UNIT = "example.test", "web.service"


@pytest.fixture
def target() -> SignalTarget:
    """The main process of a unit."""
    return SignalTarget(UNIT)


def told_by_signal(site: Site, nginx: Nginx, **options: object) -> None:
    """The nginx of a site is a target of this type from now on."""
    site.config["targets"] = {
        "web": {"type": "signal", "process": "nginx", "probe": [probe(nginx, HOST)], **options}
    }
    site.config["certificates"][0]["targets"] = ["web"]


def test_an_nginx_is_reloaded_by_its_pid_file(parts: Parts, site: Site) -> None:
    """From the configuration to what clients see."""
    site.internal()
    site.certificate("web", HOST)
    nginx = site.serve(parts, {HOST: "web"})
    told_by_signal(site, nginx, pid_file=str(nginx.pid_file))
    site.rotate("--force")
    assert site.generation("web") == 2
    assert serves(nginx, HOST, site.leaf("web"))


def test_an_nginx_is_reloaded_as_the_main_process_of_its_unit(
    parts: Parts, site: Site, systemctl: Systemctl
) -> None:
    """No pid file is looked at."""
    site.internal()
    site.certificate("web", HOST)
    nginx = site.serve(parts, {HOST: "web"})
    systemctl.units[UNIT] = Unit(main_pid=int(nginx.pid_file.read_text()))
    told_by_signal(site, nginx, unit=UNIT)
    site.rotate("--force")
    assert site.generation("web") == 2
    assert serves(nginx, HOST, site.leaf("web"))


def test_a_process_that_is_not_there_costs_nothing(parts: Parts, site: Site) -> None:
    """Found by the check, before anything is changed."""
    site.internal()
    site.certificate("web", HOST)
    nginx = site.serve(parts, {HOST: "web"})
    told_by_signal(site, nginx, pid_file=str(nginx.pid_file))
    stale = nginx.pid_file.read_text()
    nginx.stop()
    nginx.pid_file.write_text(stale)
    run = site.rotate("--force", expect=1)
    assert re.search(r"preflight: .*nginx \d+ of .* is not running", why_failed(run, "web"))
    assert (site.generation("web"), site.generations("web")) == (1, [1])


def test_a_main_process_gets_the_signal_and_a_check_sends_none(
    tmp_path: Path, systemctl: Systemctl, target: SignalTarget
) -> None:
    """That very process."""
    notes = tmp_path / "notes"
    with noting(notes) as pid:
        systemctl.units[UNIT] = Unit(main_pid=pid)
        target.check()
        target.apply()
        wait_until(lambda: notes.read_text() == "SIGHUP\n")


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        (None, f"{UNIT} has no main process: it is not-found, inactive (dead)"),
        (
            Unit(active="failed", sub="failed"),
            f"{UNIT} has no main process: it is loaded, failed (failed)",
        ),
    ],
)
def test_a_unit_without_a_main_process_is_reported(
    systemctl: Systemctl, target: SignalTarget, unit: Unit | None, words: str
) -> None:
    """It does not exist, does not run, or is of another kind."""
    if unit is not None:
        systemctl.units[UNIT] = unit
    for act in (target.check, target.apply):
        with pytest.raises(NeedsOperator, match=f"^{re.escape(words)} "):
            act()


def test_a_main_process_that_has_just_ended_is_reported(
    systemctl: Systemctl, target: SignalTarget
) -> None:
    """systemd has not noticed yet."""
    with subprocess.Popen(["true"]) as gone:
        pass
    systemctl.units[UNIT] = Unit(main_pid=gone.pid)
    with pytest.raises(NeedsOperator, match=f"process {gone.pid} of {UNIT} is not running"):
        target.apply()


def test_a_main_process_of_another_name_is_refused(tmp_path: Path, systemctl: Systemctl) -> None:
    """A wrapper script ends at a hangup that its child would have heeded."""
    notes = tmp_path / "notes"
    with noting(notes) as pid:
        systemctl.units[UNIT] = Unit(main_pid=pid)
        target = SignalTarget(UNIT, process="haproxy")
        with pytest.raises(NeedsOperator, match=f"process {pid} of {UNIT} is .*, not haproxy"):
            target.apply()
    assert notes.read_text() == ""


def test_a_number_given_away_meanwhile_is_not_signalled(
    tmp_path: Path, systemctl: Systemctl, target: SignalTarget
) -> None:
    """The unit restarts between the question and the signal: systemd is asked once more."""
    notes = tmp_path / "notes"
    with noting(notes) as pid:
        numbers = iter([pid, 4_194_300])

        class Restarting(Unit):
            @property
            def main_pid(self) -> int:
                return next(numbers)

            @main_pid.setter
            def main_pid(self, _pid: int) -> None:
                pass

        systemctl.units[UNIT] = Restarting()
        words = f"process {pid} of {UNIT} is no longer its main process"
        with pytest.raises(NeedsOperator, match=words):
            target.apply()
    assert notes.read_text() == ""


def test_a_process_of_somebody_else_is_refused_before_anything_is_changed(
    tmp_path: Path, systemctl: Systemctl, target: SignalTarget
) -> None:
    """An unprivileged certrotd hears of it at the check."""
    systemctl.units[UNIT] = Unit(main_pid=1)
    if os.geteuid() == 0:
        target.check()  # the control: root may
        return
    with pytest.raises(NeedsOperator, match="cannot signal process 1"):
        target.check()
