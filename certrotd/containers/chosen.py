"""Which containers a target is about, and of which certificates each is told."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from certrotd.containers.container import LABEL, PROJECT, SERVICE, Container
from certrotd.containers.engine import Engine, Gone
from certrotd.pki.generation import LiveCertificate


@dataclass(frozen=True)
class Task:
    """A container, and the certificates that it is to be told of."""

    container: Container
    certificates: Sequence[LiveCertificate]

    @property
    def name(self) -> str:
        """That of the container."""
        return self.container.name


@dataclass(frozen=True)
class Chosen:
    """Which containers: by name, of Compose's ``services``, by label, by what they mount."""

    names: tuple[str, ...] = ()
    services: tuple[tuple[str, str], ...] = ()
    labelled: bool = False
    mounting: bool = False

    def tasks(
        self, engine: Engine, certificates: Sequence[LiveCertificate], *, gone: bool = False
    ) -> list[Task]:
        """Each container once, in the order in which they are told.

        Those by name or service have all of the certificates, the others those that label or
        mounts are about. Raises Gone for a name that is none, unless some may be ``gone``.
        """
        found: dict[str, Task] = {}
        for name in self.names:
            with suppress(Gone) if gone else nullcontext():
                found.setdefault(name, Task(engine.get(name), certificates))
        for project, service in self.services:
            for each in engine.find({PROJECT: project, SERVICE: service}):
                found.setdefault(each.name, Task(each, certificates))
        for each in engine.find({LABEL: ""}) if self.labelled else ():
            if its := [one for one in certificates if each.has(one.certificate)]:
                found.setdefault(each.name, Task(each, its))
        for each in engine.find({}) if self.mounting else ():
            if its := [one for one in certificates if each.mounts_of(folder(one))]:
                found.setdefault(each.name, Task(each, its))
        return list(found.values())


def folder(certificate: LiveCertificate) -> str:
    """The certificate's folder, which stays whatever is live in it."""
    return str(Path(certificate.live).parent)
