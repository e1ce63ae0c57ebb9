"""A unit is told over a real bus; its manager is played where a real one cannot be made to."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.targets.signal import SignalTarget
from certrotd.targets.systemd import SystemdTarget
from certrotd.targets.units import METHODS
from tests.parts import Parts
from tests.parts.dbus import DBus, Manager, Unit
from tests.parts.site import Site, why_failed

UNIT = "web.service"
MakeTarget = Callable[..., SystemdTarget]


@pytest.fixture
def manager(bus: DBus) -> Iterator[Manager]:
    """A manager with one unit, which runs."""
    with Manager(bus.address) as manager:
        manager.units[UNIT] = Unit()
        yield manager


@pytest.fixture
def target(bus: DBus, manager: Manager) -> MakeTarget:
    """Makes targets that are units of the manager."""

    def make(verb: str = "reload", *, unit: str = UNIT, timeout: float = 60.0) -> SystemdTarget:
        return SystemdTarget(unit, verb, timeout, bus=bus.address)

    return make


@pytest.mark.parametrize(("verb", "method"), METHODS.items())
def test_the_manager_is_asked_for_what_was_configured(
    manager: Manager, target: MakeTarget, verb: str, method: str
) -> None:
    """Once, replacing jobs that are in the way as systemctl does; a check asks for nothing."""
    target(verb).check()
    assert manager.units[UNIT].told == []
    target(verb).apply()
    assert manager.units[UNIT].told == [method]
    assert manager.modes == ["replace"]


def test_a_job_that_ends_before_it_is_known_is_heard_of(
    manager: Manager, target: MakeTarget
) -> None:
    """The end of a quick job may come first; those of other jobs are not taken for it."""
    manager.early = True
    target().apply()
    manager.units[UNIT].job = lambda _method: "failed"
    with pytest.raises(NeedsOperator, match="failed"):
        target().apply()


@pytest.mark.parametrize(
    ("result", "kind", "words"),
    [
        ("failed", NeedsOperator, "failed"),
        ("canceled", Transient, "was cancelled"),
        ("timeout", Transient, "did not end within the unit's own time"),
        ("dependency", NeedsOperator, "a unit that this one needs failed"),
        ("skipped", NeedsOperator, "was skipped"),
        ("invalid", NeedsOperator, "does not apply to the unit as it is"),
        ("assert", NeedsOperator, "an Assert of the unit does not hold"),
        ("unsupported", NeedsOperator, "support"),
        ("collected", NeedsOperator, "was dropped"),
        ("once", NeedsOperator, "only be started once"),
        ("something new", NeedsOperator, "ended as something new"),
    ],
)
def test_a_job_that_is_not_done_is_said_in_words(
    manager: Manager, target: MakeTarget, result: str, kind: type[Failure], words: str
) -> None:
    """Who can do something about it, how the unit is now, and where to look."""
    manager.units[UNIT].job = lambda _method: result
    with pytest.raises(kind, match=f"^reload of {UNIT} .*{words}") as said:
        target().apply()
    assert said.value.message.endswith("; it is active (running) now")
    assert said.value.hint == f"journalctl -u {UNIT} shows why"


def test_a_job_that_never_ends_is_left_at_the_deadline(
    manager: Manager, target: MakeTarget
) -> None:
    """A reload that hangs must not hold the rotation."""
    manager.units[UNIT].job = lambda _method: None
    with pytest.raises(Transient, match=f"restart of {UNIT} did not end in time") as said:
        target("restart", timeout=0.3).apply()
    assert "list-jobs" in said.value.hint


@pytest.mark.parametrize("verb", ["reload", "restart", "try-restart"])
def test_a_unit_that_failed_at_it_is_said(manager: Manager, target: MakeTarget, verb: str) -> None:
    """The job was done, and the unit did not live: systemd's "done" is not enough."""

    def dies(_method: str) -> str:
        manager.units[UNIT].active, manager.units[UNIT].sub = "failed", "failed"
        return "done"

    manager.units[UNIT].job = dies
    with pytest.raises(NeedsOperator, match=r"is done, but the unit is failed \(failed\)"):
        target(verb).apply()


def test_restart_brings_back_what_the_new_files_broke(manager: Manager, target: MakeTarget) -> None:
    """On the way back the unit is down, and has to be told all the same."""
    unit = manager.units[UNIT]
    unit.active, unit.sub = "failed", "failed"

    def starts(_method: str) -> str:
        unit.active, unit.sub = "active", "running"
        return "done"

    unit.job = starts
    with pytest.raises(NeedsOperator, match="is not running but failed"):
        target("restart").check()
    target("restart").apply()


def test_try_leaves_a_stopped_unit_alone(manager: Manager, target: MakeTarget) -> None:
    """The job is done at once, and the unit is as it was."""
    unit = manager.units[UNIT]
    unit.active, unit.sub = "inactive", "dead"
    target("try-restart").check()
    target("try-restart").apply()
    with pytest.raises(NeedsOperator, match=r"is not running but inactive \(dead\)"):
        target("restart").check()


@pytest.mark.parametrize(
    ("change", "verb", "words"),
    [
        ({"load": "masked"}, "reload", "is masked"),
        ({"active": "failed", "sub": "failed"}, "reload", "is not running but failed"),
        ({"can": {"CanReload": False}}, "reload", "cannot be reloaded: it has no ExecReload"),
        (
            {"can": {"CanReload": False, "CanStart": True, "CanStop": False}},
            "reload-or-restart",
            "cannot be restarted",
        ),
        ({"can": {"CanStart": False, "CanStop": True}}, "restart", "cannot be restarted"),
    ],
)
def test_a_unit_that_could_not_be_told_is_found_by_the_check(
    manager: Manager, target: MakeTarget, change: dict[str, object], verb: str, words: str
) -> None:
    """Before an order is spent."""
    manager.units[UNIT] = Unit(**change)  # type: ignore[arg-type]
    with pytest.raises(NeedsOperator, match=f"^{UNIT} {words}"):
        target(verb).check()
    assert manager.units[UNIT].told == []


@pytest.mark.parametrize("change", [{"load": "not-found"}, {"load": "masked"}])
def test_a_unit_that_is_not_there_is_found_before_the_first_certificate(
    manager: Manager, target: MakeTarget, change: dict[str, Any]
) -> None:
    """It need not run yet: it may wait for the very files that are to come."""
    manager.units[UNIT] = Unit(active="inactive", sub="dead")
    target().precheck()  # the control
    manager.units[UNIT] = Unit(**change)
    with pytest.raises(NeedsOperator, match=f"^{UNIT} (does not exist|is masked)"):
        target().precheck()
    signal = SignalTarget(UNIT, bus=manager.address)
    with pytest.raises(NeedsOperator, match=f"^{UNIT} (does not exist|is masked)"):
        signal.precheck()


@pytest.mark.parametrize("act", ["check", "precheck"])
def test_a_right_that_polkit_does_not_give_is_found_by_the_check(
    manager: Manager, target: MakeTarget, act: str
) -> None:
    """Before an order is spent, and without telling the unit anything."""
    mine = replace(target("restart"), user=1000)
    getattr(mine, act)()  # the control
    denied = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"
    manager.errors["RestartUnit"] = (denied, "Interactive authentication required.")
    with pytest.raises(NeedsOperator, match=f"does not let user \\d+ restart {UNIT}") as said:
        getattr(mine, act)()
    assert "polkit" in (said.value.hint or "")
    getattr(target("restart"), act)()  # root is not asked
    assert manager.units[UNIT].told == []


@pytest.mark.parametrize(
    ("says", "found"),
    [
        ("[emerg] unknown directive in /etc/nginx/nginx.conf:1", True),
        ('[alert] open() "/x" failed (13: Permission denied)\n[emerg] unknown directive', True),
        ('[emerg] cannot load certificate "/x": fopen failed (13: Permission denied)', False),
    ],
)
def test_an_invalid_configuration_of_nginx_is_found_where_its_unit_is_told(
    manager: Manager, target: MakeTarget, tmp_path: Path, says: str, found: bool
) -> None:
    """As far as this user may read it; a unit of another program is not tested like that."""
    nginx = tmp_path / "nginx"
    nginx.write_text(
        f"#!/bin/sh\necho \"$@\" > {tmp_path}/told\ncat >&2 <<'END'\n{says}\nEND\nexit 1\n"
    )
    nginx.chmod(0o755)
    manager.units[UNIT] = Unit(argv=[str(nginx), "-g", "daemon on;"])
    if found:
        with pytest.raises(NeedsOperator, match=r"-t -q failed .*unknown directive"):
            target().check()
    else:
        target().check()
    assert (tmp_path / "told").read_text() == "-g daemon on; -t -q\n"
    target().precheck()  # before the first certificate its files are not there
    manager.units[UNIT] = Unit(argv=["/usr/sbin/apache2"])
    target().check()


def test_a_unit_that_can_only_be_restarted_may_be_reloaded_or_restarted(
    manager: Manager, target: MakeTarget
) -> None:
    """The other side of the test above."""
    manager.units[UNIT].can["CanReload"] = False
    for verb in ("reload-or-restart", "try-reload-or-restart", "restart", "try-restart"):
        target(verb).check()


def test_a_unit_that_is_not_there_is_said(target: MakeTarget) -> None:
    """Nor is another one of a similar name taken for it."""
    with pytest.raises(NeedsOperator, match=r"^we\.service does not exist"):
        target(unit="we.service").check()


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        (
            "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
            NeedsOperator,
            f"systemd does not let user \\d+ restart {UNIT}",
        ),
        (
            "org.freedesktop.DBus.Error.AccessDenied",
            NeedsOperator,
            f"systemd does not let user \\d+ restart {UNIT}",
        ),
        (
            "org.freedesktop.systemd1.NoSuchUnit",
            NeedsOperator,
            f"systemd refuses to restart {UNIT}",
        ),
        (
            "org.freedesktop.systemd1.ShuttingDown",
            Transient,
            f"systemd refuses to restart {UNIT}",
        ),
    ],
)
def test_a_refusal_is_said_in_words(
    manager: Manager, target: MakeTarget, name: str, kind: type[Failure], words: str
) -> None:
    """With systemd's own, and, where it is a right that lacks, how to give it."""
    manager.errors["RestartUnit"] = (name, "Interactive authentication\nrequired.")
    with pytest.raises(kind, match=f"^{words}: Interactive authentication required. ") as said:
        target("restart").apply()
    assert ("polkit" in said.value.hint) == ("does not let" in words)
    assert manager.units[UNIT].told == []


@pytest.mark.parametrize(
    ("member", "answer"),
    [
        ("RestartUnit", ("", ())),
        ("RestartUnit", ("u", (7,))),
        ("RestartUnit", ("ss", ("a", "b"))),
        ("LoadUnit", ("s", ("no path",))),
        ("Get", ("s", ("active",))),
        ("Get", ("v", (("u", 7),))),
        ("Get", ("v", (("as", ["active"]),))),
    ],
)
def test_an_answer_of_another_kind_is_refused(
    manager: Manager, target: MakeTarget, member: str, answer: tuple[str, tuple[object, ...]]
) -> None:
    """A manager of another age is not guessed at."""
    manager.answers[member] = answer
    with pytest.raises(Failure, match="over D-Bus"):
        target("restart").apply()


def test_a_bus_without_systemd_is_said(bus: DBus) -> None:
    """As in most containers."""
    with pytest.raises(NeedsOperator, match=r"org.freedesktop.systemd1 is not on the D-Bus"):
        SystemdTarget(UNIT, bus=bus.address).check()


def test_a_bus_that_hangs_or_ends_is_left(parts: Parts) -> None:
    """Whatever it was doing then."""
    bus = parts.start(DBus)
    with Manager(bus.address) as manager:
        manager.units[UNIT] = Unit()
        target = SystemdTarget(UNIT, bus=bus.address)
        target.check()
        bus.pause()
        with pytest.raises(Transient, match="did not answer on D-Bus in time"):
            replace(target, timeout=0.5).check()
        bus.resume()
        target.check()


def test_it_is_a_target_of_the_configuration(
    site: Site, bus: DBus, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the file to the manager; what fails there undoes the rotation."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
    site.internal()
    site.config["targets"]["web"] = {"type": "systemd", "unit": UNIT}
    site.certificate("web", "example.test", targets=["web"])
    site.rotate()
    unit = manager.units[UNIT]
    assert unit.told == ["ReloadUnit"]
    old = site.leaf("web")
    results = iter(["failed"])
    unit.job = lambda _method: next(results, "done")
    run = site.rotate("--force", expect=1)
    assert f"reload of {UNIT} failed" in why_failed(run, "web")
    assert unit.told == ["ReloadUnit"] * 3  # and told again when the old files were back
    assert site.leaf("web") == old
