"""Output that cannot be written: a full disk, a reader that is gone, a terminal that was closed.

None of it is a reason to leave a rotation half done.
"""

import fcntl
import os
import pty
import subprocess
import termios
from typing import IO, Any

import pytest

from tests.parts.site import Site

HOST = "example.test"
COMMANDS = [
    "--help",
    "status",
    "status --json",
    "plan",
    "history",
    "rotate --all",
    "rotate --all --dry-run",
    "watch",
    "audit show",
    "audit verify",
    "audit export",
    "config schema",
]


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""A terminal that shows nothing else."""


@pytest.fixture
def proven(site: Site) -> Site:
    """A certificate that is there, with a target that is told of every new one."""
    site.internal()
    site.certificate("web", HOST, targets=["service"])
    site.command("service", "true")
    site.rotate()
    return site


def finished(site: Site) -> bool:
    """Whether the second rotation went its whole way."""
    last = site.history("web")[-1]
    [target] = site.status("web")["targets"]
    return (
        (last["outcome"], site.generation("web")) == ("finished", 2)
        and target["generation"] == 2
        and not site.leftovers()
    )


def start(site: Site, *arguments: str, **streams: Any) -> "subprocess.Popen[bytes]":
    """The console script on streams of the test's choice."""
    site.write()
    return subprocess.Popen(site.command_line(*arguments), stdin=subprocess.DEVNULL, **streams)


def unread() -> IO[bytes]:
    """A pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    return open(write, "wb", buffering=0)  # closed by the caller


class TestRotations:
    """A rotation is finished, whatever becomes of the words about it."""

    @pytest.mark.parametrize("how", ["--json", "--force"])
    def test_a_full_disk_below_the_output_leaves_the_rotation_whole(
        self, proven: Site, how: str
    ) -> None:
        """A log on the partition that is full is the usual case."""
        with open("/dev/full", "wb") as full:
            process = start(proven, "rotate", "web", "--force", how, stdout=full, stderr=full)
            assert process.wait(60) == 1
        assert finished(proven)

    def test_a_reader_that_leaves_after_the_first_line_leaves_the_rotation_whole(
        self, proven: Site
    ) -> None:
        """``certrotd rotate web --force 2>&1 | head -1``."""
        process = start(
            proven, "rotate", "web", "--force", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"web: ")
        process.stdout.close()
        assert process.wait(60) == 1
        assert finished(proven)

    @pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
    def test_closed_streams_leave_the_rotation_whole(self, proven: Site, closed: str) -> None:
        """Nor does any file get what was meant for them."""
        proven.write()
        line = proven.command_line("rotate", "web", "--force")
        ran = subprocess.run(
            ["sh", "-c", f'exec "$@" {closed}', "sh", *line], check=False, capture_output=True
        )
        assert ran.returncode == 1
        assert b"Traceback" not in ran.stderr
        assert finished(proven)
        written = [each for each in proven.state.rglob("*") if each.is_file()]
        assert not [each for each in written if b"web: swap" in each.read_bytes()]

    @pytest.mark.parametrize("json", [(), ("--json",)])
    def test_a_closed_terminal_leaves_the_rotation_whole(
        self, proven: Site, json: tuple[str, ...]
    ) -> None:
        """A connection that breaks hangs up on the program and takes its terminal away."""
        gate = proven.gate("service")
        ours, theirs = pty.openpty()
        process = start(
            proven,
            *("rotate", "web", "--force", *json),
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(theirs, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        gate.wait()
        os.close(ours)
        gate.open()
        assert process.wait(60) == 1
        assert finished(proven)

    def test_output_that_can_be_written_again_is_no_reason_for_a_second_rotation(
        self, proven: Site
    ) -> None:
        """The control: nothing is left to be done for the run after that."""
        with open("/dev/full", "wb") as full:
            start(proven, "rotate", "web", "--force", stdout=full, stderr=full).wait(60)
        assert proven.rotate().row("web")["decision"] == "wait"


class TestListings:
    def test_a_full_disk_is_reported_in_a_line(self, proven: Site) -> None:
        """Neither a traceback nor success: a script that keeps the output has not got it."""
        for command in COMMANDS:
            with open("/dev/full", "wb") as full:
                process = start(proven, *command.split(), stdout=full, stderr=subprocess.PIPE)
                _, said = process.communicate(timeout=60)
            *_, last = said.decode().splitlines()
            assert last == "certrotd: cannot write to standard output: No space left on device"
            assert (process.returncode, b"Traceback" in said) == (1, False), said

    def test_a_reader_that_has_seen_enough_is_no_news(self, proven: Site) -> None:
        """``| head -1``."""
        for command in COMMANDS:
            with unread() as pipe:
                process = start(proven, *command.split(), stdout=pipe, stderr=subprocess.PIPE)
                _, said = process.communicate(timeout=60)
            assert (process.returncode, b"Traceback" in said) == (1, False), said
            assert b"cannot write" not in said

    def test_a_failure_that_cannot_be_reported_is_one_still(self, proven: Site) -> None:
        """Its exit code is all that is left of it."""
        with open("/dev/full", "wb") as full:
            assert start(proven, "status", "wbe", stdout=full, stderr=full).wait(60) == 2


class TestCharacters:
    """What a hook, a CA or a file name says may have characters that a terminal cannot show."""

    def test_a_locale_that_cannot_show_a_character_gets_its_number(self, proven: Site) -> None:
        """In the result, in what is shown meanwhile, and in what is remembered."""
        once = proven.directory / "once"
        said = "printf 'nicht gel\\303\\266scht \\351 \\033[1m' >&2"
        proven.command("service", f"test -e {once} && exit\ntouch {once}\n{said}\nexit 1")
        run = proven.start("rotate", "web", "--force", environment=ASCII).end()
        assert run.code == 1
        for text in (run.stdout, run.stderr):
            assert "nicht gel\\xf6scht \\ufffd \\x1b[1m" in text
            assert text.isascii()
        for command in ("status", "history", "audit show"):
            run = proven.start(*command.split(), environment=ASCII).end()
            assert (run.code, run.stdout.isascii()) == (0, True), run.stderr
        assert "nicht gel\\xf6scht" in proven.start("history", environment=ASCII).end().stdout

    def test_json_is_ascii_everywhere(self, proven: Site) -> None:
        """Whoever reads it needs no locale, and no character of it turns a terminal around."""
        odd = "gel\u00f6scht \u009b31m \u202e"
        proven.command("service", f"printf '%s' '{odd}' >&2\nexit 1")
        run = proven.run("rotate", "web", "--force", "--json")
        assert run.stdout.isascii()
        assert "gel\u00f6scht" in run.row("web")["why"]
        proven.config["certificates"][0]["issuer"] = odd
        check = proven.run("config", "check", "--json")
        assert (check.code, check.stdout.isascii()) == (2, True)

    def test_names_that_are_no_text_are_reported(self, proven: Site) -> None:
        """A file's name is octets."""
        odd = os.fsdecode(b"/no/such/gel\xf6scht")
        for arguments in (["inspect", odd], ["status", odd], ["-c", odd, "status"]):
            run = proven.start(*arguments, environment=ASCII).end()
            assert run.code in (1, 2)
            assert len(run.lines) == 1
            assert "gel" in run.lines[0]


ODD = [
    (["inspect", "a" * 256], 1),
    (["inspect", f"{'a' * 256}.example.test:443"], 1),
    (["inspect", "/etc/hosts/none"], 1),
    (["inspect", "example.test:99999999"], 1),
    (["inspect", f"127.0.0.1:9{'0' * 5000}"], 1),
    (["inspect", "127.0.0.1:9", "--sni", "a" * 300], 1),
    (["inspect", "127.0.0.1:9", "--sni", "\x1b"], 1),
    (["audit", "show", "-n", "1" + "0" * 30], 0),
    (["history", "-n", "1" + "0" * 30], 0),
    (["rollback", "web", "--to", "1" + "0" * 30], 1),
    (["rollback", "web", "--to", "1" + "0" * 3000], 1),
    (["rollback", "web", "--to", "-1"], 1),
    (["rotate", "a" * 5000], 2),
    (["status", "\x1b[1m\u202e"], 2),
    (["audit", "show", "\x1b[1m\u202e"], 0),
    (["-c", "a" * 5000, "status"], 2),
    (["-c", "/dev/null/x", "status"], 2),
]


def test_odd_arguments_are_answered_in_a_line(proven: Site) -> None:
    """Whatever is typed or pasted: no traceback, and nothing that turns the terminal around."""
    for arguments, code in ODD:
        run = proven.run(*arguments)
        lines = (run.stdout + run.stderr).splitlines()
        assert (run.code, "Traceback" in run.stderr) == (code, False), (arguments, run.stderr)
        assert all(line.isprintable() for line in lines)
        assert code == 0 or len(lines) < 12
