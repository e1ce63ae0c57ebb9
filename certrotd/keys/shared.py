"""What all keyrings of a configuration share: KEKs and targets."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property

from certrotd.config.context import Context
from certrotd.config.model import Config
from certrotd.kek.build import kek_of
from certrotd.kek.port import Kek
from certrotd.keys.world import Applied
from certrotd.lifecycle.wing import Premises
from certrotd.state.ports import Document

KEKS_WAIT = 120.0
MARKS = "keyring-marks"
"""Where the highest revision of each keyring is kept, under its name."""


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

    def make_keks(self) -> None:
        """Make the files of KEKs that are to be made, if nothing was ever wrapped by any.

        A keyring that left the configuration may come back: it counts, too. In a cluster none is
        made: a file would end with its pod, and what it wrapped would stay.
        """
        if self.config.state is not None:
            return
        with self.premises.lock("_keks", "the KEKs", KEKS_WAIT):  # first rotations come together
            if not any((self.config.state_dir / MARKS).glob("*")):
                for name, entry in self.config.keys.keks.items():
                    kek_of(name, entry, first_use=True)

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
