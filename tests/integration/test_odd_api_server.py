"""What answers in the place of the API server: proxies, redirects, half an answer."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from certrotd.clock import ManualClock
from certrotd.errors import NeedsOperator
from certrotd.files.disktrouble import DiskTrouble
from certrotd.kube.access import Access, trusting
from certrotd.kube.api import SECRETS, Api, Denied, Object
from certrotd.kube.objects import NAME, WRITE, Objects, secret
from certrotd.kube.patience import Patience
from certrotd.kube.watch import Watched
from certrotd.state.ports import Conflict
from tests.parts.pki import make_leaf, make_root

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HTML = b"<html><body>Sign in</body></html>"


@dataclass
class Odd:
    """An HTTPS server that gives these answers, one for each request, and the last one for ever."""

    answers: list[tuple[int, bytes, dict[str, str]]] = field(default_factory=list)
    got: list[tuple[str, str]] = field(default_factory=list)
    port: int = 0

    def then(self, status: int, content: bytes | Object, **headers: str) -> None:
        """One more answer."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.answers.append((status, data, headers))

    @property
    def tokens(self) -> list[str]:
        """What each request came with."""
        return [token for _, token in self.got]

    @property
    def methods(self) -> list[str]:
        """What each request was."""
        return [what for what, _ in self.got]


@contextmanager
def served(folder: Path) -> Iterator[tuple[Odd, Path]]:
    """One that runs, and the file with its CA."""
    odd = Odd()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            odd.got.append((self.command, self.headers.get("Authorization") or ""))
            status, data, headers = odd.answers[0]
            if len(odd.answers) > 1:
                odd.answers.pop(0)
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(key.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = answer  # noqa: N815

        def log_message(self, *_given: Any) -> None:
            """Nothing is said."""

    root = make_root("API")
    chain, key = make_leaf(root, "127.0.0.1").write(folder, "api")
    ca_file, _ = root.write(folder, "root")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    odd.port = int(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield odd, ca_file
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Case:
    """certrotd's objects at such a server."""

    odd: Odd
    objects: Objects
    clock: ManualClock
    token: list[str]


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    """Patient for a minute of a clock that only waits move."""
    with served(tmp_path) as (odd, ca_file):
        clock, token = ManualClock(NOW), ["first"]
        access = Access(f"https://127.0.0.1:{odd.port}", trusting(ca_file), "own", lambda: token[0])
        api = Api(access, clock, agent="test")
        objects = Objects(api, SECRETS, "own", "certrotd", "record", word=lambda: "mine")
        yield Case(odd, objects, clock, token)


def found(revision: str = "7", word: str = "mine") -> Object:
    """The object "web"."""
    return {
        "metadata": {
            "name": "certrotd-record.web",
            "resourceVersion": revision,
            "annotations": {NAME: "web", WRITE: word},
        }
    }


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(case: Case, status: int, tmp_path: Path) -> None:
    """The token is for the API server alone."""
    with served(tmp_path) as (other, _):
        other.then(200, found())
        for location in (f"https://127.0.0.1:{other.port}/", "/elsewhere"):
            case.odd.answers.clear()
            case.odd.then(status, HTML, Location=location)
            with pytest.raises(NeedsOperator, match="refuses GET"):
                case.objects.read("web")
            with pytest.raises(DiskTrouble):
                Watched(case.objects, 0).look()
        assert other.got == []
    assert len(case.odd.got) == 4


def test_who_only_looks_waits_for_seconds_in_all(case: Case) -> None:
    """However much there is to look at; the first look is the control: it has a minute."""
    case.odd.then(503, {"message": "etcd is away"})
    begun = case.clock.monotonic()
    for patience, looks in ((None, [60.0, 60.0]), (10.0, [10.0, 0.0, 0.0])):
        case.objects.api.patience = Patience(patience)
        for seconds in looks:
            asked, begun = len(case.odd.got), case.clock.monotonic()
            with pytest.raises(DiskTrouble) as failed:
                case.objects.read("web")
            assert case.clock.monotonic() - begun == pytest.approx(seconds, abs=1)
            assert bool(len(case.odd.got) - asked) is bool(seconds)
    assert failed.value.message.endswith("does not answer (waited for 10 s)")


def test_who_only_looks_counts_no_answer_as_a_wait(case: Case) -> None:
    """A listing of thousands may take longer than that."""
    case.objects.api.patience = Patience(10.0)
    case.odd.then(200, found())
    for _ in range(5):
        case.clock.advance(timedelta(seconds=30))
        assert case.objects.read("web") is not None


def test_a_token_that_has_expired_is_read_anew(case: Case) -> None:
    """The kubelet has renewed it; until then it is waited for."""
    case.odd.then(401, {"message": "Unauthorized"})
    case.odd.then(200, found())
    pause = case.clock.sleep

    def renewed(seconds: float) -> None:
        case.token[0] = "second"
        pause(seconds)

    case.clock.sleep = renewed  # type: ignore[method-assign]
    assert case.objects.read("web") == found()
    assert case.odd.tokens == ["Bearer first", "Bearer second"]


def test_one_that_stays_unknown_is_said(case: Case) -> None:
    """After a minute, and with what to look at."""
    case.odd.then(401, HTML)
    with pytest.raises(DiskTrouble, match="does not know this account"):
        case.objects.read("web")
    assert 60 <= case.clock.monotonic() < 70


def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(case: Case) -> None:
    """Priority and fairness of the API server say so."""
    case.odd.then(429, HTML, Retry_After="7")
    case.odd.then(200, found())
    assert case.objects.read("web") == found()
    assert case.clock.monotonic() == 7


@pytest.mark.parametrize("status", [200, 500, 502, 503, 504, 599])
@pytest.mark.parametrize("content", [HTML, b'{"metadata": {"na', b""])
def test_a_page_or_half_an_answer_is_asked_for_again(
    case: Case, status: int, content: bytes
) -> None:
    """It comes from a proxy."""
    case.odd.then(status, content)
    case.odd.then(200, found())
    assert case.objects.read("web") == found()


@pytest.mark.parametrize(("status", "content"), [(200, b'{"kin'), (500, b"{}"), (504, HTML)])
def test_a_write_that_was_made_nevertheless_is_known_again(
    case: Case, status: int, content: bytes
) -> None:
    """By its word; the control is somebody else's."""
    for word in ("mine", "theirs"):
        case.odd.answers.clear()
        case.odd.got.clear()
        case.odd.then(status, content)
        case.odd.then(409, {"message": "changed"})
        case.odd.then(200, found("8", word))
        if word == "mine":
            assert case.objects.write("web", secret({}), revision="7") == found("8")
        else:
            with pytest.raises(Conflict):
                case.objects.write("web", secret({}), revision="7")
        assert case.odd.methods == ["PUT", "PUT", "GET"]


def test_a_refusal_by_a_proxy_is_a_refusal(case: Case) -> None:
    """Whatever it is written in."""
    case.odd.then(403, HTML)
    with pytest.raises(Denied):
        case.objects.read("web")


def test_a_page_in_the_place_of_a_watch_is_trouble(case: Case) -> None:
    """And not taken for silence."""
    case.odd.then(200, {"items": [found()], "metadata": {"resourceVersion": "7"}})
    case.odd.then(200, HTML + b"\n")
    with pytest.raises(DiskTrouble, match="no event of a watch"):
        Watched(case.objects, 0).look()


def test_an_object_with_the_name_of_another_is_passed_over(case: Case) -> None:
    """Whoever can make Secrets can put any annotation on them."""
    forged = found()
    forged["metadata"]["name"] = "theirs"
    nameless: Object = {"metadata": {"name": "certrotd-record.www", "resourceVersion": "9"}}
    items = [forged, nameless, found()]
    case.odd.then(200, {"items": items, "metadata": {"resourceVersion": "7"}})
    case.odd.then(200, b"")
    assert Watched(case.objects, 0).look() == {"web": found()}
    assert [each for each in map(case.objects.whose, items) if each] == ["web"]
