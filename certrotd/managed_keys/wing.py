"""The managed keys of one configuration, as a wing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from certrotd.config.model import Config
from certrotd.lifecycle.wing import Check, PlainWing, Premises, Terms
from certrotd.managed_keys.kind import KIND

if TYPE_CHECKING:  # a configuration without managed keys loads nothing of them
    from certrotd.managed_keys.configured import ConfiguredManagedKey
    from certrotd.managed_keys.subject import ManagedKeySubject


def build(config: Config, premises: Premises) -> ManagedKeys:
    """As Build."""
    return ManagedKeys(config, premises)


class ManagedKeys(PlainWing):
    """Wing, of managed keys."""

    kind = KIND

    def __init__(self, config: Config, premises: Premises) -> None:
        self.slots = config.concurrency
        self._every = config.watch_every.total_seconds()
        self.keys: Sequence[ConfiguredManagedKey] = ()
        self.subjects: Sequence[ManagedKeySubject] = ()
        self.terms = Terms()
        if config.keys.managed:
            from certrotd.managed_keys.checks import KINDS
            from certrotd.managed_keys.configured import ConfiguredManagedKey
            from certrotd.managed_keys.decision import ACTS
            from certrotd.managed_keys.subject import ManagedKeySubject

            self.terms = Terms(tuple(each.act for each in ACTS), KINDS)
            self.keys = [
                ConfiguredManagedKey(each, config, premises) for each in config.keys.managed
            ]
            self.subjects = [ManagedKeySubject(each) for each in self.keys]

    def checks(self) -> Sequence[Check]:
        if not self.keys:
            return ()
        from certrotd.managed_keys.checks import ManagedKeyCheck

        return [
            ManagedKeyCheck(
                each.policy,
                lambda each=each: each.key,  # type: ignore[misc]
                each.document,
                self._every,
                each.in_flight,
                each.wake,
                each.clock,
            )
            for each in self.keys
        ]
