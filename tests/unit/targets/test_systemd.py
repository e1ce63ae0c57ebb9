"""A unit is told only in a state in which that means something, and the state after it counts."""

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from certrotd.clock import SystemClock
from certrotd.config.context import Context
from certrotd.config.targets import SystemdEntry
from certrotd.errors import NeedsOperator
from certrotd.targets.systemd import SystemdTarget, build, in_order, unfit
from certrotd.targets.units import UnitState

DEAD = UnitState("loaded", "inactive", "dead")
FAILED = UnitState("loaded", "failed", "failed")
ENTRY = TypeAdapter(SystemdEntry)
VERBS = get_args(SystemdEntry.model_fields["verb"].annotation)


@pytest.mark.parametrize("verb", VERBS)
def test_a_running_unit_passes_the_check(verb: str) -> None:
    """Also while it is reloading for somebody else."""
    for active in ("active", "reloading", "refreshing"):
        assert unfit(UnitState("loaded", active, "running"), verb) is None


@pytest.mark.parametrize(
    ("load", "words"),
    [
        ("not-found", "does not exist"),
        ("masked", "is masked"),
        ("bad-setting", "has a wrong setting"),
        ("error", "could not be loaded"),
        ("merged", "is not loaded but merged"),
    ],
)
def test_a_unit_that_is_not_loaded_is_refused(load: str, words: str) -> None:
    """Each reason in words, before anything is said of whether it runs."""
    for verb in VERBS:
        reason = unfit(UnitState(load, "inactive", "dead"), verb)
        assert reason is not None
        assert reason[0] == words


@pytest.mark.parametrize("verb", ["reload", "restart", "reload-or-restart"])
def test_a_unit_that_does_not_run_is_refused(verb: str) -> None:
    """Somebody stopped it: a certificate is no reason to start it."""
    for state in (DEAD, FAILED, UnitState("loaded", "activating", "auto-restart")):
        reason = unfit(state, verb)
        assert reason is not None
        assert reason[0] == f"is not running but {state}"


@pytest.mark.parametrize("verb", ["try-restart", "try-reload-or-restart"])
def test_try_leaves_a_stopped_unit_alone(verb: str) -> None:
    """It reads the new files when it is started; one that failed is another matter."""
    assert unfit(DEAD, verb) is None
    assert unfit(FAILED, verb) is not None
    assert unfit(UnitState("not-found", "inactive", "dead"), verb) is not None


@given(st.text(), st.text(), st.text(), st.sampled_from(VERBS))
def test_whatever_is_not_known_to_run_is_not_in_order(
    load: str, active: str, sub: str, verb: str
) -> None:
    """A newer systemd may have states that this does not know."""
    state = UnitState(load, active, sub)
    known = active in ("active", "reloading", "refreshing")
    assert in_order(state, verb) == (known or (active == "inactive" and verb.startswith("try-")))
    assert (unfit(state, verb) is None) == (load == "loaded" and in_order(state, verb))


@pytest.mark.parametrize(
    "unit",
    [
        "nginx.service",
        "vpn@home.service",
        "vpn@a@b.service",
        "a.b-c_d:e.socket",
        "dev-disk-by\\x2did.mount",
        "getty@tty1.service",
    ],
)
def test_a_unit_is_named_as_systemd_names_it(unit: str) -> None:
    """What systemctl shows can be copied."""
    entry = ENTRY.validate_python({"type": "systemd", "unit": unit})
    assert entry.unit == unit


@given(st.text(max_size=40))
def test_no_other_name_is_let_through(name: str) -> None:
    """It goes into an argv and into hints for the shell."""
    try:
        unit = ENTRY.validate_python({"type": "systemd", "unit": f"{name}.service"}).unit
    except ValidationError:
        return
    stem = unit.removesuffix(".service")
    assert stem
    assert not stem.startswith("@")
    assert not stem.endswith("@")
    assert all(c.isascii() and (c.isalnum() or c in ":_.\\@-") for c in stem)


def test_an_entry_of_the_configuration_becomes_the_target() -> None:
    """Every key of it, and the same defaults."""
    clock = SystemClock()
    context = Context("web", Path("/var/lib"), clock)
    silent = ENTRY.validate_python({"type": "systemd", "unit": "web.service"})
    assert build(silent, context) == SystemdTarget("web.service", clock=clock)
    outspoken = ENTRY.validate_python(
        {"type": "systemd", "unit": "vpn@x.service", "verb": "try-restart", "timeout": "5s"}
    )
    assert build(outspoken, context) == SystemdTarget(
        "vpn@x.service", "try-restart", 5.0, clock=clock
    )


def test_without_systemctl_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, not a traceback; at the check, before an order is spent."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("certrotd.process._SYSTEM", ())
    for act in (SystemdTarget("web.service").check, SystemdTarget("web.service").apply):
        with pytest.raises(NeedsOperator, match="systemctl could not be started: No such file"):
            act()
