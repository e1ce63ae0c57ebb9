"""What the configuration asks of one keyring, and what its history says: values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from certrotd.id import Id
from certrotd.keyring.evidence import Confirmation, Count, Freshness, Hold, NotCounted, Scan
from certrotd.keyring.keyring import Use
from certrotd.keyring.material import Algorithm
from certrotd.keyring.rehearsal import Rehearsed
from certrotd.keyring.states import Versions
from certrotd.keys.kind import KIND
from certrotd.lifecycle import attempts
from certrotd.window import Window

LEAD = 10
"""A rotation begins when one in so many parts of the cryptoperiod is left."""

MOST_MESSAGES = 2**32
"""With a random nonce of 96 bits, a key encrypts no more (NIST SP 800-38D §8.3)."""

CUSTODIANS, HELD, SUSPECT = "custodians", "held", "suspect"
"""The facts: who has access to the active key, until when rotations are held, and which version is
to be replaced because others may know it. Each rotation carries them to the next."""


def id_of(name: str) -> Id:
    """The id of the keyring of that name."""
    return Id(KIND, name)


@dataclass(frozen=True, slots=True)
class Policy:
    """What the configuration asks of one keyring.

    ``messages`` and ``size`` (in bytes) are how much a key may encrypt, ``calendar`` gives the next
    time after a moment. ``capacity`` is how many keys the narrowest output holds, ``slots`` how
    many ids it has for keys that are not destroyed, None without a limit; ``stages``:
    whether each reads a key that does not encrypt yet, and ``by_id``: only if every value names its
    key. ``drains`` are what holds
    ciphertext that cannot be re-encrypted, and for how long; ``datasets`` what else does, and
    ``reencrypted`` those of them that certrotd brings under the active key. ``waves`` are the
    consumers: those of a later wave come when those of the earlier ones have confirmed.
    ``cuts_over``: the application holds one key, and is stopped while its data changes.
    ``confirmations`` is how many people have to confirm the destruction of a key.
    ``scans``: undeclared ciphertext is looked for.
    """

    name: str
    algorithm: Algorithm = Algorithm.AES_256_GCM
    cryptoperiod: timedelta = timedelta(days=91)
    messages: int = MOST_MESSAGES // 2
    size: int | None = None
    calendar: Callable[[datetime], datetime | None] | None = None
    custodians: frozenset[str] = frozenset()
    capacity: int | None = None
    slots: int | None = None
    stages: bool = True
    by_id: bool = False
    outputs: tuple[str, ...] = ()
    waves: tuple[tuple[str, ...], ...] = ()
    datasets: frozenset[str] = frozenset()
    reencrypted: frozenset[str] = frozenset()
    drains: Mapping[str, timedelta] = field(default_factory=dict)
    grace: timedelta = timedelta(days=7)
    watch: timedelta = timedelta(days=30)
    fresh: Freshness = field(default_factory=Freshness)
    window: Window | None = None
    enabled: bool = True
    escrows: bool = False
    cuts_over: bool = False
    confirmations: int = 0
    scans: bool = False

    @property
    def id(self) -> Id:
        return id_of(self.name)

    @property
    def lead(self) -> timedelta:
        """How long before the end of the cryptoperiod a rotation begins."""
        return self.cryptoperiod / LEAD


@dataclass(frozen=True, slots=True)
class Standing:
    """What there is of one keyring; ``versions`` None: it was never written.

    ``keks`` wrap it; ``uses`` are what each version has encrypted; ``absent`` the outputs at whose
    paths nothing is, ``strange`` what is wrong with others, in words. ``present``: an application
    has a key already that certrotd has not taken over. ``backups`` is where backups of it are that
    was never written, empty if there are none. ``census`` has the last count of every dataset by
    version, ``failed`` why one could not be counted since, ``rehearsed`` is the last rehearsal.
    ``backups_away``: why backups cannot be freed of a destroyed key now.
    ``suspects`` are the versions that others may know, and why. ``holds`` and ``confirmed`` are
    what people said of the destruction of each version.
    """

    versions: Versions | None = None
    revision: int = 0
    keks: tuple[str, ...] = ()
    uses: Mapping[int, Use] = field(default_factory=dict)
    ids: Mapping[int, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    strange: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    backups: str = ""
    census: Mapping[int, Mapping[str, Count]] = field(default_factory=dict)
    failed: Mapping[str, NotCounted] = field(default_factory=dict)
    drilled: datetime | None = None
    rehearsed: Rehearsed | None = None
    backups_away: str = ""
    scan: Scan | None = None
    suspects: Mapping[int, str] = field(default_factory=dict)
    holds: Mapping[int, Hold] = field(default_factory=dict)
    confirmed: Mapping[int, tuple[Confirmation, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attempts(attempts.Attempts):
    """What the history says of failures, and of what is carried from one rotation to the next.

    ``custodians`` had access to the active key, None if nobody knows. Until ``held`` no rotation
    begins by itself, for somebody went back. ``suspect`` is the version that others may know, as
    long as its replacement is not done.
    """

    custodians: frozenset[str] | None = None
    held: datetime | None = None
    suspect: int | None = None
