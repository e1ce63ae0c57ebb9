"""Orders that go wrong in ways a real CA cannot be asked to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from certrotd.acme.order import AcmeOrder
from certrotd.clock import Deadline
from certrotd.errors import InvalidInput, NeedsOperator, Transient
from certrotd.pki.order import IssuanceRefused, ValidationFailed
from tests.builders import soon
from tests.parts import pki
from tests.unit.acme.scripted import CSR, NAME, Reply, ScriptedCA, Skipping, problem


def test_an_order_takes_the_fewest_requests(ca: ScriptedCA, tmp_path: Path) -> None:
    """CAs limit requests, and each costs a round trip."""
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    assert ca.asked("/authz") == 0, (
        "the URL is known, and can be journaled, before the next request"
    )
    (challenge,) = order.challenges()
    assert challenge.name == f"_acme-challenge.{NAME}"
    order.validate()
    chain = order.finalize(CSR)
    assert chain == ca.chain
    paths = [seen.path for seen in ca.seen if seen.method == "POST"]
    assert paths == [
        *("/account", "/orders", "/authz", "/challenge", "/authz", "/finalize", "/certificate")
    ]


@pytest.mark.parametrize("status", ["ready", "processing", "valid"])
def test_an_order_beyond_its_proofs_wants_none(ca: ScriptedCA, tmp_path: Path, status: str) -> None:
    """Authorizations are reused for days: no record has to be published then."""
    ca.order["status"] = status
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    assert order.challenges() == ()
    order.validate()
    assert ca.asked("/authz") == ca.asked("/challenge") == 0


@pytest.mark.parametrize("status", ["processing", "valid"])
def test_the_csr_is_not_sent_to_an_order_that_has_one(
    ca: ScriptedCA, tmp_path: Path, status: str
) -> None:
    """After a crash the certificate of that order is fetched."""
    ca.order["status"] = status
    order = ca.issuer(tmp_path).resume(f"{ca.base}/order", deadline=soon())
    ca.order["status"] = "valid"
    assert order.finalize(CSR) == ca.chain
    assert ca.asked("/finalize") == 0


def test_a_finalization_whose_answer_was_lost_is_not_refused(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """Sent again it is answered orderNotReady; the order says what became of the first."""
    ca.order["status"] = "ready"
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    ca.on("/finalize", Reply(cut=True))
    ca.order["status"] = "valid"
    assert order.finalize(CSR) == ca.chain
    assert ca.asked("/finalize") == 2


def test_an_order_that_becomes_ready_late_is_finalized_then(ca: ScriptedCA, tmp_path: Path) -> None:
    """Some CAs add up validations a moment later; the CSR is sent again."""
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    order.validate()
    not_ready = Reply(403, problem("orderNotReady", "wait"))
    ca.on("/finalize", not_ready, not_ready)
    ca.on("/order", Reply(body=ca.order_body(status="pending")))
    assert order.finalize(CSR) == ca.chain
    assert ca.asked("/finalize") == 3


def test_an_order_that_stays_processing_is_given_up_for_now(ca: ScriptedCA, tmp_path: Path) -> None:
    """Its URL is in the journal; the next run fetches the certificate."""
    ca.order["status"] = "processing"
    clock = Skipping()
    order = ca.issuer(tmp_path, clock, timeout=60.0).order([NAME], deadline=Deadline(clock, 60))
    with pytest.raises(Transient, match="did not issue in time, its order is processing"):
        order.finalize(CSR)
    # 0.05 s growing by half to 3 s: a minute is about 27 looks, not a thousand
    assert 20 < ca.asked("/order") < 40


def test_a_retry_after_beyond_the_deadline_leaves_a_last_look(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """An hour's Retry-After must neither hold the rotation nor end it at once."""
    ca.order["status"] = "processing"
    ca.on("/order", Reply(body=ca.order_body(), headers={"Retry-After": "3600"}))
    clock = Skipping()
    order = ca.issuer(tmp_path, clock, timeout=60.0).order([NAME], deadline=Deadline(clock, 60))
    ca.on("/order", Reply(body=ca.order_body(status="valid", certificate=f"{ca.base}/certificate")))
    assert order.finalize(CSR) == ca.chain
    assert 58.0 < clock.skipped < 60.0


@pytest.mark.parametrize("word", ["caa: CAA forbids", "it gave no reason"])
def test_an_order_that_becomes_invalid_says_the_cas_words(
    ca: ScriptedCA, tmp_path: Path, word: str
) -> None:
    """The issuance was refused after all proofs were accepted."""
    ca.order["status"] = "ready"
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    error = {"error": problem("caa", "CAA forbids")} if word.startswith("caa") else {}
    ca.on("/finalize", Reply(body=ca.order_body(status="invalid", **error)))
    with pytest.raises(ValidationFailed, match=f"rejected the order for {NAME}: {word}"):
        order.finalize(CSR)


def test_a_refused_csr_is_reported(ca: ScriptedCA, tmp_path: Path) -> None:
    """Some CAs take no P-384, some no RSA 2048."""
    ca.order["status"] = "ready"
    ca.on("/finalize", Reply(400, problem("badCSR", "key too small")))
    with pytest.raises(IssuanceRefused, match="badCSR: key too small"):
        ca.issuer(tmp_path).order([NAME], deadline=soon()).finalize(CSR)


def test_a_csr_refused_after_a_lost_answer_does_not_end_the_order(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """The first one was heard and acted on: the order tells, and its certificate is fetched."""
    ca.order["status"] = "ready"
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    ca.on("/finalize", Reply(400, problem("malformed", "finalized already")))
    ca.order["status"] = "valid"
    assert order.finalize(CSR) == ca.chain


@pytest.mark.parametrize(
    ("path", "reply"),
    [
        ("/finalize", Reply(403, b"<html>blocked</html>")),
        ("/finalize", Reply(302, b"", {"Location": "https://login.example/"})),
        ("/finalize", Reply(body=b"<html>log in first</html>")),
        ("/certificate", Reply(body=b"x" * (1 << 20) + b"x")),
        ("/certificate", Reply(403, b"<html>blocked</html>")),
        ("/certificate", Reply(body=b"<html>log in first</html>")),
    ],
    ids=range(6),
)
def test_a_failure_between_us_and_the_ca_does_not_end_the_order(
    ca: ScriptedCA, tmp_path: Path, path: str, reply: Reply
) -> None:
    """After such a failure the CA may have issued: none of those that end an order is raised."""
    ca.order["status"] = "ready"
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    ca.on(path, reply)
    with pytest.raises((NeedsOperator, InvalidInput)) as raised:
        order.finalize(CSR)
    assert not isinstance(raised.value, IssuanceRefused)
    again = ca.issuer(tmp_path).resume(f"{ca.base}/order", deadline=soon())
    assert again.finalize(CSR) == ca.chain


def test_a_valid_order_without_a_certificate_is_reported(ca: ScriptedCA, tmp_path: Path) -> None:
    """Rather than asked for ever."""
    ca.on("/order", Reply(body={**ca.order_body(), "status": "valid"}))
    order = ca.issuer(tmp_path).resume(f"{ca.base}/order", deadline=soon())
    with pytest.raises(NeedsOperator, match="names no certificate"):
        order.finalize(CSR)


@pytest.mark.parametrize("resource", ["/orders", "/order", "/authz", "/challenge", "/finalize"])
def test_an_http_url_is_refused_wherever_the_ca_names_it(
    ca: ScriptedCA, tmp_path: Path, resource: str
) -> None:
    """RFC 8555 §6.1: whoever can change one answer must not lead the next request astray."""
    plain = "http://127.0.0.1:1/x"
    issuer = ca.issuer(tmp_path)

    def order() -> AcmeOrder:
        return issuer.order([NAME], deadline=soon())

    replies = {
        "/orders": Reply(201, ca.order_body(), {"Location": plain}),
        "/authz": _order(ca, authorizations=[plain]),
        "/finalize": _order(ca, status="ready", finalize=plain),
    }
    if resource in replies:
        ca.on("/orders", replies[resource])
    if resource == "/challenge":
        ca.on("/authz", Reply(body=_with_challenge(ca, plain)))
    acts: dict[str, Callable[[], object]] = {
        "/orders": order,
        "/order": lambda: issuer.resume(plain, deadline=soon()),
        "/authz": lambda: order().challenges(),
        "/challenge": lambda: order().validate(),
        "/finalize": lambda: order().finalize(CSR),
    }
    with pytest.raises(NeedsOperator, match=r"'http://127\.0\.0\.1:1/x' is refused"):
        acts[resource]()


def test_an_http_url_of_a_certificate_is_refused(ca: ScriptedCA, tmp_path: Path) -> None:
    """A chain fetched over http could be anybody's."""
    plain = "http://127.0.0.1:1/x"
    ca.on("/orders", _order(ca, status="valid", certificate=plain))
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    with pytest.raises(NeedsOperator, match=r"'http://127\.0\.0\.1:1/x' is refused"):
        order.finalize(CSR)


def test_an_order_for_other_names_is_refused(ca: ScriptedCA, tmp_path: Path) -> None:
    """Nothing is published for names nobody asked for."""
    with pytest.raises(NeedsOperator, match="was ordered"):
        ca.issuer(tmp_path).order(["b.example.test"], deadline=soon())


def _order(ca: ScriptedCA, **changes: object) -> Reply:
    return Reply(201, ca.order_body(**changes), {"Location": f"{ca.base}/order"})


def _with_challenge(ca: ScriptedCA, url: str) -> dict[str, object]:
    return ca.authorization_body(challenges=[ca.challenge_body(url=url)])


def test_the_time_that_dns_takes_is_not_the_cas(ca: ScriptedCA, tmp_path: Path) -> None:
    """Records of a hundred names, or a slow secondary, take longer than the CA is given.

    Else every attempt would end with all records seen, no time left, and one order less.
    """
    clock = Skipping()
    order = ca.issuer(tmp_path, clock, timeout=60.0).order([NAME], deadline=Deadline(clock, 60))
    assert len(order.challenges()) == 1
    clock.sleep(300)
    order.validate()
    clock.sleep(300)
    assert order.finalize(CSR) == ca.chain


def test_urls_may_be_relative(ca: ScriptedCA, tmp_path: Path) -> None:
    """RFC 9110 §10.2.2 and RFC 8288 §3.1 allow it, of where things are and of links."""
    ca.on("/account", Reply(201, {"status": "valid"}, {"Location": "/accounts/1"}))
    ca.on("/orders", Reply(201, ca.order_body(), {"Location": "/order"}))
    other = pki.make_intermediate(pki.make_root("second root"), "second intermediate")
    chain = pki.make_leaf(other, NAME).fullchain_pem
    ca.on("/certificate", Reply(body=ca.chain, headers={"Link": '</other>;rel="alternate"'}))
    ca.on("/other", Reply(body=chain))
    order = ca.issuer(tmp_path, preferred_chain="second root").order([NAME], deadline=soon())
    assert order.url == f"{ca.base}/order"
    order.validate()
    assert order.finalize(CSR) == chain


def test_a_location_that_makes_no_sense_is_reported(ca: ScriptedCA, tmp_path: Path) -> None:
    """Rather than met as a defect."""
    ca.on("/orders", Reply(201, ca.order_body(), {"Location": "//[/order"}))
    with pytest.raises(NeedsOperator, match="is refused"):
        ca.issuer(tmp_path).order([NAME], deadline=soon())
