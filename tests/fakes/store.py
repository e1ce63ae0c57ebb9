"""A store of generations in memory, whose every effect is asked of a chance."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from errno import ENOSPC

from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.files.disktrouble import DiskTrouble
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.facts import facts_of, parse_certificates
from certrotd.pki.generation import CertificateState, Generation, Meta, Standing
from certrotd.pki.request import holder_of
from certrotd.pki.verify import verify_key
from tests.fakes.chance import CALM, Chance, Refused


@dataclass(frozen=True)
class Pair:
    """A private key and its chain in PEM; None for what is not (wholly) there."""

    key: bytes | None = None
    chain: bytes | None = None


@dataclass(frozen=True)
class Shelf:
    """What is kept of one certificate; immutable, so that a crash is a matter of keeping it.

    ``worn`` are the generations of which a file is damaged that the others tell.
    """

    generations: tuple[tuple[int, Pair, Meta], ...] = ()
    staging: tuple[tuple[int, Pair], ...] = ()
    trash: tuple[int, ...] = ()
    worn: tuple[int, ...] = ()
    live: int | None = None
    state: tuple[tuple[str, Hashable], ...] = field(default=())
    recorded: CertificateState = field(default_factory=CertificateState, compare=False, hash=False)
    damaged: bool = False


class MemoryStore:
    """The Store port; outlives the process using it, as a disk does.

    ``shelves`` is all of it; ``look`` and the rest show it as LocalStore shows its directories.
    ``loosened`` are the files that ``exposed`` tells of: memory has no rights to loosen.
    """

    def __init__(self, chance: Chance = CALM) -> None:
        self.chance = chance
        self.shelves: dict[str, Shelf] = {}
        self.loosened: tuple[str, ...] = ()

    def shelf(self, name: str) -> Shelf:
        """What is kept of the certificate ``name``, for assertions."""
        return self.shelves.get(name) or Shelf()

    def pair(self, name: str, generation: int) -> Pair | None:
        """A sealed generation's pair, for assertions."""
        for number, pair, _ in self.shelf(name).generations:
            if number == generation:
                return pair
        return None

    def look(self, name: str, *, thorough: bool = False) -> Standing:
        self._look("look at the store")
        shelf = self.shelf(name)
        numbers = sorted((number for number, _, _ in shelf.generations), reverse=True)
        live = self.generation(name, shelf.live) if shelf.live is not None else None
        sound = live is not None and live.facts is not None
        return Standing(
            live,
            self.generation(name, numbers[0]) if numbers else None,
            CertificateState() if shelf.damaged else shelf.recorded,
            "the state is damaged" if shelf.damaged else None,
            earlier=tuple(
                self.generation(name, each)
                for each in (() if sound else numbers[1:])
                if each != shelf.live
            ),
        )

    def place(self, name: str) -> str:
        return f"memory/{name}/live"

    def generation(self, name: str, number: int) -> Generation:
        for each, pair, meta in self.shelf(name).generations:
            if each == number and pair.key is not None and pair.chain is not None:
                try:
                    facts = matching(pair.key, pair.chain)
                    worn = "a file is damaged" if number in self.shelf(name).worn else None
                    return Generation(number, meta, facts, None, worn)
                except InvalidInput as failure:
                    return Generation(number, meta, None, failure.message)
        return Generation(number, None, None, "it is not there")

    def check(self, name: str, *, dry: bool = False) -> None:
        self._look("check the store")

    def stage_key(self, name: str, generation: int, pem: bytes) -> None:
        self._write("stage key", lambda part: self._stage(name, generation, key=part), pem)

    def staged_key(self, name: str, generation: int) -> bytes | None:
        self._look("read the staged key")
        return self._staged(name, generation).key

    def stage_chain(self, name: str, generation: int, pem: bytes) -> None:
        self._write("stage chain", lambda part: self._stage(name, generation, chain=part), pem)

    def staged_chain(self, name: str, generation: int) -> bytes | None:
        self._look("read the staged chain")
        return self._staged(name, generation).chain

    def seal(self, name: str, generation: int, meta: Meta) -> None:
        pair = self._staged(name, generation)
        if pair.key is None or pair.chain is None:
            raise NeedsOperator("the staging is incomplete: the key or the chain is missing")
        shelf = self.shelf(name)
        sealed = (*shelf.generations, (generation, pair, meta))
        self._act(name, "seal", generations=sealed, staging=self._others(name, generation))

    def sealed(self, name: str, generation: int) -> bool:
        return any(number == generation for number, _, _ in self.shelf(name).generations)

    def discard(self, name: str, generation: int) -> None:
        staging = self._others(name, generation)
        if staging != self.shelf(name).staging:
            self._act(name, "discard the staging", staging=staging)

    def read(self, name: str, generation: int) -> tuple[bytes, bytes]:
        self._look("read a generation")
        pair = self.pair(name, generation)
        if pair is None or pair.key is None or pair.chain is None:
            raise NeedsOperator(f"generation {generation} is gone")
        return pair.key, pair.chain

    def rebuild(self, name: str, generation: int) -> None:
        found = self.generation(name, generation)
        if found.facts is None:
            raise NeedsOperator(f"generation {generation} cannot be used: {found.broken}")
        worn = self.shelf(name).worn
        if generation in worn:
            self._act(name, "rebuild", worn=tuple(each for each in worn if each != generation))

    def exposed(self, name: str, generation: int) -> Sequence[str]:
        self._look("look at a generation")
        return self.loosened

    def live(self, name: str) -> int | None:
        self._look("read the live link")
        return self.shelf(name).live

    def switch(self, name: str, generation: int) -> None:
        if not self.sealed(name, generation):
            raise NeedsOperator(f"generation {generation} does not exist")
        self.rebuild(name, generation)
        self._act(name, "switch", live=generation)

    def record(self, name: str, state: CertificateState) -> None:
        self._act(name, "record", state=_frozen(state), recorded=state, damaged=False)

    def mend(self, name: str, state: CertificateState, *, now: datetime) -> str:
        self._act(name, "mend", state=_frozen(state), recorded=state, damaged=False)
        return f"the state of {now:%H:%M}"

    def sweep(self, name: str) -> None:
        shelf = self.shelf(name)
        for number, _ in shelf.staging:
            self._act(name, "sweep staging", staging=self._others(name, number))
        if shelf.trash:
            self._act(name, "sweep trash", trash=())

    def remove(self, name: str) -> None:
        self._act(name, "remove the link", live=None)
        self._act(name, "remove", generations=(), staging=(), recorded=CertificateState())

    def prune(self, name: str, keep: int, spare: Sequence[int]) -> None:
        shelf = self.shelf(name)
        if shelf.live is None:
            return
        earlier = sorted(n for n, _, _ in shelf.generations if n < shelf.live)
        for number in earlier[: max(0, len(earlier) - keep)]:
            if number in spare:
                continue
            kept = tuple(g for g in self.shelf(name).generations if g[0] != number)
            trash = (*self.shelf(name).trash, number)
            self._act(name, "move to the trash", generations=kept, trash=trash)
            rest = tuple(n for n in self.shelf(name).trash if n != number)
            self._act(name, "empty the trash", trash=rest)

    def _staged(self, name: str, generation: int) -> Pair:
        return dict(self.shelf(name).staging).get(generation, Pair())

    def _others(self, name: str, generation: int) -> tuple[tuple[int, Pair], ...]:
        return tuple(each for each in self.shelf(name).staging if each[0] != generation)

    def _stage(self, name: str, generation: int, **content: bytes) -> None:
        pair = replace(self._staged(name, generation), **content)
        staging = (*self._others(name, generation), (generation, pair))
        self.shelves[name] = replace(self.shelf(name), staging=staging)

    def _look(self, what: str) -> None:
        with _told():
            self.chance.look(f"store: {what}")

    def _act(self, name: str, what: str, **changes: object) -> None:
        def change() -> None:
            self.shelves[name] = replace(self.shelf(name), **changes)  # type: ignore[arg-type]

        with _told():
            self.chance.act(f"store: {what}", change)

    def _write(self, what: str, put: Callable[[bytes], None], data: bytes) -> None:
        with _told():
            self.chance.write(f"store: {what}", lambda share: put(data[: int(len(data) * share)]))


class AtOnceStore(MemoryStore):
    """One that is SealingAtOnce, as that in a cluster."""

    def seal_with(self, name: str, generation: int, meta: Meta, chain: bytes) -> None:
        pair = replace(self._staged(name, generation), chain=chain)
        if pair.key is None:
            raise NeedsOperator("the staging is incomplete: the key is missing")
        sealed = (*self.shelf(name).generations, (generation, pair, meta))
        self._act(name, "seal", generations=sealed, staging=self._others(name, generation))


@functools.lru_cache(maxsize=4096)
def matching(key: bytes, chain: bytes) -> CertificateFacts:
    """The facts of a pair's leaf; InvalidInput unless key and certificate belong together."""
    leaf = parse_certificates(chain)[0]
    verify_key(holder_of(key), leaf)
    return facts_of(leaf)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except Refused:
        raise DiskTrouble("use the store", OSError(ENOSPC, "No space left on device")) from None


def _frozen(state: CertificateState) -> tuple[tuple[str, Hashable], ...]:
    return (
        *((name, target) for name, target in sorted(state.targets.items())),
        ("withdrawn", state.withdrawn),
        ("held", state.held),
        ("copies", tuple(state.copies.items())),
        ("revoked", tuple(state.revoked.items())),
    )
