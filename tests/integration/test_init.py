"""The way of a stranger: ``certrotd init``, then what it says is next, against real servers."""

from __future__ import annotations

import os
import pty
import select
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.parts import Bind, Nginx, Parts, Pebble, Resolver
from tests.parts.site import PROGRAM, Run, matching

NAME = "www.example.test"


class Terminal:
    """A terminal with the program on it."""

    def __init__(self, *arguments: str) -> None:
        pid, self._terminal = pty.fork()
        if not pid:
            os.environ["NO_COLOR"] = "1"
            os.execv(sys.executable, [sys.executable, str(PROGRAM), *arguments])
        self._pid = pid
        self.screen = ""
        self._read = 0

    def answer(self, question: str, answer: str) -> None:
        """Types a line once the question is there."""
        deadline = time.monotonic() + 60
        while question not in self.screen[self._read :]:
            assert self._more(deadline), f"it never asked {question!r}: {self.screen}"
        self._read = len(self.screen)
        os.write(self._terminal, f"{answer}\n".encode())

    def end(self) -> int:
        """Its exit code."""
        deadline = time.monotonic() + 60
        while self._more(deadline):
            pass
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def _more(self, deadline: float) -> bool:
        assert time.monotonic() < deadline, self.screen
        if not select.select([self._terminal], [], [], 1)[0]:
            return True
        try:
            data = os.read(self._terminal, 4096)
        except OSError:  # how a terminal says that nobody is there any more
            return False
        self.screen += data.decode()
        return bool(data)


class Bare:
    """An empty directory of a stranger's; beside its configuration is how this lab differs."""

    def __init__(self, directory: Path, zones: tuple[Bind, Resolver]) -> None:
        bind, resolver = zones
        self.directory = directory
        self.config = directory / "etc" / "certrotd" / "config.yaml"
        fragments = self.config.parent / "conf.d"
        fragments.mkdir(parents=True)
        lab = {"resolvers": [resolver.server], "propagation": {"port": bind.port, "interval": "1s"}}
        (fragments / "lab.yaml").write_text(yaml.safe_dump({"dns": lab}))

    def run(self, *arguments: str) -> Run:
        """The program on that configuration, without a terminal."""
        done = subprocess.run(
            [sys.executable, PROGRAM, "-c", self.config, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        return Run(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def bare(tmp_path: Path, zones: tuple[Bind, Resolver]) -> Bare:
    """Nothing of certrotd's is there."""
    return Bare(tmp_path / "host", zones)


def test_one_command_of_options_leads_to_a_certificate_that_nginx_serves(
    bare: Bare, zones: tuple[Bind, Resolver], ca: Pebble, parts: Parts, tmp_path: Path
) -> None:
    """No YAML is written by hand; what is printed as the next commands works."""
    bind, _ = zones
    secret = tmp_path / "tsig"
    secret.write_text(bind.key.secret)
    secret.chmod(0o600)
    state = bare.directory / "state"
    live = state / "certificates" / "web" / "live"
    first = tmp_path / "first.pem"
    key = tmp_path / "first.key"
    made = "req -x509 -newkey rsa:2048 -nodes -subj /CN=first -keyout"
    subprocess.run(["openssl", *made.split(), key, "-out", first], check=True, capture_output=True)
    nginx = parts.start(Nginx, {NAME: (first, key)})
    options = {
        "--domain": NAME,
        "--name": "web",
        "--ca": ca.directory_url,
        "--ca-bundle": str(ca.ca_file),
        "--email": "ops@example.test",
        "--solver": "rfc2136",
        "--secret-file": f"tsig.secret={secret}",
        "--service": "nginx",
        "--probe": f"127.0.0.1:{nginx.port}",
        "--state-dir": str(state),
    }
    solver = {"server": bind.server, "tsig.name": bind.key.name}
    service = {"binary": str(nginx.binary), "config": str(nginx.config_path)}
    service |= {"prefix": str(nginx.directory), "pid_file": str(nginx.pid_file), "reload": "signal"}
    words = [word for pair in options.items() for word in pair]
    words += [w for n, v in solver.items() for w in ("--solver-set", f"{n}={v}")]
    words += [w for n, v in service.items() for w in ("--service-set", f"{n}={v}")]

    run = bare.run("init", "--yes", "--agree-to-terms", *words)
    assert run.code == 0, run.stderr
    assert "config check" in run.stderr
    assert f"{live}/fullchain.pem" in run.stderr
    assert bare.run("config", "check").code == 0
    assert not state.exists()
    dry = bare.run("rotate", "web", "--dry-run")
    assert dry.code == 0, dry.stderr

    bare.run("rotate", "web")  # nginx does not read the files yet: they stay all the same
    nginx.host({NAME: (live / "fullchain.pem", live / "privkey.pem")})
    nginx.reload()
    done = bare.run("rotate", "web")
    assert done.code == 0, f"{done.stdout}{done.stderr}"
    assert nginx.served(NAME) == matching(live / "privkey.pem", live / "fullchain.pem")
    assert bind.txt(f"_acme-challenge.{NAME}") == set()
    forced = bare.run("rotate", "web", "--force")
    assert forced.code == 0, f"{forced.stdout}{forced.stderr}"
    assert nginx.served(NAME) == matching(live / "privkey.pem", live / "fullchain.pem")


def test_questions_on_a_terminal_lead_to_the_same(
    bare: Bare, zones: tuple[Bind, Resolver], ca: Pebble
) -> None:
    """A wrong answer is explained and asked again; a typed secret is not shown, and 0600."""
    bind, _ = zones
    state = bare.directory / "state"
    terminal = Terminal(
        *("-c", str(bare.config), "init", "--state-dir", str(state), "--ca-bundle", str(ca.ca_file))
    )
    terminal.answer("Domain names", "exa_mple..test")
    terminal.answer("Domain names", f"{NAME}, *.example.test")
    terminal.answer(f"Name of the certificate [{NAME}]", "web")
    terminal.answer("Number or name [letsencrypt]", "verisign")
    terminal.answer("Number or name [letsencrypt]", ca.directory_url)
    terminal.answer("E-mail", "")
    terminal.answer("terms of service (yes/no)", "maybe")
    terminal.answer("terms of service (yes/no)", "yes")
    terminal.answer("Number or name: ", "1")
    terminal.answer("primary name server", bind.server)
    terminal.answer("Name of the TSIG key at the server [certrotd]", bind.key.name)
    terminal.answer("Algorithm of the TSIG key [hmac-sha256]", "")
    terminal.answer("File with the TSIG key in base64", "")
    terminal.answer("(not shown)", bind.key.secret)
    terminal.answer("Number or name", "none")
    terminal.answer("Where it serves TLS, or none [none]", "")
    assert terminal.end() == 0, terminal.screen
    assert bind.key.secret not in terminal.screen
    assert bind.key.secret not in bare.config.read_text()
    secret = bare.config.parent / "rfc2136-tsig.secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600

    assert bare.run("config", "check").code == 0
    done = bare.run("rotate", "web")
    assert done.code == 0, f"{done.stdout}{done.stderr}"
    live = state / "certificates" / "web" / "live"
    assert matching(live / "privkey.pem", live / "fullchain.pem")


def test_answers_that_end_early_leave_nothing(bare: Bare) -> None:
    """Ctrl-D is no answer."""
    terminal = Terminal("-c", str(bare.config), "init")
    terminal.answer("Domain names", "\x04")
    assert terminal.end() == 2
    assert "the answers ended early; nothing was written" in terminal.screen
    assert not bare.config.exists()
