"""Orders taken up again after a crash, and orders that are gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from certrotd.clock import Deadline
from certrotd.errors import NeedsOperator, Transient
from certrotd.pki.order import OrderGone
from tests.builders import soon
from tests.unit.acme.scripted import CSR, NXDOMAIN, Reply, ScriptedCA, Skipping, problem


@pytest.mark.parametrize(
    "reply",
    [
        Reply(404, b""),
        Reply(404, problem("malformed", "No order for ID 7")),
        Reply(403, problem("unauthorized", "another account's")),
        Reply(400, problem("accountDoesNotExist", "who?")),
    ],
    ids=range(4),
)
def test_an_order_the_ca_does_not_know_is_gone(
    ca: ScriptedCA, tmp_path: Path, reply: Reply
) -> None:
    """CAs say it in different ways; each means a new order."""
    ca.on("/order", reply)
    with pytest.raises(OrderGone):
        ca.issuer(tmp_path).resume(f"{ca.base}/order", deadline=soon())


def test_a_busy_ca_does_not_make_an_order_gone(ca: ScriptedCA, tmp_path: Path) -> None:
    """The negative control: ordering again would be the second order."""
    ca.on("/order", *[Reply(500, b"")] * 9)
    clock = Skipping()
    with pytest.raises(Transient, match="status 500"):
        ca.issuer(tmp_path, clock).resume(f"{ca.base}/order", deadline=Deadline(clock, 60))


def test_a_refusal_for_another_reason_does_not_make_an_order_gone(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """New terms have to be agreed to for the next order as well."""
    ca.on("/order", Reply(403, problem("userActionRequired", "new terms")))
    with pytest.raises(NeedsOperator, match="userActionRequired: new terms"):
        ca.issuer(tmp_path).resume(f"{ca.base}/order", deadline=soon())


def test_an_invalid_order_is_gone_with_the_cas_words(ca: ScriptedCA, tmp_path: Path) -> None:
    """The log shows why a second order was needed."""
    ca.on("/order", Reply(body=ca.order_body(status="invalid", error=NXDOMAIN)))
    with pytest.raises(OrderGone, match="dns: NXDOMAIN"):
        ca.issuer(tmp_path).resume(f"{ca.base}/order", deadline=soon())


def test_an_expired_order_is_gone_unless_it_was_issued(ca: ScriptedCA, tmp_path: Path) -> None:
    """Orders live for days; a certificate issued on one stays there to be fetched."""
    ca.on("/order", Reply(body=ca.order_body(expires="2020-01-01T00:00:00Z")))
    issuer = ca.issuer(tmp_path)
    with pytest.raises(OrderGone, match="expired at 2020-01-01 00:00:00Z"):
        issuer.resume(f"{ca.base}/order", deadline=soon())
    ca.order["status"] = "valid"
    ca.on("/order", Reply(body=ca.order_body(expires="2020-01-01T00:00:00Z")))
    assert issuer.resume(f"{ca.base}/order", deadline=soon()).finalize(CSR) == ca.chain


def test_an_order_at_another_ca_is_gone_and_not_asked_for(ca: ScriptedCA, tmp_path: Path) -> None:
    """The configuration moved to another CA while an order was open."""
    with pytest.raises(OrderGone, match="belongs to another CA"):
        ca.issuer(tmp_path).resume("https://old.example/order/7", deadline=soon())


def test_no_order_is_no_order(ca: ScriptedCA, tmp_path: Path) -> None:
    """What an issuer without orders left in the journal."""
    with pytest.raises(OrderGone):
        ca.issuer(tmp_path).resume("", deadline=soon())
