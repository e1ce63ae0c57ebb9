"""Each API server is connected to once."""

from pathlib import Path

import pytest

from certrotd.clock import SystemClock
from certrotd.errors import NeedsOperator
from certrotd.kube.connecting import Connections
from tests.parts import pki
from tests.parts.kubernetes import Credentials


def test_a_kubeconfig_is_read_once(tmp_path: Path) -> None:
    """Another context is another account."""
    ca, _ = pki.make_root("cluster").write(tmp_path, "ca")
    who = Credentials("https://127.0.0.1:1", ca, token="a.b.c")
    path = who.write_kubeconfig(tmp_path / "kubeconfig", "shop")
    connections = Connections(SystemClock(), {})
    first = connections.api(path)
    assert first.access.namespace == "shop"
    path.unlink()
    assert connections.api(path) is first
    with pytest.raises(NeedsOperator):
        connections.api(path, "other")


def test_without_a_kubeconfig_it_is_the_pods(tmp_path: Path) -> None:
    """Which this process is not in."""
    with pytest.raises(NeedsOperator, match="no pod with a ServiceAccount"):
        Connections(SystemClock(), {}).api()
