"""Backups of a keyring: where they are kept, who can open them, how often that is tried."""

import re
from datetime import timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from certrotd.config.base import (
    TEXT,
    AbsolutePath,
    Entry,
    EntryFindings,
    Items,
    SafeName,
    refuse,
    shown,
)
from certrotd.config.durations import Duration
from certrotd.config.looks import library, parent
from certrotd.config.secrets import SecretRef

_AGE = re.compile(r"age1[02-9ac-hj-np-z]{58}", re.ASCII)
_SSH = re.compile(r"ssh-(ed25519|rsa) [A-Za-z0-9+/]{60,12000}={0,2}( .*)?", re.ASCII)


def _recipient(value: str) -> str:
    if value.upper().startswith("AGE-SECRET-KEY-"):
        raise refuse("is an identity, which is secret: write the recipient (age-keygen -y FILE)")
    if not _AGE.fullmatch(value) and not _SSH.fullmatch(value):
        raise refuse(
            "must be a recipient of age (age1…) or an SSH public key (ssh-ed25519 … or "
            f"ssh-rsa …), got {shown(value)}"
        )
    return value


def _age(value: str) -> str:
    if not _AGE.fullmatch(_recipient(value)):
        raise refuse("must be the age1… that the ceremony printed, not an SSH public key")
    return value


_Line = Annotated[str, StringConstraints(max_length=13000, pattern=TEXT)]
Recipient = Annotated[_Line, AfterValidator(_recipient)]


class SharesEntry(Entry):
    """Custodians, of whom so many together can open a backup (SLIP-39)."""

    threshold: int = Field(ge=2, le=16, description="How many shares open a backup.")
    of: int = Field(ge=2, le=16, description="How many shares there are.")
    recipient: Annotated[_Line, AfterValidator(_age)] = Field(
        description="The age1… that the ceremony printed when it made the shares."
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.threshold > self.of:
            raise refuse(f"needs {self.threshold} shares of {self.of}: threshold is at most of")
        return self


class DrillEntry(Entry):
    """How often a restore is tried, and by whom."""

    every: Duration = Field(
        default=timedelta(days=90),
        description="How old the last successful drill may be; after that it is a finding.",
    )
    identity: SecretRef | None = Field(
        default=None,
        description="The identity that certrotd drills with by itself (null: a person runs "
        "certrotd keys drill). Whoever takes over the host then opens the backups, too.",
    )


class BackupEntry(Entry):
    """Encrypted copies of a keyring, away from the data."""

    directory: AbsolutePath = Field(
        description="Where backups are kept: not in the state directory, nor beside an output. "
        "certrotd makes the last folder of it, and no other."
    )
    recipients: Items[Recipient] = Field(
        default=(),
        max_length=100,
        description="Public keys, any of which opens a backup: age1…, ssh-ed25519 … or ssh-rsa ….",
    )
    passphrase: SecretRef | None = Field(
        default=None, description="A passphrase that opens the backups, instead of recipients."
    )
    shares: SharesEntry | None = Field(
        default=None, description="Custodians with a share each, instead of recipients."
    )
    keep: int = Field(
        default=14, ge=2, le=10_000, description="How many backups of the keyring are kept."
    )
    copies: dict[SafeName, Duration] = Field(
        default={},
        description="What copies the backups elsewhere (tapes, another machine), and how long each "
        "copy is kept: so long after its destruction a key may still be in one.",
    )
    drill: DrillEntry = Field(default_factory=DrillEntry, description="How restoring is tried.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [bool(self.recipients), self.passphrase is not None, self.shares is not None]
        if sum(ways) != 1:
            raise refuse("needs one of recipients, passphrase and shares, to be opened with")
        if self.drill.identity is not None and not self.recipients:
            what = "the passphrase" if self.passphrase else "shares"
            raise refuse(f"has a drill with an identity, and {what} open its backups")
        return self

    def examine(self) -> EntryFindings:
        """The libraries are there, and the folder that the directory is to be in."""
        yield from parent(self.directory, ("directory",))
        yield from library("pyrage", ("directory",), extra="escrow")
        if self.shares is not None:
            yield from library("shamir_mnemonic", ("shares",), extra="escrow")
