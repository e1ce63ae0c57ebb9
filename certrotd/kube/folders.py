"""A few small files in a Secret of their own, under a Lease."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from certrotd.clock import Deadline
from certrotd.errors import InvalidInput
from certrotd.files.disktrouble import DiskTrouble
from certrotd.kube.api import revision_of
from certrotd.kube.leases import Hold, Leases
from certrotd.kube.objects import Objects, data_of, secret
from certrotd.state.ports import ABSENT, Conflict


class SecretFolder:
    """As ports.Folder; each file is an entry of the Secret's data."""

    def __init__(self, objects: Objects, name: str, leases: Leases) -> None:
        self._objects = objects
        self._name = name
        self._leases = leases

    @property
    def place(self) -> str:
        return self._objects.place(self._name)

    def where(self, name: str) -> str:
        return f"{name} of {self.place}"

    def names(self) -> frozenset[str]:
        return frozenset(self._found()[0])

    def read(self, name: str, *, limit: int) -> bytes | None:
        data = self._found()[0].get(name)
        if data is not None and len(data) > limit:
            raise InvalidInput(f"{self.where(name)} is larger than {limit} bytes")
        return data

    def write(self, name: str, data: bytes) -> None:
        there, revision = self._found()
        self._put({**there, name: data}, revision)

    def add(self, name: str, data: bytes) -> None:
        there, revision = self._found()
        if name in there:
            raise Conflict(f"{self.where(name)} was made meanwhile")
        self._put({**there, name: data}, revision)

    def remove(self, name: str) -> None:
        there, revision = self._found()
        if name in there:
            self._put({each: data for each, data in there.items() if each != name}, revision)

    def create(self, files: Mapping[str, bytes]) -> None:
        there, revision = self._found()
        if there:
            raise DiskTrouble(f"make {self.place}", OSError(errno.ENOTEMPTY, "it is not empty"))
        self._put(files, revision)

    def reading(self) -> AbstractContextManager[None]:
        """As Folder.reading(): the Secret is read once."""
        return self._objects.alone(self._name)

    @contextmanager
    def locked(self, what: str, wait: Deadline) -> Iterator[Hold]:
        """As Folder.locked(); within it the Secret is read once."""
        held = self._leases.hold(f"folder/{self._name}", what, wait=wait)
        with held as hold, self._objects.alone(self._name):
            yield hold

    def _found(self) -> tuple[dict[str, bytes], str]:
        found = self._objects.read(self._name)
        if found is None:
            return {}, ABSENT
        return data_of(found, self.place), revision_of(found)

    def _put(self, files: Mapping[str, bytes], revision: str) -> None:
        self._objects.write(self._name, secret(files), revision=revision)
