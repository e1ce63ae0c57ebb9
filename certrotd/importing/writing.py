"""Writing a planned configuration: secrets first, the configuration itself last."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from certrotd.errors import InvalidInput, UsageError
from certrotd.files.disktrouble import explained
from certrotd.files.reading import is_there, read_file
from certrotd.files.writing import make_directory, rename, write_file
from certrotd.importing.configuration import SECRETS, Plan

CONFIG, STAGED = "config.yaml", ".config.yaml.new"


def stage(plan: Plan, folder: Path) -> Path:
    """Write all files, the configuration under another name, which is returned; repeatable.

    Raises UsageError where there is a configuration or another secret already, DiskTrouble.
    """
    _refuse_existing(folder)
    make_directory(folder, mode=0o755)
    secrets = {folder / SECRETS / name: value + b"\n" for name, value in plan.secrets.items()}
    if secrets:
        make_directory(folder / SECRETS, mode=0o700)
        _refuse_shared(folder / SECRETS, folder)
    for path, value in secrets.items():
        _refuse_other(path, value)
    for path, value in secrets.items():
        write_file(path, value, mode=0o600)
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


def _refuse_shared(secrets: Path, folder: Path) -> None:
    """A link leads out of ``folder``, and whoever can write here could read or replace secrets."""
    with explained(f"look at {secrets}"):
        found, around = secrets.lstat(), folder.stat()
    others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    others = others or found.st_uid not in (around.st_uid, os.geteuid())
    if stat.S_ISLNK(found.st_mode) or others:
        raise UsageError(
            f"{secrets} is a link, has another owner than {folder}, or can be written by others",
            hint="move it away, or choose another directory",
        )


def _refuse_other(path: Path, value: bytes) -> None:
    """A secret of somebody else's is left alone; one of an earlier run that was killed is not."""
    try:
        same = read_file(path, limit=len(value), follow=False) == value
    except FileNotFoundError:
        return
    except InvalidInput:
        same = False
    if not same:
        raise UsageError(
            f"{path} is there already with another secret, and is left alone",
            hint="move it away if nothing needs it, or choose another directory",
        )
