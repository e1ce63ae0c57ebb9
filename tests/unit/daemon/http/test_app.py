"""Which address answers what, and which answers nothing."""

import json

import pytest

from certrotd.daemon.http.request import RequestRefused
from tests.unit.daemon.http.page import ask, names, page, text
from tests.unit.daemon.http.stand import Stand


@pytest.mark.parametrize(
    "path",
    [
        "/certificate/nobody",
        "/certificate/",
        "/certificate/web/..",
        "/nothing",
        "/Certificate/web",
        "/certificate/web/",
    ],
)
def test_an_unknown_path_is_not_found(stand: Stand, path: str) -> None:
    """Names are looked up, never used as paths."""
    stand.fine("web")
    stand.look()
    with pytest.raises(RequestRefused) as caught:
        ask(stand, path)
    assert caught.value.status == 404


def test_a_certificate_that_has_just_gone_is_not_found(stand: Stand) -> None:
    """Between a reload and the end of the rotations under the old configuration."""
    stand.fine("web")
    stand.look()
    del stand.certificates["web"]
    with pytest.raises(RequestRefused):
        ask(stand, "/certificate/web")
    assert names(page(stand)) == ["web"]
    assert json.loads(text(stand, "/status.json"))["subjects"] == []


def test_health_is_a_status_and_a_reason(stand: Stand) -> None:
    """What a load balancer and a person each need."""
    assert ask(stand, "/livez").status == 200
    assert ask(stand, "/readyz").status == 503
    stand.look()
    assert (ask(stand, "/readyz").status, text(stand, "/readyz")) == (200, "ok\n")
    stand.clock.sleep(31)
    assert (ask(stand, "/livez").status, text(stand, "/livez")) == (503, "no tick for 31 s\n")
