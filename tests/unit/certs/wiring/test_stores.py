"""Each certificate has the store that its entry names, files by default."""

from pathlib import Path

import pytest

from certrotd.clock import SystemClock
from certrotd.errors import NeedsOperator
from certrotd.kube.connecting import Connections
from certrotd.stores.configured import Stores
from certrotd.stores.kubernetes import KubernetesStore
from certrotd.stores.local import LocalStore
from tests.unit.config.written import LAB, config

TEXT = (
    f"state_dir: DIR\n{LAB}certificates:\n"
    "- {name: web, names: [a.b]}\n"
    "- {name: shop, names: [c.d], store: {type: kubernetes, secret: s, kubeconfig: DIR/none}}\n"
    "- {name: mail, names: [e.f], store: {type: kubernetes, secret: m, kubeconfig: DIR/none}}\n"
)


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    """Of a configuration with both."""
    return Stores(
        config(tmp_path, TEXT.replace("DIR", str(tmp_path))), Connections(SystemClock(), {}).api
    )


def test_one_store_has_all_certificates_of_its_type(stores: Stores) -> None:
    """They share connections; one that is no longer configured is in files, if anywhere."""
    assert isinstance(stores.of("web"), LocalStore)
    assert stores.of("gone") is stores.of("web")
    assert isinstance(stores.of("shop"), KubernetesStore)
    assert stores.of("mail") is stores.of("shop")


def test_all_that_may_be_there_are_listed(stores: Stores, tmp_path: Path) -> None:
    """What is in files, and what is configured to be elsewhere; nothing that is no certificate."""
    assert stores.names() == ["mail", "shop"]
    (tmp_path / "certificates" / "gone" / "generations").mkdir(parents=True)
    (tmp_path / "certificates" / "lost+found").mkdir()
    assert stores.names() == ["gone", "mail", "shop"]


def test_a_cluster_that_cannot_be_reached_is_said_when_it_is_asked(stores: Stores) -> None:
    """Until then nothing is read; the others go on."""
    store = stores.of("shop")
    with pytest.raises(NeedsOperator, match="cannot be used as a kubeconfig"):
        store.look("shop")
