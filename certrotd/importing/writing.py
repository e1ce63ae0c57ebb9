"""Writing a planned configuration: secrets first, the configuration itself last."""

from __future__ import annotations

from pathlib import Path

from certrotd.errors import UsageError
from certrotd.files.reading import is_there
from certrotd.files.writing import make_directory, rename, write_file
from certrotd.importing.configuration import SECRETS, Plan

CONFIG, STAGED = "config.yaml", ".config.yaml.new"


def stage(plan: Plan, folder: Path) -> Path:
    """Write all files, the configuration under another name, which is returned; repeatable.

    Raises UsageError where there is a configuration already, DiskTrouble.
    """
    _refuse_existing(folder)
    make_directory(folder, mode=0o755)
    if plan.secrets:
        make_directory(folder / SECRETS, mode=0o700)
    for name, value in plan.secrets.items():
        write_file(folder / SECRETS / name, value + b"\n", mode=0o600)
    # a command that another client kept to itself may hold a secret
    write_file(folder / STAGED, plan.document.encode(), mode=0o640)
    return folder / STAGED


def publish(folder: Path) -> Path:
    """Give the staged configuration its name; raises as stage() does."""
    _refuse_existing(folder)
    rename(folder / STAGED, folder / CONFIG)
    return folder / CONFIG


def _refuse_existing(folder: Path) -> None:
    path = folder / CONFIG
    if is_there(path):
        raise UsageError(
            f"{path} is there already and is left alone",
            hint="choose another directory, and bring the entries together by hand",
        )
