"""Services with commands of their own: what runs when, and what a configuration makes of them."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from certrotd.clock import SystemClock
from certrotd.config.context import Context
from certrotd.config.targets import TargetEntry
from certrotd.errors import NeedsOperator
from certrotd.targets import apache, dovecot, postfix
from certrotd.targets.command import CommandTarget
from certrotd.targets.service import ServiceTarget

ENTRY: TypeAdapter[Any] = TypeAdapter(TargetEntry)
CONTEXT = Context("server", Path("/var/lib"), SystemClock())


def service(folder: Path, *, test: str = "true", running: str = "true") -> ServiceTarget:
    """One whose commands note that they ran; the test, and the look for it, end like that."""

    def noted(name: str, end: str) -> tuple[str, ...]:
        return ("/bin/sh", "-c", f"echo {name} >> {folder}/ran; {end}")

    command = CommandTarget(noted("reload", "true"), noted("test", test))
    asked = CommandTarget(noted("running", running))
    return ServiceTarget(command, asked.apply, "look into its log")


def ran(folder: Path) -> list[str]:
    """The commands that ran, in order."""
    return (folder / "ran").read_text().split()


def test_a_check_tests_and_looks_and_reloads_nothing(tmp_path: Path) -> None:
    """The service goes on with what it has."""
    target = service(tmp_path)
    target.precheck()
    assert not (tmp_path / "ran").exists()
    target.check()
    assert ran(tmp_path) == ["test", "running"]


def test_a_reload_is_tested_before(tmp_path: Path) -> None:
    """And whether it runs is not asked: an undo may have to start it."""
    service(tmp_path, running="false").apply()
    assert ran(tmp_path) == ["test", "reload"]


@pytest.mark.parametrize("broken", [{"test": "false"}, {"running": "false"}])
def test_one_that_is_broken_or_down_is_refused(tmp_path: Path, broken: dict[str, str]) -> None:
    """Before an order; what a program does not say, a hint of the service does."""
    with pytest.raises(NeedsOperator, match="exited with 1") as raised:
        service(tmp_path, **broken).check()
    assert raised.value.hint == "look into its log"


def test_what_is_broken_is_not_reloaded(tmp_path: Path) -> None:
    """It would end, or go on with half of it."""
    with pytest.raises(NeedsOperator, match="exited with 1"):
        service(tmp_path, test="false").apply()
    assert ran(tmp_path) == ["test"]


@pytest.mark.parametrize(
    ("written", "test", "reload"),
    [
        ({"type": "postfix"}, "postfix check", "postfix reload"),
        (
            {"type": "postfix", "config": "/etc/postfix-out"},
            "postfix -c /etc/postfix-out check",
            "postfix -c /etc/postfix-out reload",
        ),
        ({"type": "dovecot"}, "doveconf -n", "doveadm reload"),
        (
            {"type": "dovecot", "config": "/d.conf"},
            "doveconf -c /d.conf -n",
            "doveadm -c /d.conf reload",
        ),
        ({"type": "apache"}, "apachectl -t", "apachectl -k graceful"),
        (
            {"type": "apache", "program": "/opt/httpd/bin/apachectl", "config": "/h.conf"},
            "/opt/httpd/bin/apachectl -f /h.conf -t",
            "/opt/httpd/bin/apachectl -f /h.conf -k graceful",
        ),
    ],
)
def test_an_entry_of_the_configuration_becomes_the_commands(
    written: dict[str, str], test: str, reload: str
) -> None:
    """In each service's own words, within the entry's time."""
    builders: dict[str, Any] = {
        "postfix": postfix.build,
        "dovecot": dovecot.build,
        "apache": apache.build,
    }
    entry = ENTRY.validate_python({**written, "timeout": "7s"})
    built = builders[written["type"]](entry, CONTEXT)
    assert built.command == CommandTarget(
        tuple(reload.split()), tuple(test.split()), 7.0, clock=CONTEXT.clock
    )
    assert entry.programs


def test_an_apache_that_does_not_run_is_refused(tmp_path: Path) -> None:
    """Its own command would start it."""
    entry = ENTRY.validate_python({"type": "apache", "pid_file": str(tmp_path / "pid")})
    with pytest.raises(NeedsOperator, match=r"there is no .*pid"):
        apache.build(entry, CONTEXT).running()
