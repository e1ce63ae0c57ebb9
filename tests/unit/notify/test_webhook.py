"""The signed webhook, against web servers of the test."""

import base64
import hashlib
import hmac
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.config.notifications import signing_key
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.notify.webhook import Webhook, payload, signature
from tests.builders import soon
from tests.parts import pki
from tests.parts.process import free_port
from tests.parts.receiver import Receiver, receiving
from tests.unit.notify.made import RAISED, RESOLVED, OnceLookedAt, secret

KEY = b"k" * 32
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver without TLS."""
    with receiving() as started:
        yield started


def hook(
    tmp_path: Path, url: str, text: str = SECRET, ca: Path | None = None, *, proxy: bool = False
) -> Webhook:
    """A notifier to a URL."""
    return Webhook("ops", url, secret(tmp_path / "webhook.key", text), ca, proxy=proxy)


def test_a_receiver_can_verify_the_signature(tmp_path: Path, receiver: Receiver) -> None:
    """Computed here from what arrived alone, as the Standard Webhooks text says."""
    hook(tmp_path, receiver.url).send(RAISED, deadline=soon())
    [got] = receiver.got
    identifier, stamp = got.headers["webhook-id"], got.headers["webhook-timestamp"]
    signed = b".".join([identifier.encode(), stamp.encode(), got.body])
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert got.headers["webhook-signature"] == f"v1,{expected}"
    assert abs(int(stamp) - time.time()) < 60
    assert (got.path, got.headers["Content-Type"]) == ("/hook", "application/json")
    other = hmac.new(b"x" * 32, signed, hashlib.sha256).digest()
    assert base64.b64encode(other).decode() != expected  # the control: another key is not taken


def test_the_signature_is_that_of_the_published_example() -> None:
    """The example that the libraries of Standard Webhooks are tested with."""
    key = signing_key(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_body_says_everything(tmp_path: Path, receiver: Receiver) -> None:
    """A program has to decide by it."""
    hook(tmp_path, receiver.url).send(RAISED, deadline=soon())
    body = receiver.got[0].json
    assert body["type"] == "alert.rotation_failed"
    assert body["timestamp"] == "2026-06-01T12:00:00+00:00"
    assert body["data"] == {
        "host": "web1",
        "state": "raised",
        "event": "rotation_failed",
        "severity": "warning",
        "id": "certificate/web",
        "kind": "certificate",
        "name": "web",
        "title": "certificate/web: the rotation failed",
        "what": RAISED.what,
        "todo": RAISED.todo,
        "rotation": "20260601T120000-abcd",
        "key": "rotation/certificate/web",
    }


def test_a_repetition_has_the_same_id_and_another_message_has_not() -> None:
    """A receiver drops what it has seen."""
    assert RAISED.id == RAISED.id != RESOLVED.id
    assert "." not in RAISED.id


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (500, Transient, "answered 500: try later"),
        (503, Transient, "answered 503"),
        (408, Transient, "answered 408"),
        (429, Transient, "answered 429"),
        (400, NeedsOperator, "answered 400"),
        (401, NeedsOperator, "the receiver refuses it"),
        (302, NeedsOperator, "redirects (HTTP 302), which is not followed"),
    ],
)
def test_a_failed_delivery_is_reported_and_retried_if_that_may_help(
    tmp_path: Path, receiver: Receiver, status: int, kind: type[Failure], words: str
) -> None:
    """A wrong secret does not get better by repetition, a full server may."""
    receiver.status, receiver.reason = status, b"try\nlater"
    receiver.headers["Location"] = "http://127.0.0.1:1/"
    with pytest.raises(Failure) as caught:
        hook(tmp_path, receiver.url).send(RAISED, deadline=soon())
    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert SECRET[6:] not in str(caught.value)
    assert len(receiver.got) == 1  # a redirect was not followed, nor anything repeated


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("999999999", 600.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 600.0),
        ("soon", None),
        ("²", None),
    ],
)
def test_a_wish_to_wait_is_passed_on_within_reason(
    tmp_path: Path, receiver: Receiver, value: str, seconds: float | None
) -> None:
    """A receiver that asks for a year does not silence alerts for one."""
    receiver.status = 429
    receiver.headers["Retry-After"] = value.encode().decode("latin-1")
    with pytest.raises(Transient) as caught:
        hook(tmp_path, receiver.url).send(RAISED, deadline=soon())
    wait = caught.value.retry_after
    assert (wait.total_seconds() if wait else None) == seconds


def test_a_huge_answer_is_not_read(tmp_path: Path, receiver: Receiver) -> None:
    """A log line has a length, and the daemon a memory."""
    receiver.status, receiver.reason = 500, b"x" * 20_000_000
    with pytest.raises(Transient) as caught:
        hook(tmp_path, receiver.url).send(RAISED, deadline=soon())
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("how", ["hangs", "drips"])
def test_a_slow_receiver_costs_the_deadline_and_no_more(
    tmp_path: Path, receiver: Receiver, how: str
) -> None:
    """Also one that sends an octet now and then, which no timeout of a socket ends."""
    receiver.hangs, receiver.drips = how == "hangs", 0.05 if how == "drips" else None
    with pytest.raises(Transient, match=r"did not (answer: timed out|finish its answer in time)"):
        hook(tmp_path, receiver.url).send(RAISED, deadline=OnceLookedAt(0.5))
    assert not receiver.released.is_set()


def test_a_resolver_that_hangs_costs_no_more_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the daemon waits for its alerts; and it is not the receiver that is slow."""
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait() and [])
    with pytest.raises(
        Transient,
        match=r"notification ops at hooks\.test did not answer: hooks\.test was not looked",
    ) as said:
        hook(tmp_path, "https://hooks.test/x").send(RAISED, deadline=OnceLookedAt(0.3))
    answered.set()
    assert "/etc/resolv.conf" in said.value.hint


def test_an_unreachable_receiver_is_retried(tmp_path: Path) -> None:
    """It may be restarting."""
    with pytest.raises(Transient, match=r"127\.0\.0\.1:\d+ did not answer: Connection refused"):
        hook(tmp_path, f"http://127.0.0.1:{free_port()}/").send(RAISED, deadline=soon())


def test_a_receiver_that_is_no_web_server_is_reported(tmp_path: Path) -> None:
    """A mail server at that port, say."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1)
                connection.sendall(b"220 mail.example.test ESMTP\r\n")
                while connection.recv(65536):  # until the other side has had enough
                    pass

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with pytest.raises(
            Transient, match="did not answer: illegal status line: it does not speak HTTP"
        ):
            hook(tmp_path, url).send(RAISED, deadline=soon())
        thread.join(60)


def test_without_time_nothing_is_sent(tmp_path: Path, receiver: Receiver) -> None:
    """A secret that took all of it to read."""
    with pytest.raises(Transient, match="no time is left"):
        hook(tmp_path, receiver.url).send(RAISED, deadline=soon(0))
    assert receiver.got == []


def test_tls_is_checked_against_the_bundle(tmp_path: Path) -> None:
    """An unknown CA is refused, and a known one is not."""
    root = pki.make_root()
    pair = pki.make_leaf(root, "127.0.0.1").write(tmp_path, "receiver")
    bundle = tmp_path / "roots.pem"
    bundle.write_bytes(root.fullchain_pem)
    with receiving(pair) as receiver:
        with pytest.raises(NeedsOperator, match=r"at 127\.0\.0\.1:\d+ is not trusted"):
            hook(tmp_path, receiver.url).send(RAISED, deadline=soon())
        assert receiver.got == []
        hook(tmp_path, receiver.url, ca=bundle).send(RAISED, deadline=soon())
        assert len(receiver.got) == 1


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_bundle_that_is_none_is_reported(tmp_path: Path, content: str | None) -> None:
    """With its path."""
    bundle = tmp_path / "roots.pem"
    if content is not None:
        bundle.write_text(content)
    with pytest.raises(NeedsOperator, match=r"roots\.pem (holds no|cannot be read)"):
        hook(tmp_path, "https://127.0.0.1:1/", ca=bundle).send(RAISED, deadline=soon())


@pytest.mark.parametrize("login", ["", "user:pass@"])
def test_a_proxy_of_the_environment_is_used_if_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, login: str
) -> None:
    """Hosts that reach the Internet only so."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            connection, _ = server.accept()
            with connection:
                asked.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        monkeypatch.setenv("https_proxy", f"http://{login}127.0.0.1:{server.getsockname()[1]}")
        with monkeypatch.context() as unasked:
            unasked.setattr(socket, "getaddrinfo", _nobody_of_that_name)
            with pytest.raises(Transient, match="its name does not resolve"):
                hook(tmp_path, "https://ops.example.test/").send(RAISED, deadline=soon())
        through = rf"through the proxy 127.0.0.1:{server.getsockname()[1]}\) .*403"
        with pytest.raises(Transient, match=through):
            hook(tmp_path, "https://ops.example.test/", proxy=True).send(RAISED, deadline=soon())
        thread.join(60)
    assert asked[0].startswith(b"CONNECT ops.example.test:443 ")
    assert (b"proxy-authorization: basic dxnlcjpwyxnz" in asked[0].lower()) == bool(login)


def test_an_odd_proxy_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than going another way than was meant; its password is not shown."""
    monkeypatch.setenv("https_proxy", "socks5://user:hunter2@127.0.0.1:1")
    with pytest.raises(NeedsOperator, match=r"no way to .*its proxy speaks socks5") as caught:
        hook(tmp_path, "https://ops.example.test/", proxy=True).send(RAISED, deadline=soon())
    assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("no_proxy", "ops.example.test")
    monkeypatch.setattr(socket, "getaddrinfo", _nobody_of_that_name)
    with pytest.raises(
        Transient, match="its name does not resolve"
    ):  # the control: not for that host
        hook(tmp_path, "https://ops.example.test:1/", proxy=True).send(RAISED, deadline=soon())


def _nobody_of_that_name(*_: object, **__: object) -> NoReturn:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.parametrize(
    "text",
    ["whsec_not base64", "hunter2!", f"whsec_{base64.b64encode(b'k' * 23).decode()}", "a2tr" * 30],
)
def test_a_secret_that_is_none_is_refused_and_not_shown(
    tmp_path: Path, receiver: Receiver, text: str
) -> None:
    """Before anything is sent with it."""
    with pytest.raises(NeedsOperator) as caught:
        hook(tmp_path, receiver.url, text).send(RAISED, deadline=soon())
    assert text not in str(caught.value)
    assert "openssl rand" in str(caught.value)
    assert receiver.got == []


def test_a_secret_that_changes_is_used_at_once(tmp_path: Path, receiver: Receiver) -> None:
    """It is rotated too."""
    notifier = hook(tmp_path, receiver.url)
    notifier.send(RAISED, deadline=soon())
    secret(tmp_path / "webhook.key", base64.b64encode(os.urandom(24)).decode())
    notifier.send(RAISED, deadline=soon())
    first, second = (got.headers["webhook-signature"] for got in receiver.got)
    assert first != second


@given(st.binary(min_size=24, max_size=64), st.booleans())
def test_every_key_of_the_right_length_is_read(key: bytes, prefixed: bool) -> None:
    """With the prefix that the libraries write, or without."""
    text = base64.b64encode(key)
    assert signing_key(b"whsec_" + text if prefixed else text) == key


def test_a_cas_words_stay_within_their_json_string() -> None:
    """Hostile words must not become another field."""
    assert payload(RAISED).count(b'"kind"') == 1
