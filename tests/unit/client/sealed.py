"""A sealed keyring in a directory, moved from revision to revision as a rotation would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from certrotd.client import Keyring
from certrotd.clock import ManualClock
from certrotd.errors import Failure
from certrotd.files.writing import write_file
from certrotd.kek import file as kek_file
from certrotd.kek.file import FileKek
from certrotd.keyring import keyring as keyrings
from certrotd.keyring.delivery import Delivery
from certrotd.keyring.document import sealed
from certrotd.keyring.material import Algorithm, DataKey, Material
from certrotd.keyring.states import Versions
from tests.unit.keyring.versions import FRESH, proof

NOW = datetime(2026, 6, 1, tzinfo=UTC)
AAD = b"orders,note,7"
IDS = {1: 0x01020304, 2: 0xFFFFFFFF, 3: 0x30303030}


def data_key(version: int, algorithm: Algorithm = Algorithm.AES_256_GCM) -> DataKey:
    """The key of that version, always the same."""
    secret = bytes([0xA0 + version]) * algorithm.key_bytes
    key_id = str(IDS[version]) if version in IDS else ""
    return DataKey(version, algorithm, Material(secret), key_id)


@dataclass
class Sealed:
    """The keyring orders below ``directory``, whose version 1 encrypts from the beginning."""

    directory: Path
    algorithm: Algorithm = Algorithm.AES_256_GCM
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))
    troubles: list[Failure] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.path = self.directory / "orders.keyring"
        self.kek: FileKek = kek_file.make(self.directory / "orders.kek")
        self.keyring = keyrings.empty("orders", Material(bytes(32)))
        self.generate()
        self.activate(1)

    def generate(self) -> None:
        """One more key, which consumers may decrypt with."""
        versions = self.keyring.versions
        number = len(versions.all) + 1
        key = data_key(number, self.algorithm)
        self.keyring = self.keyring.added(key, versions.generate(at=NOW, why="due"))
        self.move(lambda each: each.distribute(number, at=NOW, why="durable"))

    def activate(self, number: int) -> None:
        """The key encrypts from now on."""
        self.move(lambda each: each.activate(number, at=NOW, why="acknowledged"))

    def destroy(self, number: int) -> None:
        """The key is gone, after all that comes before."""
        self.move(lambda each: each.retire(number, at=NOW, why="re-encrypted"))
        self.move(lambda each: each.disable(number, at=NOW, why="grace is over"))
        self.move(lambda each: each.destroy(number, proof(NOW), FRESH, at=NOW, why="proven"))

    def count(self, number: int, messages: int) -> None:
        """So many messages are counted by certrotd."""
        self.keyring = self.keyring.counted(number, messages, messages, at=NOW)
        self.write()

    def move(self, act: Callable[[Versions], Versions]) -> None:
        """Another revision."""
        self.keyring = self.keyring.moved(act(self.keyring.versions))
        self.write()

    def write(self) -> None:
        """The document, replaced as certrotd does."""
        data, self.keyring = sealed(self.keyring, {"local": self.kek})
        write_file(self.path, data, mode=0o640)

    @property
    def delivery(self) -> Delivery:
        return Delivery.of(self.keyring)

    def open(self, **more: Any) -> Keyring:
        """It as an application opens it, on the manual clock and without a thread."""
        arguments: dict[str, Any] = {
            "kek": self.kek.path,
            "background": False,
            "clock": self.clock,
            "on_trouble": self.troubles.append,
        }
        return Keyring.open(self.path, **(arguments | more))
