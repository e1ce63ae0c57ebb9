"""The keyrings of one configuration, as a wing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from certrotd.config.model import Config
from certrotd.id import Id
from certrotd.keys.kind import KIND
from certrotd.lifecycle.wing import Check, PlainWing, Premises, Terms

if TYPE_CHECKING:  # what only rotating needs is loaded when the first rotation asks for it
    from certrotd.keys.managed import ConfiguredKeyring
    from certrotd.keys.serving import KeyringService
    from certrotd.keys.subject import KeyringSubject


def build(config: Config, premises: Premises) -> Keyrings:
    """As Build."""
    return Keyrings(config, premises)


class Keyrings(PlainWing):
    """Wing, of keyrings."""

    kind = KIND

    def __init__(self, config: Config, premises: Premises) -> None:
        self.slots = config.concurrency
        self._every = config.watch_every.total_seconds()
        self._premises = premises
        self._config = config
        self.keyrings: Sequence[ConfiguredKeyring] = ()
        self.subjects: Sequence[KeyringSubject] = ()
        self.terms = Terms()
        if config.keys.keyrings:  # else nothing of data keys is loaded
            from certrotd.keys.checks import KINDS
            from certrotd.keys.decision import ACTS
            from certrotd.keys.managed import configured
            from certrotd.keys.subject import KeyringSubject

            self.keyrings = configured(config, premises)
            self.subjects = [KeyringSubject(each) for each in self.keyrings]
            self.terms = Terms(tuple(each.act for each in ACTS), KINDS)

    def covering(self, name: str) -> Sequence[Id]:
        """The keyrings that protect a dataset of that name."""
        return [each.policy.id for each in self.keyrings if name in each.entry.datasets]

    def serve(self, report: Callable[[str], None]) -> KeyringService | None:
        entry = self._config.keys.server
        if entry is None:
            return None
        from certrotd.keys.serving import KeyringService

        by_name = {each.policy.name: each for each in self.keyrings}
        return KeyringService(entry, by_name, self._premises.clock, report)

    def checks(self) -> Sequence[Check]:
        return [each.check(self._every) for each in self.keyrings]
