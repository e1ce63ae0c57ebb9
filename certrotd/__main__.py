"""The console script: answers ``--version`` without loading anything, else the command line."""

from __future__ import annotations

import sys


def main() -> None:
    """Run certrotd with the arguments of this process."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        from certrotd import __version__

        sys.stdout.write(f"certrotd {__version__}\n")
        return
    from certrotd.cli.app import run

    sys.exit(run())


if __name__ == "__main__":
    main()
