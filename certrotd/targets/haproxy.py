"""Target ``haproxy``: certificates replaced in a running HAProxy, over its stats socket.

HAProxy has read its files when it started, and knows each by the name that its configuration has
for it. ``set ssl cert`` and ``commit ssl cert`` replace what it has in memory, in every bind line
that uses the file, and no process is started anew. At its next start it reads the files again: so
what is set is read from the very file that HAProxy would read.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from certrotd.clock import Clock, Deadline, SystemClock
from certrotd.config.context import Context
from certrotd.config.services import HaproxyEntry
from certrotd.dial import Timeout, connect_path
from certrotd.errors import Failure, NeedsOperator, Transient, listed, of_the_machine
from certrotd.files.reading import read_file
from certrotd.https.connect import receive, send
from certrotd.pki.facts import parse_certificates
from certrotd.pki.generation import Checked, LiveCertificate

MAX_ANSWER = 4 * 1024 * 1024
"""Octets of an answer; a list of 10,000 files is a tenth of it."""

_MAX_PEM = 1024 * 1024
_CHUNK = 64 * 1024
_LAST_LINES, _LAST_SHOWN = 3, 300
_UNREACHABLE = {
    errno.ENOENT: "start HAProxy, or correct socket",
    errno.ECONNREFUSED: "start HAProxy",
    errno.EACCES: "let certrotd's user write to it: group and mode of stats socket",
}
_SHA1 = re.compile(r"^SHA1 FingerPrint: ([0-9A-F]{40})\s*$", re.MULTILINE)
_SET = ("Transaction created", "Transaction updated")
_BLANK_LINES = re.compile(rb"\n\s*\n")
"""An empty line would be the end of what is set."""
_SPECIAL = re.compile(r"([\\; ])")


@dataclass(frozen=True)
class HaproxyTarget:
    """One HAProxy, whose stats socket at level admin is ``socket``.

    ``timeout`` is in seconds for each command. ``fence`` comes before each replacement.
    """

    socket: Path
    timeout: float = 30.0
    clock: Clock = field(default_factory=SystemClock, repr=False)
    fence: Callable[[], None] = lambda: None
    together = True

    def fenced(self, check: Callable[[], None]) -> HaproxyTarget:
        """As Fenceable.fenced."""
        return replace(self, fence=check)

    def check(self) -> None:
        """As Target.check."""
        self.checked_for(())

    def checked_for(self, certificates: Sequence[LiveCertificate]) -> Checked:
        """As InformedCautious.checked_for: it lets us, and reads a file of each certificate."""
        level = self._ask("show cli level").strip()
        if level != "admin":
            raise _refused(
                f"does not let certrotd change certificates at {self.socket}",
                level,
                hint=f"its configuration needs: stats socket {self.socket} level admin",
            )
        known, changing = self._known()
        own = [name for each in certificates for name in names_of(each, known)]
        if strange := [each for each in changing if each not in own]:
            raise Transient(
                f"HAProxy takes one change at a time, and {listed(strange)} is being changed",
                hint=f"if nobody does: abort ssl cert {strange[0]}",
            )
        return Checked()

    def apply(self) -> None:
        """As Target.apply: of no certificate in particular there is nothing to be told."""
        self.apply_for(())

    def apply_for(self, certificates: Sequence[LiveCertificate]) -> None:
        """As Informed.apply_for; each file is replaced and seen to be in use, or as it was."""
        known, _ = self._known()
        for each in certificates:
            for name in names_of(each, known):
                self._replace(name)

    def _replace(self, name: str) -> None:
        pem, what = read_file(Path(name), limit=_MAX_PEM), _escaped(name)
        leaf = parse_certificates(pem, what=name)[0]
        payload = _BLANK_LINES.sub(b"\n", pem.strip()).decode("ascii", "replace")
        self.fence()
        try:
            said = self._ask(f"set ssl cert {what} <<\n{payload}\n")
            if not said.startswith(_SET):
                large = f"{len(payload)} octets may be more than its tune.bufsize allows"
                raise _refused(f"does not take {name}", said, hint="" if said.strip() else large)
            said = self._ask(f"commit ssl cert {what}")
            if not said.rstrip().endswith("Success!"):
                raise _refused(f"does not put {name} in use", said)
        except Failure:
            with suppress(Failure):
                self._ask(f"abort ssl cert {what}")
            raise
        said = self._ask(f"show ssl cert {what}")
        shown = _SHA1.search(said)
        if shown is None or shown[1] != _sha1(leaf):
            raise _refused(f"has another certificate for {name} than it was given", said)

    def _known(self) -> tuple[list[str], list[str]]:
        """The files that HAProxy has read, as its configuration names them, and those of them that
        somebody has set and not yet committed.
        """
        lines = self._ask("show ssl cert").splitlines()
        if lines and not lines[0].startswith("#"):
            raise _refused("shows no certificates", lines[0])
        names = [each for each in lines if each and not each.startswith("#")]
        changing = [each[1:] for each in names if each.startswith("*")]
        return [each for each in names if not each.startswith("*")], changing

    def _ask(self, command: str) -> str:
        """What HAProxy answers to a command, at most MAX_ANSWER octets; raises Failure."""
        timeout = Timeout(Deadline(self.clock, self.timeout))
        answer = b""
        try:
            with connect_path(self.socket, timeout=timeout) as connection:
                send(connection, f"{command}\n".encode(), timeout)
                while part := receive(connection, _CHUNK, timeout, begun=bool(answer)):
                    answer += part
                    if len(answer) > MAX_ANSWER:
                        raise NeedsOperator(
                            f"{self.socket} answered more than {MAX_ANSWER} octets",
                            hint="is it HAProxy's stats socket?",
                        )
        except TimeoutError as error:
            raise Transient(f"HAProxy did not answer at {self.socket} in time") from error
        except OSError as error:
            raise _unreachable(self.socket, error) from error
        return answer.decode("utf-8", "replace")


def names_of(
    certificate: LiveCertificate,
    known: Sequence[str],
    *,
    resolved: Callable[[str], str] = os.path.realpath,
) -> list[str]:
    """Those of the files that HAProxy has read in which this certificate is installed.

    Raises NeedsOperator for none: at its next start HAProxy would read an old certificate there.
    """
    places = {resolved(each) for each in certificate.combined}
    found = [each for each in known if each.startswith("/") and resolved(each) in places]
    if found:
        return found
    raise NeedsOperator(
        f"HAProxy has read no file of {certificate.certificate}: it has read "
        f"{listed(known) or 'no certificate'}",
        hint="have certrotd install it where HAProxy reads it, as in install: [{combined: PATH}], "
        f"or have HAProxy read {listed(certificate.combined) or 'such a file'}; PATH is absolute",
    )


def _sha1(leaf: x509.Certificate) -> str:
    """How HAProxy tells one certificate from another."""
    return leaf.fingerprint(hashes.SHA1()).hex().upper()  # noqa: S303


def _escaped(name: str) -> str:
    """A word of HAProxy's command line."""
    return _SPECIAL.sub(r"\\\1", name)


def _refused(act: str, said: str, *, hint: str = "") -> NeedsOperator:
    lines = [each for each in said.splitlines() if each.strip()]
    words = " | ".join(lines[-_LAST_LINES:])[-_LAST_SHOWN:] or "nothing"
    return NeedsOperator(f"HAProxy {act}: it says {words}", hint=hint)


def _unreachable(path: Path, error: OSError) -> Failure:
    words = f"HAProxy cannot be reached at {path}: {error.strerror or error}"
    if isinstance(error, BlockingIOError | ConnectionResetError | BrokenPipeError):
        return Transient(words)
    if hint := of_the_machine(error):
        return Transient(words, hint=hint)
    return NeedsOperator(words, hint=_UNREACHABLE.get(error.errno or 0, "correct socket"))


def build(entry: HaproxyEntry, context: Context) -> HaproxyTarget:
    """The target of a configuration entry."""
    return HaproxyTarget(entry.socket, entry.timeout.total_seconds(), context.clock)
