"""Where a new file of the configuration goes, and putting it there."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path

from certrotd.config.hostfile import HostFile
from certrotd.config.sources import Unreadable, read
from certrotd.errors import ConfigInvalid, NeedsOperator
from certrotd.files.writing import create_file

_PASTE = "paste the plan into a file of the configuration"


def place_of_new(main: Path, name: str) -> Path:
    """The file NAME.yaml that ``main`` will include; raises NeedsOperator and ConfigInvalid."""
    try:
        told = read(main, main=True)[0].data
    except Unreadable as error:
        raise ConfigInvalid([error.problem]) from None
    pattern = told.get("include", HostFile.model_fields["include"].default)
    if not isinstance(pattern, str) or has_magic(os.path.dirname(pattern)):
        raise NeedsOperator(f"{main} includes no files of one directory", hint=_PASTE)
    file = (main.parent / pattern).parent / f"{name}.yaml"
    if not fnmatchcase(file.name, os.path.basename(pattern)):
        raise NeedsOperator(f"{main} would not include {file}", hint=_PASTE)
    if os.path.lexists(file):
        raise NeedsOperator(f"{file} is there already", hint="compare it with the plan")
    if not file.parent.is_dir():
        raise NeedsOperator(f"there is no directory {file.parent}", hint="make it")
    return file


def write_new(file: Path, text: str) -> None:
    """Write it where nothing is, whole; raises DiskTrouble. There is no secret in it."""
    create_file(file, text.encode(), mode=0o644)
