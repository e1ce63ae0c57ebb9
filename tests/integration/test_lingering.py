"""An old worker of nginx answers once more after a proven rotation: nobody takes it for a fault."""

import pytest

from demo.stage import HOST, settled_leaf
from tests.parts import Nginx, Parts
from tests.parts.lingering import starved
from tests.parts.site import Site


@pytest.fixture
def served(parts: Parts, site: Site) -> Nginx:
    """An nginx that serves a certificate, proven."""
    site.internal()
    site.certificate("web", HOST)
    nginx = site.serve(parts, {HOST: "web"})
    site.rotate()
    return nginx


def test_an_old_worker_takes_a_connection_after_the_proof(served: Nginx, site: Site) -> None:
    """The control of the others: what they are about does happen."""
    old = site.leaf("web")
    with starved(served) as takes:
        site.rotate("--force")
        with takes():
            assert served.served(HOST) == old != site.leaf("web")


def test_status_probe_asks_again_where_an_old_worker_answered(served: Nginx, site: Site) -> None:
    """Whoever looks right after a rotation is not told that it served something else."""
    with starved(served) as takes:
        site.rotate("--force")
        with takes():
            [target] = site.status("web", "--probe")["targets"]
    assert target["current"], target
    assert site.generation("web") == 2


def test_status_probe_says_so_where_something_else_is_served(parts: Parts, site: Site) -> None:
    """The control: it does so at every handshake."""
    site.internal()
    site.certificate("web", HOST)
    site.rotate()
    site.pinned(parts, "web", HOST)
    with site.without_targets():
        site.rotate("--force")
    [target] = site.status("web", "--probe")["targets"]
    assert not target["current"]
    assert "SERVES ANOTHER CERTIFICATE" in site.run("status", "web", "--probe").stdout


def test_the_demo_sees_what_is_served_though_an_old_worker_answers_once(
    served: Nginx, site: Site
) -> None:
    """It failed once in thirty times, on the coldest machine."""
    with starved(served) as takes:
        site.rotate("--force")
        with takes():
            seen = settled_leaf(served.port)
    assert seen == site.leaf("web")
