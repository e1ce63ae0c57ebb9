"""The process in nginx's pid file is nginx's master, or the operator is told what it is."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from certrotd.clock import SystemClock
from certrotd.config.context import Context
from certrotd.config.targets import NginxEntry
from certrotd.errors import Failure, NeedsOperator
from certrotd.targets.nginx import NginxTarget, build
from certrotd.targets.pid import look
from tests.parts.process import wait_until
from tests.unit.targets.running import noting

LONG = "sleeping-nginx-with-a-long-name"


@pytest.fixture
def binary(tmp_path: Path) -> str:
    """A program called nginx that is content with every configuration."""
    path = tmp_path / "nginx"
    path.write_text("#!/bin/sh\nexit 0\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[int, NginxTarget]]:
    """A process with a long name of its own, and the target it is the master of."""
    program = shutil.copy(str(shutil.which("sleep")), tmp_path / LONG)
    binary = tmp_path / "sbin" / LONG
    binary.parent.mkdir()
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    pid_file = tmp_path / "nginx.pid"
    with subprocess.Popen([program, "60"]) as process:
        pid_file.write_text(f"{process.pid}\n")
        yield process.pid, NginxTarget(binary=str(binary), pid_file=pid_file)
        process.kill()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no "),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"nginx\n", "does not hold a process id"),
        (b"12 34", "does not hold a process id"),
        (b"-1", "does not hold a process id"),
        (b"0", "does not hold a process id"),
        (b"1", "does not hold a process id"),
        ("²".encode(), "does not hold a process id"),
        (b"\xff\xfe\x00", "does not hold a process id"),
        (b"9" * 60, "is not running"),
        (b"9" * 65, "is larger than 64 bytes"),
    ],
)
def test_a_pid_file_that_names_no_process_is_refused(
    binary: str, tmp_path: Path, content: bytes | None, words: str
) -> None:
    """A signal to process 1, to a group or to a guess would be an outage of its own."""
    pid_file = tmp_path / "nginx.pid"
    if content is not None:
        pid_file.write_bytes(content)
    target = NginxTarget(binary=binary, pid_file=pid_file)
    for act in (target.check, target.apply):
        with pytest.raises(Failure, match=words):
            act()


def test_a_pid_file_that_cannot_be_read_is_refused(binary: str, tmp_path: Path) -> None:
    """A pipe in its place is not waited for."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        with pytest.raises(Failure, match="is not a regular file"):
            NginxTarget(binary=binary, pid_file=path).check()


def test_a_stale_pid_file_is_refused(binary: str, tmp_path: Path) -> None:
    """The number is nobody's any more, or by now somebody else's."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    pid_file = tmp_path / "nginx.pid"
    pid_file.write_text(str(gone.pid))
    with pytest.raises(NeedsOperator, match=f"nginx {gone.pid} of {pid_file} is not running"):
        NginxTarget(binary=binary, pid_file=pid_file).check()
    pid_file.write_text(str(os.getpid()))
    with pytest.raises(NeedsOperator, match="not nginx") as refused:
        NginxTarget(binary=binary, pid_file=pid_file).apply()
    assert refused.value.hint == "the pid file is stale; start nginx"


def test_a_build_of_nginx_under_another_name_is_known_by_it(
    running: tuple[int, NginxTarget],
) -> None:
    """The kernel keeps fifteen characters of a name."""
    running[1].check()


def test_the_signal_is_a_hangup_to_that_process(binary: str, tmp_path: Path) -> None:
    """SIGTERM would end it; and a check sends nothing."""
    notes, pid_file = tmp_path / "notes", tmp_path / "nginx.pid"
    with noting(notes) as pid:
        pid_file.write_text(f"{pid}\n")
        comm = Path(f"/proc/{pid}/comm").read_text().strip()
        named = Path(binary).rename(tmp_path / comm)
        target = NginxTarget(binary=str(named), pid_file=pid_file)
        target.check()
        target.apply()
        wait_until(lambda: notes.read_text() == "SIGHUP\n")


def test_a_number_that_another_nginx_has_by_now_is_refused(
    running: tuple[int, NginxTarget],
) -> None:
    """The name is right, and the process younger than the file."""
    pid, target = running
    process = look(pid, SystemClock())
    assert process is not None
    earlier = process.started - 10
    os.utime(target.pid_file, (earlier, earlier))
    with pytest.raises(NeedsOperator, match=f"process {pid} of .* is another process"):
        target.check()


@pytest.mark.parametrize("verb", ["systemctl", "argv"])
def test_a_missing_reload_program_is_found_before_an_order(
    binary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """Found missing before an order, not after the swap; no pid file is looked for."""
    monkeypatch.setenv("PATH", str(tmp_path))
    target = NginxTarget(
        binary=binary,
        reload="systemctl" if verb == "systemctl" else ("tell-nginx", "now"),
        unit="web.service",
        pid_file=tmp_path / "none",
    )
    name = "systemctl" if verb == "systemctl" else "tell-nginx"
    with pytest.raises(NeedsOperator, match=f"{name} is not an executable file"):
        target.check()
    teller = tmp_path / name
    asked = f'[ "$1" != show ] || exec /bin/cat {tmp_path}/state'
    teller.write_text(f'#!/bin/sh\n{asked}\necho "$@" > {tmp_path}/told\n')
    teller.chmod(0o755)
    state = "ActiveState=active\nSubState=running\nLoadState="
    (tmp_path / "state").write_text(f"{state}not-found\n")
    if verb == "systemctl":
        with pytest.raises(NeedsOperator, match=r"^web\.service does not exist"):
            target.precheck()
    (tmp_path / "state").write_text(f"{state}loaded\n")
    target.check()
    assert not (tmp_path / "told").exists()
    target.apply()
    told = (tmp_path / "told").read_text()
    assert told == ("reload web.service\n" if verb == "systemctl" else "now\n")


def test_an_nginx_that_is_not_installed_is_reported_at_once(tmp_path: Path) -> None:
    """Before anything is ordered."""
    with pytest.raises(NeedsOperator, match="/no/nginx is not an executable file"):
        NginxTarget(binary="/no/nginx", pid_file=tmp_path / "none").check()


def test_the_test_is_of_the_configured_instance(tmp_path: Path) -> None:
    """With its prefix and its file, and quietly."""
    binary = tmp_path / "nginx"
    binary.write_text('#!/bin/sh\necho "$@"\nexit 1\n')
    binary.chmod(0o755)
    with pytest.raises(NeedsOperator, match=r"exited with 1: -t -q -p /srv/web -c /etc/web\.conf"):
        NginxTarget(binary=str(binary), prefix="/srv/web", config="/etc/web.conf").apply()
    with pytest.raises(NeedsOperator, match=r"exited with 1: -t -q$"):
        NginxTarget(binary=str(binary)).apply()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({}, NginxTarget()),
        (
            {
                "binary": "/opt/nginx",
                "config": "/etc/web.conf",
                "prefix": "/srv/web",
                "reload": ["/opt/nginx", "-s", "reload"],
                "pid_file": "/run/web.pid",
                "unit": "web.service",
                "timeout": "5s",
            },
            NginxTarget(
                "/opt/nginx",
                "/etc/web.conf",
                "/srv/web",
                ("/opt/nginx", "-s", "reload"),
                Path("/run/web.pid"),
                "web.service",
                5.0,
            ),
        ),
    ],
    ids=["defaults", "everything"],
)
def test_an_entry_of_the_configuration_becomes_the_target(
    written: dict[str, object], meant: NginxTarget
) -> None:
    """Every key of it, and the same defaults."""
    entry = TypeAdapter(NginxEntry).validate_python({"type": "nginx", **written})
    clock = SystemClock()
    assert build(entry, Context("web", Path("/var/lib"), clock)) == replace(meant, clock=clock)
