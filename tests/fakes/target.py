"""Something that serves a pair from memory, and reads it again only when told."""

from __future__ import annotations

from collections.abc import Callable

from certrotd.errors import InvalidInput, NeedsOperator
from tests.fakes.chance import CALM, Chance, Refused
from tests.fakes.store import matching


class MemoryTarget:
    """The Target port; ``read`` gives the key and the chain at the paths its own configuration has.

    ``serves`` is the SHA-256 of the leaf it has in memory, None while it is down. It outlives
    certrotd, and goes on serving what it has when what it reads cannot be used.
    """

    def __init__(
        self, name: str, read: Callable[[], tuple[bytes, bytes] | None], chance: Chance = CALM
    ) -> None:
        self.name = name
        self.read = read
        self.chance = chance
        self.serves: str | None = None
        self.broken = ""  # why its configuration cannot be used, if so

    def check(self) -> None:
        self._ask("check", self.chance.look)

    def apply(self) -> None:
        if self.broken:
            raise NeedsOperator(f"{self.name}: {self.broken}")
        self._ask("apply", lambda what: self.chance.act(what, self._reload))

    def _reload(self) -> None:
        pair = self.read()
        if pair is None:
            raise NeedsOperator(f"{self.name}: the certificate files are not there")
        try:
            self.serves = matching(*pair).fingerprint
        except InvalidInput as failure:
            raise NeedsOperator(f"{self.name}: {failure.message}") from None

    def _ask(self, what: str, how: Callable[[str], None]) -> None:
        try:
            how(f"target {self.name}: {what}")
        except Refused:
            raise NeedsOperator(f"{self.name} refuses") from None
