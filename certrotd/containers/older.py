"""What shows that a container has an older copy of a certificate than the live one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from certrotd.clock import Clock, Deadline
from certrotd.containers.chosen import Task, folder
from certrotd.containers.container import Container, Mount, recreation
from certrotd.containers.engine import Engine
from certrotd.containers.probing import ContainerProbe
from certrotd.containers.streams import MAX_OUTPUT
from certrotd.errors import Failure, Transient
from certrotd.files.reading import read_file
from certrotd.pki.generation import Behind, LiveCertificate

CERTIFICATE = "fullchain.pem"
_FILES = (CERTIFICATE, "cert.pem", "chain.pem", "privkey.pem", "combined.pem")


@dataclass(frozen=True)
class Copy:
    """The ``folder`` in each container that the files are written to, and whose they are there.

    It may have ``{certificate}`` in it, for a folder of each.
    """

    folder: str
    owner: int = 0

    def of(self, certificate: LiveCertificate) -> str:
        """The folder of one."""
        return self.folder.replace("{certificate}", certificate.certificate)


@dataclass(frozen=True)
class Survey:
    """Looks into the containers of one ``engine``, each program there for ``timeout`` seconds.

    ``restarts``: a restart has a container read what it mounts anew. ``anew``: only one that is
    made anew has another certificate.
    """

    engine: Engine
    copy: Copy | None
    probes: Sequence[ContainerProbe]
    timeout: float
    clock: Clock
    restarts: bool = False
    anew: bool = False

    def older(self, task: Task) -> Behind | None:
        """That it runs with an older copy, and what is to be done; None if nothing shows that.

        Raises as Engine. A container that takes no connection yet shows nothing.
        """
        found = task.container
        if words := next(self._made_before(task), None):
            return Behind(found.name, words, recreation(found))
        for mount in self.stale(task):
            todo = "" if self.restarts else f"docker restart {found.name}"
            return Behind(found.name, f"has another file at {mount.place} than there is now", todo)
        for each in task.certificates if self.copy else ():
            if words := self._copied(found, each):
                return Behind(found.name, words)
        for probe in self.probes:
            with suppress(Transient):
                if words := probe.other(task):
                    return Behind(found.name, words)
        return None

    def stale(self, task: Task) -> Iterator[Mount]:
        """Mounts of a single file that is another one in the container than here by now.

        Whoever replaces a file by a new one gives it another inode; a mount keeps the first. So it
        does with a link to a folder. A container without cat tells nothing. Only files of its
        certificates count: whoever replaces another, such as the CA of its clients, restarts it.
        """
        for mount in task.container.mounts:
            within = _within(mount)
            here = pem(mount.source + within)
            if here and any(_has(mount, here, each) for each in task.certificates):
                # not by the engine's archive, which follows the mount anew
                deadline = Deadline(self.clock, self.timeout)
                there = self.engine.run(task.name, ("cat", mount.place + within), deadline)
                if there.code == 0 and there.output != here:
                    yield mount

    def embedding(self, task: Task) -> Iterator[str]:
        """Where the container has a certificate of these names that only making it anew changes."""
        for each in task.certificates:
            for one in task.container.embedded:
                if set(one.names) & set(each.names):
                    yield one.place

    def _made_before(self, task: Task) -> Iterator[str]:
        made = task.container.made
        for each in task.certificates:
            if self.anew and 0 < made < _swapped(each.live):
                yield f"was made before the present certificate {each.certificate}"
            for one in task.container.embedded:
                shared = set(one.names) & set(each.names)
                if each.fingerprint and shared and one.fingerprint != each.fingerprint:
                    yield f"has certificate {one.fingerprint[:16]} in {one.place}"

    def _copied(self, found: Container, certificate: LiveCertificate) -> str | None:
        assert self.copy is not None, "there is one"
        here = pem(f"{certificate.live}/{CERTIFICATE}")
        place = f"{self.copy.of(certificate)}/{CERTIFICATE}"
        there = self.engine.read(found.name, place) if here else None
        if there == (here or None):
            return None
        return f"has no {place}" if there is None else f"has an older {place}"


def _within(mount: Mount) -> str:
    """What to look at in it: a link to a folder has the chain."""
    linked = os.path.islink(mount.source) and os.path.isdir(mount.source)
    return f"/{CERTIFICATE}" if linked else ""


def _has(mount: Mount, here: bytes, certificate: LiveCertificate) -> bool:
    """Whether what is mounted is of the certificate: in its folder, or a copy of what is live."""
    if Path(mount.source).is_relative_to(folder(certificate)):
        return True
    return any(pem(f"{certificate.live}/{name}") == here for name in _FILES)


def pem(path: str) -> bytes:
    """What is in a file of this host that holds certificates or keys; else nothing."""
    try:
        found = read_file(Path(path), limit=MAX_OUTPUT) if os.path.isfile(path) else b""
    except (OSError, Failure):
        return b""
    return found if b"-----BEGIN " in found else b""


def _swapped(live: str) -> float:
    """When the link to what is live was replaced last, in seconds since the epoch."""
    try:
        return os.lstat(live).st_mtime
    except OSError:
        return 0.0
