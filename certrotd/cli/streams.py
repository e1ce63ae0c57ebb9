"""Standard output and standard error, whose trouble never reaches whoever writes to them.

A full disk, a reader that is gone, a terminal that was closed or a character that the locale
cannot show is no reason to leave a rotation half done: what cannot be written is dropped, and the
exit code says so at the end.
"""

from __future__ import annotations

import errno
import io
import os
import sys

TYPE_CHECKING = False  # the module typing takes longer to load than --version may
if TYPE_CHECKING:
    from typing import Any


class Output(io.FileIO):
    """A descriptor that takes everything; ``trouble`` is the first error of writing to it."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)
        self.trouble: OSError | None = None

    def write(self, data: Any, /) -> int:
        """All of ``data`` is taken or dropped, never refused."""
        try:
            while (written := super().write(data)) is None:
                self._await_room()
        except OSError as error:
            self.trouble = self.trouble or error
            return len(data)
        return written

    def _await_room(self) -> None:
        """Whoever shares the terminal may have made it one that does not wait."""
        import select

        select.select([], [self], [])


def open_streams() -> tuple[Output, Output]:
    """Replace standard output and standard error; those that were closed fail at the first write.

    A closed stream is opened onto nothing: else the next file to be opened had its number, and got
    what is written to it.
    """
    if sys.stdin is None:
        sys.stdin = open(_opened(0))  # noqa: SIM115  # open for as long as the process is
    outputs = []
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        raw = Output(_opened(number) if stream is None else number)
        text = io.TextIOWrapper(
            io.BufferedWriter(raw),
            encoding=stream.encoding if stream else None,
            errors="backslashreplace",
            line_buffering=number == 2 or raw.isatty(),
        )
        setattr(sys, name, text)
        outputs.append(raw)
    stdout, stderr = outputs
    return stdout, stderr


def end_of(code: int, stdout: Output, stderr: Output) -> int:
    """The exit code after the last word: 1 instead of 0 if something could not be written."""
    sys.stdout.flush()
    trouble = stdout.trouble
    if trouble and trouble.errno != errno.EPIPE:  # a reader that has seen enough is no news
        sys.stderr.write(f"certrotd: cannot write to standard output: {trouble.strerror}\n")
    sys.stderr.flush()
    return code or int(bool(trouble or stderr.trouble))


def _opened(number: int) -> int:
    """/dev/null for reading, under the lowest number that is free: that of the closed stream."""
    opened = os.open(os.devnull, os.O_RDONLY)
    assert opened == number
    return opened
