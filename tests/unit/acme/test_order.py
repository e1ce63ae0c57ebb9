"""Orders that go wrong in ways a real CA cannot be asked to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from certrotd.acme.client import Clients
from certrotd.acme.order import MAX_ANSWERS, AcmeOrder
from certrotd.clock import Deadline, SystemClock
from certrotd.errors import InvalidInput, NeedsOperator, Transient
from certrotd.pki import keys
from certrotd.pki.facts import parse_certificates
from certrotd.pki.order import OrderGone, ValidationFailed
from tests.parts import pki
from tests.unit.acme.scripted import NAME, Reply, ScriptedCA, problem, soon

CSR = keys.signing_request(keys.generate(keys.KeyType.ECDSA_P256), [NAME])
NXDOMAIN = problem("dns", "NXDOMAIN looking up TXT")


class Skipping(SystemClock):
    """The machine's clock, its sleeps skipped by moving time on."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.skipped

    def sleep(self, seconds: float) -> None:
        self.skipped += max(seconds, 0.0)


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


def test_text_around_the_certificates_reaches_no_file(ca: ScriptedCA, tmp_path: Path) -> None:
    """Servers' explanations were cut into key files elsewhere (RFC 8555 §9.1)."""
    ca.order["status"] = "ready"
    ca.on("/certificate", Reply(body=b"subject: x\r\n" + ca.chain.replace(b"\n", b"\r\n") + b"end"))
    assert ca.issuer(tmp_path).order([NAME], deadline=soon()).finalize(CSR) == ca.chain


@pytest.mark.parametrize("content", [b"", b"<html>", b"-----BEGIN CERTIFICATE-----\nAAAA"])
def test_a_download_that_is_no_chain_is_said(
    ca: ScriptedCA, tmp_path: Path, content: bytes
) -> None:
    """And nothing of it is staged."""
    ca.order["status"] = "ready"
    ca.on("/certificate", Reply(body=content))
    with pytest.raises(InvalidInput, match="the CA's certificate chain is"):
        ca.issuer(tmp_path).order([NAME], deadline=soon()).finalize(CSR)


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
    with pytest.raises(Transient, match="not issued in time, its order is processing"):
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


@pytest.mark.parametrize("word", ["caa: CAA forbids", "it does not say why"])
def test_an_order_that_becomes_invalid_says_the_cas_words(
    ca: ScriptedCA, tmp_path: Path, word: str
) -> None:
    """The issuance was refused after all proofs were accepted."""
    ca.order["status"] = "ready"
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    error = {"error": problem("caa", "CAA forbids")} if word.startswith("caa") else {}
    ca.on("/finalize", Reply(body=ca.order_body(status="invalid", **error)))
    with pytest.raises(ValidationFailed, match=f"gave up the order for {NAME}: {word}"):
        order.finalize(CSR)


def test_a_refused_csr_is_said(ca: ScriptedCA, tmp_path: Path) -> None:
    """Some CAs take no P-384, some no RSA 2048."""
    ca.order["status"] = "ready"
    ca.on("/finalize", Reply(400, problem("badCSR", "key too small")))
    with pytest.raises(NeedsOperator, match="badCSR: key too small"):
        ca.issuer(tmp_path).order([NAME], deadline=soon()).finalize(CSR)


def test_a_valid_order_without_a_certificate_is_said(ca: ScriptedCA, tmp_path: Path) -> None:
    """Rather than asked for ever."""
    ca.on("/order", Reply(body={**ca.order_body(), "status": "valid"}))
    order = ca.issuer(tmp_path).resume(f"{ca.base}/order", deadline=soon())
    with pytest.raises(NeedsOperator, match="names no certificate"):
        order.finalize(CSR)


def test_an_authorization_that_becomes_invalid_says_the_cas_words(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """Which name, and what the CA saw."""
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    order.challenges()
    failed = ca.challenge_body(status="invalid", error=NXDOMAIN)
    ca.on("/authz", Reply(body=ca.authorization_body(status="invalid", challenges=[failed])))
    with pytest.raises(ValidationFailed, match=f"{NAME}: dns: NXDOMAIN"):
        order.validate()


@pytest.mark.parametrize("status", ["expired", "deactivated", "revoked"])
def test_an_authorization_that_is_over_ends_the_order(
    ca: ScriptedCA, tmp_path: Path, status: str
) -> None:
    """Nothing failed: a new order gets new authorizations."""
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    ca.on("/authz", Reply(body=ca.authorization_body(status=status)))
    with pytest.raises(OrderGone, match=f"{NAME} is {status}"):
        order.challenges()


def test_a_challenge_left_open_is_answered_again_and_then_given_up(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """step-ca keeps a failed challenge pending until it is asked again (RFC 8555 §8.2)."""
    clock = Skipping()
    order = ca.issuer(tmp_path, clock, timeout=60.0).order([NAME], deadline=Deadline(clock, 60))
    order.challenges()
    still = ca.authorization_body(challenges=[ca.challenge_body(error=NXDOMAIN)])
    ca.on("/challenge", *[Reply(body=ca.challenge_body())] * 9)
    ca.on("/authz", *[Reply(body=still)] * 9)
    with pytest.raises(ValidationFailed, match=f"{NAME}: dns: NXDOMAIN"):
        order.validate()
    assert ca.asked("/challenge") == MAX_ANSWERS
    assert clock.skipped > 4.0


def test_a_challenge_left_open_may_still_succeed(ca: ScriptedCA, tmp_path: Path) -> None:
    """A resolver between us and the CA had cached the record's absence."""
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    order.challenges()
    ca.on("/challenge", Reply(body=ca.challenge_body()))
    still = ca.authorization_body(challenges=[ca.challenge_body(error=NXDOMAIN)])
    ca.on("/authz", Reply(body=still))
    order.validate()
    assert ca.asked("/challenge") == 2


def test_a_challenge_answered_before_is_looked_at_not_refused(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """The first answer's reply was lost, or it was given before a crash."""
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    order.challenges()
    ca.on("/challenge", Reply(400, problem("malformed", "Cannot update challenge")))
    ca.challenge["status"] = "processing"
    ca.on("/authz", Reply(body=ca.authorization_body()))
    ca.challenge["status"] = ca.authorization["status"] = "valid"
    order.validate()


def test_a_challenge_refused_for_good_is_said(ca: ScriptedCA, tmp_path: Path) -> None:
    """The negative control."""
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    ca.on("/challenge", Reply(400, problem("malformed", "no such challenge type")))
    with pytest.raises(NeedsOperator, match="no such challenge type"):
        order.validate()


def test_a_ca_that_never_decides_is_given_up_for_now(ca: ScriptedCA, tmp_path: Path) -> None:
    """Without an opinion of the CA's this is not a failed validation."""
    clock = Skipping()
    order = ca.issuer(tmp_path, clock, timeout=30.0).order([NAME], deadline=Deadline(clock, 60))
    ca.on("/challenge", Reply(body=ca.challenge_body(status="processing")))
    with pytest.raises(Transient, match=f"not decided in time on {NAME}"):
        order.validate()
    assert clock.skipped <= 31.0


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


@pytest.mark.parametrize("alternate", ["http://127.0.0.1:1/x", "/gone", "/refused", "/garbage"])
def test_an_alternate_chain_that_cannot_be_had_does_not_cost_the_certificate(
    ca: ScriptedCA, tmp_path: Path, alternate: str
) -> None:
    """The preferred chain is a wish; the certificate is issued, and the next one may be too many.

    The positive control is test_the_preferred_chain_is_chosen_by_its_topmost_issuer.
    """
    url = alternate if alternate.startswith("http:") else ca.base + alternate
    ca.on("/certificate", Reply(body=ca.chain, headers={"Link": f'<{url}>;rel="alternate"'}))
    ca.on("/gone", Reply(404, problem("malformed")))
    ca.on("/refused", Reply(403, problem("unauthorized")))
    ca.on("/garbage", Reply(body=b"no chain"))
    ca.order["status"] = "valid"
    order = ca.issuer(tmp_path, preferred_chain="elsewhere").order([NAME], deadline=soon())
    assert order.finalize(CSR) == ca.chain


def test_an_order_for_other_names_is_refused(ca: ScriptedCA, tmp_path: Path) -> None:
    """Nothing is published for names nobody asked for."""
    with pytest.raises(NeedsOperator, match="was ordered"):
        ca.issuer(tmp_path).order(["b.example.test"], deadline=soon())


def test_an_authorization_for_another_name_is_refused(ca: ScriptedCA, tmp_path: Path) -> None:
    """The same one step later."""
    ca.authorization["identifier"] = {"type": "dns", "value": "victim.example.test"}
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    with pytest.raises(NeedsOperator, match=r"victim\.example.test, which was not ordered"):
        order.challenges()


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
    with pytest.raises(Transient):
        ca.issuer(tmp_path, timeout=0.5).resume(f"{ca.base}/order", deadline=soon())


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


def test_an_account_lost_in_the_middle_of_an_order_ends_the_order(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """The order was the account's."""
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    ca.on("/authz", Reply(400, problem("accountDoesNotExist", "who?")))
    with pytest.raises(OrderGone, match="no longer knows the order"):
        order.challenges()


@pytest.mark.parametrize(("wanted", "index"), [("second root", 1), ("nobody", 0), ("", 0)])
def test_the_preferred_chain_is_chosen_by_its_topmost_issuer(
    ca: ScriptedCA, tmp_path: Path, wanted: str, index: int
) -> None:
    """Old devices trust an old root; where the CA has no such chain its own choice is taken."""
    ca.order["status"] = "ready"
    other = pki.make_intermediate(pki.make_root("second root"), "second intermediate")
    chains = [ca.chain, pki.make_leaf(other, NAME).fullchain_pem]
    links = f'<{ca.url}>;rel="index", <{ca.base}/other>;rel="alternate"'
    ca.on("/certificate", Reply(body=chains[0], headers={"Link": links}))
    ca.on("/other", Reply(body=chains[1]))
    order = ca.issuer(tmp_path, preferred_chain=wanted).order([NAME], deadline=soon())
    assert order.finalize(CSR) == chains[index]
    assert ca.asked("/other") == (1 if wanted else 0)


def test_more_threads_than_connections_take_turns(ca: ScriptedCA, tmp_path: Path) -> None:
    """A pause between two looks holds no connection."""
    issuer = ca.issuer(tmp_path)
    ca.order["status"] = "ready"
    done: list[bytes] = []

    def obtain() -> None:
        order = issuer.order([NAME], deadline=soon())
        ca.order["status"] = "valid"
        done.append(order.finalize(CSR))

    threads = [threading.Thread(target=obtain) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 40
    assert ca.connections <= 16


def test_no_connection_left_in_time_is_said(
    ca: ScriptedCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that waits for another one has a deadline too."""
    monkeypatch.setattr("certrotd.acme.client.MAX_CLIENTS", 1)
    clients = Clients(ca.settings(), tmp_path, SystemClock())
    with clients.lend(soon()), pytest.raises(Transient, match="all 1 connections"):
        clients.lend(soon(0.1)).__enter__()
    with clients.lend(soon()) as (client, _):
        assert client.directory["newOrder"]


def test_a_start_that_hangs_in_one_thread_does_not_hold_the_others(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """The directory is fetched by one; who waits for that waits within its own deadline."""
    issuer = ca.issuer(tmp_path)
    ca.on("/directory", Reply(delay=1.0, status=502))
    first = threading.Thread(target=lambda: issuer.preflight(deadline=soon()))
    first.start()
    while not ca.seen:
        time.sleep(0.01)
    with pytest.raises(Transient, match="still asking scripted"):
        issuer.preflight(deadline=soon(0.2))
    first.join()


def test_a_caa_refusal_is_not_blamed_on_the_record(ca: ScriptedCA, tmp_path: Path) -> None:
    """The hint has to lead to what is wrong."""
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    failed = ca.challenge_body(status="invalid", error=problem("caa", "forbidden"))
    ca.on("/authz", Reply(body=ca.authorization_body(status="invalid", challenges=[failed])))
    with pytest.raises(ValidationFailed) as failure:
        order.validate()
    assert "CAA records" in failure.value.hint


def test_no_order_is_no_order(ca: ScriptedCA, tmp_path: Path) -> None:
    """What an issuer without orders left in the journal."""
    with pytest.raises(OrderGone):
        ca.issuer(tmp_path).resume("", deadline=soon())


def test_the_rate_limit_of_failed_validations_is_not_run_into(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """A failure that a scheduler would repeat soon must not be what a refused proof raises."""
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    ca.on("/authz", Reply(body=ca.authorization_body(status="invalid")))
    with pytest.raises(ValidationFailed) as failure:
        order.challenges()
    assert not isinstance(failure.value, Transient)


def test_rate_limits_say_when_to_come_back(ca: ScriptedCA, tmp_path: Path) -> None:
    """In the middle of an order too."""
    order = ca.issuer(tmp_path, timeout=2.0).order([NAME], deadline=soon())
    ca.on("/authz", Reply(429, problem("rateLimited", "slow down"), {"Retry-After": "60"}))
    with pytest.raises(Transient, match="rateLimited: slow down") as failure:
        order.challenges()
    assert failure.value.retry_after == timedelta(minutes=1)


def _order(ca: ScriptedCA, **changes: object) -> Reply:
    return Reply(201, ca.order_body(**changes), {"Location": f"{ca.base}/order"})


def _with_challenge(ca: ScriptedCA, url: str) -> dict[str, object]:
    return ca.authorization_body(challenges=[ca.challenge_body(url=url)])


def test_the_chain_served_by_the_scripted_ca_is_a_chain(ca: ScriptedCA) -> None:
    """What the tests above compare with."""
    assert len(parse_certificates(ca.chain)) == 2
