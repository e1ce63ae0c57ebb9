"""The heartbeats that processes leave as files in a directory."""

from __future__ import annotations

import itertools
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from certrotd.errors import Failure, InvalidInput
from certrotd.files.disktrouble import explained
from certrotd.files.reading import read_status
from certrotd.files.writing import remove_file
from certrotd.keyring import heartbeat
from certrotd.keyring.heartbeat import Heartbeat

MOST = 10_000
"""Files of a directory that are read: more are a mistake, or somebody's malice."""


@dataclass(frozen=True)
class Left:
    """A heartbeat, and the user whose file it is."""

    heartbeat: Heartbeat
    uid: int


@dataclass(frozen=True)
class Found:
    """The heartbeats of a directory, and why some of its files are none."""

    heartbeats: tuple[Left, ...]
    failures: tuple[Failure, ...]


def find(directory: Path) -> Found:
    """Every heartbeat in ``directory``; raises DiskTrouble if that cannot be read.

    Links are not followed, and a file must have the name of what is in it.
    """
    with explained(f"read {directory}"), os.scandir(directory) as entries:
        names = sorted(
            each.name
            for each in itertools.islice(entries, MOST)
            if each.name.endswith(".json") and not each.name.startswith(".")
        )
    heartbeats: list[Left] = []
    failures: list[Failure] = []
    for name in names:
        try:
            heartbeats.append(_read(directory / name))
        except FileNotFoundError:  # its process has just ended
            continue
        except Failure as failure:
            failures.append(failure)
    return Found(tuple(heartbeats), tuple(failures))


def forget(directory: Path, gone: Heartbeat) -> None:
    """Remove the file of an instance that does not live any more; raises DiskTrouble."""
    remove_file(directory / file_name(gone))


def file_name(told: Heartbeat) -> str:
    """Of the file of an instance."""
    return f"{told.client}.{told.instance}.json"


def _read(path: Path) -> Left:
    data, status = read_status(path, limit=heartbeat.MAX_BYTES, follow=False)
    try:
        found = heartbeat.parse(data)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error.message}") from None
    if file_name(found) != path.name:
        raise InvalidInput(f"{path} holds the heartbeat of another process")
    if status.st_mode & stat.S_IWOTH:
        raise InvalidInput(f"{path} can be written by everybody", hint=f"chmod o-w {path}")
    return Left(found, status.st_uid)
