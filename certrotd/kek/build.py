"""The KEKs of the configuration: each entry's backend is imported when it is used."""

from __future__ import annotations

import importlib
import os

from certrotd.config.keks import FileKekEntry, KekEntry
from certrotd.kek.file import FileKek, make
from certrotd.kek.port import Kek


def kek_of(name: str, entry: KekEntry, *, first_use: bool = False) -> Kek:
    """The KEK that ``entry`` describes; ``name`` is that of the configuration, for messages.

    Nothing is asked yet. With ``first_use`` nothing was ever wrapped by a KEK of this
    configuration: only then is a file that is to be created made, raising Unfit or DiskTrouble.
    """
    if isinstance(entry, FileKekEntry) and entry.create and first_use:
        return FileKek(entry.path) if os.path.lexists(entry.path) else make(entry.path)
    module = importlib.import_module(f"certrotd.kek.{entry.type.replace('-', '_')}")
    kek: Kek = module.build(name, entry)
    return kek
