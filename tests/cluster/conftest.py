"""One node for the whole tier; each test has a namespace of its own there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import OLD
from tests.cluster.web import Web
from tests.parts import surroundings
from tests.parts.kubernetes.cluster import Cluster


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test waits for the node as well."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def _cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    with surroundings.usual():
        cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture
def cluster(_cluster: Cluster) -> Iterator[Cluster]:
    """The node; the test, and what it starts, is in its network."""
    with surroundings.usual(), _cluster.network():
        yield _cluster


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace that can have pods; it is deleted at the end, which is not waited for."""
    name = cluster.namespace()
    yield name
    cluster.api.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def web(cluster: Cluster, namespace: str) -> Web:
    """A namespace whose Secret has OLD."""
    made = Web(cluster, namespace)
    made.put(OLD)
    return made
