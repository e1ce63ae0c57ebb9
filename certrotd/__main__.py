"""The console script: answers ``--version`` without loading anything, else the command line."""

from __future__ import annotations

import gc
import os
import resource
import sys

from certrotd.cli.first_word import first_word
from certrotd.cli.streams import end_of, open_streams


def main() -> None:
    """Run certrotd with the arguments of this process."""
    if os.getpid() == 1:
        _end_on_sigterm()
    stays = first_word(sys.argv[1:]) == "run"
    if stays:
        _outlive_reloads()
    streams = open_streams()
    if sys.argv[1:] in (["--version"], ["-V"]):
        from certrotd import __version__

        sys.stdout.write(f"certrotd {__version__}\n")
        sys.exit(end_of(0, *streams))
    # No core dump holds a key. Programs that it starts have the same limit, and may raise it again.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    # What a command builds it keeps until it ends: at the default of 700, looking for garbage in it
    # takes a quarter of the time of a listing of 10,000 certificates. A short command never looks.
    gc.set_threshold(50_000 if stays else 200_000)
    from certrotd.cli.app import run

    code = end_of(run(), *streams)
    gc.freeze()  # all memory goes back in a moment: nor is there any to be looked for at exit
    sys.exit(code)


def _outlive_reloads() -> None:
    """Take a SIGHUP that comes while the daemon is loaded: it reads its configuration after that.

    By a handler, because what a program ignores its children ignore too.
    """
    import signal  # a few milliseconds that no other command needs

    signal.signal(signal.SIGHUP, lambda _number, _frame: None)


def _end_on_sigterm() -> None:
    """Be ended by a SIGTERM, which the first process of a container ignores unless it is handled.

    Commands that have something to finish handle it in their own way, from when they begin.
    """
    import signal

    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))


if __name__ == "__main__":
    main()
