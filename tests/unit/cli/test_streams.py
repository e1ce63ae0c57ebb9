"""Standard streams that cannot be written to."""

import errno
import os
import pty
import subprocess
import sys
import threading

import pytest

from certrotd.cli.streams import Output


def run(program: str, shell: str = "") -> "subprocess.CompletedProcess[bytes]":
    """A program on streams of ours, started by a shell that may close or redirect some."""
    begin = (
        "import sys; from certrotd.cli.streams import end_of, open_streams\ns = open_streams()\n"
    )
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {shell}', "sh", sys.executable, "-c", begin + program],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONUTF8": "1"},
    )


def test_written_output_arrives_whole_and_in_order() -> None:
    """The control: streams that work are as they were."""
    ran = run("print('ü' * 100_000); print('err', file=sys.stderr); sys.exit(end_of(0, *s))")
    assert (ran.returncode, ran.stderr) == (0, b"err\n")
    assert ran.stdout.decode() == "ü" * 100_000 + "\n"


def test_a_line_of_standard_error_is_shown_at_once() -> None:
    """Whoever looks on sees where it stands, although there is no terminal."""
    ran = run("import os; print('first', file=sys.stderr); os.write(2, b'second\\n')")
    assert ran.stderr == b"first\nsecond\n"


@pytest.mark.parametrize(
    ("shell", "said"),
    [
        (">/dev/full", b"certrotd: cannot write to standard output: No space left on device\n"),
        (">&-", b"certrotd: cannot write to standard output: Bad file descriptor\n"),
        ("<&- >&-", b"certrotd: cannot write to standard output: Bad file descriptor\n"),
        ("2>/dev/full", b""),
        ("2>&-", b""),
        ("<&- >&- 2>&-", b""),
    ],
)
def test_output_that_cannot_be_written_sets_the_exit_code(shell: str, said: bytes) -> None:
    """1 instead of 0; what failed already keeps its own."""
    both = "print('out'); print('err', file=sys.stderr); sys.exit(end_of({}, *s))"
    ran = run(both.format(0), shell)
    assert (ran.returncode, ran.stderr.removeprefix(b"err\n")) == (1, said)
    assert run(both.format(2), shell).returncode == 2


def test_a_closed_stream_that_nobody_writes_to_is_no_failure() -> None:
    """Service managers of old start programs that way."""
    assert run("sys.exit(end_of(0, *s))", "<&- >&- 2>&-").returncode == 0


def test_a_reader_that_left_is_not_reported() -> None:
    """It has seen enough."""
    read, write = os.pipe()
    os.close(read)
    with Output(write) as output:
        assert output.write(b"more") == 4
        assert output.trouble is not None
        assert output.trouble.errno == errno.EPIPE
    os.close(write)


def test_a_terminal_that_was_closed_takes_everything() -> None:
    """The connection is gone; what is under way is not."""
    ours, theirs = pty.openpty()
    os.close(ours)
    output = Output(theirs)
    assert output.write(b"a line\n") == 7
    assert output.trouble is not None
    assert output.trouble.errno == errno.EIO
    os.close(theirs)


def test_a_stream_that_does_not_wait_is_waited_for() -> None:
    """Some other program on the same terminal has made it so: nothing gets lost."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    sent, got = b"x" * 1_000_000, bytearray()

    def consume() -> None:
        while part := os.read(read, 65536):
            got.extend(part)

    reader = threading.Thread(target=consume)
    reader.start()
    output, left = Output(write), memoryview(sent)
    while left:
        left = left[output.write(left) :]
    os.close(write)
    reader.join()
    os.close(read)
    assert (bytes(got), output.trouble) == (sent, None)
