"""The keyrings of a configuration: their policies, and what their rotations act upon."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime, timedelta
from functools import cached_property, partial
from pathlib import Path

from certrotd.clock import Clock
from certrotd.config.keyrings import KeyringEntry, SealedEntry
from certrotd.config.model import Config
from certrotd.errors import Failure, failed
from certrotd.escrow import age
from certrotd.escrow.backup import sealed_backup
from certrotd.escrow.configured import backups_of, recipients_of
from certrotd.escrow.place import FileBackups
from certrotd.kek.port import Kek
from certrotd.keyring.delivery import Delivery
from certrotd.keyring.document import Inspected
from certrotd.keyring.evidence import Evidence, Freshness
from certrotd.keyring.keyring import Keyring
from certrotd.keyring.material import Algorithm, DataKey, Material
from certrotd.keyring.states import State, Version
from certrotd.keys.archive import Archive
from certrotd.keys.case import Case
from certrotd.keys.census import Census
from certrotd.keys.checks import KeyringCheck
from certrotd.keys.configured_consumers import ConfiguredConsumers
from certrotd.keys.configured_policy import policy_of
from certrotd.keys.confirming import unconfirmed
from certrotd.keys.counting import counted_in
from certrotd.keys.decision import Deliver, Rotate
from certrotd.keys.history import attempts_of
from certrotd.keys.kept import Kept
from certrotd.keys.keyring_store import KeyringStore
from certrotd.keys.new_key import new_key
from certrotd.keys.outlet import FileOutlet
from certrotd.keys.outlets import AnyOutlet, outlets_of
from certrotd.keys.policy import Attempts, Policy, Standing
from certrotd.keys.rehearsals import rehearse_when_due
from certrotd.keys.rules import decide
from certrotd.keys.scanning import Residues, scans_in
from certrotd.keys.shared import KEYRINGS, Shared
from certrotd.keys.stored_data import StoredData
from certrotd.keys.workforce import Workforce
from certrotd.keys.world import Application, Inlets, World
from certrotd.lifecycle.decision import DAEMON, Action, Asked, Decision
from certrotd.lifecycle.finding import Finding
from certrotd.lifecycle.wing import Premises
from certrotd.outputs.build import Chance
from certrotd.rotation.step import JSON
from certrotd.rotation.unexpected import as_failure
from certrotd.state.ports import History, Journal, Lease

COUNTS, SCANS = "counts", "scans"
HEARTBEATS, WRITTEN, REWRITINGS = "heartbeats", "written", "rewritings"
"""Where a keyring's counts, its last scan, the heartbeats of its processes, what its outputs took
the place of and last wrote, and what API servers have rewritten are kept, each under its name."""


CHANCE = Chance(secrets.randbelow, os.urandom)


def configured(config: Config, premises: Premises) -> Sequence[ConfiguredKeyring]:
    """Every keyring of a configuration."""
    shared = Shared(config, premises)
    return [ConfiguredKeyring(name, entry, shared) for name, entry in config.keys.keyrings.items()]


class ConfiguredKeyring(Kept):
    """Managed, of one entry of ``keyrings``."""

    def __init__(self, name: str, entry: KeyringEntry, shared: Shared) -> None:
        super().__init__(shared.premises.state, name)
        self.entry = entry
        self._name = name
        self._shared = shared
        self._premises = shared.premises
        self.workers: Callable[[], Workforce] | None = None

    @property
    def clock(self) -> Clock:
        return self._premises.clock

    @cached_property
    def outlets(self) -> Sequence[AnyOutlet]:
        """Its outputs; nothing is read."""
        return list(
            outlets_of(
                self._name,
                self.entry,
                chance=CHANCE,
                keks=self._keks_of,
                written=lambda n: self._premises.state.document(f"{WRITTEN}/{self._name}.{n}"),
                connect=self._shared.premises.connect,
                clock=self.clock,
            )
        )

    def _keks_of(self, output: SealedEntry) -> Mapping[str, Kek]:
        names = output.keks or self.entry.keks or tuple(self._shared.config.keys.keks)
        return {name: self._shared.keks[name] for name in names}

    @property
    def policy(self) -> Policy:
        """As Managed; without what its outputs hold where one cannot be built: look() says why."""
        try:
            return self._policy
        except Failure:
            return policy_of(self._name, self.entry, ())

    @cached_property
    def _policy(self) -> Policy:
        return policy_of(self._name, self.entry, self.outlets)

    @cached_property
    def journal(self) -> Journal:
        return self._premises.state.journal(str(self.policy.id))

    @property
    def history(self) -> History:
        return self.journal.history

    @property
    def within(self) -> Mapping[str, timedelta]:
        return {name: each.within for name, each in self.entry.consumers.items()}

    def lock(self) -> AbstractContextManager[Lease]:
        return self._premises.lock(str(self.policy.id), f"keyring {self._name}", None)

    @cached_property
    def store(self) -> KeyringStore:
        """Where it is kept, wrapped by each of its KEKs."""
        document = self._premises.state.document(f"{KEYRINGS}/{self._name}")
        wanted = self.entry.keks or tuple(self._shared.config.keys.keks)
        keks = {name: self._shared.keks[name] for name in wanted}
        shared = self._shared
        mark, former, make = shared.mark(self._name), shared.former, shared.make_keks
        return KeyringStore(self._name, document, mark, keks, former=former, make_keks=make)

    @cached_property
    def _consumers(self) -> ConfiguredConsumers:
        return ConfiguredConsumers(self.entry, self._shared, self.own_heartbeats)

    def _overtaken(self) -> bool:
        """Whether a compromised key is to be replaced, and can be."""
        now, asked = self.clock.now(), Asked(by_hand=True, named=True)
        decision = decide(self.policy, self.look(), self.attempts(), asked, now=now)
        return isinstance(decision, Action) and decision.code == "compromised"

    @cached_property
    def residues(self) -> Residues:
        """Where undeclared ciphertext is looked for."""
        kept = scans_in(self._premises.state.document(f"{SCANS}/{self._name}"))
        every = list(self._shared.config.keys.keyrings.values())
        return Residues(self.entry, every, self.stored.keyring, kept, self.clock)

    @cached_property
    def stored(self) -> StoredData:
        """Its datasets that certrotd re-encrypts."""
        state, connect = self._premises.state, self._premises.connect
        return StoredData(
            self.entry.datasets,
            self.store,
            self.census,
            connect,
            lambda name: state.document(f"{REWRITINGS}/{self._name}.{name}"),
            self.clock,
        )

    def world(self) -> World:
        return World(
            name=self._name,
            clock=self.clock,
            store=self.store,
            inlets=Inlets(self._new_key, lambda: Material(os.urandom(32))),
            outlets=self.outlets,
            consumers=self._consumers.all(),
            datasets=self.stored.reencryptable(),
            workers=self.workers,
            application=self._application(),
            window=self.entry.window,
            escrow=self.back_up if self.entry.backup else None,
            archive=self._archive,
            evidence=self._evidence,
            expose=self._expose,
            overtaken=self._overtaken,
            messages=self.policy.messages,
            record=lambda happened: self._premises.audit().record(happened),
        )

    def _application(self) -> Application | None:
        """What is stopped and started to cut it over, if it is."""
        if self.entry.cutover is None:
            return None
        from certrotd.consumers.application import build

        return build(self.entry.cutover, self.clock, self._premises.connect)

    def _expose(self, number: int) -> Mapping[str, JSON]:
        from certrotd.keys.exposure import noted

        return noted(self, number).to_json()

    def rehearsal_lock(self) -> AbstractContextManager[Lease]:
        """One process at a time rehearses; the keyring itself stays free."""
        return self._premises.lock(f"_rehearsal-{self._name}", f"a rehearsal of {self._name}", None)

    @property
    def state_dir(self) -> Path:
        """Where certrotd keeps files of its own."""
        return self._shared.config.state_dir

    @cached_property
    def backups(self) -> FileBackups | None:
        """Where it is backed up."""
        entry, outputs = self.entry.backup, [path for e in self.entry.outputs for path in e.paths]
        state = self._shared.config.state_dir
        return backups_of(entry, self._name, state=state, outputs=outputs) if entry else None

    @property
    def _archive(self) -> Archive | None:
        entry, backups = self.entry.backup, self.backups
        return Archive(backups, entry.copies) if entry and backups else None

    def back_up(self, keyring: Keyring) -> str:
        """Make a backup, and where it is."""
        entry, backups = self.entry.backup, self.backups
        assert entry is not None, "it is asked for where there is one"
        assert backups is not None, "it is asked for where there is one"
        data = sealed_backup(keyring, recipients_of(entry), at=self.clock.now())
        return f"{backups.place}/{backups.put(data).name}"

    def configuration(self) -> str:
        from pydantic_core import to_json

        config = self._shared.config
        used = {each.target for each in self.entry.consumers.values() if each.target}
        parts = [self.entry, config.keys.keks, [config.targets[name] for name in sorted(used)]]
        return hashlib.sha256(to_json(parts, fallback=str)).hexdigest()[:16]

    def look(self, *, thorough: bool = False) -> Standing:
        found = self.store.inspect()
        if found is None:
            backups = self.backups
            return Standing(
                present=tuple(each.name for each in self.outlets if not each.absent()),
                backups=backups.place if backups and backups.list() else "",
            )
        census, consent = self.census.peek() or Census(), self.consent.read()
        return Standing(
            versions=found.versions,
            revision=found.revision,
            keks=found.keks,
            uses={number: each.use for number, each in found.entries.items()},
            ids={number: each.id for number, each in found.entries.items()},
            absent=tuple(each.name for each in self.outlets if each.absent()),
            strange=self._strange(found) if thorough else (),
            census=census.counts,
            failed=census.failed,
            drilled=self._drilled(),
            rehearsed=self.rehearsals.peek(),
            scan=self.residues.still(self.residues.kept.peek()),
            suspects=self.suspicions.read(),
            backups_away=self._backups_away(found),
            holds=consent.holds,
            confirmed=consent.confirmed,
        )

    def _backups_away(self, found: Inspected) -> str:
        """Why no backup could be freed of a key that is soon to be destroyed; empty if it could."""
        if self.backups is None or not found.versions.in_state(State.DISABLED, State.COMPROMISED):
            return ""
        return next((str(each) for each in failed(self.backups.check)), "")

    def _drilled(self) -> datetime | None:
        """When a restore drill last succeeded, if the last one did."""
        last = self.drills.peek()
        return last.at if last is not None and last.succeeded else None

    def exposed(self) -> Sequence[str]:
        words: list[str] = []
        for outlet in self.outlets:
            with suppress(Failure):  # what cannot be read is said of each look
                words += outlet.files.findings()
        return words

    def attempts(self) -> Attempts:
        return attempts_of(self.history, self.configuration())

    def problems(self, decision: Decision) -> Iterator[Failure]:
        """Outputs that cannot be written, and targets that could not be told."""
        anew = isinstance(decision, Deliver) and decision.overwrite
        for outlet in self.outlets:
            if not anew or outlet.absent():  # else it is kept aside, whatever it is
                yield from outlet.problems(None, dry=self._premises.dry)
        if self.backups is not None:
            yield from failed(self.backups.check)
            yield from failed(self._check_recipients)
        yield from self._consumers.problems(self.has_keys)
        if isinstance(decision, Rotate) and self.has_keys():
            urgent = decision.compromised is not None  # what it protects is in more danger
            yield from () if urgent else self.stored.unopenable()
            if self.entry.cutover is not None:
                from certrotd.keys import cutting_over

                yield from cutting_over.problems(self.world())
            else:
                yield from () if urgent else self.stored.unsearchable()
                if self.policy.by_id:
                    yield from self.stored.unreadable()

    @property
    def own_heartbeats(self) -> Path:
        """Where the heartbeats are kept that come over the socket."""
        return self._shared.config.state_dir / HEARTBEATS / self._name

    def _check_recipients(self) -> None:
        assert self.entry.backup is not None, "it is backed up"
        age.check(recipients_of(self.entry.backup))

    def has_keys(self) -> bool:
        """Whether there is one that encrypts; raises Failure."""
        found = self.store.inspect()
        return found is not None and found.versions.active is not None

    def check(self, every: float) -> KeyringCheck:
        """What is watched of it, every so many seconds."""
        return KeyringCheck(
            self,
            self.entry,
            self.census,
            counted_in(self._premises.state.document(f"{COUNTS}/{self._name}")),
            self.own_heartbeats,
            every,
            self._premises.in_flight,
            partial(self._premises.state.wake, str(self.policy.id)),
            self.clock,
            self.stored.tally,
            (self._drill, self._rehearse),
            self.residues,
        )

    def _drill(self) -> Sequence[Finding]:
        """Drill if it is time and certrotd can; what is wrong with the last drill."""
        if self.entry.backup is None:
            return ()
        from certrotd.keys.escrow import drill_when_due

        return drill_when_due(self, self._premises.audit())

    def _rehearse(self) -> Sequence[Finding]:
        """Rehearse an emergency if it is time; what is wrong with the last rehearsal."""
        return rehearse_when_due(self, self._premises.audit())

    def _strange(self, found: Inspected) -> tuple[str, ...]:
        """Which outputs are not as the keyring would have them, in words."""
        keyring = self.store.read()
        if keyring is None or found.versions.active is None:
            return ()
        words = []
        delivery = Delivery.of(keyring.keyring)
        for outlet in self.outlets:
            try:
                if outlet.absent():
                    continue
                why = outlet.strange(keyring.keyring) or outlet.differs(delivery)
            except (Failure, OSError) as error:
                why = str(as_failure(error, f"read {outlet.name}"))
            if why is not None:
                words.append(f"{outlet.name}: {why}")
        return tuple(words)

    def kek_words(self, name: str) -> str:
        """A KEK that wraps it, by its name and type."""
        entry = self._shared.config.keys.keks.get(name)
        return f"{name} ({entry.type})" if entry else f"{name} (no longer configured)"

    def _new_key(self, keyring: Keyring) -> DataKey:
        """The next key, with an id that its outputs have room for."""
        outputs = [each.output for each in self.outlets if isinstance(each, FileOutlet)]
        return new_key(keyring, outputs, Algorithm(self.entry.algorithm), CHANCE)

    def _evidence(self, version: Version) -> tuple[Evidence, Freshness]:
        case = Case(self.policy, self.look(), self.attempts(), self.clock.now(), DAEMON)
        return case.evidence(version, unconfirmed(self.world())), self.policy.fresh
