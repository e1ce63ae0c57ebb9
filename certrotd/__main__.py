"""The console script: answers ``--version`` without loading anything, else the command line."""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """Run certrotd with the arguments of this process."""
    if _runs(sys.argv[1:]):
        _outlive_reloads()
    _open_streams()
    if sys.argv[1:] in (["--version"], ["-V"]):
        from certrotd import __version__

        sys.stdout.write(f"certrotd {__version__}\n")
        return
    # What a command builds it keeps until it ends: at the default of 700, looking for garbage in it
    # takes a quarter of the time of a listing of 10,000 certificates.
    gc.set_threshold(50_000)
    from certrotd.cli.app import run

    code = run()
    gc.freeze()  # all memory goes back in a moment: nor is there any to be looked for at exit
    sys.exit(code)


def _runs(arguments: list[str]) -> bool:
    """Whether the command is ``run``; before a command stands nothing but --config."""
    rest = iter(arguments)
    for each in rest:
        if each in ("-c", "--config"):
            next(rest, None)
        elif not each.startswith("-"):
            return each == "run"
    return False


def _outlive_reloads() -> None:
    """Take a SIGHUP that comes while the daemon is loaded: it reads its configuration after that.

    By a handler, because what a program ignores its children ignore too.
    """
    import signal  # a few milliseconds that no other command needs

    signal.signal(signal.SIGHUP, lambda _number, _frame: None)


def _open_streams() -> None:
    """Open those standard streams that are closed, onto nothing.

    Else the next file to be opened had the number of one, and got what is written to it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free is this one
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


if __name__ == "__main__":
    main()
