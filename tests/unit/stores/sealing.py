"""A pair, and stores in which it is staged and sealed as a rotation does it."""

from datetime import UTC, datetime

from certrotd.pki.generation import Meta
from certrotd.stores.local import LocalStore
from tests.parts import pki

CA = pki.make_intermediate(pki.make_root())
PAIR = pki.make_leaf(CA, "a.example.test")
THEN = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
META = Meta(THEN, "issued", "le", "https://ca.test", 0.5)


def stage(store: LocalStore, number: int) -> None:
    """A generation that is all there and not sealed."""
    store.stage_key("web", number, PAIR.key_pem)
    store.stage_chain("web", number, PAIR.fullchain_pem)


def seal(store: LocalStore, number: int) -> None:
    """A sealed generation."""
    stage(store, number)
    store.seal("web", number, META)


def generations(store: LocalStore) -> list[str]:
    """Everything beside each other under generations/."""
    return sorted(path.name for path in (store.root / "web" / "generations").iterdir())
