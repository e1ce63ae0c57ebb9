"""How a backup fails that cannot be used."""

from __future__ import annotations

from certrotd.errors import NeedsOperator


class BackupUnreadable(NeedsOperator):
    """It is no backup, or was cut short, changed or forged; nothing is restored from it."""

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what, hint=hint or "take another backup of the same keyring")


class NotOpened(BackupUnreadable):
    """The identity, passphrase or shares that were given do not open it."""


class LibraryMissing(NeedsOperator):
    """The installation has no age, or no SLIP-39."""


def damaged(why: str) -> BackupUnreadable:
    """``why`` says what is wrong with it."""
    return BackupUnreadable(f"the backup is damaged: {why}")
