"""The deliveries of one configuration, as a wing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from certrotd.config.model import Config
from certrotd.deliveries.kind import KIND
from certrotd.lifecycle.wing import Check, PlainWing, Premises, Terms

if TYPE_CHECKING:  # a configuration without deliveries loads nothing of them
    from certrotd.deliveries.configured import ConfiguredDelivery
    from certrotd.deliveries.subject import DeliverySubject


def build(config: Config, premises: Premises) -> Deliveries:
    """As Build."""
    return Deliveries(config, premises)


class Deliveries(PlainWing):
    """Wing, of deliveries."""

    kind = KIND

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

    def checks(self) -> Sequence[Check]:
        """One for each host, which is not asked more often than every ``watch_every``."""
        if not self.deliveries:
            return ()
        from certrotd.deliveries.checks import HostCheck

        hosts: dict[str, list[ConfiguredDelivery]] = {}
        for each in self.deliveries:
            hosts.setdefault(each.policy.host, []).append(each)
        return [HostCheck(host, of, self._every, self._clock) for host, of in hosts.items()]
