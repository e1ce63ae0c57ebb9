"""What a report is made of: what is known of each keyring, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from certrotd.escrow.drill import Drilled
from certrotd.keyring.keyring import Use
from certrotd.keyring.material import Algorithm
from certrotd.keyring.states import Version


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """One version with every transition of it, and what it was used for."""

    version: Version
    algorithm: Algorithm
    fingerprint: str
    id: str = ""
    use: Use = field(default_factory=Use)


@dataclass(frozen=True, slots=True)
class ConsumerFacts:
    """Who has the keys, and when it last acknowledged them; None if it never did."""

    name: str
    acknowledged: datetime | None = None


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """What the keys protect, and the values under old keys by the last census; None if none was."""

    name: str
    values: int | None = None
    counted: datetime | None = None


@dataclass(frozen=True, slots=True)
class DrainFacts:
    """What holds ciphertext that cannot be re-encrypted, and until when; None if nobody knows."""

    what: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class BackupFacts:
    """A backup that is kept: where, of which revision, who can open it, whose keys are in it."""

    place: str
    revision: int
    made: datetime
    sealed_to: str
    versions: tuple[int, ...]


@dataclass(frozen=True)
class KeyringFacts:
    """All that is known of a keyring.

    ``cryptoperiod`` is how long a version may encrypt, None where no policy says it. ``stored`` is
    where the keyring is kept; ``wrapped_by`` are its KEKs, in words.
    """

    name: str
    owner: str
    custodians: tuple[str, ...]
    classification: str
    purpose: str
    cryptoperiod: timedelta | None
    stored: str
    wrapped_by: tuple[str, ...]
    versions: tuple[VersionFacts, ...]
    outputs: tuple[str, ...] = ()
    consumers: tuple[ConsumerFacts, ...] = ()
    datasets: tuple[DatasetFacts, ...] = ()
    drains: tuple[DrainFacts, ...] = ()
    drills: tuple[Drilled, ...] = ()
    backups: tuple[BackupFacts, ...] = ()
    unreadable_backups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """The time that is reported on, ``until`` not included."""

    since: datetime
    until: datetime

    def __contains__(self, at: datetime) -> bool:
        return self.since <= at < self.until

    def meets(self, begin: datetime, end: datetime) -> bool:
        """Whether any of the time from ``begin`` to ``end`` is in it."""
        return begin < self.until and end > self.since


def strength(algorithm: Algorithm) -> int | None:
    """The bits of security of its keys (NIST SP 800-57 part 1, table 2).

    None for a passphrase: nobody knows how it was chosen.
    """
    if algorithm is Algorithm.PASSPHRASE:
        return None
    # of a Fernet key one half encrypts by AES-128, and the other authenticates; of X25519, half of
    # the bits of a key are its strength (table 2, ECC)
    halved = algorithm in (Algorithm.FERNET, Algorithm.AGE_X25519)
    return 128 if halved else algorithm.key_bytes * 8
