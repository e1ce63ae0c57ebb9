"""Writing a planned configuration: secrets first, the configuration itself last."""

from __future__ import annotations

from pathlib import Path

from certrotd.errors import UsageError
from certrotd.files.reading import is_there
from certrotd.files.writing import make_directory, write_file
from certrotd.importing.configuration import SECRETS, Plan

CONFIG = "config.yaml"


def write(plan: Plan, folder: Path) -> Path:
    """Write the files, and return the configuration's path.

    Raises UsageError where there is a configuration already, DiskTrouble. Interrupted before its
    end it leaves no configuration, and may be repeated.
    """
    path = folder / CONFIG
    if is_there(path):
        raise UsageError(
            f"{path} is there already and is left alone",
            hint="choose another directory, and bring the entries together by hand",
        )
    make_directory(folder, mode=0o755)
    if plan.secrets:
        make_directory(folder / SECRETS, mode=0o700)
    for name, value in plan.secrets.items():
        write_file(folder / SECRETS / name, value + b"\n", mode=0o600)
    # a command that another client kept to itself may hold a secret
    write_file(path, plan.document.encode(), mode=0o640)
    return path
