"""A unit is told by systemctl, which is played where a real one cannot be made to."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from certrotd.errors import Failure, InvalidInput, NeedsOperator, Transient
from certrotd.targets.signal import SignalTarget
from certrotd.targets.systemd import SystemdTarget
from tests.parts.site import Site, why_failed
from tests.parts.systemctl import Systemctl, Unit

UNIT, OPERATOR = "web.service", NeedsOperator
VERBS = ("reload", "restart", "reload-or-restart", "try-restart", "try-reload-or-restart")


@pytest.fixture
def unit(systemctl: Systemctl) -> Unit:
    """A unit that runs."""
    systemctl.units[UNIT] = Unit()
    return systemctl.units[UNIT]


@pytest.mark.parametrize("verb", VERBS)
def test_systemd_is_asked_for_what_was_configured(unit: Unit, verb: str) -> None:
    """Once; a check asks for nothing."""
    SystemdTarget(UNIT, verb).check()
    assert unit.told == []
    SystemdTarget(UNIT, verb).apply()
    assert unit.told == [verb]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (f"Job for {UNIT} failed because the control process exited with error code.", OPERATOR),
        (f"Job for {UNIT} canceled.", Transient),
        (f"Job for {UNIT} timed out.", Transient),
        (f"A dependency job for {UNIT} failed. See 'journalctl -xe' for details.", OPERATOR),
        (f"{UNIT} is not active, cannot reload.", OPERATOR),
        ("something new", OPERATOR),
    ],
)
def test_a_job_that_fails_is_reported_in_systemctls_words(
    unit: Unit, words: str, kind: type[Failure]
) -> None:
    """With who can do something about it, how the unit is now, and where to look."""
    changed = f"Warning: The unit file of {UNIT} changed on disk.\n"
    unit.job = lambda _verb: f'{changed}{words}\nSee "systemctl status {UNIT}" for details.\n\n'
    with pytest.raises(kind) as said:
        SystemdTarget(UNIT).apply()
    now = "it is active (running) now"
    assert said.value.message == f"reload of {UNIT} failed: {words.rstrip('.')}; {now}"
    assert said.value.hint == f"journalctl -u {UNIT} shows why"


def test_a_job_that_fails_without_a_word_is_reported(systemctl: Systemctl, unit: Unit) -> None:
    """By how systemctl ended."""
    unit.job = lambda _verb: "\n"
    with pytest.raises(NeedsOperator, match=f"^reload of {UNIT} failed: it exited with 1; it is"):
        SystemdTarget(UNIT).apply()


def test_a_job_that_never_ends_is_left_at_the_deadline(unit: Unit) -> None:
    """A reload that hangs must not hold the rotation."""
    unit.job = lambda _verb: None
    with pytest.raises(Transient, match=f"restart of {UNIT} did not end in time") as said:
        SystemdTarget(UNIT, "restart", timeout=2).apply()
    assert "list-jobs" in said.value.hint


def test_a_manager_that_hangs_is_left_at_the_deadline(systemctl: Systemctl, unit: Unit) -> None:
    """Whatever it is asked."""
    SystemdTarget(UNIT).check()  # the control
    systemctl.hangs = True
    for act in (SystemdTarget(UNIT, timeout=0.3).check, SystemdTarget(UNIT, timeout=0.3).apply):
        with pytest.raises(Transient, match="systemctl did not answer in time"):
            act()


@pytest.mark.parametrize("verb", ["reload", "restart", "try-restart"])
@pytest.mark.parametrize("state", [("failed", "failed"), ("inactive", "dead")])
def test_a_unit_that_does_not_survive_its_job_is_reported(
    unit: Unit, verb: str, state: tuple[str, str]
) -> None:
    """The job was done, and the unit is down: systemctl's exit with 0 is not enough."""

    def dies(_verb: str) -> str:
        unit.active, unit.sub = state
        return ""

    unit.job = dies
    with pytest.raises(NeedsOperator, match=rf"is done, but the unit is {state[0]} \({state[1]}\)"):
        SystemdTarget(UNIT, verb).apply()


def test_restart_brings_back_what_the_new_files_broke(unit: Unit) -> None:
    """On the way back the unit is down, and has to be told all the same."""
    unit.active, unit.sub = "failed", "failed"

    def starts(_verb: str) -> str:
        unit.active, unit.sub = "active", "running"
        return ""

    unit.job = starts
    with pytest.raises(NeedsOperator, match="is not running but failed"):
        SystemdTarget(UNIT, "restart").check()
    SystemdTarget(UNIT, "restart").apply()


def test_try_leaves_a_stopped_unit_alone(unit: Unit) -> None:
    """The job is done at once, and the unit is as it was."""
    unit.active, unit.sub = "inactive", "dead"
    SystemdTarget(UNIT, "try-restart").check()
    SystemdTarget(UNIT, "try-restart").apply()
    with pytest.raises(NeedsOperator, match=r"is not running but inactive \(dead\)"):
        SystemdTarget(UNIT, "restart").check()


@pytest.mark.parametrize(
    ("change", "verb", "words"),
    [
        ({"load": "masked"}, "reload", "is masked"),
        ({"active": "failed", "sub": "failed"}, "reload", "is not running but failed"),
        ({"can": set()}, "reload", "cannot be reloaded: it has no ExecReload"),
        ({"can": {"CanStart"}}, "reload-or-restart", "cannot be restarted"),
        ({"can": {"CanStop"}}, "restart", "cannot be restarted"),
    ],
)
def test_a_unit_that_cannot_reload_is_found_by_the_check(
    systemctl: Systemctl, change: dict[str, Any], verb: str, words: str
) -> None:
    """Before an order is spent."""
    systemctl.units[UNIT] = Unit(**change)
    with pytest.raises(NeedsOperator, match=f"^{UNIT} {words}"):
        SystemdTarget(UNIT, verb).check()
    assert systemctl.units[UNIT].told == []


@pytest.mark.parametrize("change", [{"load": "not-found"}, {"load": "masked"}])
def test_a_unit_that_is_not_there_is_found_before_the_first_certificate(
    systemctl: Systemctl, change: dict[str, Any]
) -> None:
    """It need not run yet: it may wait for the very files that are to come."""
    systemctl.units[UNIT] = Unit(active="inactive", sub="dead")
    SystemdTarget(UNIT).precheck()  # the control
    systemctl.units[UNIT] = Unit(**change)
    for target in (SystemdTarget(UNIT), SignalTarget(UNIT)):
        with pytest.raises(NeedsOperator, match=f"^{UNIT} (does not exist|is masked)"):
            target.precheck()


@pytest.mark.parametrize("act", ["check", "precheck"])
@pytest.mark.parametrize("words", ["Interactive authentication required.", "Access denied"])
def test_a_right_that_polkit_does_not_give_is_found_by_the_check(
    systemctl: Systemctl, unit: Unit, act: str, words: str
) -> None:
    """Before an order is spent, and without telling the unit anything."""
    mine = SystemdTarget(UNIT, "restart", user=1000)
    getattr(mine, act)()  # the control
    systemctl.refusals["restart"] = words
    with pytest.raises(NeedsOperator, match=f"does not let user \\d+ restart {UNIT}: ") as said:
        getattr(mine, act)()
    assert "polkit" in said.value.hint
    getattr(replace(mine, user=0), act)()  # root is not asked
    assert unit.told == []


@pytest.mark.parametrize(
    ("says", "found"),
    [
        ("[emerg] unknown directive in /etc/nginx/nginx.conf:1", True),
        ('[alert] open() "/x" failed (13: Permission denied)\n[emerg] unknown directive', True),
        ('[emerg] cannot load certificate "/x": fopen failed (13: Permission denied)', False),
    ],
)
def test_an_invalid_nginx_configuration_is_found_for_a_systemd_target(
    unit: Unit, tmp_path: Path, says: str, found: bool
) -> None:
    """As far as this user may read it; a unit of another program is not tested like that."""
    nginx = tmp_path / "nginx"
    nginx.write_text(
        f"#!/bin/sh\necho \"$@\" > {tmp_path}/told\ncat >&2 <<'END'\n{says}\nEND\nexit 1\n"
    )
    nginx.chmod(0o755)
    unit.argv = [str(nginx), "-g", "daemon on;"]
    if found:
        with pytest.raises(NeedsOperator, match=r"-t -q exited with 1: .*unknown directive"):
            SystemdTarget(UNIT).check()
    else:
        SystemdTarget(UNIT).check()
    assert (tmp_path / "told").read_text() == "-g daemon on; -t -q\n"
    SystemdTarget(UNIT).precheck()  # before the first certificate its files are not there
    unit.argv = ["/usr/sbin/apache2"]
    SystemdTarget(UNIT).check()


def test_a_description_of_what_starts_a_unit_is_not_guessed_at(
    systemctl: Systemctl, unit: Unit
) -> None:
    """Of a busctl of another age."""
    for said in ("", "[]", '{"data": 7}', '{"data": [["/usr/sbin/nginx", "-c /x"]]}'):
        systemctl.output["busctl"] = said
        with pytest.raises(InvalidInput, match=f"what starts {UNIT} in an unknown format"):
            SystemdTarget(UNIT).check()


@pytest.mark.parametrize("said", ["", "LoadState=loaded", "ActiveState", "what?\n\n="])
def test_a_state_of_a_unit_is_not_guessed_at(systemctl: Systemctl, unit: Unit, said: str) -> None:
    """Nothing is told to a unit of which systemctl says something else."""
    systemctl.output["systemctl"] = said
    for act in (SystemdTarget(UNIT).check, SystemdTarget(UNIT).apply, SignalTarget(UNIT).check):
        with pytest.raises(InvalidInput, match=f"shows {UNIT} in an unknown format"):
            act()
    assert unit.told == []


def test_a_unit_that_can_only_be_restarted_may_be_reloaded_or_restarted(unit: Unit) -> None:
    """The other side of the test above."""
    unit.can.remove("CanReload")
    for verb in ("reload-or-restart", "try-reload-or-restart", "restart", "try-restart"):
        SystemdTarget(UNIT, verb).check()


def test_a_unit_of_a_similar_name_is_not_taken_for_it(unit: Unit) -> None:
    """The one that was named does not exist."""
    with pytest.raises(NeedsOperator, match=r"^we\.service does not exist"):
        SystemdTarget("we.service").check()


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        (
            "Interactive authentication required.",
            OPERATOR,
            "systemd does not let user \\d+ restart",
        ),
        ("Access denied", OPERATOR, "systemd does not let user \\d+ restart"),
        (f"Unit {UNIT} not found.", OPERATOR, "restart of"),
        ("Refusing activation, D-Bus is shutting down.", Transient, "restart of"),
        ("Transaction for web.service/restart is destructive.", Transient, "restart of"),
    ],
)
def test_a_refusal_is_reported_in_words(
    systemctl: Systemctl, unit: Unit, words: str, kind: type[Failure], said: str
) -> None:
    """With systemd's own, and, where it is a right that lacks, how to give it."""
    systemctl.refusals["restart"] = words
    with pytest.raises(kind, match=f"^{said} {UNIT}.*{words.rstrip('.')}") as raised:
        SystemdTarget(UNIT, "restart").apply()
    assert ("polkit" in raised.value.hint) == ("does not let" in said)
    assert unit.told == []


def test_a_machine_without_systemd_is_reported(systemctl: Systemctl) -> None:
    """As most containers are: there is no systemctl, or it finds no manager."""
    why = "System has not been booted with systemd as init system (PID 1). Can't operate."
    (systemctl.directory / "systemctl").write_text(f'#!/bin/sh\necho "{why}" >&2\nexit 1\n')
    with pytest.raises(
        NeedsOperator, match=f"systemctl cannot show the state of {UNIT}: System has"
    ):
        SystemdTarget(UNIT).check()


def test_a_configured_systemd_target_reloads_its_unit(site: Site, unit: Unit) -> None:
    """From the file to the manager; what fails there undoes the rotation."""
    site.internal()
    site.config["targets"]["web"] = {"type": "systemd", "unit": UNIT}
    site.certificate("web", "example.test", targets=["web"])
    site.rotate()
    assert unit.told == ["reload"]
    old = site.leaf("web")
    results = iter([f"Job for {UNIT} failed."])
    unit.job = lambda _verb: next(results, "")
    run = site.rotate("--force", expect=1)
    assert f"reload of {UNIT} failed" in why_failed(run, "web")
    assert unit.told == ["reload"] * 3  # and told again when the old files were back
    assert site.leaf("web") == old
