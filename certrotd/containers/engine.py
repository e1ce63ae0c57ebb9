"""A Docker engine, by its API: https://docs.docker.com/reference/api/engine/."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import certrotd
from certrotd.clock import Deadline
from certrotd.containers.container import Container, container
from certrotd.containers.streams import MAX_OUTPUT, exit_code, only_file, output_of
from certrotd.errors import NeedsOperator, Transient, one_line
from certrotd.extras import how_to_install

if TYPE_CHECKING:
    from docker import APIClient
    from docker.errors import APIError

    from certrotd.config.docker import DockerTlsEntry

MAX_PARTS = 8
"""So many parts, of 2 MiB each, of a file are read."""
SILENCE = 30.0
"""After so many seconds without an event an engine is asked anew: a dead connection is silent."""
SHORTEST = 1.0
"""An answer with events that ends sooner is not asked for anew before so many seconds."""
_NO_CONTAINER = "no such container"  # a path that is not there "in container …" is another matter
_NO_EXEC = "0" * 64  # as long as an id is: a proxy may look at that
_DENIED = (401, 403, 405, 501)
"""What a proxy says to a request that it does not pass on, and no engine to one that it got."""


class Gone(NeedsOperator):
    """A container that is not there."""


class Denied(NeedsOperator):
    """A request that a proxy does not pass on."""


@dataclass(frozen=True)
class Ended:
    """How a program in a container ended, and the end of what it printed."""

    code: int
    output: bytes = field(repr=False)


class Engine(Protocol):
    """What a target needs of one; all raise NeedsOperator or Transient."""

    def ping(self) -> None:
        """Whether it answers."""
        ...

    def get(self, name: str) -> Container:
        """Raises Gone."""
        ...

    def find(self, labels: Mapping[str, str]) -> list[str]:
        """The names of those with the labels, also stopped ones; an empty value stands for any."""
        ...

    def kill(self, name: str, signal: str) -> None:
        """Send a signal to its first process."""
        ...

    def restart(self, name: str, grace: int) -> None:
        """Stop it, by force after ``grace`` seconds, and start it."""
        ...

    def stop(self, name: str, grace: int) -> None:
        """Stop it, by force after ``grace`` seconds."""
        ...

    def start(self, name: str) -> None:
        """Start it; nothing happens to one that runs."""
        ...

    def run(self, name: str, argv: Sequence[str], deadline: Deadline) -> Ended:
        """Run a program in it, without a shell."""
        ...

    def may_run(self, name: str) -> None:
        """Whether it would take what run() asks for; nothing is run."""
        ...

    def may_kill(self, name: str) -> None:
        """Whether it would take what kill() asks for; nothing is sent."""
        ...

    def put(self, name: str, folder: str, files: Mapping[str, bytes], owner: int) -> None:
        """Write files into a folder in it, 0600 and that user's; none: whether that could be."""
        ...

    def read(self, name: str, path: str) -> bytes | None:
        """The file at a path in it, also while it does not run; None if there is none."""
        ...

    def logs(self, name: str) -> str:
        """The last line that it printed."""
        ...

    @property
    def host(self) -> str:
        """Where it is: its URL."""
        ...

    def starts(self) -> Iterator[str]:
        """The names of containers that start, one after the other, for as long as it tells.

        It begins with an empty one, when it listens, and gives another whenever nothing has
        started for a while. Without end, but for what it raises.
        """
        ...


@dataclass(frozen=True)
class Tls:
    """The PEM files by which an engine is reached over TLS: paths."""

    ca: str
    certificate: str
    key: str


def tls_of(files: DockerTlsEntry | None) -> Tls | None:
    """Those of a configuration entry."""
    return Tls(str(files.ca), str(files.cert), str(files.key)) if files else None


class DockerEngine:
    """The engine at ``host``, a URL; ``timeout`` is in seconds for each request."""

    def __init__(self, host: str, tls: Tls | None = None, timeout: float = 60.0) -> None:
        self.host = host
        self._tls = tls
        self._timeout = timeout
        self._made: APIClient | None = None

    def ping(self) -> None:
        with self._asking("be reached") as client:
            client.ping()

    def get(self, name: str) -> Container:
        with self._asking(f"say what {name} is", name) as client:
            return container(self._found(client, name))

    def find(self, labels: Mapping[str, str]) -> list[str]:
        wanted = [f"{key}={value}" if value else key for key, value in labels.items()]
        with self._asking("list its containers") as client:
            found = client.containers(all=True, filters={"label": wanted})
        return sorted(_name(each) for each in found)

    def kill(self, name: str, signal: str) -> None:
        with self._asking(f"send {signal} to {name}", name) as client:
            client.kill(self._known(client, name), signal)

    def restart(self, name: str, grace: int) -> None:
        with self._asking(f"restart {name}", name) as client:
            client.restart(self._known(client, name), timeout=grace)

    def stop(self, name: str, grace: int) -> None:
        with self._asking(f"stop {name}", name) as client:
            client.stop(self._known(client, name), timeout=grace)

    def start(self, name: str) -> None:
        with self._asking(f"start {name}", name) as client:
            client.start(self._known(client, name))

    def run(self, name: str, argv: Sequence[str], deadline: Deadline) -> Ended:
        with self._asking(f"run {argv[0]} in {name}", name) as client:
            made = client.exec_create(self._known(client, name), list(argv))["Id"]
            stream = client.exec_start(made, socket=True)
            try:
                output = output_of(getattr(stream, "_sock", stream), deadline)
                code = exit_code(lambda: client.exec_inspect(made), deadline)
            except TimeoutError:
                raise Transient(
                    f"{argv[0]} in the container {name} does not end in time, and goes on there",
                    hint=f"docker top {name}; raise timeout, if it only takes its time",
                ) from None
            finally:
                stream.close()
        return Ended(code, output)

    def may_run(self, name: str) -> None:
        # no program, and none that was prepared: an engine refuses each of these as meaningless
        requests = (
            ("POST", f"/containers/{name}/exec"),
            ("POST", f"/exec/{_NO_EXEC}/start"),
            ("GET", f"/exec/{_NO_EXEC}/json"),
        )
        self._passes(f"run programs in {name}", requests)

    def may_kill(self, name: str) -> None:
        # an engine refuses it as meaningless, and to a process it is no signal (kill(2))
        self._passes(f"send signals to {name}", [("POST", f"/containers/{name}/kill?signal=0")])

    def _passes(self, what: str, requests: Sequence[tuple[str, str]]) -> None:
        """Whether a proxy passes on such requests; raises Denied."""
        with self._asking(what) as client:
            for method, path in requests:
                url = f"{client.base_url}/v{client.api_version}{path}"
                body = "{}" if method == "POST" else None
                kind = {"Content-Type": "application/json"}
                answer = client.request(method, url, data=body, headers=kind, timeout=self._timeout)
                answer.close()
                if answer.status_code in _DENIED:
                    raise _denied(answer.status_code, f"{method} {path}")

    def put(self, name: str, folder: str, files: Mapping[str, bytes], owner: int) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for file, content in files.items():
                member = tarfile.TarInfo(file)
                member.size, member.mode = len(content), 0o600
                member.mtime = int(time.time())  # who watches a file sees that it is another one
                member.uid = member.gid = owner
                tar.addfile(member, io.BytesIO(content))
        with self._asking(f"write into {folder} in {name}", name) as client:
            client.put_archive(self._known(client, name), folder, packed.getvalue())

    def read(self, name: str, path: str) -> bytes | None:
        from docker import errors

        with self._asking(f"read {path} in {name}", name) as client:
            self._known(client, name)
            try:
                parts, _stat = client.get_archive(name, path)
            except errors.NotFound as error:
                if _NO_CONTAINER in str(error.explanation).lower():
                    raise
                return None
            packed = b"".join(itertools.islice(parts, MAX_PARTS))
            return only_file(packed)

    def starts(self) -> Iterator[str]:
        since = 0  # of the engine's time, in nanoseconds: nothing is missed in between, or repeated
        while True:
            began = time.monotonic()
            with self._asking("say what starts") as client, _events(client, since) as events:
                yield ""
                for name, at in events:
                    if at > since:
                        since = at
                        yield name
            if time.monotonic() - began < SHORTEST:  # whatever is in between ends each answer
                time.sleep(SHORTEST)

    def logs(self, name: str) -> str:
        with self._asking(f"show what {name} printed", name) as client:
            said = client.logs(self._known(client, name), tail=5)
        lines = said[-MAX_OUTPUT:].decode("utf-8", "replace").strip().splitlines()
        return one_line(lines[-1]) if lines else ""

    def _found(self, client: APIClient, name: str) -> Mapping[str, Any]:
        """What it is. An engine takes the beginning of an id for it, too: "db" may be anybody's."""
        found: Mapping[str, Any] = client.inspect_container(name)
        if name not in (found.get("Id"), str(found.get("Name", "")).removeprefix("/")):
            raise self._gone(name)
        return found

    def _known(self, client: APIClient, name: str) -> str:
        """The name itself, of one that is there: a proxy may let us act on that name alone."""
        self._found(client, name)
        return name

    def _gone(self, name: str) -> Gone:
        return Gone(
            f"there is no container {name} at {self.host}",
            hint="correct its name, or take it out of the target",
        )

    @contextmanager
    def _asking(self, what: str, name: str = "") -> Iterator[APIClient]:
        """The client; what goes wrong within the block is a failure to do ``what``."""
        from docker import errors
        from requests.exceptions import RequestException

        try:
            yield self._client()
        except errors.NotFound as error:
            words = str(error.explanation or "it is not there")
            if _NO_CONTAINER in words.lower():
                raise self._gone(name) from None
            raise NeedsOperator(f"{self.host} cannot {what}: {one_line(words)}") from None
        except errors.APIError as error:
            if error.status_code in _DENIED:
                raise _not_passed(f"{self.host} cannot {what}", error) from None
            kind = Transient if error.is_server_error() else NeedsOperator
            words = one_line(str(error.explanation or error))
            raise kind(f"{self.host} cannot {what}: {words}") from None
        except errors.TLSParameterError as error:
            raise NeedsOperator(f"{self.host} cannot {what}: {one_line(str(error))}") from None
        except (RequestException, errors.DockerException, OSError) as error:
            raise _away(self.host, what, error) from None

    def _client(self) -> APIClient:
        if self._made is None:
            try:
                from docker import APIClient, TLSConfig
            except ImportError:
                raise NeedsOperator(
                    "the library docker is not installed", hint=how_to_install("docker")
                ) from None

            class Client(APIClient):  # type: ignore[misc]
                """One that no variable of the environment sends elsewhere."""

                trust_env = property(lambda _self: False, lambda _self, _value: None)

            tls: Any = False
            if self._tls is not None:
                pair = (self._tls.certificate, self._tls.key)
                tls = TLSConfig(client_cert=pair, ca_cert=self._tls.ca, verify=True)
            agent = f"certrotd/{certrotd.__version__}"
            self._made = Client(self.host, tls=tls, timeout=self._timeout, user_agent=agent)
        return self._made


def _away(host: str, what: str, error: Exception) -> NeedsOperator | Transient:
    """Why the engine did not answer."""
    words = one_line(str(error))
    if "Permission denied" in words:
        return NeedsOperator(
            f"{host} cannot {what}: the user certrotd runs as may not open its socket",
            hint="whoever may is root there: a socket proxy that allows what the target needs is "
            "safer than the group docker",
        )
    if isinstance(error, TimeoutError):
        return Transient(f"{host} cannot {what}: it does not answer")
    return Transient(f"{host} cannot {what}: {words}", hint="does dockerd run there?")


def _name(listed: Mapping[str, Any]) -> str:
    """That of a container in a list; those with two slashes are what links to it call it."""
    names = (str(each).removeprefix("/") for each in listed.get("Names") or ())
    return next((each for each in names if "/" not in each), str(listed["Id"]))


def _denied(status: int, request: str, before: str = "") -> Denied:
    words = f"{before}it answers {status} to {request.partition('?')[0]}"
    return Denied(words, hint="have the socket proxy allow that")


def _not_passed(what: str, error: APIError) -> Denied:
    """What a request was denied for, without the page that a proxy makes of it."""
    asked = error.response.request
    path = "/" + asked.path_url.removeprefix("/v").partition("/")[2]
    return _denied(error.status_code, f"{asked.method} {path}", f"{what}: ")


@contextmanager
def _events(client: APIClient, since: int) -> Iterator[Iterator[tuple[str, int]]]:
    """Which containers start, and when (nanoseconds), until nothing did for a while.

    Docker Engine API, GET /events; the library's own method cannot be bounded in time.
    """
    filters = json.dumps({"type": ["container"], "event": ["start"]})
    wanted = {"filters": filters}
    if since:
        wanted["since"] = f"{since // 10**9}.{since % 10**9:09d}"
    url = f"{client.base_url}/v{client.api_version}/events"
    answer = client.get(url, params=wanted, stream=True, timeout=SILENCE)
    try:
        if 400 <= answer.status_code < 500:
            raise _denied(answer.status_code, "GET /events")
        answer.raise_for_status()
        yield _started(answer)
    finally:
        answer.close()


def _started(answer: Any) -> Iterator[tuple[str, int]]:
    from requests.exceptions import ConnectionError as Broken
    from urllib3.exceptions import ReadTimeoutError

    try:
        for line in answer.iter_lines(chunk_size=None):
            event = json.loads(line) if line else {}
            name = ((event.get("Actor") or {}).get("Attributes") or {}).get("name")
            if name:
                yield str(name), int(event.get("timeNano") or 0)
    except Broken as error:
        if not any(isinstance(each, ReadTimeoutError) for each in error.args):
            raise
