"""What the configuration says of backups, as the values that make and open them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from certrotd.config.escrow import BackupEntry
from certrotd.escrow.age import Identities, Key, Passphrase, PublicKeys, Recipients, Shared
from certrotd.escrow.place import FileBackups


def recipients_of(entry: BackupEntry) -> Recipients:
    """To whom backups are encrypted; raises as SecretRef.resolve()."""
    if entry.passphrase is not None:
        return Passphrase(entry.passphrase.resolve())
    if entry.shares is not None:
        return Shared(entry.shares.recipient, entry.shares.threshold, entry.shares.of)
    return PublicKeys(entry.recipients)


def drill_key_of(entry: BackupEntry) -> Key | None:
    """What certrotd drills with by itself; None if a person has to. Raises as resolve()."""
    if entry.passphrase is not None:
        return Passphrase(entry.passphrase.resolve())
    if entry.drill.identity is not None:
        return Identities(entry.drill.identity.resolve())
    return None


def backups_of(
    entry: BackupEntry, keyring: str, *, state: Path, outputs: Sequence[Path]
) -> FileBackups:
    """The directory where they are kept."""
    return FileBackups(entry.directory, keyring, entry.keep, state, tuple(outputs))
