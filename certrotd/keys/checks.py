"""What is watched of a keyring: its outputs, what its processes report, and the census."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.clock import Clock
from certrotd.config.acknowledgements import HeartbeatAcknowledgement
from certrotd.config.datasets import DatasetEntry
from certrotd.config.keyrings import KeyringEntry
from certrotd.errors import Failure, LockHeld
from certrotd.files.disktrouble import DiskTrouble
from certrotd.id import Id
from certrotd.keyring.heartbeat import Heartbeat
from certrotd.keyring.keyring import Keyring
from certrotd.keys.census import COUNTED, Census, still_of, take
from certrotd.keys.counting import Counted, counting, failures
from certrotd.keys.scanning import Residues
from certrotd.keys.subject import Managed
from certrotd.keyserver.heartbeat_files import find, forget
from certrotd.lifecycle.finding import (
    FILES,
    EarlierLooks,
    Finding,
    FindingSeverity,
    Settled,
    Watched,
)
from certrotd.rotation.unexpected import as_failure
from certrotd.state.typed import TypedDocument

if TYPE_CHECKING:
    from certrotd.datasets.census import Tally

UNCOUNTED, UNDECLARED, STRANGE, EXPOSED, UNDECRYPTED, UNREADABLE = (
    "census_missing",
    "undeclared_ciphertext",
    "output_changed",
    "output_exposed",
    "decryption_failures",
    "keyring_unreadable",
)
KINDS = (
    UNCOUNTED,
    UNDECLARED,
    STRANGE,
    EXPOSED,
    UNDECRYPTED,
    UNREADABLE,
    "drill_never",
    "drill_overdue",
    "drill_failed",
    "rehearsal_never",
    "rehearsal_overdue",
    "rehearsal_failed",
)
RECENT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Looked:
    """CheckResult, of a keyring: what is found is reported at once."""

    watched: Watched
    moving: bool

    def settle(self, earlier: EarlierLooks, *, most: int | None = None) -> Settled:
        """As CheckResult.settle."""
        del most
        if self.moving:  # what it was before the rotation stands until that is over
            return Settled(replace(self.watched, findings=earlier.told), earlier)
        found = self.watched.findings
        return Settled(self.watched, EarlierLooks({each.kind: 1 for each in found}, found))


@dataclass(frozen=True)
class KeyringCheck:
    """Check, of a keyring.

    ``own`` is where the heartbeats are that come over the socket.

    ``census`` is where the counts of what is left are kept, ``counted`` those of what was
    encrypted; ``wake`` asks for a look at the keyring, once a count may let something be done.
    ``tally`` counts a dataset, and ``residues`` are looked through for undeclared ciphertext.
    Each of ``drills`` makes one that is due, and says what is wrong with the last one.
    """

    managed: Managed
    entry: KeyringEntry
    census: TypedDocument[Census]
    counted: TypedDocument[Counted]
    own: Path
    every: float
    in_flight: Callable[[Id], bool]
    wake: Callable[[], None]
    clock: Clock
    tally: Callable[[str], Tally]
    drills: Sequence[Callable[[], Sequence[Finding]]] = ()
    residues: Residues | None = None
    routine: bool = True

    @property
    def label(self) -> str:
        return str(self.about)

    @property
    def about(self) -> Id:
        return self.managed.policy.id

    def watched_keys(self) -> Iterable[str]:
        return [self._watched().key]

    def look(self) -> Sequence[Looked]:
        moving = self.in_flight(self.about)
        parts = (self._outputs, self._processes, self._counts, self._residue, *self.drills)
        findings = dict.fromkeys(finding for part in parts for finding in self._found_by(part))
        watched = replace(self._watched(), findings=tuple(findings))
        return [Looked(watched, moving or self.in_flight(self.about))]

    def _found_by(self, part: Callable[[], Sequence[Finding]]) -> Sequence[Finding]:
        """What one part finds; that it breaks off is a finding, and the others go on."""
        try:
            return part()
        except (Failure, OSError) as error:
            return [self._unreadable(as_failure(error, f"check {self.about}"))]

    def failed(self, failure: Failure) -> Watched:
        return replace(self._watched(), findings=(self._unreadable(failure),))

    def _unreadable(self, failure: Failure) -> Finding:
        todo = f"See: certrotd plan {self.about}"
        return Finding(UNREADABLE, str(failure), alert="trouble", todo=todo)

    def _watched(self) -> Watched:
        return Watched(FILES, self.about.name, self.clock.now(), about=self.about)

    def _outputs(self) -> list[Finding]:
        standing = self.managed.look(thorough=True)
        todo = f"See: certrotd keys show {self.about.name}"
        strange, exposed = standing.strange, self.managed.exposed()
        return [
            *(Finding(STRANGE, each, alert="damaged", todo=todo) for each in strange),
            *(Finding(EXPOSED, each, alert="trouble", todo=todo) for each in exposed),
        ]

    def _processes(self) -> list[Finding]:
        """What the heartbeats say of ciphertext that could not be decrypted; they are counted."""
        asked = (each.acknowledge for each in self.entry.consumers.values())
        places = {
            e.heartbeat if isinstance(e.heartbeat, Path) else self.own
            for e in asked
            if isinstance(e, HeartbeatAcknowledgement)
        }
        beats = {place: _heard(place) for place in sorted(places)}
        every = [beat for place in beats.values() for beat in place]
        since, name = self.clock.now() - RECENT, self.about.name
        if not self.in_flight(self.about):
            with contextlib.suppress(LockHeld):  # the next look counts them
                self._count(every)
                for beat in beats.get(self.own, ()):
                    if beat.at < since:  # its process is gone, and it is counted
                        forget(self.own, beat)
        return [
            Finding(
                UNDECRYPTED,
                f"{client} could not decrypt {count:,} ciphertexts",
                alert="decryption_failures",
                todo=f"Give a withheld key back if one is missed: certrotd keys show {name}, and "
                f"certrotd keys enable {name} VERSION --reason …",
            )
            for client, count in sorted(failures(every, self.about.name, since=since).items())
        ]

    def _count(self, beats: Sequence[Heartbeat]) -> None:
        """Add what they have encrypted to what the keyring counts; at worst twice after a crash."""
        after: Counted = {}

        def counted(keyring: Keyring) -> Keyring:
            nonlocal after
            keyring, after = counting(keyring, before, beats)
            return keyring

        with self.managed.lock() as lease:
            world = replace(self.managed.world(), fence=lease.check)
            if world.store.inspect() is None:
                return
            before = self.counted.read() or {}
            world.change(counted)
            if after != before:
                self.counted.write(after)

    def _counts(self) -> list[Finding]:
        """Count what is left under each key that no longer encrypts."""
        datasets: Mapping[str, DatasetEntry] = self.entry.datasets
        standing = self.managed.look()
        if not datasets or standing.versions is None:
            return []
        wanted = {
            each.number: standing.ids.get(each.number, "")
            for each in standing.versions.in_state(*COUNTED)
        }
        if not wanted:
            return []
        known, name = self.census.read() or Census(), self.about.name
        counts = still_of(known.counts, standing.versions)
        taken = take(datasets, wanted, counts, self.clock, name, self.tally)
        self.census.write(taken.census)
        self.wake()
        severity = FindingSeverity.WARNING
        return [
            Finding(UNCOUNTED, str(why), severity, "trouble", f"Run the census of {name} by hand.")
            for name, why in taken.failures
        ]

    def _residue(self) -> list[Finding]:
        """Look for undeclared ciphertext, twice as often as it has to be; what there is."""
        standing, policy = self.managed.look(), self.managed.policy
        if self.residues is None or standing.versions is None or not policy.scans:
            return []
        if not (old := standing.versions.in_state(*COUNTED)):
            return []
        scan, now = standing.scan, self.clock.now()
        since = max(each.since for each in old)
        if scan is None or scan.at < since or not now - scan.at < policy.fresh.scan / 2:
            self.residues.scan()
            scan = self.residues.still(self.residues.kept.peek())
            self.wake()
        todo = f"See: certrotd keys scan {self.about.name}"
        found = scan.undeclared if scan else ()
        return [Finding(UNDECLARED, each, alert="trouble", todo=todo) for each in found]


def _heard(directory: Path) -> Sequence[Heartbeat]:
    """Those of a directory, none without one; raises Failure for a file that is none."""
    try:
        found = find(directory)
    except DiskTrouble as trouble:
        if trouble.errno == errno.ENOENT:
            return ()
        raise
    if found.failures:
        raise found.failures[0]
    return [each.heartbeat for each in found.heartbeats]
