"""What an engine answers is read as far as it can be, and nothing of it is taken on trust."""

import io
import json
import socket
import tarfile
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from docker.errors import NotFound
from requests.exceptions import ConnectionError as Broken
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import ReadTimeoutError

from certrotd.clock import Deadline, SystemClock
from certrotd.containers.engine import DockerEngine, Gone
from certrotd.containers.streams import output_of
from certrotd.daemon.stopping import StoppableClock
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.rotation.outcome import Stopped

ID = "db" + "0" * 62


def event(name: str, at: int) -> bytes:
    return json.dumps({"Actor": {"Attributes": {"name": name}}, "timeNano": at}).encode()


class Answer:
    """To GET /events: lines, and how it ends."""

    def __init__(self, *lines: bytes, status: int = 200, end: Exception | None = None) -> None:
        self.lines = lines
        self.status_code = status
        self.end = end
        self.closed = False

    def raise_for_status(self) -> None:
        if self.status_code >= 400:
            raise Broken(f"{self.status_code}")

    def iter_lines(self, chunk_size: int | None) -> Iterator[bytes]:
        assert chunk_size is None
        yield from self.lines
        if self.end is not None:
            raise self.end

    def close(self) -> None:
        self.closed = True


class Client:
    """Gives these answers, one after the other, and remembers what was asked."""

    base_url, api_version = "http+docker://localhost", "1.41"

    def __init__(self, *answers: Answer, archive: bytes = b"") -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []
        self.archive = archive

    def get(self, url: str, params: dict[str, str], **options: Any) -> Answer:
        assert url == "http+docker://localhost/v1.41/events"
        assert options["stream"]
        assert options["timeout"]
        self.asked.append(params.get("since"))
        return self.answers.pop(0)

    def inspect_container(self, name: str) -> dict[str, Any]:
        if not ID.startswith(name) and name != "web":
            raise NotFound("", explanation="No such container")
        return {"Name": "/web", "Id": ID}

    def kill(self, name: str, signal: str) -> None:
        self.asked.append((name, signal))

    def get_archive(self, name: str, path: str) -> tuple[Iterator[bytes], dict[str, Any]]:
        assert (name, path) == ("web", "/srv/x")
        return iter([self.archive[:7], self.archive[7:]]), {}


def engine(client: Client) -> DockerEngine:
    made = DockerEngine("unix:///run/docker.sock")
    made._made = client
    return made


class TestOutput:
    """What a program in a container prints, as the engine frames it."""

    def test_its_end_is_kept(self) -> None:
        """Of both of its streams."""
        here, there = socket.socketpair()
        with here, there:
            for stream, part in ((1, b"out\n"), (2, b"err\n")):
                there.sendall(bytes([stream, 0, 0, 0]) + len(part).to_bytes(4, "big") + part)
            there.shutdown(socket.SHUT_WR)
            assert output_of(here, Deadline(SystemClock(), 60)) == b"out\nerr\n"

    def test_a_silent_program_has_an_end(self) -> None:
        """That of its time, and at once where certrotd is told to stop."""
        told = threading.Event()
        here, there = socket.socketpair()
        with here, there:
            with pytest.raises(TimeoutError):
                output_of(here, Deadline(StoppableClock(told), 0.1))
            told.set()
            with pytest.raises(Stopped):
                output_of(here, Deadline(StoppableClock(told), 600))


def test_the_beginning_of_an_id_is_no_name() -> None:
    """An engine takes it for one: a container db that is gone would be whosever id begins so."""
    client = Client()
    engine(client).kill("web", "HUP")
    assert engine(client).get(ID).name == "web"
    for name in ("db", "gone"):
        with pytest.raises(Gone, match=f"there is no container {name}"):
            engine(client).kill(name, "HUP")
        with pytest.raises(Gone):
            engine(client).get(name)
    assert client.asked == [("web", "HUP")]


SILENT = Broken(ReadTimeoutError(HTTPConnectionPool("localhost"), "/events", "timed out"))


class TestStarts:
    """Heard one after the other, over as many connections as it takes."""

    @pytest.fixture(autouse=True)
    def hurried(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody waits for a second here."""
        monkeypatch.setattr("certrotd.containers.engine.SHORTEST", 0.1)

    def test_an_answer_that_ends_at_once_is_not_asked_for_without_end(self) -> None:
        """Such as that of a proxy which knows of no streams: the engine would do nothing else."""
        starts, began = engine(Client(Answer(), Answer(), Answer())).starts(), time.monotonic()
        assert [next(starts) for _ in range(3)] == [""] * 3
        assert time.monotonic() - began > 0.15

    def test_silence_is_a_reason_to_ask_anew(self) -> None:
        """From where it ended: what is told again is passed over, and what is no start."""
        first = Answer(event("a", 5 * 10**9 + 7), b"", b"{}", end=SILENT)
        client = Client(first, Answer(event("a", 5 * 10**9 + 7), event("b", 6 * 10**9)))
        starts = engine(client).starts()
        assert [next(starts) for _ in range(4)] == ["", "a", "", "b"]
        assert client.asked == [None, "5.000000007"]
        assert first.closed

    @pytest.mark.parametrize(
        ("answer", "kind", "words"),
        [
            (Answer(status=403), NeedsOperator, "it answers 403 to GET /events (have the socket"),
            (Answer(status=502), Transient, "cannot say what starts: 502"),
            (Answer(end=Broken("cut off")), Transient, "cannot say what starts: cut off"),
        ],
    )
    def test_what_else_ends_it_is_said(
        self, answer: Answer, kind: type[Failure], words: str
    ) -> None:
        """A proxy that does not allow it has somebody to allow it."""
        with pytest.raises(kind) as caught:
            list(engine(Client(answer)).starts())
        assert words in str(caught.value)


def packed(*files: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in files:
            member = tarfile.TarInfo(name)
            member.size = 3
            if name.endswith("/"):
                member.type, member.size = tarfile.DIRTYPE, 0
            tar.addfile(member, io.BytesIO(b"pem"))
    return out.getvalue()


@pytest.mark.parametrize(
    ("archive", "content"),
    [
        (packed("x"), b"pem"),
        (packed("x/"), None),
        (packed("x/", "x/a", "x/b"), None),
        (b"no archive at all", None),
    ],
    ids=["a file", "a folder", "a folder with files", "rubbish"],
)
def test_a_file_in_a_container_is_read_of_an_archive(archive: bytes, content: bytes | None) -> None:
    """Whatever else is at the path is no file."""
    assert engine(Client(archive=archive)).read("web", "/srv/x") == content
