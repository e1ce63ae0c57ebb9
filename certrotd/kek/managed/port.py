"""A key whose material never leaves its service: what is seen of it, and how it is rotated."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from certrotd.errors import NeedsOperator


class RotationsUsedUp(NeedsOperator):
    """The service rotates this key on demand no more."""


@dataclass(frozen=True, slots=True)
class KeyVersion:
    """One version; ``created`` is None where the service does not say."""

    id: str
    created: datetime | None
    decrypts: bool = True


@dataclass(frozen=True, slots=True)
class ManagedState:
    """A key as its service shows it.

    ``versions``, of which there is at least one, are from the oldest to the newest, and the newest
    encrypts. ``period`` is how often the service rotates it by itself, None if it does not.
    ``rotations_left`` is how often it may still be rotated on demand, None without a limit.
    ``last_use`` is None where the service does not know it. The last two are the numbers of Vault's
    transit engine, None elsewhere: versions below the second are trimmed, and not in ``versions``.
    """

    type: str
    place: str
    versions: tuple[KeyVersion, ...]
    period: timedelta | None = None
    rotating: bool = False
    rotations_left: int | None = None
    last_use: datetime | None = None
    min_decryption_version: int | None = None
    min_available_version: int | None = None

    @property
    def present(self) -> KeyVersion:
        """The version that encrypts."""
        return self.versions[-1]

    @property
    def oldest_decrypting(self) -> KeyVersion:
        """The oldest version that decrypts; the present one of a key that is disabled."""
        return next((each for each in self.versions if each.decrypts), self.present)

    @property
    def last_rotation(self) -> datetime | None:
        """When the present version was made, if it is not the first."""
        return self.present.created if len(self.versions) > 1 else None


class ManagedKey(Protocol):
    """The key of a service, rotated there.

    Each call ends within a time that it was built with. All of it raises KekUnavailable, Disabled,
    Denied or Unfit.
    """

    def describe(self) -> ManagedState:
        """The key as it is now."""
        ...

    def rotate(self, present: str) -> None:
        """Have the service make a new version, if ``present`` is still the id of the newest.

        Else somebody has rotated it since, so a rotation whose answer was lost may be asked for
        again. It is not asked twice within one call. Raises RotationsUsedUp.
        """
        ...

    def set_period(self, period: timedelta | None) -> None:
        """Have the service rotate it by itself so often, in whole days, or not at all.

        Raises InvalidInput for a period that the service does not take.
        """
        ...


@runtime_checkable
class Retires(Protocol):
    """A key whose old versions can be kept from decrypting, and let decrypt again."""

    def retire_before(self, version: str) -> None:
        """Let this version and newer ones decrypt, and older ones not.

        Nothing is destroyed: an older version takes it back. Raises InvalidInput if there is no
        such version, and as ManagedKey.
        """
        ...
