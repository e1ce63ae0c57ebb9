"""Processes of the tests' own that note the signals they get."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NOTES = """
import signal, sys
noted = open(sys.argv[1], "a", buffering=1)
note = lambda number, _: print(signal.Signals(number).name, file=noted)
for name in ("SIGHUP", "SIGUSR1", "SIGUSR2"):
    signal.signal(signal.Signals[name], note)
print("ready", flush=True)
while True:
    signal.pause()
"""


@contextmanager
def noting(notes: Path) -> Iterator[int]:
    """A process that writes the name of each signal it gets into a file; gives its number."""
    notes.touch()
    argv = [sys.executable, "-I", "-c", _NOTES, str(notes)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield process.pid
        finally:
            process.kill()
