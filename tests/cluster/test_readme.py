"""README's way from an empty cluster to a rotated certificate is one that works."""

import re
from pathlib import Path

from certrotd import __version__
from tests.cluster.web import leaf
from tests.parts.kubernetes.cluster import Cluster
from tests.parts.kubernetes.images import CERTROTD, DEBIAN

ROOT = Path(__file__).parents[2]


def commands() -> list[str]:
    """Those of README's block for a cluster."""
    readme = (ROOT / "README.md").read_text()
    [block] = re.findall(r"^```sh cluster\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    return str(block).replace("\\\n", " ").strip().splitlines()


def served(cluster: Cluster) -> set[str | None]:
    """What the pods of the example serve that are not on their way out."""
    found = [each for each in cluster.pods("shop", "app=web") if "podIP" in each["status"]]
    staying = [each for each in found if "deletionTimestamp" not in each["metadata"]]
    return {leaf(each["status"]["podIP"]) for each in staying}


def test_five_commands_lead_from_an_empty_cluster_to_a_rotated_certificate(
    cluster: Cluster,
) -> None:
    """The image is built before, by scripts/parts/image; the other commands run as they are."""
    build, *others = commands()
    assert build == f"docker build --tag certrotd:{__version__} ."
    assert len(others) == 4
    cluster.tag(cluster.image(CERTROTD), f"docker.io/library/certrotd:{__version__}")
    cluster.tag(cluster.image(DEBIAN), "docker.io/library/nginx:1.29")
    seen = []
    for command in others:
        cluster.sh(command, directory=ROOT)
        seen.append(served(cluster))
    first, second = seen[-2:]
    assert len(first) == len(second) == 1, seen
    assert None not in first | second
    assert first != second
    cluster.api.delete("/api/v1/namespaces/shop")
    cluster.api.delete("/api/v1/namespaces/certrotd")
