"""A connection to another host: its key is known beforehand, and each act there ends in time."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import logging
import os
import shlex
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from certrotd.clock import Clock, Deadline, SystemClock
from certrotd.config.hosts import HostEntry
from certrotd.dial import connect
from certrotd.errors import Failure, NeedsOperator, Transient, printable
from certrotd.extras import how_to_install
from certrotd.files.reading import read_file
from certrotd.rotation.outcome import Stopped
from certrotd.rotation.stopping import StoppableTimeout
from certrotd.ssh.metered import Metered, SentTooMuch

if TYPE_CHECKING:
    import asyncssh
    from asyncssh import SFTPClient, SSHClientConnection, SSHKey, SSHKeyPair, SSHKnownHosts

MAX_OUTPUT = 64 * 1024
"""So many bytes of a program's output are kept, of its end."""
MAX_KNOWN_HOSTS = 4 * 1024 * 1024
GRACE = 5.0
STOP_GRACE = 10.0
"""So many seconds an act there goes on once the process is told to stop."""
_LOOK = 0.2
_STUMBLES = (EOFError, ValueError, LookupError, AssertionError)
"""What the library may raise of noise."""
T = TypeVar("T")


@dataclass(frozen=True)
class Ended:
    """How a program on the other host ended: its exit ``code``, and the end of what it printed.

    ``code`` is None where a signal or the server ended it.
    """

    code: int | None
    output: bytes = field(repr=False)

    @property
    def tail(self) -> str:
        """The last lines of the output, for the end of a message."""
        lines = self.output.decode("utf-8", "replace").split("\n")
        last = [printable(line.strip()[-300:]) for line in lines if line.strip()][-5:]
        return f": {' | '.join(last)}" if last else ""


class Session:
    """The connection to one host, made when it is first used, and again after it broke.

    ``name`` is that of the host in the configuration. Of one thread at a time. Once the process is
    told to stop, by ``clock``, each act raises Stopped after a few seconds.
    """

    def __init__(self, name: str, entry: HostEntry, clock: Clock | None = None) -> None:
        self.name = name
        self._entry = entry
        self._clock = clock or SystemClock()
        self._seconds = entry.timeout.total_seconds()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open: tuple[SSHClientConnection, SFTPClient] | None = None

    def __str__(self) -> str:
        return f"{self.name} ({self._entry.address})"

    def sftp(self, what: str, use: Callable[[SFTPClient], Awaitable[T]]) -> T:
        """What ``use`` gives, within the host's timeout; ``what`` it does there, for messages.

        Raises NeedsOperator or Transient. What the server refuses is for ``use`` to explain; else
        it is Transient.
        """

        async def act() -> T:
            _, client = await self._connected()
            async with asyncio.timeout(self._seconds):
                return await use(client)

        return self._run(what, act, self._seconds)

    def command(self, argv: Sequence[str], *, seconds: float) -> Ended:
        """Run a program there, within so many seconds; it is given no input.

        SSH hands one text to the account's shell, so each word is quoted for it. Raises Transient
        at the end of the time, and Stopped; the connection ends then, too, and the program with it
        if it reads or writes.
        """
        text = shlex.join(argv)

        async def act() -> Ended:
            import asyncssh

            connection, _ = await self._connected()
            async with asyncio.timeout(seconds):
                process = await connection.create_process(
                    text,
                    stdin=asyncssh.DEVNULL,
                    stderr=asyncssh.STDOUT,
                    encoding=None,
                    request_pty=False,
                )
                kept = bytearray()
                while part := await process.stdout.read(MAX_OUTPUT):
                    kept += part
                    del kept[:-MAX_OUTPUT]
                await process.wait_closed()
                code = None if process.exit_signal else process.exit_status
                return Ended(code, bytes(kept))

        return self._run(f"run `{text}`", act, seconds)

    def close(self) -> None:
        """End the connection; the next use makes another."""
        opened, self._open = self._open, None
        loop, self._loop = self._loop, None
        if loop is not None:
            _end(loop, opened[0] if opened is not None else None)

    def _run(self, what: str, act: Callable[[], Awaitable[T]], seconds: float) -> T:
        library()
        import asyncssh

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        try:
            # asyncssh may take its time to let go of what is cancelled
            whole = seconds + self._seconds + GRACE
            limit = StoppableTimeout(Deadline(self._clock, whole), STOP_GRACE)
            return self._loop.run_until_complete(_bounded(act(), limit))
        except TimeoutError as late:
            self.close()
            why = str(late) or f"to {what} took longer than {seconds:g}s"
            raise Transient(f"{self}: {why}") from None
        except Stopped:
            self.close()
            raise
        except Failure:
            raise
        except (asyncssh.Error, OSError, *_STUMBLES) as error:
            self.close()
            full = isinstance(error, asyncssh.ChannelOpenError)
            hint = "let sshd have MaxSessions of 2 or more: SFTP is the first" if full else ""
            raise Transient(f"{self}: to {what} failed: {_words(error)}", hint=hint) from None
        except BaseException:
            self.close()
            raise

    async def _connected(self) -> tuple[SSHClientConnection, SFTPClient]:
        if self._open is not None and not self._open[0].is_closed():
            return self._open
        try:
            async with asyncio.timeout(self._seconds):
                connection = await self._connect()
                client = await self._files(connection)
        except TimeoutError:
            raise TimeoutError(f"to log in took longer than {self._seconds:g}s") from None
        self._open = connection, client
        return self._open

    async def _connect(self) -> SSHClientConnection:
        import asyncssh

        entry, address = self._entry, self._entry.address
        known, own = _known_hosts(entry), self._identity()
        agent = await self._agent()
        try:
            keys: list[SSHKey | SSHKeyPair] = [*own, *(await agent.get_keys() if agent else ())]
            reached = self._reach()
            return await asyncssh.connect(
                address.host,
                address.port,
                sock=reached,
                known_hosts=known,
                username=entry.user,
                client_keys=keys or None,  # an empty list would be the account's own keys
                agent_path=None,  # nor are those of SSH_AUTH_SOCK offered
                x509_trusted_certs=[],  # nor is what is in ~/.ssh trusted
                x509_trusted_cert_paths=[],
                password=_text(entry.password.resolve().reveal()) if entry.password else None,
                agent_forwarding=False,
                gss_host=None,
                config=None,  # nor does its ~/.ssh/config decide anything
                compression_algs=None,  # a few bytes must not become many
                login_timeout=self._seconds,
                preferred_auth="publickey,keyboard-interactive,password"
                if entry.password
                else "publickey",
            )
        except asyncssh.HostKeyNotVerifiable as error:
            raise self._unknown(known, str(error.reason)) from None
        except asyncssh.KeyExchangeFailed as error:
            raise NeedsOperator(
                f"{self}: no key exchange: {error.reason}",
                hint=f"{entry.known_hosts} may have none of the types of host keys that it has",
            ) from None
        except asyncssh.PermissionDenied:
            raise NeedsOperator(
                f"{self} does not let {entry.user} in",
                hint="put the public key into authorized_keys of that account",
            ) from None
        finally:
            if agent is not None:
                agent.close()

    async def _files(self, connection: SSHClientConnection) -> SFTPClient:
        import asyncssh

        try:
            return await connection.start_sftp_client()
        except (asyncssh.ChannelOpenError, asyncssh.SFTPError, EOFError) as error:
            entry = self._entry
            connection.abort()
            raise Transient(
                f"{self} lets {entry.user} in, but no SFTP server begins: {_words(error)}",
                hint=f"try sftp {entry.user}@{entry.address.host}; look at Subsystem in its "
                "sshd_config, at what that account's shell prints, and at authorized_keys",
            ) from None

    async def _agent(self) -> asyncssh.SSHAgentClient | None:
        import asyncssh

        path = self._entry.agent
        if path is None:
            return None
        try:
            return await asyncssh.connect_agent(str(path))
        except OSError as error:
            raise NeedsOperator(
                f"the SSH agent at {path} is not reached: {error.strerror or error}",
                hint="start it as certrotd's user, or give identity instead",
            ) from None

    def _reach(self) -> Metered:
        address = self._entry.address
        limit = StoppableTimeout(Deadline(self._clock, self._seconds))
        try:
            return Metered.of(connect(address.host, address.port, timeout=limit))
        except OSError as error:
            why = str(error) or "it did not answer in time"
            raise Transient(f"{self} is not reached: {why}") from None

    def _identity(self) -> list[SSHKey]:
        import asyncssh

        entry = self._entry
        if entry.identity is None:
            return []
        phrase = _text(entry.passphrase.resolve().reveal()) if entry.passphrase else None
        try:
            return [asyncssh.import_private_key(entry.identity.resolve().reveal(), phrase)]
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError):
            raise NeedsOperator(
                f"the identity of host {self.name} is no private key that can be read",
                hint="make one with ssh-keygen; if it has a passphrase, give it",
            ) from None

    def _unknown(self, known: SSHKnownHosts, why: str) -> NeedsOperator:
        """That the host key is refused: of a host that is not known, or another one than known."""
        address, file = self._entry.address, self._entry.known_hosts
        host, port = address.host, address.port
        matches = known.match(host, "", port)
        if "evoked" in why:
            return NeedsOperator(f"{self} shows a host key that {file} has revoked")
        if not any((*matches[:2], *matches[3:4], *matches[5:6])):
            return NeedsOperator(
                f"{self}: {file} has no host key of it, so it is not trusted",
                hint="compare the key at the host itself (ssh-keygen -lf "
                f"/etc/ssh/ssh_host_ed25519_key.pub), then add the line that ssh-keyscan -p {port} "
                f"{host} prints",
            )
        return NeedsOperator(
            f"{self} shows another host key than {file} has: nothing is sent there",
            hint="somebody may stand between; if the host was set up anew, compare its key there "
            "before you change that file",
        )


def library() -> None:
    """Whether asyncssh is installed; raises NeedsOperator."""
    try:
        import asyncssh  # noqa: F401
    except ImportError:
        raise NeedsOperator(
            "delivery over SSH needs asyncssh, which is not installed", hint=how_to_install("ssh")
        ) from None
    # its lines at INFO tell each command
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    try:
        getpass.getuser()
    except (KeyError, OSError):
        # an account without an entry: asyncssh will not be without a name, and uses none of it here
        os.environ["LOGNAME"] = str(os.geteuid())
        os.environ.setdefault("HOME", "/")


async def _bounded(act: Awaitable[T], limit: StoppableTimeout) -> T:
    """What it gives; raises as StoppableTimeout.check(), and it is cancelled then."""
    task = asyncio.ensure_future(act)
    try:
        while not (await asyncio.wait([task], timeout=_LOOK))[0]:
            limit.check()
        return task.result()
    finally:
        task.cancel()


def _known_hosts(entry: HostEntry) -> SSHKnownHosts:
    """What the file says; for the bytes of an empty one asyncssh would take ~/.ssh/known_hosts."""
    import asyncssh

    file = entry.known_hosts
    try:
        return asyncssh.import_known_hosts(read_file(file, limit=MAX_KNOWN_HOSTS).decode())
    except FileNotFoundError:
        raise NeedsOperator(f"{file} does not exist", hint="see known_hosts in sshd(8)") from None
    except (UnicodeDecodeError, ValueError) as error:
        raise NeedsOperator(f"{file} is not a file of known hosts: {error}") from None


def _text(secret: bytes) -> str:
    try:
        return secret.decode()
    except UnicodeDecodeError:
        raise NeedsOperator("a passphrase or password is not UTF-8") from None


def _words(error: Exception) -> str:
    if isinstance(error.__cause__ or error.__context__, SentTooMuch):
        return str(error.__cause__ or error.__context__)
    if isinstance(error, EOFError):
        return "it ended before its answer did"
    return str(getattr(error, "reason", "") or error or type(error).__name__)


def _end(loop: asyncio.AbstractEventLoop, connection: SSHClientConnection | None) -> None:
    """Close a loop with whatever runs in it still; it takes a second at most."""

    left = asyncio.all_tasks(loop)

    async def finish() -> None:
        ending = [asyncio.ensure_future(connection.wait_closed())] if connection else []
        if connection is not None:
            connection.abort()
        for task in left:
            task.cancel()
        if left or ending:
            await asyncio.wait([*left, *ending], timeout=1.0)

    with contextlib.suppress(OSError):
        loop.run_until_complete(finish())
    loop.close()
