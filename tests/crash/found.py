"""What is there after a run was broken off, as the readers of the files find it."""

import json
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from tests.crash.scenarios import NAME, RENEWAL, Scenario
from tests.parts.site import Site, exposed_keys, matching, pair_of


class Found:
    """What a reader finds on a site, each look fresh."""

    def __init__(self, site: Site, scenario: Scenario = RENEWAL) -> None:
        self._site = site
        self._copies = scenario.copies

    @property
    def live(self) -> int | None:
        """The generation that is live; its key has to belong to its certificate."""
        link = self._site.store / NAME / "live"
        if not link.is_symlink():
            return None
        number = self._site.generation(NAME)
        folder = self._site.live(NAME)
        leaf = self._site.leaf(NAME)
        assert matching(folder / "combined.pem", folder / "combined.pem") == leaf
        return number

    @property
    def copies(self) -> set[int]:
        """The generations that the copies are of; each has to be a whole file of one."""
        found = list(self.by_shape.values())
        # where they are mixed, what is the same in all generations says nothing
        return set.intersection(*found) or set.union(*(each for each in found if len(each) == 1))

    @property
    def by_shape(self) -> dict[str, set[int]]:
        """The generations that each copy may be of: those of one CA have the same chain."""
        directory = self._site.directory
        return {shape: self._of(shape, directory / path) for shape, path in self._copies.items()}

    def _of(self, shape: str, copy: Path) -> set[int]:
        if not copy.exists():
            return {0}
        content = copy.read_bytes()
        same = {
            number
            for number in self._site.generations(NAME)
            if (
                self._site.store / NAME / "generations" / f"{number:06d}" / f"{shape}.pem"
            ).read_bytes()
            == content
        }
        assert same, f"{copy.name} is of no generation: {content[:40]!r}"
        return same

    @property
    def told(self) -> list[int]:
        """The generations the target has been told of, one after the other.

        What it read then has to be a pair: half-replaced copies are never followed by a reload.
        """
        log = self._site.directory / "told.log"
        numbers = []
        for blob in log.read_bytes().split(b"told\n")[:-1] if log.exists() else ():
            numbers.append(self._number(pair_of(blob, blob)))
        return numbers

    def forget_earlier(self) -> None:
        """Keeps only what the target was told last: what it is compared with may be pruned."""
        log = self._site.directory / "told.log"
        log.write_bytes(log.read_bytes().split(b"told\n")[-2] + b"told\n")

    def _number(self, leaf: x509.Certificate) -> int:
        for number in self._site.generations(NAME):
            if self._site.leaf(NAME, number) == leaf:
                return number
        return 0

    @property
    def recorded(self) -> int | None:
        """The generation that the certificate's state says the target was told of."""
        state = self._site.store / NAME / "state.json"
        if not state.exists():
            return None
        targets = json.loads(state.read_text())["targets"]
        return int(targets["told"]["generation"]) if "told" in targets else None

    @property
    def open_journal(self) -> bool:
        """Whether a rotation has begun and not ended."""
        journal = self._site.state / "journal/certificate" / f"{NAME}.jsonl"
        return journal.exists() and journal.stat().st_size > 0

    @property
    def exposed(self) -> list[str]:
        """Private keys that somebody else can read."""
        return exposed_keys(self._site.directory)

    def whole(self, scenario: Scenario) -> Iterator[str]:
        """What is wrong for somebody who reads the files at any moment."""
        if self.live not in (scenario.old, scenario.new):
            yield f"generation {self.live} is live"
        if not self.copies <= {0, scenario.old, scenario.new}:
            yield f"the copies are of {self.copies}"
        if 0 in self.told:
            yield f"the target was told of {self.told}"
        if exposed := self.exposed:
            yield f"readable by others: {exposed}"

    def consistent(self) -> Iterator[str]:
        """What is wrong where the copies, the target and the record must be those of ``live``."""
        live = self.live
        if self.copies != {live} or self.recorded != live or self.told[-1:] != [live]:
            yield (
                f"live is {live}, the copies are of {self.copies}, the target was told of"
                f" {self.told}, recorded is {self.recorded}"
            )

    def settled(self) -> Iterator[str]:
        """What is wrong where nothing is in flight and nothing may be left of what was."""
        yield from self.consistent()
        if leftovers := self._site.leftovers():
            yield f"left behind: {leftovers}"
        if exposed := self.exposed:
            yield f"readable by others: {exposed}"
