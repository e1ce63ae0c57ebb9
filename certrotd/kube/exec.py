"""Programs run in containers, by the API's ``pods/exec`` over a WebSocket.

Kubernetes speaks its own subprotocol: the first byte of each message is the channel. Standard
output, standard error and, in the end, a Status with the exit code come on channels of their own.
https://kubernetes.io/docs/reference/using-api/api-concepts/ (v4.channel.k8s.io).
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

import h11

from certrotd.clock import Deadline
from certrotd.dial import Timeout, connect
from certrotd.errors import NeedsOperator, Transient
from certrotd.https.connect import receive, secured, send
from certrotd.https.http1 import Answer
from certrotd.https.websocket import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    BadFrame,
    Messages,
    accepted,
    frame,
    new_key,
)
from certrotd.jsontext import parsed
from certrotd.kube.api import Api, Kind, refused
from certrotd.kube.workloads import PODS

EXEC = Kind(PODS.group, "pods/exec")
MAX_OUTPUT = 1024 * 1024
"""So many bytes of output are read at most."""
PROTOCOL = "v4.channel.k8s.io"
_STDOUT, _STDERR, _STATUS = 1, 2, 3
_CHUNK = 64 * 1024
_MAX_REFUSAL = 64 * 1024


@dataclass(frozen=True)
class Ran:
    """How a program ended; its output may be a secret, and has no repr."""

    code: int
    output: bytes = field(repr=False)
    errors: bytes = field(repr=False)

    @property
    def said(self) -> str:
        """Its last line on standard error, or the one on standard output."""
        lines = (self.errors or self.output).decode(errors="replace").strip().splitlines()
        return lines[-1][:500] if lines else "it said nothing"


def run(
    api: Api, namespace: str, pod: str, container: str, argv: Sequence[str], *, seconds: float
) -> Ran:
    """Run a program in a container, and wait until it has ended, for ``seconds`` at most.

    Raises as Api.ask(); NeedsOperator where the program cannot be started or says too much,
    Transient where the connection is lost: nobody knows then whether it has run.
    """
    timeout = Timeout(Deadline(api.clock, seconds))
    path = f"{PODS.path(namespace, pod)}/exec"
    query = [("command", word) for word in argv]
    query += [("container", container), ("stdout", "true"), ("stderr", "true")]
    parts = urlsplit(api.access.server)
    try:
        host = str(parts.hostname)
        raw = connect(host, parts.port or 443, timeout=timeout)
        with secured(raw, host, api.access.context, timeout) as sock:
            target = f"{parts.path}{path}?{urlencode(query)}"
            begun = _upgrade(api, sock, parts.netloc, path, target, timeout)
            return _ended(sock, begun, timeout, f"{argv[0]} in {pod}/{container}")
    except TimeoutError:
        raise Transient(
            f"{argv[0]} in {pod}/{container} did not end within {seconds:g} s"
        ) from None
    except (OSError, BadFrame, h11.RemoteProtocolError) as error:
        raise Transient(f"the way to {pod}/{container} was lost: {error}") from None


def _upgrade(
    api: Api, sock: ssl.SSLSocket, host: str, path: str, target: str, timeout: Timeout
) -> bytes:
    """Ask for the WebSocket; what has come of it already. Raises as Api.ask()."""
    key = new_key()
    headers = [
        ("Host", host),
        ("User-Agent", api.agent),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", key),
        ("Sec-WebSocket-Protocol", PROTOCOL),
    ]
    if api.access.token is not None:
        headers.append(("Authorization", f"Bearer {api.access.token()}"))
    http = h11.Connection(h11.CLIENT)
    request = h11.Request(method="GET", target=target, headers=headers)
    send(sock, (http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""), timeout)
    answer, content = None, b""
    for event in _events(http, sock, timeout):
        if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
            told = {name.decode().lower(): value.decode() for name, value in event.headers}
            if told.get("sec-websocket-accept") != accepted(key):
                raise Transient("what answers for the API server is no WebSocket")
            return http.trailing_data[0]
        if isinstance(event, h11.Response):
            answer = event
        if isinstance(event, h11.Data) and len(content) < _MAX_REFUSAL:
            content += event.data
        if isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            break
    if answer is None or answer.status_code < 300:
        raise Transient("the API server did not open a WebSocket", hint="a proxy may be in between")
    now = api.clock.now()
    raise refused("GET", path, _answer(answer, content), _object(content), now=now)


def _events(http: h11.Connection, sock: ssl.SSLSocket, timeout: Timeout) -> Iterator[Any]:
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(receive(sock, _CHUNK, timeout, begun=False))
            continue
        yield event


def _ended(sock: ssl.SSLSocket, begun: bytes, timeout: Timeout, what: str) -> Ran:
    """Read until the program's Status has come."""
    messages, channels = Messages(limit=MAX_OUTPUT), {_STDOUT: b"", _STDERR: b"", _STATUS: b""}
    data = begun
    while True:
        for kind, content in messages.feed(data):
            if kind == PING:
                send(sock, frame(PONG, content[:125]), timeout)
            if kind == BINARY and content and content[0] in channels:
                channels[content[0]] += content[1:]
                if content[0] == _STATUS and len(content) > 1:
                    send(sock, frame(CLOSE, (1000).to_bytes(2)), timeout)
                    code = exit_code(channels[_STATUS], what)
                    return Ran(code, channels[_STDOUT], channels[_STDERR])
            if kind == CLOSE:
                raise Transient(f"the way to {what} was closed before it had ended")
        if sum(map(len, channels.values())) > MAX_OUTPUT:
            raise NeedsOperator(f"{what} says more than {MAX_OUTPUT} bytes")
        data = receive(sock, _CHUNK, timeout, begun=False)
        if not data:
            raise Transient(f"the way to {what} was lost before it had ended")


def exit_code(status: bytes, what: str) -> int:
    """That of the Status in the end; raises NeedsOperator where the program did not even start."""
    found = _object(status)
    if found.get("status") == "Success":
        return 0
    if found.get("reason") == "NonZeroExitCode":
        for cause in (found.get("details") or {}).get("causes") or ():
            text = str(cause.get("message", ""))
            if cause.get("reason") == "ExitCode" and text.isascii() and text.isdigit():
                return int(text)
    why = found.get("message") or "the container's runtime does not say why"
    raise NeedsOperator(f"{what} cannot be run: {why}", hint="its image may not have that program")


def _answer(found: h11.Response, content: bytes) -> Answer:
    headers = {name.decode().lower(): value.decode("latin-1") for name, value in found.headers}
    return Answer(found.status_code, headers, content, final=True)


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = parsed(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
