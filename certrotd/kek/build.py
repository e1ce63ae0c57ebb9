"""The KEKs of the configuration: each entry's backend is imported when it is used."""

from __future__ import annotations

import importlib
import os

from certrotd.config.keks import (
    CredentialKekEntry,
    FileKekEntry,
    KekEntry,
    PassphraseKekEntry,
)
from certrotd.kek.port import Kek


def kek_of(name: str, entry: KekEntry, *, first_use: bool = False) -> Kek:
    """The KEK that ``entry`` describes; ``name`` is that of the configuration, for messages.

    Nothing is asked yet. With ``first_use`` nothing was ever wrapped by a KEK of this
    configuration: only then is a file that is to be created made, raising Unfit or DiskTrouble.
    """
    match entry:
        case FileKekEntry():
            from certrotd.kek.file import FileKek, make

            missing = entry.create and first_use and not os.path.lexists(entry.path)
            return make(entry.path) if missing else FileKek(entry.path)
        case PassphraseKekEntry():
            from certrotd.kek.passphrase import ARGON2ID, SCRYPT, PassphraseKek

            cost = ARGON2ID if entry.function == "argon2id" else SCRYPT
            return PassphraseKek(name, entry.passphrase, cost)
        case CredentialKekEntry():
            from certrotd.kek.credential import CredentialKek

            return CredentialKek(entry.name)
        case _:
            module = importlib.import_module(f"certrotd.kek.{entry.type.replace('-', '_')}")
            kek: Kek = module.build(name, entry)
            return kek
