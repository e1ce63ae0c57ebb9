"""An application that holds one key is cut over to another one, or all of it is undone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.one_key_shop import Client, OneKeyShop
from tests.parts import Parts
from tests.parts.postgresql import PostgreSQL
from tests.parts.site import Site

pytestmark = pytest.mark.integration


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, site: Site, parts: Parts) -> Iterator[OneKeyShop]:
    """The application runs under its first key."""
    server = parts.start(PostgreSQL) if request.param == "postgresql" else None
    shop = OneKeyShop(site, server)
    try:
        yield shop.begin()
    finally:
        shop.end()


def test_requests_fail_only_while_it_is_stopped(shop: OneKeyShop) -> None:
    """And everything that was said to be written is there, under the new key alone."""
    old = shop.is_whole()
    with Client(shop).at_work() as client:
        ran = shop.cut_over()
        done = client.done
    assert "the application was stopped for" in ran.stdout
    assert shop.is_whole() != old
    assert shop.versions() == {1: "decrypt-only", 2: "active"}
    assert client.wrong == []
    assert done > 0
