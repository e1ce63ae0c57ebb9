"""The rehearsal of an emergency: how often, and how much of the data is copied for it."""

from datetime import timedelta

from pydantic import Field

from certrotd.config.base import AbsolutePath, Entry, EntryFindings
from certrotd.config.durations import Duration
from certrotd.config.looks import parent


class RehearsalEntry(Entry):
    """A compromise of the active key, played on copies of the keyring and of its datasets."""

    every: Duration = Field(
        default=timedelta(days=90),
        description="How old the last successful rehearsal may be; certrotd makes one in half of "
        "that time, and it is a finding after it.",
    )
    rows: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="How many rows, or files, of each dataset are copied at most.",
    )
    bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1024,
        le=10**12,
        description="How many bytes of each dataset are copied at most.",
    )
    directory: AbsolutePath | None = Field(
        default=None,
        description="Where copies are made, and removed at the end (null: in the state directory). "
        "certrotd makes the last folder of it, and no other.",
    )
    required: bool = Field(
        default=False,
        description="Whether no key is destroyed without a successful rehearsal in time.",
    )

    def examine(self) -> EntryFindings:
        """The folder that the directory is to be in."""
        if self.directory is not None:
            yield from parent(self.directory, ("directory",))
