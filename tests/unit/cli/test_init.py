"""``certrotd init`` by its options: what it writes, and what it refuses to."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from certrotd.cli.app import run

PROGRAM = Path(sysconfig.get_path("scripts")) / "certrotd"


def init(config: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program with its standard input closed, as of a script or a container."""
    return subprocess.run(
        ["sh", "-c", '"$@" <&-', "sh", sys.executable, PROGRAM, "-c", config, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    """All that it needs."""
    secret = tmp_path / "tsig"
    secret.write_text("c2VjcmV0\n")
    secret.chmod(0o600)
    words = "init --domain example.com --agree-to-terms --solver rfc2136 --service none"
    words += " --solver-set server=192.0.2.1 --secret-file"
    return [*words.split(), f"tsig.secret={secret}"]


def test_it_writes_what_the_check_accepts_and_staging_becomes_production(
    tmp_path: Path, given: list[str]
) -> None:
    """Into a directory that is not there yet, in a locale without umlauts and without colours."""
    config = tmp_path / "etc" / "certrotd" / "config.yaml"
    made = init(config, *given, "--email", "ops@example.com", LC_ALL="C", NO_COLOR="1")
    assert made.returncode == 0, made.stderr
    assert "\x1b" not in made.stderr
    assert stat.S_IMODE(config.stat().st_mode) == 0o644
    assert f"certrotd -c {config} config check" in made.stderr
    assert f"certrotd -c {config} rotate example.com --dry-run" in made.stderr
    assert init(config, "config", "check").returncode == 0
    before = config.read_text()
    assert "acme-staging-v02" in before

    config.chmod(0o640)
    switched = init(config, "init", "--production")
    assert switched.returncode == 0, switched.stderr
    assert "https://acme-v02.api.letsencrypt.org/directory now" in switched.stderr
    changed = [
        (old, new)
        for old, new in zip(before.splitlines(), config.read_text().splitlines(), strict=True)
        if old != new
    ]
    assert changed == [
        (
            "    directory: https://acme-staging-v02.api.letsencrypt.org/directory",
            "    directory: https://acme-v02.api.letsencrypt.org/directory",
        )
    ]
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    again = init(config, "init", "--production")
    assert again.returncode == 2
    assert "no line with the directory of a staging CA" in again.stderr


def test_production_of_what_is_no_file_ends_at_once(tmp_path: Path) -> None:
    """A pipe has no end, nor has a device; both may be where a link of the configuration leads."""
    config = tmp_path / "config.yaml"
    os.mkfifo(tmp_path / "pipe")
    for odd in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        config.symlink_to(odd)
        refused = init(config, "init", "--production")
        assert refused.returncode == 1
        assert "is not a regular file" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
        config.unlink()


def test_what_is_there_is_never_overwritten(tmp_path: Path, given: list[str]) -> None:
    """Not even a link that leads nowhere, and before anything is asked."""
    config = tmp_path / "config.yaml"
    config.write_text("{}\n")
    refused = init(config, *given)
    assert refused.returncode == 2
    assert f"{config} is there already" in refused.stderr
    assert config.read_text() == "{}\n"
    config.unlink()
    config.symlink_to("nowhere")
    assert init(config, *given).returncode == 2
    assert os.readlink(config) == "nowhere"


def test_a_place_that_cannot_be_written_is_told_before_anything_is_asked(
    tmp_path: Path, given: list[str]
) -> None:
    """Not after a dozen questions."""
    (tmp_path / "file").touch()
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for folder, why in (
        ("file", "cannot be written by this user"),
        ("open", "everybody may write"),
    ):
        refused = init(tmp_path / folder / "config.yaml", *given)
        assert refused.returncode == 2
        assert why in refused.stderr


@pytest.mark.parametrize(
    ("options", "says", "written"),
    [
        (
            ["--solver", "dns-persist-01", "--service", "none"],
            "dns persist-record example.com  # prints the TXT record to set",
            {"challenge: dns-persist-01"},
        ),
        (
            ["--solver", "dns-persist-01", "--service", "signal", "--service-set", "pid_file=/a"],
            "it reads",
            {"type: signal", "pid_file: /a"},
        ),
        (
            [
                "--solver",
                "dns-persist-01",
                "--service",
                "signal",
                "--service-set",
                "unit=a.service",
            ],
            "it reads",
            {"type: signal", "unit: a.service"},
        ),
        (
            ["--solver", "dns-persist-01", "--service", "none", "--probe", "127.0.0.1:8443"],
            "the files are in",
            {"type: none", "address: '127.0.0.1:8443'"},
        ),
        (
            [
                *("--solver", "webhook", "--solver-set", "url=https://dns.example.com"),
                *("--secret-file", "password={}", "--secret-file", "username={}"),
                *("--service", "postgresql", "--secret-file", "postgresql.password={}"),
            ],
            "ssl_cert_file",
            {"type: postgresql", "owner: postgres", "starttls: postgres"},
        ),
        (
            [
                *("--solver", "exec", "--solver-set", "command=/bin/true"),
                *("--service", "http", "--service-set", "url=http://127.0.0.1:8080/reload"),
            ],
            "it reads",
            {"type: http"},
        ),
    ],
    ids=["persistent record", "signal", "signal to a unit", "by itself", "postgresql", "http"],
)
def test_one_command_is_enough_for_whatever_is_offered(
    tmp_path: Path,
    options: list[str],
    says: str,
    written: set[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What it writes passes the check; what is left for a person is printed."""
    (tmp_path / "systemctl").touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("secret\n")
    config = tmp_path / "config.yaml"
    words = ["-c", str(config), "init", "--domain", "example.com", "--agree-to-terms"]
    words += [each.replace("{}", str(secret)) for each in options]
    monkeypatch.setattr(sys, "argv", ["certrotd", *words])
    assert run() == 0
    assert says in capsys.readouterr().err
    text = config.read_text()
    assert all(each in text for each in written), text


def test_without_a_terminal_every_missing_option_is_named(tmp_path: Path) -> None:
    """At once, and nothing is written."""
    config = tmp_path / "etc" / "config.yaml"
    refused = init(config, "init", "--solver", "rfc2136")
    assert refused.returncode == 2
    for each in ("--domain", "--agree-to-terms", "--solver-set server=", "--secret-file tsig."):
        assert each in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not config.parent.exists()


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (["--domain", "exa mple.com"], "--domain: "),
        (["--ca", "http://ca.example.com/"], "--ca must begin with https://"),
        (["--solver", "bind"], "--solver must be one of rfc2136"),
        (["--solver-set", "sever=192.0.2.1"], "rfc2136 has no option sever"),
        (["--solver-set", "server"], "--solver-set takes NAME=VALUE"),
        (["--solver-set", "tsig.algorithm=md5"], "--solver-set tsig.algorithm=…: must be one of"),
        (["--secret-file", "tsig.secret=/no/such/file"], "/no/such/file"),
        (["--service", "nginx", "--service-set", "binary=/no/such"], "nothing was written, for"),
        (["--service", "command", "--service-set", "command='"], "a quotation that does not end"),
        (["--service", "kubernetes"], "kubernetes is configured by the Helm chart"),
        (["--service", "signal"], "init needs --service-set pid_file=…"),
        (["--service", "docker"], "init needs --service-set containers=…"),
        (["--probe", "nowhere", "--service", "command"], "--probe: "),
        (["--name", "../up"], "--name: "),
        (["--domain", "\udcff.example.com"], "not text in UTF-8"),
        (["--ca", "zerossl"], "--eab-key-id, --secret-file eab.key=FILE"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_a_wrong_option_is_told_and_nothing_is_written(
    tmp_path: Path,
    given: list[str],
    more: list[str],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By the flag, in the words of the check."""
    config = tmp_path / "etc" / "config.yaml"
    monkeypatch.setattr(sys, "argv", ["certrotd", "-c", str(config), *given, *more])
    assert run() == 2
    assert why in capsys.readouterr().err
    assert not config.exists()
