"""Which containers a target is about, and of which certificates each is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from certrotd.containers.container import LABEL, PROJECT, SERVICE, Container
from certrotd.containers.engine import Engine, Gone
from certrotd.errors import Failure
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
        self,
        engine: Engine,
        certificates: Sequence[LiveCertificate],
        failed: dict[str, Failure] | None = None,
    ) -> list[Task]:
        """Each container once, in the order in which they are told.

        Those by name or service have all of the certificates, the others those that label or
        mounts are about. Raises Gone for a name that is none, and as Engine.get(); with ``failed``
        one that is gone is left out, and so is one of which the engine cannot say what it is: that
        is put there, by its name.
        """
        found: dict[str, Task] = {}

        def looked(names: Sequence[str], *, listed: bool) -> Iterator[Container]:
            for name in names:
                try:
                    yield engine.get(name)
                except Gone:
                    if not listed and failed is None:
                        raise
                except Failure as failure:
                    if failed is None:
                        raise
                    failed[name] = failure

        for each in looked(self.names, listed=False):
            found.setdefault(each.name, Task(each, certificates))
        for project, service in self.services:
            for each in looked(engine.find({PROJECT: project, SERVICE: service}), listed=True):
                found.setdefault(each.name, Task(each, certificates))
        for each in looked(engine.find({LABEL: ""}) if self.labelled else (), listed=True):
            if its := [one for one in certificates if each.has(one.certificate)]:
                found.setdefault(each.name, Task(each, its))
        for each in looked(engine.find({}) if self.mounting else (), listed=True):
            if its := [one for one in certificates if each.mounts_of(folder(one))]:
                found.setdefault(each.name, Task(each, its))
        return list(found.values())


def folder(certificate: LiveCertificate) -> str:
    """The certificate's folder, which stays whatever is live in it."""
    return str(Path(certificate.live).parent)
