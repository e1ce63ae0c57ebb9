"""Another host that breaks off, hangs or lies: an act there ends in time, and no pair is mixed."""

import asyncio
import contextlib
import socket
import socketserver
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any

import asyncssh
import pytest

from certrotd.config.hosts import HostEntry
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.ssh.files import NewFile
from certrotd.ssh.folder import MAX_ENTRIES, RemoteFolder
from certrotd.ssh.session import Session
from tests.parts import Parts
from tests.parts.process import free_port
from tests.parts.site import snapshot
from tests.parts.sshd import Sshd

OLD, NEW = "000001-0000000000000000", "000002-0000000000000000"


def files(what: bytes) -> list[NewFile]:
    """Two files that belong together, of several packets."""
    data = what * 30_000
    return [NewFile("privkey.pem", data, 0o640), NewFile("fullchain.pem", data, 0o644)]


def session(entry: dict[str, Any]) -> Session:
    """A connection as the configuration has it."""
    return Session("edge", HostEntry.model_validate(entry))


class Cutting:
    """Passes on so many bytes to a server, and then ends both connections at once."""

    def __init__(self, port: int, to: int) -> None:
        self.most = 0
        self.passed = 0
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with (
                    contextlib.suppress(OSError),
                    socket.create_connection(("127.0.0.1", to)) as up,
                ):
                    threading.Thread(target=self.back, args=(up,), daemon=True).start()
                    outer.passed = 0
                    while data := self.request.recv(65_536):
                        data = data[: outer.most - outer.passed]
                        outer.passed += len(data)
                        up.sendall(data)
                        if outer.passed >= outer.most:
                            break
                    up.shutdown(socket.SHUT_RDWR)

            def back(self, up: socket.socket) -> None:
                with contextlib.suppress(OSError):
                    while data := up.recv(65_536):
                        self.request.sendall(data)
                with contextlib.suppress(OSError):
                    self.request.shutdown(socket.SHUT_RDWR)

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


def test_a_transfer_that_breaks_off_anywhere_leaves_one_whole_pair(
    parts: Parts, tmp_path: Path
) -> None:
    """Of the former or the new files; the next delivery sweeps what is half written."""
    there = tmp_path / "there"
    there.mkdir(mode=0o755)
    sshd = parts.start(Sshd)
    with closing(session(sshd.entry())) as direct:
        folder = RemoteFolder(direct, PurePosixPath(there))
        folder.check()
        folder.upload(OLD, files(b"o"))
        folder.switch(OLD)
        port = free_port()
        cutting = Cutting(port, sshd.port)
        known = sshd.known_hosts.read_text()
        sshd.known_hosts.write_text(known + known.replace(str(sshd.port), str(port)))
        entry = {**sshd.entry(), "address": f"127.0.0.1:{port}"}
        broke = set()
        try:
            for cutting.most in (*range(3_000, 76_000, 6_000), 1 << 20):
                with closing(session(entry)) as through:
                    try:
                        broken = RemoteFolder(through, PurePosixPath(there))
                        broken.check()
                        broken.upload(NEW, files(b"n"))
                        broken.switch(NEW)
                    except Transient:
                        broke.add(cutting.most)
                live = (there / "live").resolve(strict=True)
                what = {path.read_bytes() for path in live.iterdir()}
                assert what in ({b"o" * 30_000}, {b"n" * 30_000})
                folder.check()
                assert [name for name in snapshot(there) if ".certrotd-tmp" in name] == []
                folder.switch(OLD)
                folder.discard(NEW)
        finally:
            cutting.server.shutdown()
            cutting.server.server_close()
        assert len(broke) > 8
        assert 1 << 20 not in broke


class Honest(asyncssh.SFTPServer):
    """An SFTP server; the others say something else of what is there."""


class Endless(Honest):
    """Each file goes on for ever, whatever its size."""

    def read(self, file_obj: object, offset: int, size: int) -> bytes:
        return bytes(size)


class Crowded(Honest):
    """A directory without end, with long names."""

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        number = 0
        while True:
            number += 1
            attrs = asyncssh.SFTPAttrs(permissions=0o100644)
            yield asyncssh.SFTPName(b"%d" % number + b"x" * 200, attrs=attrs)


class Misleading(Honest):
    """``live`` is a link to where nobody delivered anything."""

    def lstat(self, path: bytes) -> asyncssh.SFTPAttrs:
        return asyncssh.SFTPAttrs(permissions=0o120777, uid=0, gid=0, size=4)

    def readlink(self, path: bytes) -> bytes:
        return b"../" * 50_000 + b"etc/shadow"


class Garbled(Honest):
    """What it says of links is no text."""

    def lstat(self, path: bytes) -> asyncssh.SFTPAttrs:
        return asyncssh.SFTPAttrs(permissions=0o120777, uid=0, gid=0, size=4)

    def readlink(self, path: bytes) -> bytes:
        return b"generations/\xff\xfe"


class Hanging(Honest):
    """It takes a request and never answers."""

    async def lstat(self, path: bytes) -> asyncssh.SFTPAttrs:
        await asyncio.sleep(600)
        raise AssertionError


class Forgetful(Honest):
    """What was written is something else when it is read."""

    def read(self, file_obj: object, offset: int, size: int) -> bytes:
        return b"" if offset else b"something else"


@contextlib.contextmanager
def serving(kind: type[Honest], tmp_path: Path) -> Iterator[dict[str, Any]]:
    """That server on a free port; what ``hosts`` has of it."""
    (tmp_path / "there").mkdir(mode=0o755)
    key, identity = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    known, own = tmp_path / "known_hosts", tmp_path / "identity"
    port = free_port()
    known.write_text(f"[127.0.0.1]:{port} {key.export_public_key().decode()}")
    own.touch(mode=0o600)
    own.write_bytes(identity.export_private_key())
    allowed = asyncssh.import_authorized_keys(identity.export_public_key().decode())
    listening, done = threading.Event(), threading.Event()

    async def serve() -> None:
        listener = await asyncssh.listen(
            *("127.0.0.1", port),
            server_host_keys=[key],
            authorized_client_keys=allowed,
            sftp_factory=kind,
        )
        listening.set()
        while not done.is_set():
            await asyncio.sleep(0.05)
        listener.close()
        await listener.wait_closed()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert listening.wait(60)
    try:
        yield {
            "address": f"127.0.0.1:{port}",
            "user": "anybody",
            "known_hosts": str(known),
            "identity": {"file": str(own)},
            "timeout": "3s" if kind is Hanging else "2m",
        }
    finally:
        done.set()
        thread.join()


def upload(folder: RemoteFolder) -> object:
    """A whole delivery."""
    folder.check()
    folder.upload(NEW, files(b"n"))
    folder.switch(NEW)
    return folder.live()


def test_another_server_than_that_of_openssh_will_do(tmp_path: Path) -> None:
    """The control of those below: it has the same extensions."""
    with serving(Honest, tmp_path) as entry, closing(session(entry)) as opened:
        assert upload(RemoteFolder(opened, PurePosixPath(tmp_path / "there"))) == NEW


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        (Endless, Failure, "is not what is there|larger than|sent more than|took longer"),
        (Crowded, Failure, f"more than {MAX_ENTRIES} entries|sent more than|took longer"),
        (Misleading, NeedsOperator, "leads to|is a symbolic link|no delivery"),
        (Garbled, Failure, "Unable to decode|is a symbolic link"),
        (Hanging, Transient, "took longer than 3s"),
        (Forgetful, Transient, "is not what is there"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_a_server_that_lies_gets_an_end_in_words(
    tmp_path: Path, kind: type[Honest], error: type[Failure], words: str
) -> None:
    """In bounded time and memory, and the words are of bounded length."""
    with serving(kind, tmp_path) as entry, closing(session(entry)) as opened:
        folder = RemoteFolder(opened, PurePosixPath(tmp_path / "there"))
        acts: list[Callable[[], object]] = [lambda: upload(folder)]
        if kind in (Misleading, Garbled):
            acts.append(folder.live)
        for act in acts:
            with pytest.raises(error, match=words) as caught:
                act()
            assert len(str(caught.value)) < 3000


@pytest.mark.parametrize("says", [b"", b"hello\r\n" * 1_000_000, b"SSH-2.0-x\r\n" + bytes(1 << 20)])
def test_what_does_not_speak_ssh_gets_an_end(parts: Parts, tmp_path: Path, says: bytes) -> None:
    """Silence and noise."""
    sshd = parts.start(Sshd)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.sendall(says)
                    while connection.recv(65_536):
                        pass

        threading.Thread(target=serve, daemon=True).start()
        entry = {**sshd.entry(), "address": f"127.0.0.1:{port}", "timeout": "2s"}
        with closing(session(entry)) as opened, pytest.raises((Transient, NeedsOperator)):
            RemoteFolder(opened, PurePosixPath(tmp_path)).check()
