"""Every way to acknowledge: who has what is expected says so, and nothing else counts."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch

import pytest

from certrotd.clock import SystemClock
from certrotd.consumers.apiserver import METRIC, ApiServerAnswer, Metrics
from certrotd.consumers.command import CommandAnswer
from certrotd.consumers.file import FileAnswer
from certrotd.consumers.heartbeat import HeartbeatAnswer
from certrotd.consumers.http import HttpAnswer
from certrotd.consumers.port import Acknowledgement, Expected
from certrotd.errors import NeedsOperator
from certrotd.https.client import HttpsClient
from certrotd.https.http1 import Answer as Answered
from certrotd.keyring.heartbeat import Heartbeat
from certrotd.kube.access import Access, trusting
from tests.parts import pki

pytestmark = pytest.mark.contract

DELIVERY, FILE, OTHER = "a" * 64, "b" * 64, "c" * 64
EXPECTED = Expected("orders", DELIVERY, {Path("/etc/app/keys.json"): FILE})


@dataclass
class Side:
    """A consumer of one kind: ``say`` has it answer a text, None takes the answer away."""

    ask: Acknowledgement
    say: Callable[[bytes | None], None]
    files: bool = True


@contextmanager
def _file(tmp_path: Path) -> Iterator[Side]:
    path = tmp_path / "ack"

    def say(text: bytes | None) -> None:
        path.unlink(missing_ok=True) if text is None else path.write_bytes(text)

    yield Side(FileAnswer(path), say)


@contextmanager
def _http(tmp_path: Path) -> Iterator[Side]:
    said: list[bytes | None] = [None]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = said[0]
            self.send_response(200 if text is not None else 503)
            self.end_headers()
            self.wfile.write(text or b"")

        def log_message(self, *_args: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}/keys"
    try:
        yield Side(
            HttpAnswer(url, None, 5.0, SystemClock()), lambda text: said.__setitem__(0, text)
        )
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _command(tmp_path: Path) -> Iterator[Side]:
    path, program = tmp_path / "has", tmp_path / "ask"
    program.write_text(
        f"#!/bin/sh\n[ -f {path} ] || exit 3\nread -r word rest < {path}\n"
        'for each in $CERTROTD_HASHES; do [ "$each" = "$word" ] && exit 0; done\n'
        "echo it has $word >&2; exit 1\n"
    )
    program.chmod(0o755)

    def say(text: bytes | None) -> None:
        path.unlink(missing_ok=True) if text is None else path.write_bytes(text + b"\n")

    yield Side(CommandAnswer((str(program),), 10.0, SystemClock()), say)


@contextmanager
def _heartbeat(tmp_path: Path) -> Iterator[Side]:
    folder = tmp_path / "beats"
    folder.mkdir()
    path = folder / f"web.{'0' * 16}.json"

    def say(text: bytes | None) -> None:
        path.unlink(missing_ok=True)
        if text is None:
            return
        word = text.split()[0].decode("ascii", "replace") if text.split() else ""
        if len(word) != 64 or word.upper() == word:
            path.write_bytes(text)
            return
        beat = Heartbeat("orders", "web", "0" * 16, datetime.now(UTC), word)
        path.write_bytes(beat.render())

    answer = HeartbeatAnswer(folder, 1, timedelta(minutes=5), SystemClock())
    yield Side(answer, say, files=False)


@contextmanager
def _api_server(tmp_path: Path) -> Iterator[Side]:
    said: list[bytes | None] = [None]
    authority = pki.make_root("An API server's CA")
    ca_file, _ = authority.write(tmp_path, "ca")
    chain, key = pki.make_leaf(authority, "127.0.0.1").write(tmp_path, "serving")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text, who = said[0], self.headers["Authorization"]
            allowed = self.path == "/metrics" and who == "Bearer a-token"
            words = (text or b"").split() or [b""]
            metrics = (
                b'# TYPE %b gauge\napiserver_other{hash="x"} 1\n'
                b'%b{apiserver_id_hash="sha256:%b",hash="sha256:%b"} 1\n'
                % (METRIC.encode(), METRIC.encode(), FILE.encode(), words[0].lower())
            )
            self.send_response(403 if not allowed else 200 if text is not None else 503)
            self.send_header("Content-Length", str(len(metrics)))
            self.end_headers()
            self.wfile.write(metrics)

        def log_message(self, *_args: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(chain, key)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"https://127.0.0.1:{server.server_address[1]}"
    reach = partial(Access, url, trusting(ca_file), "default", lambda: "a-token")
    try:
        yield Side(
            ApiServerAnswer(url, reach, 5.0, SystemClock()), lambda text: said.__setitem__(0, text)
        )
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


KINDS = {
    "file": _file,
    "http": _http,
    "command": _command,
    "heartbeat": _heartbeat,
    "api_server": _api_server,
}


@pytest.fixture(params=KINDS)
def side(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Side]:
    with KINDS[request.param](tmp_path) as made:
        yield made


def test_who_has_the_delivery_acknowledges(side: Side) -> None:
    """By the hash of the keyring, or by that of a file; whatever follows it is no matter."""
    side.say(DELIVERY.encode())
    assert side.ask.ask(EXPECTED).acknowledged
    side.say(f"{DELIVERY} since this morning".encode())
    assert side.ask.ask(EXPECTED).acknowledged
    side.say(FILE.encode())
    assert side.ask.ask(EXPECTED).acknowledged is side.files


def test_who_has_other_keys_does_not(side: Side) -> None:
    """The negative control, and the words for a person."""
    side.say(OTHER.encode())
    answer = side.ask.ask(EXPECTED)
    assert not answer.acknowledged
    assert answer.words


def test_who_says_nothing_does_not(side: Side) -> None:
    """Away, not there yet, or an error: the rotation waits."""
    side.say(None)
    answer = side.ask.ask(EXPECTED)
    assert not answer.acknowledged
    assert answer.words


@pytest.mark.parametrize(
    "text",
    [b"", b"yes", b"\x00" * 100, b"\xff\xfe" * 40, DELIVERY[:63].encode(), b"x" * 100_000],
    ids=["empty", "yes", "zeros", "no text", "cut short", "huge"],
)
def test_nonsense_is_no_acknowledgement(side: Side, text: bytes) -> None:
    """Whatever is in the place of an answer, it is not shown and does not count."""
    side.say(text)
    answer = side.ask.ask(EXPECTED)
    assert not answer.acknowledged
    assert answer.words
    assert len(answer.words) < 600


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    """Whoever may write in the directory may not point the question elsewhere."""
    (tmp_path / "secret").write_text(DELIVERY)
    (tmp_path / "ack").symlink_to(tmp_path / "secret")
    assert not FileAnswer(tmp_path / "ack").ask(EXPECTED).acknowledged


def test_a_program_that_is_missing_is_for_the_operator(tmp_path: Path) -> None:
    """It will not answer tomorrow either."""
    with pytest.raises(NeedsOperator):
        CommandAnswer((str(tmp_path / "none"),), 5.0, SystemClock()).ask(EXPECTED)


def test_a_program_that_takes_too_long_has_not_acknowledged(tmp_path: Path) -> None:
    """It is killed, and the rotation waits."""
    answer = CommandAnswer(("/bin/sleep", "30"), 0.3, SystemClock()).ask(EXPECTED)
    assert not answer.acknowledged
    assert "killed" in answer.words


def test_a_service_that_is_away_has_not_acknowledged() -> None:
    """Nothing listens there."""
    answer = HttpAnswer("http://127.0.0.1:9/keys", None, 2.0, SystemClock()).ask(EXPECTED)
    assert not answer.acknowledged
    assert "cannot be asked" in answer.words


def _beat(folder: Path, instance: int, has: str, *, age: float = 0.0) -> None:
    at = datetime.now(UTC) - timedelta(seconds=age)
    beat = Heartbeat("orders", "web", f"{instance:016x}", at, has)
    (folder / f"web.{instance:016x}.json").write_bytes(beat.render())


def test_every_process_has_to_have_it_and_as_many_as_there_are(tmp_path: Path) -> None:
    """One that lags behind holds the rotation; one that is gone does not."""
    answer = HeartbeatAnswer(tmp_path, 2, timedelta(seconds=60), SystemClock())
    _beat(tmp_path, 1, DELIVERY)
    assert "1 of 2" in answer.ask(EXPECTED).words
    _beat(tmp_path, 2, OTHER)
    assert "other keys" in answer.ask(EXPECTED).words
    _beat(tmp_path, 2, DELIVERY)
    _beat(tmp_path, 3, OTHER, age=120)
    assert answer.ask(EXPECTED).acknowledged
    (tmp_path / "junk.json").write_text("{")
    assert not answer.ask(EXPECTED).acknowledged


def test_a_directory_that_is_missing_has_no_processes(tmp_path: Path) -> None:
    """They have not begun yet."""
    gone = HeartbeatAnswer(tmp_path / "none", 1, timedelta(seconds=60), SystemClock())
    assert not gone.ask(EXPECTED).acknowledged


@pytest.mark.parametrize(
    ("status", "metrics", "words"),
    [
        (401, "", "does not let this account read /metrics"),
        (403, "", "does not let this account read /metrics"),
        (500, "", "answers with the status 500"),
        (200, "go_goroutines 5\n", f"does not tell {METRIC}"),
        (200, f'# {METRIC}{{hash="sha256:{DELIVERY}"}} 1\n', f"does not tell {METRIC}"),
        (200, f'{METRIC}{{hash="sha256:{DELIVERY}"}} 1\n' * 2, ""),
        (
            200,
            f'{METRIC}{{hash="sha256:{DELIVERY}"}} 1\n{METRIC}{{hash="sha256:{OTHER}"}} 1\n',
            "has other keys",
        ),
    ],
)
def test_what_an_api_server_may_answer(status: int, metrics: str, words: str) -> None:
    """An older one, one that refuses, and one that tells two things."""
    access = Access("https://127.0.0.1", ssl.create_default_context(), "default")
    ask = ApiServerAnswer("https://127.0.0.1", lambda: access, 1.0, SystemClock())

    def exchange(*_: object, enough: Callable[[bytes], bool], **_more: object) -> Answered:
        if status < 300:
            any(enough(metrics[at : at + 7].encode()) for at in range(0, len(metrics), 7))
        return Answered(status, {}, b"", final=True)

    with patch.object(HttpsClient, "exchange", exchange):
        said = ask.ask(EXPECTED)
    assert (said.acknowledged, words in said.words) == (not words, True)


def test_metrics_are_read_no_further_than_they_are_needed() -> None:
    """Of a large cluster they are tens of MB; the rest is not even received."""
    metrics = Metrics()
    assert not metrics.enough(b"# HELP x\nx 1\n" * 9000)
    line = f'{METRIC}{{hash="sha256:{DELIVERY}"}} 1'
    assert not metrics.enough(line.encode() + b"\n")
    assert metrics.enough(b"apiserver_other 1\n")
    assert metrics.told == {DELIVERY}
    last = Metrics()
    assert not last.enough(line.encode())  # the end of the answer has no line after it
    last.close()
    assert last.told == {DELIVERY}


def test_an_api_server_that_cannot_be_reached_has_not_acknowledged() -> None:
    """Nothing listens there, or nothing says how to reach it."""
    access = Access("https://127.0.0.1:9", ssl.create_default_context(), "default")
    ask = ApiServerAnswer("https://127.0.0.1:9", lambda: access, 1.0, SystemClock())
    assert "cannot be asked" in ask.ask(EXPECTED).words

    def no_pod() -> Access:
        raise NeedsOperator("this is no pod with a ServiceAccount")

    ask = ApiServerAnswer("https://127.0.0.1:9", no_pod, 1.0, SystemClock())
    assert ask.ask(EXPECTED).words == "cannot be asked: this is no pod with a ServiceAccount"
