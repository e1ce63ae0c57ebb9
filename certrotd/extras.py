"""Libraries that not every installation has: the extras of the package."""

from __future__ import annotations

import importlib.util
import shlex
import sys


def installed(module: str) -> bool:
    """Whether a library is there; it is not imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):  # not even what it is part of
        return False


def how_to_install(extra: str) -> str:
    """What installs ``extra`` into the environment that certrotd runs in."""
    python = shlex.quote(sys.executable or "python3")
    return f"in certrotd's source directory: {python} -m pip install '.[{extra}]'"
