"""A URL is posted to, and its status is all that counts."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from pydantic import TypeAdapter

from certrotd.clock import SystemClock
from certrotd.config.context import Context
from certrotd.config.services import HttpTargetEntry
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.targets.http import HttpTarget, build
from tests.parts import pki
from tests.parts.receiver import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A service without TLS."""
    with receiving() as started:
        yield started


def target(url: str, **written: Any) -> HttpTarget:
    """That of a configuration entry."""
    entry = TypeAdapter(HttpTargetEntry).validate_python({"type": "http", "url": url, **written})
    assert not entry.programs
    return build(entry, Context("metrics", Path("/var/lib"), SystemClock()))


def test_a_check_asks_nobody_and_applying_posts(tmp_path: Path, receiver: Receiver) -> None:
    """With the header's secret, which is read whenever it is used and shown nowhere."""
    token = tmp_path / "token"
    token.write_text("Bearer canary-one\n")
    token.chmod(0o600)
    headers = {"Authorization": {"file": str(token)}, "X-Reason": "certificate"}
    made = target(receiver.url, headers=headers)
    made.precheck()
    made.check()
    assert receiver.got == []
    made.apply()
    token.write_text("Bearer canary-two\n")
    made.apply()
    assert [got.headers["Authorization"] for got in receiver.got] == [
        "Bearer canary-one",
        "Bearer canary-two",
    ]
    assert receiver.got[0].headers["X-Reason"] == "certificate"
    assert receiver.got[0].body == b""
    assert "canary" not in repr(made)
    token.write_text("two\nlines")
    with pytest.raises(NeedsOperator, match="the header Authorization is more than a line"):
        made.check()
    token.write_text("Bearer canary-three \n")
    with pytest.raises(NeedsOperator, match="the header Authorization begins or ends with a space"):
        made.check()


@pytest.mark.parametrize(
    ("status", "expected", "kind", "words"),
    [
        (302, None, NeedsOperator, "redirects .HTTP 302., which is not followed"),
        (403, None, NeedsOperator, "target metrics: 127.0.0.1 answered 403"),
        (503, None, Transient, "answered 503"),
        (200, 202, NeedsOperator, "answered 200"),
    ],
)
def test_another_status_than_success_is_a_failure(
    receiver: Receiver, status: int, expected: int | None, kind: type[Failure], words: str
) -> None:
    """A redirect is not followed: the header would go along."""
    receiver.status, receiver.headers = status, {"Location": receiver.url}
    with pytest.raises(kind, match=words):
        target(receiver.url, status=expected).apply()
    assert len(receiver.got) == 1
    target(receiver.url, status=status).apply()  # the control


def test_a_service_that_does_not_answer_is_given_up(receiver: Receiver) -> None:
    """At the deadline."""
    receiver.hangs = True
    try:
        with pytest.raises(Transient, match="timed out"):
            target(receiver.url, timeout="1s").apply()
    finally:
        receiver.released.set()


def test_a_certificate_is_verified(tmp_path: Path) -> None:
    """By the roots of the entry alone."""
    root = pki.make_root()
    bundle = tmp_path / "roots.pem"
    bundle.write_bytes(root.fullchain_pem)
    pair = pki.make_leaf(root, "127.0.0.1").write(tmp_path, "service")
    with receiving(pair) as service:
        with pytest.raises(NeedsOperator, match="is not trusted"):
            target(service.url).apply()
        target(service.url, ca_bundle=str(bundle)).apply()
    assert len(service.got) == 1


class _Reloads(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.server.asked.append((self.path, self.headers["Host"]))  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def address_string(self) -> str:
        return "a socket"


def test_a_unix_socket_is_asked_instead_of_the_host() -> None:
    """Where nobody else can listen; nobody there is not the same as a refusal."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "http.sock"
        made = target("http://metrics.example.com/-/reload", socket=str(path))
        with pytest.raises(Transient, match="did not answer: No such file"):
            made.apply()
        with ThreadingUnixStreamServer(str(path), _Reloads) as server:
            server.asked = []  # type: ignore[attr-defined]
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            made.apply()
            server.shutdown()
            thread.join()
            assert server.asked == [("/-/reload", "metrics.example.com")]  # type: ignore[attr-defined]
