"""A certificate that is live in a Secret, for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from certrotd.clock import SystemClock
from certrotd.stores.kubernetes import KubernetesStore
from tests.builders import CA, NAME, seal
from tests.parts import pki
from tests.parts.kubernetes.secrets import Shop

EXPIRED = pki.make_leaf(
    CA,
    NAME,
    lifetime=timedelta(hours=1),
    not_before=datetime.now(UTC) - timedelta(hours=3),
)


class Shifted(SystemClock):
    """The machine's clock, set forward ``by``."""

    by = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.by


def live_at_1(shop: Shop, **given: Any) -> KubernetesStore:
    """A store of which generation 1 is live."""
    store = shop.store(**given)
    seal(store, 1)
    store.switch("web", 1)
    return store


def serves(shop: Shop, pair: pki.Pair) -> bool:
    """Whether the live Secret holds a pair."""
    data = shop.data()
    return (data["tls.key"], data["tls.crt"]) == (pair.key_pem, pair.fullchain_pem)


def damage(store: KubernetesStore) -> str | None:
    """What a look says of the live generation."""
    live = store.look("web").live
    assert live is not None
    return live.damaged
