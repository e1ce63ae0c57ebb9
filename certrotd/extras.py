"""Libraries that not every installation has: the extras of the package."""

from __future__ import annotations

import shlex
import sys


def how_to_install(extra: str) -> str:
    """What installs ``extra`` into the environment that certrotd runs in."""
    python = shlex.quote(sys.executable or "python3")
    return f"in certrotd's source directory: {python} -m pip install '.[{extra}]'"
