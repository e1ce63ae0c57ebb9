"""The deliveries of one configuration, as a wing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.config.model import Config
from certrotd.deliveries.kind import KIND
from certrotd.id import Id
from certrotd.lifecycle.wing import Check, Premises, Ration, Terms

if TYPE_CHECKING:  # a configuration without deliveries loads nothing of them
    from certrotd.deliveries.configured import ConfiguredDelivery
    from certrotd.deliveries.subject import DeliverySubject
    from certrotd.lifecycle.runner import Runner


def build(config: Config, premises: Premises) -> Deliveries:
    """As Build."""
    return Deliveries(config, premises)


class Deliveries:
    """Wing, of deliveries."""

    kind = KIND
    rations: Mapping[str, Callable[[], Ration | None]] = {}
    directories: Sequence[Path] = ()

    def __init__(self, config: Config, premises: Premises) -> None:
        self.slots = config.concurrency
        self._every = config.watch_every.total_seconds()
        self._clock = premises.clock
        self.deliveries: Sequence[ConfiguredDelivery] = ()
        self.subjects: Sequence[DeliverySubject] = ()
        self.terms = Terms()
        if any(each.deliver for each in config.certificates):
            from certrotd.deliveries.checks import KINDS
            from certrotd.deliveries.configured import ConfiguredDelivery
            from certrotd.deliveries.decision import ACTS
            from certrotd.deliveries.subject import DeliverySubject
            from certrotd.stores.configured import Stores

            self.terms = Terms(tuple(each.act for each in ACTS), KINDS)
            stores = Stores(config, premises.connect)
            self.deliveries = [
                ConfiguredDelivery(certificate, entry, config, premises, stores)
                for certificate in config.certificates
                for entry in certificate.deliver
            ]
            self.subjects = [DeliverySubject(each) for each in self.deliveries]

    def covering(self, name: str) -> Sequence[Id]:
        """Names are the certificates'."""
        del name
        return ()

    def prepare(self, runner: Runner) -> None:
        """Nothing comes before the first delivery."""

    def serve(self, report: Callable[[str], None]) -> None:
        """Nobody is answered."""

    def checks(self) -> Sequence[Check]:
        """One for each host, which is not asked more often than every ``watch_every``."""
        if not self.deliveries:
            return ()
        from certrotd.deliveries.checks import HostCheck

        hosts: dict[str, list[ConfiguredDelivery]] = {}
        for each in self.deliveries:
            hosts.setdefault(each.policy.host, []).append(each)
        return [HostCheck(host, of, self._every, self._clock) for host, of in hosts.items()]

    def close(self) -> None:
        """Nothing is held open."""
