"""Generations in Secrets; the live one is in a Secret of type kubernetes.io/tls that pods read."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from certrotd.errors import NeedsOperator, Transient, raise_first
from certrotd.kube.api import Object
from certrotd.kube.objects import STATE, data_of, secret
from certrotd.kube.rights import missing
from certrotd.pki.generation import (
    CertificateState,
    ForeignChange,
    Generation,
    Meta,
    Standing,
)
from certrotd.state.ports import Conflict
from certrotd.stores.live_secret import (
    LIVE,
    Home,
    Place,
    Seen,
    given_up,
    is_ours,
    named,
    refuse,
    refuse_kind,
    verdict_of,
)
from certrotd.stores.own_secrets import (
    CERTIFICATE,
    Examined,
    Kept,
    Shelf,
    again_of,
    from_live,
)
from certrotd.stores.restoring import again_at, counted
from certrotd.stores.tls_secret import CHAIN, KEY, TYPE, Shapes

if TYPE_CHECKING:
    from certrotd.config.connect import Connect
    from certrotd.config.stores import KubernetesStoreEntry

TRIES = 5


class KubernetesStore:
    """The store of the certificates that are in ``places`` by their names."""

    def __init__(self, places: Mapping[str, Place]) -> None:
        self._places = places
        self._homes: dict[str, Home] = {}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """As LocalStore.names, of those configured."""
        return sorted(self._places)

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """As Locked.alone: certrotd's own is read once, and the live Secret now and then."""
        home = self._home(name)
        with home.own.objects.alone(name), home.live.alone():
            yield

    def look(self, name: str, *, thorough: bool = False) -> Standing:
        """As Store.look: by two requests, and one for each generation of which the key is read."""
        home = self._home(name)
        seen = self._seen(home, name)
        kept, generations = seen.shelf.kept, seen.shelf.generations
        last = max(generations, default=None)
        live, foreign = None, None
        if seen.number is not None:
            live, foreign = self._live(home, name, seen, thorough=thorough)
        newest = live
        if last != seen.number:
            newest = (
                None
                if last is None
                else self._other(home, name, seen.shelf, last, thorough=thorough)
            )
        earlier: tuple[Generation, ...] = ()
        if live is None or live.facts is None:
            others = sorted(generations.keys() - {seen.number, last}, reverse=True)
            earlier = tuple(
                self._other(home, name, seen.shelf, each, thorough=True) for each in others
            )
        return Standing(live, newest, kept.state, kept.damaged, earlier=earlier, foreign=foreign)

    def generation(self, name: str, number: int) -> Generation:
        home = self._home(name)
        return self._examined(home, name, number).generation

    def live(self, name: str) -> int | None:
        home = self._home(name)
        return self._in_place(home, name, home.live.read())

    def place(self, name: str) -> str:
        return self._home(name).live.place

    def sealed_secret(self, name: str, generation: int) -> str:
        """As Sealing.sealed_secret."""
        return self._home(name).own.called(name, generation)

    def check(self, name: str, *, dry: bool = False) -> None:
        """As Store.check: rights, room and the live Secret; nothing is changed for it, ever."""
        home = self._home(name)
        raise_first(missing(home.live.api, home.rights, lasting=home.own_rights))
        seen = self._seen(home, name)
        refuse(home, name, seen)
        home.own.refuse_state(name)
        if dry:  # else the key is staged before anything is ordered, which shows the same
            home.own.rehearse(name)
        if seen.found is None:
            home.live.rehearse(secret({KEY: b"", CHAIN: b""}, TYPE))

    def stage_key(self, name: str, generation: int, pem: bytes) -> None:
        self._home(name).own.stage(name, generation, {KEY: pem})

    def staged_key(self, name: str, generation: int) -> bytes | None:
        return self._home(name).own.staged(name, generation).get(KEY)

    def stage_chain(self, name: str, generation: int, pem: bytes) -> None:
        if not self._home(name).own.stage_beside(name, generation, {CHAIN: pem}, KEY):
            raise NeedsOperator(f"the staging of generation {generation} is gone, and its key")

    def staged_chain(self, name: str, generation: int) -> bytes | None:
        return self._home(name).own.staged(name, generation).get(CHAIN)

    def seal(self, name: str, generation: int, meta: Meta) -> None:
        """As Store.seal; raises as seal_with()."""
        chain = self.staged_chain(name, generation)
        self.seal_with(name, generation, meta, chain)

    def seal_with(self, name: str, generation: int, meta: Meta, chain: bytes | None) -> None:
        """As SealingAtOnce.seal_with; raises KeyMismatch: what is remembered here is believed."""
        from certrotd.pki.facts import facts_of, parse_certificates
        from certrotd.pki.keys import load
        from certrotd.pki.verify import verify_key

        own, key = self._home(name).own, self.staged_key(name, generation)
        if key is None or chain is None:
            raise NeedsOperator(
                f"the staging of generation {generation} is incomplete: the key or the chain is "
                "missing"
            )
        leaf = parse_certificates(chain, what="the staged chain")[0]
        verify_key(load(key, what="the staged key"), leaf)
        own.seal(name, generation, meta, facts_of(leaf), (key, chain))

    def sealed(self, name: str, generation: int) -> bool:
        home = self._home(name)
        if home.own.has(name, generation):
            return True
        return self._examined(home, name, generation).pair is not None

    def discard(self, name: str, generation: int) -> None:
        self._home(name).own.unstage(name, generation)

    def read(self, name: str, generation: int) -> tuple[bytes, bytes]:
        home = self._home(name)
        found = self._examined(home, name, generation)
        if found.pair is None:
            raise NeedsOperator(
                f"{home.own.place(name, generation)} cannot be used: {found.generation.broken}"
            )
        return found.pair

    def rebuild(self, name: str, generation: int) -> None:
        """As Store.rebuild; of the generation that is live the live Secret, too."""
        home = self._home(name)
        found = self._rebuilt(home, name, generation)
        if self._seen(home, name).number == generation:
            self._put(home, name, generation, found)

    def exposed(self, name: str, generation: int) -> Sequence[str]:  # noqa: ARG002
        """Nobody by the object itself: who may read Secrets is for the cluster's Roles to say."""
        return ()

    def switch(self, name: str, generation: int) -> None:
        """As Store.switch: the live Secret is replaced whole, by one request.

        What somebody else has put in the place of this generation stays, if it can be used. The
        live Secret itself says what it holds: which was put there last is kept with the state.
        """
        home = self._home(name)
        found = self._rebuilt(home, name, generation)
        kept = self._put(home, name, generation, found)
        if kept.placed is None:  # else nobody can tell the first one of certrotd's from another's
            home.own.keep(name, replace(kept, placed=generation))

    def record(self, name: str, state: CertificateState) -> None:
        home = self._home(name)
        kept, placed = home.own.kept(name), self._in_place(home, name, home.live.last())
        home.own.keep(name, replace(kept, state=state, placed=placed, damaged=None))

    def mend(self, name: str, state: CertificateState, *, now: datetime) -> str:  # noqa: ARG002
        """As Store.mend; the last one that was damaged is kept."""
        home = self._home(name)
        aside, live = home.own.set_aside(name), self.live(name)
        kept = home.own.kept(name)
        home.own.keep(name, replace(kept, state=state, placed=live, damaged=None))
        return aside

    def sweep(self, name: str) -> None:
        own = self._home(name).own
        for number in own.shelf(name).staged:
            own.unstage(name, number)

    def prune(self, name: str, keep: int, spare: Sequence[int]) -> None:
        home = self._home(name)
        seen = self._seen(home, name)
        if seen.number is None:
            return
        earlier = sorted(each for each in seen.shelf.generations if each < seen.number)
        for number in earlier[: max(0, len(earlier) - keep)]:
            if number not in spare:
                home.own.drop(name, number)

    def remove(self, name: str) -> None:
        """As Store.remove: certrotd's own Secrets; pods read the live one."""
        own = self._home(name).own
        shelf = own.shelf(name)
        for number in (*shelf.staged, *shelf.generations):
            own.drop(name, number)
        own.forget(name)

    def adoptable(self, name: str) -> tuple[bytes, bytes] | None:
        """Key and chain, leaf first, that somebody else has in the live Secret; None without any.

        As they stand there, so that to adopt them changes nothing that anybody reads. Raises
        NeedsOperator for a Secret that cannot become the live one.
        """
        from certrotd.pki.facts import parse_certificates
        from certrotd.pki.keys import load, spki
        from certrotd.stores.bundle import leaf_first

        home = self._home(name)
        found = home.live.read()
        if not home.place.adopt or found is None or is_ours(found, home, name):
            return None
        data, place = data_of(found, home.live.place), home.live.place
        key, chain = data.get(KEY), data.get(CHAIN)
        if not key or not chain:
            return None
        refuse_kind(found, place)
        certificates = parse_certificates(chain, what=f"{CHAIN} of {place}")
        wanted = spki(load(key, what=f"{KEY} of {place}").public_key())
        if spki(certificates[0].public_key()) == wanted:
            return key, chain
        return key, leaf_first(certificates, key, what=f"{CHAIN} of {place}")

    def _home(self, name: str) -> Home:
        with self._lock:
            if name not in self._homes:
                if name not in self._places:
                    raise NeedsOperator(f"the configuration has no Secret for {name!r}")
                self._homes[name] = Home.of(self._places[name])
            return self._homes[name]

    def _in_place(self, home: Home, name: str, found: Object | None) -> int | None:
        """The generation in the live Secret, or the one that was put there last."""
        return named(found) if is_ours(found, home, name) else home.own.kept(name).placed

    def _seen(self, home: Home, name: str) -> Seen:
        found, shelf = home.live.read(), home.own.shelf(name)
        number = named(found) if is_ours(found, home, name) else shelf.kept.placed
        return Seen(found, number, shelf)

    def _live(
        self, home: Home, name: str, seen: Seen, *, thorough: bool
    ) -> tuple[Generation, ForeignChange | None]:
        """The live generation, and what is in the live Secret instead of it, if that stays."""
        number = seen.number
        assert number is not None, "there is one"
        recorded = seen.shelf.generations.get(number)
        if recorded is not None and not thorough:
            generation, digests = (
                Generation(number, recorded.meta, recorded.facts),
                recorded.digests,
            )
        else:
            examined = self._examined(home, name, number)
            generation, digests = examined.generation, examined.digests
        if generation.facts is None:
            return generation, None
        now = home.live.api.clock.now()
        broken, foreign = verdict_of(home, seen.found, digests, now=now)
        if broken is None:
            return generation, ForeignChange(foreign) if foreign else None
        if until := again_at(seen.shelf.kept.restored, now=now):
            return generation, ForeignChange(f"{broken}; {given_up(until)}", broken=True)
        damaged = "; ".join(filter(None, (generation.damaged, broken)))
        return replace(generation, damaged=damaged), None

    def _other(
        self, home: Home, name: str, shelf: Shelf, number: int, *, thorough: bool
    ) -> Generation:
        """A generation that is not live."""
        recorded = shelf.generations[number]
        if recorded is not None and not thorough:
            return Generation(number, recorded.meta, recorded.facts)
        return self._examined(home, name, number).generation

    def _examined(self, home: Home, name: str, number: int) -> Examined:
        """A generation that was read; by the live Secret, where its own is gone or broken."""
        own = home.own.examine(name, number)
        if own is not None and own.pair is not None:
            return own
        found = home.live.read()
        ours = found is not None and is_ours(found, home, name) and named(found) == number
        held = data_of(found, home.live.place) if found is not None and ours else {}
        if own is not None:
            return again_of(held, own, home.own.place(name, number))
        gone = f"{home.own.place(name, number)} is gone"
        if not held:
            return Examined(Generation(number, None, None, gone))
        return from_live(held, number, gone)

    def _rebuilt(self, home: Home, name: str, number: int) -> Examined:
        """A generation whose own Secret is there and whole; NeedsOperator where it cannot be."""
        found = self._examined(home, name, number)
        meta, facts, pair = found.generation.meta, found.generation.facts, found.pair
        if meta is None or facts is None or pair is None:
            has = home.own.has(name, number)
            why = f"cannot be used: {found.generation.broken}" if has else "does not exist"
            raise NeedsOperator(f"{home.own.place(name, number)} {why}")
        if found.generation.damaged is not None:
            home.own.reseal(name, number, meta, facts, pair)
        return found

    def _put(self, home: Home, name: str, number: int, wanted: Examined) -> Kept:
        """Have the live Secret hold a generation, unless somebody else's pair is to stay there.

        The state as it is kept then.
        """
        assert wanted.pair is not None, "it was looked at"
        content = secret(home.place.shapes.data(*wanted.pair), TYPE)
        notes = {
            CERTIFICATE: name,
            STATE: home.place.instance,
            LIVE: str(number),
        }
        tries = TRIES
        while True:
            tries -= 1
            seen = self._seen(home, name)
            refuse(home, name, seen)
            kept = seen.shelf.kept
            if seen.number == number:
                if not self._to_restore(home, name, seen, wanted):
                    return kept
                kept = replace(kept, placed=number)
            try:
                home.live.apply(content, over=seen.found, annotations=notes)
            except Conflict:
                if not tries:
                    raise
                continue  # somebody changed it meanwhile: that is looked at first
            return kept

    def _to_restore(self, home: Home, name: str, seen: Seen, wanted: Examined) -> bool:
        """Whether the live generation is to be put back, which is counted then."""
        now = home.live.api.clock.now()
        broken, foreign = verdict_of(home, seen.found, wanted.digests, now=now)
        if broken is None:
            # its own pair, but without its name: that is put back, and changes nothing
            return foreign is None and not is_ours(seen.found, home, name)
        kept = seen.shelf.kept
        if until := again_at(kept.restored, now=now):
            raise Transient(f"{broken}; {given_up(until)}", retry_after=until - now)
        restored = (*counted(kept.restored, now=now), now)
        home.own.keep(name, replace(kept, placed=seen.number, restored=restored, damaged=None))
        return True


def build(entries: Mapping[str, KubernetesStoreEntry], connect: Connect) -> KubernetesStore:
    """The store of the certificates that have these entries."""
    return KubernetesStore(
        {
            name: Place(
                api=partial(connect, entry.kubeconfig, entry.context),
                secret=entry.secret,
                shapes=Shapes(name, entry.keys, entry.password),
                namespace=entry.namespace,
                generations=entry.generations,
                instance=entry.instance,
                adopt=entry.adopt,
            )
            for name, entry in entries.items()
        }
    )
