"""An application that holds one key, its rows, and a keyring that cuts it over, in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from certrotd.codecs.derivation import Kdf, KdfName
from certrotd.codecs.errors import CodecError
from certrotd.codecs.expectation import Anything, Expectation, Length, Matching
from certrotd.codecs.layout import Layout, LayoutCipher
from certrotd.codecs.patterns import WholePattern
from certrotd.codecs.port import Codec
from certrotd.codecs.tink import Tink
from certrotd.datasets.census import Tally
from certrotd.datasets.configured import Opened
from certrotd.datasets.reencryption import Pace
from certrotd.datasets.values import Form
from certrotd.errors import NeedsOperator
from certrotd.keyring.delivery import Delivery
from certrotd.keyring.keyring import Keyring
from certrotd.keyring.material import Algorithm, DataKey
from certrotd.keys.policy import Policy
from certrotd.keys.reencrypting import Reencryptable
from certrotd.keys.world import World
from certrotd.outputs.port import Imported, ImportedKey
from certrotd.window import Window
from tests.fakes.datasets import MemoryDataset
from tests.fakes.keyrings import PATH, KeyBench, Shelf

ROWS = 7
TINK = Tink()
CBC = Layout(
    "{iv:hex}:{ct:hex}",
    LayoutCipher.AES_256_CBC,
    plaintext=Anything(),
    marks=True,
)
"""It has no MAC, and names no key."""
CFB = replace(CBC, cipher=LayoutCipher.AES_256_CFB, kdf=Kdf(KdfName.SHA256))
"""It opens under any key."""


@dataclass
class OneKeyShelf(Shelf):
    """It holds the key that encrypts, and no other."""

    def differs(self, delivery: Delivery) -> str | None:
        return super().differs(delivery.only_encrypting)

    def deliver(self, delivery: Delivery) -> Mapping[Path, str]:
        return super().deliver(delivery.only_encrypting)

    def imported(self) -> Imported | None:
        if self.delivered is None:
            return None
        key = self.delivered.encrypting.key
        return Imported((ImportedKey(key.algorithm, key.material, key.id),), 0)


@dataclass
class OneKeyApp:
    """Application; ``at`` is told of everything that is done to it, before and after.

    ``tells``: whether anybody can tell that it is stopped. ``refuses`` has which of stop, start and
    reads fail; reads fails only for another key than the first.
    """

    shelf: OneKeyShelf
    rows: MemoryDataset
    codec: Codec = TINK
    at: Callable[[], None] = lambda: None
    running: bool = False
    tells: bool = True
    has: DataKey | None = None
    refuses: set[str] = field(default_factory=set)
    stops: int = 0
    within: float = 3.0

    def check(self) -> None:
        if not self.running:
            raise NeedsOperator("it does not run")

    def stop(self) -> None:
        self.at()
        self.stops += 1
        if "stop" in self.refuses:
            raise NeedsOperator("it does not stop")
        self.running = False
        self.at()

    def start(self) -> None:
        self.at()
        key = self.shelf.delivered.encrypting.key if self.shelf.delivered else None
        if "start" in self.refuses and key is not None and key.version > 1:
            raise NeedsOperator("it does not start")
        if not self.running:
            self.running, self.has = True, key
        self.at()

    def stopped(self) -> bool | None:
        return not self.running if self.tells else None

    def reads(self) -> str | None:
        self.at()
        if not self.running or self.has is None:
            return "it is away"
        if "reads" in self.refuses and self.has.version > 1:
            return "it reads nothing"
        try:
            every = list(self.rows.content.values())
            for [value] in (*every[:1], *every[-1:]):
                if not self.codec.decrypt(value or b"", self.has).isdigit():
                    return "it reads gibberish"
        except CodecError as error:
            return error.message
        return None

    def write(self, row: int) -> None:
        """One more row, as it does while it runs."""
        if self.running and self.has is not None:
            self.rows.content[(row,)] = (self.codec.encrypt(b"%d" % row, self.has),)


@dataclass
class CutOverBench(KeyBench):
    """A keyring of one dataset whose application is cut over."""

    policy: Policy = field(
        default_factory=lambda: Policy(
            "orders",
            outputs=(f"dotenv {PATH}",),
            datasets=frozenset({"rows"}),
            reencrypted=frozenset({"rows"}),
            capacity=1,
            stages=False,
            escrows=True,
            cuts_over=True,
        )
    )
    shelf: OneKeyShelf = field(default_factory=OneKeyShelf)
    window: Window | None = None
    codec: Codec = TINK
    slow: timedelta = timedelta(0)
    """How long it takes to open the dataset."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.rows = MemoryDataset()
        own = replace(self.codec, marks=False) if isinstance(self.codec, Layout) else self.codec
        self.app = OneKeyApp(self.shelf, self.rows, own)

    def begin(self) -> CutOverBench:
        """A first key, rows under it, and the application running."""
        assert not self.rotate().failed
        self.app.start()
        for row in range(ROWS):
            self.app.write(row)
        return self

    def world(self) -> World:
        places = {"rows": Reencryptable(self._opened, self._counted)}
        return replace(super().world(), datasets=places, application=self.app, window=self.window)

    @contextmanager
    def _opened(self) -> Iterator[Opened]:
        self.clock.advance(self.slow)
        looks: Expectation = Length(1, 9) if self.codec is CFB else Matching(WholePattern(r"\d+"))
        expects = {} if self.codec.traits.authenticated else {0: looks}
        yield Opened(self.rows, Form(self.codec, expects=expects), Pace(batch=3), False)

    def _counted(self, tally: Tally, at: datetime) -> None:
        del tally, at

    def _key(self, keyring: Keyring) -> DataKey:
        taken = self.codec.traits.algorithms
        algorithm = Algorithm.AES_256_GCM if self.codec is TINK else next(iter(taken))
        key, number = super()._key(keyring), str(keyring.versions.next_number)
        return replace(key, algorithm=algorithm, id=number)

    def whole(self) -> int:
        """It serves, and everything is under the very key that it has: that version."""
        assert self.app.running
        assert self.app.reads() is None, self.app.reads()
        assert self.app.has is not None
        assert [value for [value] in self.rows.content.values()] != []
        for (row,), [value] in self.rows.content.items():
            assert self.codec.decrypt(value or b"", self.app.has) == b"%d" % int(str(row))
        found = self.store().inspect()
        assert found is not None
        assert found.versions.active is not None
        assert found.versions.active.number == self.app.has.version
        assert self.shelf.delivered is not None
        assert [each.key.version for each in self.shelf.delivered.keys] == [self.app.has.version]
        return self.app.has.version
