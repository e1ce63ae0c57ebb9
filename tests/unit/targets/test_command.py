"""A program of the operator's is asked first where it can be, and told then."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from certrotd.clock import SystemClock
from certrotd.config.context import Context
from certrotd.config.targets import CommandEntry
from certrotd.errors import NeedsOperator, Transient
from certrotd.pki.generation import LiveCertificate
from certrotd.targets.command import CommandTarget, build
from tests.fakes.clock import Until


def note(path: Path, word: str) -> tuple[str, ...]:
    """A program that appends ``word`` to a file."""
    code = f"open({str(path)!r}, 'a').write({word!r})"
    return (sys.executable, "-I", "-c", code)


FAILS = (sys.executable, "-I", "-c", "print('the syntax is wrong'); raise SystemExit(2)")


def test_a_check_runs_the_check_alone(tmp_path: Path) -> None:
    """It comes before the swap."""
    seen = tmp_path / "seen"
    CommandTarget(note(seen, "apply"), check_command=note(seen, "check")).check()
    assert seen.read_text() == "check"


def test_applying_asks_the_check_before_the_command(tmp_path: Path) -> None:
    """What was broken since is found while the old certificate is still served."""
    seen = tmp_path / "seen"
    CommandTarget(note(seen, "apply"), check_command=note(seen, "check ")).apply()
    assert seen.read_text() == "check apply"
    with pytest.raises(NeedsOperator, match="the syntax is wrong"):
        CommandTarget(note(seen, "never"), check_command=FAILS).apply()
    assert seen.read_text() == "check apply"


def test_without_a_check_only_the_program_must_be_there(tmp_path: Path) -> None:
    """That much can be told before an order."""
    seen = tmp_path / "seen"
    CommandTarget(note(seen, "apply")).check()
    assert not seen.exists()
    CommandTarget(note(seen, "apply")).apply()
    assert seen.read_text() == "apply"
    with pytest.raises(NeedsOperator, match="/no/such is not an executable file"):
        CommandTarget(("/no/such",)).check()


def test_before_there_is_a_certificate_only_the_programs_must_be_there(tmp_path: Path) -> None:
    """The check may be of a service that waits for the certificate's files."""
    seen = tmp_path / "seen"
    CommandTarget(note(seen, "apply"), check_command=note(seen, "check")).precheck()
    assert not seen.exists()
    for missing in (
        CommandTarget(("/no/such",)),
        CommandTarget(note(seen, "apply"), check_command=("/no/such",)),
    ):
        with pytest.raises(NeedsOperator, match="/no/such is not an executable file"):
            missing.precheck()


def test_a_command_that_fails_shows_its_words() -> None:
    """They are all the operator has."""
    with pytest.raises(NeedsOperator, match="exited with 2: the syntax is wrong"):
        CommandTarget(FAILS).apply()


def test_every_program_has_the_timeout_for_itself(tmp_path: Path) -> None:
    """A reload that hangs must not hold the rotation."""
    mark = tmp_path / "mark"
    code = f"import time; open({str(mark)!r}, 'w'); time.sleep(600)"
    hangs, begun = (sys.executable, "-I", "-c", code), Until(mark.exists)
    with pytest.raises(Transient, match=r"did not end within 0\.3s"):
        CommandTarget(hangs, timeout=0.3, clock=begun).apply()
    mark.unlink()
    with pytest.raises(Transient, match=r"did not end within 0\.3s"):
        CommandTarget(("true",), check_command=hangs, timeout=0.3, clock=begun).check()


def test_secrets_for_the_program_reach_it_and_no_log(tmp_path: Path) -> None:
    """They are in its environment, which a repr of the target must not show."""
    seen = tmp_path / "seen"
    code = f"import os; open({str(seen)!r}, 'w').write(os.environ['TOKEN'])"
    target = CommandTarget((sys.executable, "-I", "-c", code), environment={"TOKEN": "s3cret"})
    target.apply()
    assert seen.read_text() == "s3cret"
    assert "s3cret" not in repr(target)


def test_the_program_is_looked_for_in_its_own_path() -> None:
    """What the check finds must be what is run."""
    with pytest.raises(NeedsOperator, match="is not an executable file"):
        CommandTarget(("true",), environment={"PATH": "/nowhere"}).check()


def test_an_entry_of_the_configuration_becomes_the_target(tmp_path: Path) -> None:
    """Every key of it reaches the programs; secrets are read when the target is first used."""
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    token.chmod(0o600)
    entry = TypeAdapter(CommandEntry).validate_python(
        {
            "type": "command",
            "command": ["systemctl", "reload", "web"],
            "check": ["web", "-t"],
            "timeout": "5s",
            "environment": {"TOKEN": {"file": str(token)}, "MODE": "fast"},
        }
    )
    clock = SystemClock()
    target = build(entry, Context("web", tmp_path, clock))
    assert target == CommandTarget(
        ("systemctl", "reload", "web"),
        ("web", "-t"),
        5.0,
        {"TOKEN": "s3cret", "MODE": "fast"},
        clock,
    )


def test_the_program_finds_what_it_runs_for_in_its_environment(tmp_path: Path) -> None:
    """One for many certificates has to know which; its own variables are there as well."""
    seen = tmp_path / "seen"
    code = f"import os, json; json.dump(dict(os.environ), open({str(seen)!r}, 'w'))"
    argv = (sys.executable, "-I", "-c", code)
    ends = datetime(2027, 3, 4, 5, 6, 7, tzinfo=UTC)
    web = LiveCertificate("web", ("a.test", "*.a.test"), "/store/web/live", "1f" * 32, ends)
    target = CommandTarget(argv, environment={"TOKEN": "x"})
    target.apply_for([web])
    told = json.loads(seen.read_text())
    assert {name: value for name, value in told.items() if name.startswith("CERTROTD_")} == {
        "CERTROTD_CERTIFICATE": "web",
        "CERTROTD_NAMES": "a.test *.a.test",
        "CERTROTD_LIVE": "/store/web/live",
        "CERTROTD_FINGERPRINT": "1f" * 32,
        "CERTROTD_EXPIRES": "2027-03-04T05:06:07Z",
    }
    assert told["TOKEN"] == "x"
    target.apply_for([web, LiveCertificate("mail", ("m.test",), "/store/mail/live")])
    told = json.loads(seen.read_text())
    assert told["CERTROTD_CERTIFICATE"].splitlines() == ["web", "mail"]
    assert told["CERTROTD_EXPIRES"] == "2027-03-04T05:06:07Z\n"
    target.apply()
    assert "CERTROTD_CERTIFICATE" not in json.loads(seen.read_text())
