"""What a replica answers that waits to take over."""

import pytest

from certrotd.daemon.http.request import Request, RequestRefused
from certrotd.daemon.http.standby import Standby


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_a_replica_that_waits_is_well(path: str) -> None:
    """Else it would be restarted, or hold up the rollout that is to replace the one at work."""
    answer = Standby()(Request(path))
    assert (answer.status, answer.body) == (200, "ok: stands by\n")


def test_its_metrics_say_that_it_waits() -> None:
    """A scrape that fails would be an alert."""
    answer = Standby()(Request("/metrics"))
    assert answer.status == 200
    text = "".join(answer.body)
    assert "certrotd_standing_by 1\n" in text
    assert "certrotd_build_info" in text


@pytest.mark.parametrize("path", ["/", "/status.json", "/certificate/web"])
def test_whoever_asks_for_more_learns_who_is_at_work(path: str) -> None:
    """Also before it is known."""
    standby = Standby()
    with pytest.raises(RequestRefused, match=r"this replica waits to take over$") as refused:
        standby(Request(path))
    assert refused.value.status == 503
    standby.words = "waits to take over: pod-1"
    with pytest.raises(RequestRefused, match="this replica waits to take over: pod-1"):
        standby(Request(path))
