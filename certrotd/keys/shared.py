"""What all keyrings of a configuration share: KEKs and targets."""

from __future__ import annotations

import importlib
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property

from certrotd.config.context import Context
from certrotd.config.keks import FileKekEntry
from certrotd.config.keyrings import SealedEntry
from certrotd.config.model import OWN_KEK, Config
from certrotd.errors import InvalidInput
from certrotd.kek.build import kek_of
from certrotd.kek.port import Kek
from certrotd.keyring.document import Keks, Unreadable, claimed
from certrotd.keys.world import Applied
from certrotd.lifecycle.wing import Premises
from certrotd.state.ports import Document

KEKS_WAIT = 120.0
KEYRINGS, MARKS = "keyrings", "keyring-marks"
"""Where a keyring and its highest revision are kept, each under its name."""
_OWN_ONCE = "local"
"""What certrotd called OWN_KEK in keyrings while an entry could have that name, too."""


class Shared:
    """What all keyrings of a configuration share: its KEKs and targets, each built when used."""

    def __init__(self, config: Config, premises: Premises) -> None:
        self.config = config
        self.premises = premises
        self._targets: dict[str, Applied] = {}

    @cached_property
    def keks(self) -> Mapping[str, Kek]:
        """Every KEK by its name; nothing is asked, and none is made."""
        return {name: kek_of(name, entry) for name, entry in self.config.keys.keks.items()}

    @cached_property
    def former(self) -> Keks:
        """The KEK of keyrings that were made while none was configured, under its other names."""
        config = self.config
        if config.state is not None:
            return {}
        path = config.state_dir / "kek"
        own = kek_of(OWN_KEK, FileKekEntry(type="file", path=path))
        names = (OWN_KEK, _OWN_ONCE) if path.exists() else (OWN_KEK,)
        return {name: own for name in names if name not in config.keys.keks}

    def make_keks(self) -> None:
        """Make the files of KEKs that are to be made, if nothing was ever wrapped by them.

        A keyring that left the configuration may come back: it counts, too. In a cluster none is
        made: a file would end with its pod, and what it wrapped would stay.
        """
        missing = {
            name: entry
            for name, entry in self.config.keys.keks.items()
            if isinstance(entry, FileKekEntry) and entry.create and not os.path.lexists(entry.path)
        }
        if not missing or self.config.state is not None:
            return
        with self.premises.lock("_keks", "the KEKs", KEKS_WAIT):  # first rotations come together
            used = self._used()
            for name, entry in missing.items():
                if name not in used:
                    kek_of(name, entry, first_use=True)

    def _used(self) -> Collection[str]:
        """The KEKs that may have wrapped something: all of them where a keyring does not tell."""
        keys, used = self.config.keys, set[str]()
        kept = [self.config.state_dir / each for each in (KEYRINGS, MARKS)]  # a kill parts them
        for name in sorted({each.stem for place in kept for each in place.glob("*.json")}):
            document = self.premises.state.document(f"{KEYRINGS}/{name}")
            try:
                content = document.read()
                if content is None:
                    return keys.keks
                used.update(claimed(content.data, document.place)[1])
            except (Unreadable, InvalidInput):
                return keys.keks
            outputs = keys.keyrings[name].outputs if name in keys.keyrings else ()
            used.update(n for each in outputs if isinstance(each, SealedEntry) for n in each.keks)
        return used | {OWN_KEK} if _OWN_ONCE in used else used

    def target(self, name: str) -> Applied:
        """A target by its name."""
        if name not in self._targets:
            entry = self.config.targets[name]
            premises = self.premises
            context = Context(name, self.config.state_dir, premises.clock, connect=premises.connect)
            module = importlib.import_module(f"certrotd.targets.{entry.type}")
            self._targets[name] = module.build(entry, context)
        return self._targets[name]

    @contextmanager
    def alone(self, target: str | None) -> Iterator[None]:
        """One target is told by one rotation at a time, be it of a keyring or of a certificate."""
        if target is None:
            yield
            return
        wait = self.config.targets[target].lock_wait
        with self.premises.lock(f"_target-{target}", f"target {target}", wait):
            yield

    def mark(self, keyring: str) -> Document:
        """Where the highest revision of a keyring is kept."""
        return self.premises.state.document(f"{MARKS}/{keyring}")
