"""The page on Kubernetes shows what the schema takes, and the rights that the store needs."""

import re
from pathlib import Path

import yaml

from certrotd.stores.live_secret import NEEDED_LIVE, NEEDED_OWN
from certrotd.stores.tls_secret import CA, COMBINED, KEYSTORE
from tests.unit.config.written import LAB, config

PAGE = (Path(__file__).parents[3] / "docs" / "kubernetes.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def test_the_example_of_the_store_can_be_used(tmp_path: Path) -> None:
    """Beside an issuer."""
    store = config(tmp_path, LAB + BLOCKS[0]).certificates[0].store
    assert store is not None
    assert (store.namespace, store.secret, store.generations) == ("shop", "shop-tls", "certrotd")


def test_the_roles_are_what_the_store_asks_for() -> None:
    """No verb too many, and none too few."""
    [own], [live] = (yaml.safe_load(each)["rules"] for each in BLOCKS[1:3])
    assert tuple(own["verbs"]) == NEEDED_OWN
    assert tuple(live["verbs"]) == NEEDED_LIVE
    assert live["resourceNames"] == ["shop-tls"]


def test_every_shape_is_told() -> None:
    """Beside the pair."""
    assert all(f"`{each}`" in PAGE for each in (CA, COMBINED, KEYSTORE))
