"""Patience with a CA, and what may not be repeated."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from certrotd.acme.network import MAX_REPEATS, Network, account_jwk, algorithm_of, may_repeat
from certrotd.acme.problems import Busy
from certrotd.acme.reach import AllowedUrls
from certrotd.clock import Deadline, ManualClock, SystemClock
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.https.client import Lost
from certrotd.pki import keys
from certrotd.pki.roots import trust
from tests.builders import soon
from tests.unit.acme.scripted import NAME, Reply, ScriptedCA, problem

BAD_NONCE = Reply(400, problem("badNonce", "try another"))
RATE_LIMITED = problem("rateLimited", "too many new orders")


class Hurried(SystemClock):
    """The machine's clock, stopped, with sleeps noted instead of slept."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._stopped = super().now().replace(microsecond=0)

    def now(self) -> datetime:
        return self._stopped

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def test_every_account_key_signs_with_its_algorithm() -> None:
    """The library's default is RS256 whatever the key."""
    kinds = {
        keys.KeyType.ECDSA_P256: "ES256",
        keys.KeyType.ECDSA_P384: "ES384",
        keys.KeyType.RSA_2048: "RS256",
    }
    for kind, name in kinds.items():
        key = account_jwk(keys.generate(kind))
        assert key is not None
        assert algorithm_of(key).name == name


def test_other_keys_make_no_account() -> None:
    """The library would fail on them in the middle of an order."""
    assert account_jwk(ed25519.Ed25519PrivateKey.generate()) is None
    assert account_jwk(ec.generate_private_key(ec.SECP521R1())) is None


def test_only_what_the_ca_cannot_have_done_is_repeated_for_a_new_order() -> None:
    """Two orders for one certificate count twice against the CA's limits."""
    again: dict[Lost | Busy, bool] = {
        Lost("", sent=False): True,
        Lost("", sent=True): False,
        Busy("", status=429): True,
        Busy("", status=503): True,
        Busy("", status=500): False,
        Busy("", status=502): False,
        Busy("", status=500, code="serverInternal"): True,
    }
    for failure, expected in again.items():
        assert may_repeat(failure, repeatable=False) is expected
        assert may_repeat(failure, repeatable=True)


def test_a_lost_answer_to_a_new_order_is_not_followed_by_a_second_order(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """The rotation decides later, with its own backoff."""
    issuer = ca.issuer(tmp_path)
    ca.on("/orders", Reply(cut=True))
    with pytest.raises(Transient, match="did not answer"):
        issuer.order([NAME], deadline=soon())
    assert ca.asked("/orders") == 1


def test_a_nonce_lost_before_a_new_order_is_asked_for_again(ca: ScriptedCA, tmp_path: Path) -> None:
    """Nothing of the order was sent yet, so nothing can be doubled."""
    issuer = ca.issuer(tmp_path)
    ca.on("/account", Reply(201, {}, {"Location": f"{ca.base}/accounts/1", "Replay-Nonce": "-"}))
    ca.on("/nonce", Reply(), Reply(cut=True))
    assert issuer.order([NAME], deadline=soon()).url
    assert ca.asked("/nonce") == 3
    assert ca.asked("/orders") == 1


@pytest.mark.parametrize("path", ["/directory", "/nonce", "/account"])
def test_a_lost_answer_to_anything_else_is_asked_for_again(
    ca: ScriptedCA, tmp_path: Path, path: str
) -> None:
    """A connection cut now and then is no reason to give up an order."""
    ca.on(path, Reply(cut=True))
    issuer = ca.issuer(tmp_path)
    assert issuer.order([NAME], deadline=soon()).url == f"{ca.base}/order"
    assert ca.asked(path) == 2


def test_a_ca_that_stays_away_is_given_up_after_a_few_pauses(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """The pauses grow, and the failure is one to try again later."""
    ca.on("/directory", *[Reply(502, b"<html>Bad gateway")] * (MAX_REPEATS + 1))
    clock = Hurried()
    with pytest.raises(Transient, match="HTTP status 502"):
        ca.issuer(tmp_path, clock, timeout=60.0).preflight(deadline=Deadline(clock, 60))
    assert clock.slept == [0.25, 0.5, 1.0, 2.0]


def test_a_retry_after_that_fits_is_waited_for(ca: ScriptedCA, tmp_path: Path) -> None:
    """A CA that says when is asked again then, not before."""
    ca.on("/orders", Reply(429, RATE_LIMITED, {"Retry-After": "7"}))
    clock = Hurried()
    issuer = ca.issuer(tmp_path, clock, timeout=60.0)
    issuer.order([NAME], deadline=Deadline(clock, 60))
    assert clock.slept == [7.0]


def test_a_retry_after_as_a_date_is_waited_for(ca: ScriptedCA, tmp_path: Path) -> None:
    """The other form RFC 9110 §10.2.3 allows."""
    clock = Hurried()
    date = format_datetime(clock.now() + timedelta(seconds=30), usegmt=True)
    ca.on("/orders", Reply(503, b"", {"Retry-After": date}))
    ca.issuer(tmp_path, clock, timeout=60.0).order([NAME], deadline=Deadline(clock, 60))
    assert clock.slept == [30.0]


def test_a_retry_after_beyond_the_deadline_is_handed_on(ca: ScriptedCA, tmp_path: Path) -> None:
    """The library drops it; the scheduler needs it to come back at the right time."""
    ca.on("/orders", Reply(429, RATE_LIMITED, {"Retry-After": "3600"}))
    with pytest.raises(Transient, match="rateLimited: too many new orders") as failure:
        ca.issuer(tmp_path).order([NAME], deadline=soon())
    assert failure.value.retry_after == timedelta(hours=1)
    assert ca.asked("/orders") == 1


def test_bad_nonces_are_replaced_by_those_of_the_errors(ca: ScriptedCA, tmp_path: Path) -> None:
    """Each error brings a nonce (RFC 8555 §6.5): no request goes to newNonce for it."""
    issuer = ca.issuer(tmp_path)
    ca.on("/orders", *[BAD_NONCE] * 20)
    issuer.order([NAME], deadline=soon())
    assert ca.asked("/orders") == 21
    assert ca.asked("/nonce") == 1
    nonces = [seen.header["nonce"] for seen in ca.seen if seen.method == "POST"]
    assert len(set(nonces)) == len(nonces)


def test_a_ca_that_takes_no_nonce_is_given_up(ca: ScriptedCA, tmp_path: Path) -> None:
    """An endless loop would look like a hanging rotation."""
    ca.on("/account", *[BAD_NONCE] * 200)
    with pytest.raises(Transient, match="refused 30 of its own nonces"):
        ca.issuer(tmp_path).preflight(deadline=soon())


@pytest.mark.parametrize("nonce", ["n n", "é", "*" * 8, "A" * 2000])
def test_an_unreadable_nonce_is_ignored(ca: ScriptedCA, tmp_path: Path, nonce: str) -> None:
    """RFC 8555 §6.5.1 says so; the next one is asked for."""
    header = {"Replay-Nonce": nonce, "Location": f"{ca.base}/accounts/1"}
    ca.on("/account", Reply(201, {"status": "valid"}, header))
    ca.issuer(tmp_path).order([NAME], deadline=soon())
    assert ca.asked("/nonce") == 2


def test_a_ca_without_nonces_is_reported(ca: ScriptedCA, tmp_path: Path) -> None:
    """Nothing can be signed then."""
    ca.on("/nonce", *[Reply(headers={"Replay-Nonce": "***"})] * 9)
    with pytest.raises(Transient, match="gives no nonces"):
        ca.issuer(tmp_path).preflight(deadline=soon())


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"<html>Welcome"),
        Reply(body=[]),
        Reply(body={"newNonce": "x"}),
        Reply(body={"newNonce": "a", "newAccount": "b", "newOrder": "c", "meta": 7}),
        Reply(body=b"[" * 200_000),
    ],
    ids=range(5),
)
def test_a_url_without_an_acme_directory_is_reported(
    ca: ScriptedCA, tmp_path: Path, reply: Reply
) -> None:
    """The commonest mistake is the CA's home page."""
    ca.on("/directory", reply)
    with pytest.raises(NeedsOperator, match="does not answer with an ACME directory"):
        ca.issuer(tmp_path).preflight(deadline=soon())


def test_a_directory_that_names_http_urls_is_refused(ca: ScriptedCA, tmp_path: Path) -> None:
    """Requests there could be read and answered by anybody (CVE-2025-54799)."""
    urls = {"newNonce": f"{ca.base}/nonce", "newAccount": f"{ca.base}/account"}
    ca.on("/directory", Reply(body={**urls, "newOrder": "http://127.0.0.1/orders"}))
    with pytest.raises(NeedsOperator, match=r"'http://127\.0\.0\.1/orders' is refused"):
        ca.issuer(tmp_path).preflight(deadline=soon())


def test_a_directory_over_http_is_refused_before_anything_is_sent(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """Even the wiring notices."""
    with pytest.raises(NeedsOperator, match="needs https"):
        ca.issuer(tmp_path, directory=ca.url.replace("https", "http"))


def test_the_directory_is_fetched_once(ca: ScriptedCA, tmp_path: Path) -> None:
    """Few requests: it changes hardly ever."""
    clock = ManualClock(datetime.now(UTC))
    issuer = ca.issuer(tmp_path, clock)
    for _ in range(3):
        issuer.preflight(deadline=Deadline(clock, 60))
    assert ca.asked("/directory") == 1
    clock.advance(timedelta(minutes=61))
    issuer.preflight(deadline=Deadline(clock, 60))
    assert ca.asked("/directory") == 2


def test_a_directory_whose_pages_moved_is_fetched_again(ca: ScriptedCA, tmp_path: Path) -> None:
    """The CA was put behind another path while a daemon ran: an hour without orders is long."""
    issuer = ca.issuer(tmp_path)
    issuer.preflight(deadline=soon())
    ca.on("/orders", Reply(404, b"nothing here any more"))
    with pytest.raises(NeedsOperator, match="404"):
        issuer.order([NAME], deadline=soon())
    moved = {"newNonce": "/nonce", "newAccount": "/account", "newOrder": "/new/orders"}
    ca.on("/directory", Reply(body={name: ca.base + path for name, path in moved.items()}))
    ca.on("/new/orders", Reply(201, ca.order_body(), {"Location": f"{ca.base}/order"}))
    issuer.order([NAME], deadline=soon())
    assert ca.asked("/new/orders") == 1


def test_a_request_without_an_account_key_is_refused(ca: ScriptedCA) -> None:
    """An empty signature would be an anonymous request."""
    network = Network(
        trust(ca.ca_file), SystemClock(), request_timeout=5.0, reach=AllowedUrls(ca.url)
    )
    with pytest.raises(NeedsOperator, match="without an account key"):
        network.post(f"{ca.base}/orders", None, new_nonce_url=f"{ca.base}/nonce")


def test_requests_are_signed_as_rfc_8555_wants(ca: ScriptedCA, tmp_path: Path) -> None:
    """§6.2: newAccount by jwk, the rest by kid, each with its own URL; §7.4 the identifiers."""
    ca.issuer(tmp_path).order([NAME], deadline=soon())
    account, order = (seen for seen in ca.seen if seen.method == "POST")
    assert "kid" not in account.header
    assert account.header["jwk"]["crv"] == "P-256"
    assert "d" not in account.header["jwk"]
    assert "jwk" not in order.header
    assert order.header["kid"] == f"{ca.base}/accounts/1"
    assert order.header["url"] == f"{ca.base}/orders"
    assert order.payload == {"identifiers": [{"type": "dns", "value": NAME}]}


def test_the_debug_log_has_no_secrets(
    ca: ScriptedCA, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The library's debug log has whole requests in it; a key in a debug log was acme.sh #6267."""
    caplog.set_level(logging.DEBUG)
    ca.on("/orders", BAD_NONCE)
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    order.challenges()
    order.validate()
    text = caplog.text
    posts = [seen for seen in ca.seen if seen.method == "POST"]
    assert len(posts) >= 5
    for seen in posts:
        assert seen.header["nonce"] not in text
        assert seen.raw.decode() not in text
    assert ca.challenge["token"] not in text
    assert "PRIVATE" not in text


def test_a_failure_shows_no_key(ca: ScriptedCA, tmp_path: Path) -> None:
    """Messages and reprs go to logs, mails and terminals."""
    issuer = ca.issuer(tmp_path)
    issuer.preflight(deadline=soon())
    secret = (tmp_path / "accounts/scripted/account.key").read_text().splitlines()[1]
    ca.on("/orders", Reply(403, problem("unauthorized", "no")))
    with pytest.raises(Failure) as failure:
        issuer.order([NAME], deadline=soon())
    assert secret not in f"{failure.value!r} {vars(issuer)} {vars(issuer._clients)}"
