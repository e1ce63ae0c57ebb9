"""What is believed of an order that is said not to be there, and by whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from certrotd.clock import Deadline
from certrotd.errors import Failure, Transient
from certrotd.pki.order import OrderGone
from tests.builders import soon
from tests.unit.acme.scripted import CSR, NAME, Reply, ScriptedCA, Skipping, problem

GATEWAY = [
    Reply(404, b"default backend - 404"),
    Reply(410, b""),
    Reply(404, {"type": "about:blank", "title": "Not Found", "status": 404}),
    Reply(404, {"detail": "Not Found"}),
]


@pytest.mark.parametrize("reply", GATEWAY, ids=range(4))
@pytest.mark.parametrize("status", [404, 503])
def test_an_unexplained_404_is_not_believed_while_the_directory_is_away_too(
    ca: ScriptedCA, tmp_path: Path, reply: Reply, status: int
) -> None:
    """A load balancer without its CA says the same of every page; the order is there still."""
    clock = Skipping()
    issuer, deadline = ca.issuer(tmp_path, clock), Deadline(clock, 60)
    issuer.preflight(deadline=deadline)
    ca.on("/order", reply)
    ca.on("/directory", *[Reply(status, b"")] * 9)
    with pytest.raises(Transient, match="and its directory is unreadable too") as raised:
        issuer.resume(f"{ca.base}/order", deadline=deadline)
    assert not isinstance(raised.value, OrderGone)


@pytest.mark.parametrize("reply", GATEWAY, ids=range(4))
def test_an_unexplained_404_is_believed_where_the_directory_is_there(
    ca: ScriptedCA, tmp_path: Path, reply: Reply
) -> None:
    """The negative control: Pebble explains nothing when it knows an order no more."""
    issuer = ca.issuer(tmp_path)
    issuer.preflight(deadline=soon())
    ca.on("/order", reply)
    with pytest.raises(OrderGone, match="no longer knows the order"):
        issuer.resume(f"{ca.base}/order", deadline=soon())
    assert ca.asked("/directory") == 2, "asked for at that moment"


def test_an_acme_error_of_the_ca_is_believed_without_the_directory(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """Whoever speaks ACME is the CA."""
    issuer = ca.issuer(tmp_path)
    issuer.preflight(deadline=soon())
    ca.on("/order", Reply(404, problem("malformed", "No order for ID 7")))
    with pytest.raises(OrderGone, match="No order for ID 7"):
        issuer.resume(f"{ca.base}/order", deadline=soon())
    assert ca.asked("/directory") == 1


@pytest.mark.parametrize("path", ["/authz", "/challenge"])
def test_the_same_holds_in_the_middle_of_an_order(
    ca: ScriptedCA, tmp_path: Path, path: str
) -> None:
    """Not only of the order itself."""
    issuer = ca.issuer(tmp_path)
    order = issuer.order([NAME], deadline=soon())
    ca.on(path, Reply(404, b""))
    ca.on("/directory", Reply(404, b""))
    with pytest.raises(Transient):
        order.validate()
    ca.on(path, Reply(404, b""))
    with pytest.raises(OrderGone):
        issuer.order([NAME], deadline=soon()).validate()


@pytest.mark.parametrize("path", ["/directory", "/nonce"])
@pytest.mark.parametrize("reply", [Reply(404, b""), Reply(404, problem("malformed", "gone"))])
@pytest.mark.parametrize("registered", [False, True])
def test_a_404_for_another_resource_does_not_mean_the_order_is_gone(
    ca: ScriptedCA, tmp_path: Path, path: str, reply: Reply, registered: bool
) -> None:
    """A CA that is being restored answers 404 to the pages before it, too."""
    if registered:
        ca.issuer(tmp_path).preflight(deadline=soon())
    ca.on(path, *[reply] * 9)
    clock = Skipping()
    with pytest.raises(Failure) as raised:
        ca.issuer(tmp_path, clock).resume(f"{ca.base}/order", deadline=Deadline(clock, 60))
    assert not isinstance(raised.value, OrderGone)


@pytest.mark.parametrize("reply", [*GATEWAY, Reply(404, problem("malformed", "not found"))])
def test_a_certificate_that_is_not_there_yet_does_not_end_its_order(
    ca: ScriptedCA, tmp_path: Path, reply: Reply
) -> None:
    """A replica that lags: the order is valid, so what it has issued will be had later."""
    ca.order["status"] = "ready"
    issuer = ca.issuer(tmp_path)
    order = issuer.order([NAME], deadline=soon())
    ca.on("/certificate", reply)
    with pytest.raises(Transient, match="has issued the certificate but does not have it yet"):
        order.finalize(CSR)
    assert issuer.resume(f"{ca.base}/order", deadline=soon()).finalize(CSR) == ca.chain


def test_a_certificate_whose_order_is_gone_is_gone(ca: ScriptedCA, tmp_path: Path) -> None:
    """The negative control."""
    ca.order["status"] = "ready"
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    ca.on("/certificate", Reply(404, problem("malformed", "not found")))
    ca.on("/order", Reply(404, problem("malformed", "No order for ID 7")))
    with pytest.raises(OrderGone, match="No order for ID 7"):
        order.finalize(CSR)
