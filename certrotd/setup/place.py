"""The files of a first configuration, and the one line that makes staging production."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from certrotd.config.load import check
from certrotd.config.secrets import Secret
from certrotd.config.sources import MAX_BYTES
from certrotd.errors import ConfigInvalid, UsageError
from certrotd.files.reading import read_status
from certrotd.files.shared import refuse_open_to_all
from certrotd.files.writing import (
    NewFile,
    create_file,
    make_directory,
    remove_file,
    replace_files,
)
from certrotd.setup.catalogue import AUTHORITIES

_EDIT = "edit it, then run certrotd config check; or write another one: certrotd -c FILE init"


def refuse_place(file: Path) -> None:
    """Raises UsageError where there is something already, or nothing may be written."""
    if os.path.lexists(file):
        raise UsageError(f"{file} is there already, and stays as it is", hint=_EDIT)
    folder = next(each for each in file.parents if each.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        raise UsageError(
            f"{file} cannot be written by this user",
            hint="run it as root (sudo), or write one elsewhere: certrotd -c FILE init",
        )
    refuse_open_to_all(file.parent, why="and could choose what certrotd runs")


def write_first(file: Path, text: str, secrets: Mapping[Path, Secret]) -> list[str]:
    """Write secrets (mode 0600) and the configuration (0644) where nothing is; the warnings.

    Raises ConfigInvalid if it does not pass the check, and DiskTrouble; nothing is left then.
    """
    refuse_place(file)
    make_directory(file.parent, mode=0o755)
    written: list[Path] = []
    try:
        for place, secret in secrets.items():
            create_file(place, secret.reveal(), mode=0o600)
            written.append(place)
        problems, warnings = check(file, text=text)
        if problems:
            raise ConfigInvalid(problems)
        create_file(file, text.encode(), mode=0o644)
    except BaseException:
        for place in written:
            remove_file(place)
        raise
    return [str(each) for each in warnings]


def to_production(file: Path) -> tuple[str, str]:
    """Replace the URL of a staging CA in ``file``; gives the former and the new one.

    Raises UsageError unless there is exactly one such line, InvalidInput for what is no file or
    more than MAX_BYTES, and DiskTrouble.
    """
    try:
        file = file.resolve(strict=True)  # a link stays one
        data, found = read_status(file, limit=MAX_BYTES)
        text = data.decode()
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"{file} cannot be read") from None
    urls = {each.staging: each.production for each in AUTHORITIES.values() if each.staging}
    named = "|".join(map(re.escape, urls))
    lines = list(re.finditer(rf"(?m)^(\s*directory:\s*[\"']?)({named})(?=[\"'\s]|$)", text))
    if len(lines) != 1:
        how = f"{len(lines)} lines" if lines else "no line"
        raise UsageError(
            f"{file} has {how} with the directory of a staging CA",
            hint="change directory: of the issuer by hand",
        )
    [line] = lines
    staging = line[2]
    changed = f"{text[: line.start(2)]}{urls[staging]}{text[line.end(2) :]}"
    problems, _ = check(file, text=changed)
    if problems:
        raise ConfigInvalid(problems)
    mode, owner = stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid)
    replace_files([NewFile(file, changed.encode(), mode, owner)])
    return staging, urls[staging]
