"""The Secrets of certrotd's own in which a certificate's generations are kept.

::

    certrotd-store.NAME.000007    a generation, immutable: its key, its chain, what it is
    certrotd-store.NAME.000008    what is to become one: by its label certrotd.io/kind=staging
    certrotd-store.NAME.state     the state, and what was put into the live Secret

What is no secret of them stands in an annotation: so one list of metadata tells all of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.kube.api import Missing, Object, revision_of
from certrotd.kube.objects import (
    GROUP,
    KIND,
    Objects,
    annotation,
    data_of,
    label,
    made_anew,
    no_namespace,
    secret,
)
from certrotd.pki.certificate import CertificateFacts, moment
from certrotd.pki.generation import CertificateState, Generation, Meta
from certrotd.state.ports import Conflict
from certrotd.stores.digest import digested, undigested
from certrotd.stores.reading import document, meta_from_json
from certrotd.stores.tls_secret import CHAIN, KEY, digests_of, held
from certrotd.stores.wholeness import taken_over

CERTIFICATE = f"{GROUP}/certificate"
"""The label of all Secrets of one certificate."""
RECORD = f"{GROUP}/record"
"""The annotation with what a generation is, or with the state."""
GENERATION, STAGING, STATE = "generation", "staging", "state"
_NUMBER = re.compile(r"[0-9]{6}|[1-9][0-9]{6,}")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_TRIES = 5
_NOT_OURS = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the annotation of a generation says; ``digests`` are the SHA-256 of key and chain."""

    meta: Meta
    facts: CertificateFacts
    digests: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Kept:
    """What changes: the state, ``placed`` as the generation that was put into the live Secret last,
    and when that was ``restored``. ``damaged`` says that it is not what certrotd wrote.
    ``revision`` is that of its Secret when it was read, empty if there was none.
    """

    state: CertificateState = field(default_factory=CertificateState)
    placed: int | None = None
    restored: tuple[datetime, ...] = ()
    damaged: str | None = None
    revision: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Shelf:
    """All there is of a certificate but its keys; None for a generation that says nothing."""

    generations: Mapping[int, Recorded | None]
    staged: frozenset[int]
    kept: Kept


@dataclass(frozen=True, slots=True)
class Examined:
    """A generation that was read: ``pair`` is its key and its chain, None if it is broken.

    ``digests`` are those of the pair; of a broken one those that it should have, if it says so.
    """

    generation: Generation
    pair: tuple[bytes, bytes] | None = None
    digests: Mapping[str, str] = field(default_factory=dict)


class OwnSecrets:
    """Those of all certificates of one instance in one namespace."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects

    def shelf(self, name: str) -> Shelf:
        """What there is of a certificate: one list; raises DiskTrouble, and what Api.find does."""
        generations: dict[int, Recorded | None] = {}
        staged, kept = set[int](), Kept()
        for found in self.objects.all_of(name, {CERTIFICATE: label_of(name)}):
            whose, _, part = self.objects.whose(found).partition("/")
            if whose != name:
                continue
            if part == STATE:
                kept = _kept(found, self.objects.place(f"{name}/{STATE}"))
            elif match := _NUMBER.fullmatch(part):
                number = int(match[0])
                if _is_staged(found):
                    staged.add(number)
                else:
                    generations[number] = _recorded(found)
        return Shelf(generations, frozenset(staged), kept)

    def examine(self, name: str, number: int) -> Examined | None:
        """A generation with its key, None if there is none; raises as shelf()."""
        place = _place(name, number)
        found = self.objects.read(place)
        if found is None or _is_staged(found):
            return None
        return examined(found, number, self.objects.place(place))

    def has(self, name: str, number: int) -> bool:
        """Whether there is such a generation."""
        found = self.objects.read(_place(name, number), metadata=True)
        return found is not None and not _is_staged(found)

    def place(self, name: str, number: int) -> str:
        """Where a generation is, for people."""
        return self.objects.place(_place(name, number))

    def called(self, name: str, number: int) -> str:
        """The name of a generation's Secret."""
        return self.objects.called(_place(name, number))

    def seal(
        self, name: str, number: int, meta: Meta, facts: CertificateFacts, pair: tuple[bytes, bytes]
    ) -> None:
        """Make what is staged a generation that nobody can change; NeedsOperator if it is another.

        Where nothing is staged, it is made.
        """
        place = _place(name, number)
        content, notes = _sealed_secret(number, meta, facts, pair)
        found = self.objects.read(place)
        revision = revision_of(found) if found is not None and _is_staged(found) else ""
        try:
            self._write(place, content, revision, GENERATION, notes)
        except Conflict:
            there = self.examine(name, number)
            if there is None or there.pair != pair:
                raise NeedsOperator(
                    f"{self.place(name, number)} is there already", hint="remove it"
                ) from None

    def reseal(
        self, name: str, number: int, meta: Meta, facts: CertificateFacts, pair: tuple[bytes, bytes]
    ) -> None:
        """Make a generation again that is gone or broken, or of which what it says of itself is."""
        content, notes = _sealed_secret(number, meta, facts, pair)
        there = self.examine(name, number)
        if there is not None and there.pair is None:
            self.drop(name, number)  # nobody can change one that is immutable
        self._over(_place(name, number), content, GENERATION, notes)

    def rehearse(self, name: str) -> None:
        """Have the API server say whether a Secret could be made; raises as Objects.write."""
        objects = self.objects
        path = objects.kind.path(objects.namespace)
        metadata = {"name": objects.called(f"{name}/rehearsed"), "namespace": objects.namespace}
        body = {**_staged_secret({KEY: b""}), "metadata": metadata}

        def create() -> None:
            try:
                objects.api.ask("POST", path, body, query={"dryRun": "All"})
            except Missing:
                raise no_namespace(objects.namespace) from None

        objects.patiently(f"write secrets in the namespace {objects.namespace}", create)

    def drop(self, name: str, number: int) -> None:
        """Forget a generation."""
        self.objects.remove(_place(name, number))

    def staged(self, name: str, number: int) -> dict[str, bytes]:
        """What is staged, empty if nothing is."""
        place = _place(name, number)
        found = self.objects.read(place)
        if found is None or not _is_staged(found):
            return {}
        return data_of(found, self.objects.place(place))

    def stage(self, name: str, number: int, data: Mapping[str, bytes]) -> None:
        """Stage this alone."""
        self._over(_place(name, number), _staged_secret(data), STAGING, {}, revision="")

    def stage_beside(self, name: str, number: int, data: Mapping[str, bytes], key: str) -> bool:
        """Stage this beside the ``key`` that is staged; False if that is not there."""
        place, staged = _place(name, number), self.staged(name, number)
        if key not in staged:
            return False
        self._over(place, _staged_secret({**staged, **data}), STAGING, {})
        return True

    def unstage(self, name: str, number: int) -> None:
        """Forget what is staged; a generation stays."""
        place = _place(name, number)
        found = self.objects.read(place, metadata=True)
        if found is not None and _is_staged(found):
            with suppress(Conflict):  # it is none any more
                self.objects.remove(place, revision=revision_of(found))

    def kept(self, name: str) -> Kept:
        """As shelf() says it."""
        place = f"{name}/{STATE}"
        found = self.objects.read(place, metadata=True)
        return Kept() if found is None else _kept(found, self.objects.place(place))

    def keep(self, name: str, kept: Kept) -> None:
        """Replace it; certrotd's lock of the certificate makes this its only writer."""
        record = digested(
            {
                "placed": kept.placed,
                "restored": [each.isoformat() for each in kept.restored],
                "state": kept.state.to_json(),
            }
        ).decode()
        place, notes = f"{name}/{STATE}", {RECORD: record}
        self._over(place, secret({}), STATE, notes, revision=kept.revision)

    def refuse_state(self, name: str) -> None:
        """Raise NeedsOperator if the Secret with the state cannot be replaced."""
        place = f"{name}/{STATE}"
        found, wanted = self.objects.read(place), secret({})
        if found is None or (found.get("type") == wanted["type"] and not found.get("immutable")):
            return
        words = "is immutable" if found.get("immutable") else f"is of type {found.get('type')}"
        raise NeedsOperator(f"{self.objects.place(place)} {words}", hint=made_anew(wanted))

    def forget(self, name: str) -> None:
        """Remove the state, and one that was set aside."""
        for part in (STATE, "unreadable"):
            self.objects.remove(f"{name}/{part}")

    def set_aside(self, name: str) -> str:
        """Keep the state beside its place, which is damaged; where that is."""
        place, aside = f"{name}/{STATE}", f"{name}/unreadable"
        found = self.objects.read(place, metadata=True)
        text = annotation(found, RECORD) if found is not None else ""
        self._over(aside, secret({RECORD.partition("/")[2]: text.encode()}), "unreadable", {})
        return self.objects.place(aside)

    def _over(
        self,
        place: str,
        content: Object,
        kind: str,
        annotations: Mapping[str, str],
        *,
        revision: str | None = None,
    ) -> None:
        """Write it whatever is there, which is as of ``revision`` most likely (None: not known)."""
        tries = _TRIES
        while True:
            tries -= 1
            try:
                known = self._revision(place) if revision is None else revision
                self._write(place, content, known, kind, annotations)
            except Conflict:
                if not tries:
                    raise
                revision = None  # somebody was quicker: this one is to stand
            else:
                return

    def _revision(self, place: str) -> str:
        found = self.objects.read(place, metadata=True)
        return "" if found is None else revision_of(found)

    def _write(
        self, place: str, content: Object, revision: str, kind: str, annotations: Mapping[str, str]
    ) -> None:
        labels = {KIND: kind, CERTIFICATE: label_of(place.partition("/")[0])}
        self.objects.write(
            place, content, revision=revision, labels=labels, annotations=annotations
        )


def examined(found: Object, number: int, place: str) -> Examined:
    """What the Secret of a generation holds, or why it cannot be used."""
    recorded = _recorded(found)
    try:
        data = data_of(found, place)
        digests = digests_of(data)
        pair = data.get(KEY, b""), data.get(CHAIN, b"")
        if recorded is not None and digests == recorded.digests:
            return Examined(Generation(number, recorded.meta, recorded.facts), pair, digests)
        facts = held(data)
    except InvalidInput as failure:
        broken = Generation(number, recorded.meta if recorded else None, None, failure.message)
        return Examined(broken, digests=recorded.digests if recorded else {})
    damaged = f"{place} is not as certrotd sealed it"
    return Examined(Generation(number, taken_over(facts), facts, None, damaged), pair, digests)


def again_of(data: Mapping[str, bytes], broken: Examined, place: str) -> Examined:
    """The generation that is broken, if the live Secret still holds just what it should hold."""
    number, meta = broken.generation.number, broken.generation.meta
    pair = {KEY: data.get(KEY, b""), CHAIN: data.get(CHAIN, b"")}
    if meta is None or digests_of(pair) != broken.digests:
        return broken
    found = from_live(data, number, f"{place}: {broken.generation.broken}")
    return replace(found, generation=replace(found.generation, meta=meta))


def from_live(data: Mapping[str, bytes], number: int, damaged: str) -> Examined:
    """The generation that the live Secret holds, of which certrotd's own is gone."""
    data = {KEY: data.get(KEY, b""), CHAIN: data.get(CHAIN, b"")}
    try:
        facts = held(data)
    except InvalidInput as failure:
        return Examined(Generation(number, None, None, f"{damaged}; {failure.message}"))
    generation = Generation(number, taken_over(facts), facts, None, damaged)
    return Examined(generation, (data[KEY], data[CHAIN]), digests_of(data))


def label_of(name: str) -> str:
    """The value of a label for a name: itself, if it can be one."""
    return name if _LABEL.fullmatch(name) else sha256(name.encode()).hexdigest()[:40]


def _sealed_secret(
    number: int, meta: Meta, facts: CertificateFacts, pair: tuple[bytes, bytes]
) -> tuple[Object, dict[str, str]]:
    """The Secret of a generation, and its annotations."""
    data = {KEY: pair[0], CHAIN: pair[1]}
    record = digested(document(number, meta, facts, data, {})).decode()
    return {**secret(data, f"{GROUP}/{GENERATION}"), "immutable": True}, {RECORD: record}


def _staged_secret(data: Mapping[str, bytes]) -> Object:
    return secret(data, f"{GROUP}/{GENERATION}")  # a type cannot be changed


def _place(name: str, number: int) -> str:
    return f"{name}/{number:06d}"


def _is_staged(found: Object) -> bool:
    """Whether it is on its way to become a generation."""
    return label(found, KIND) == STAGING


def _recorded(found: Object) -> Recorded | None:
    try:
        known = undigested(annotation(found, RECORD).encode())
        facts = CertificateFacts.from_json(known["facts"])
        return Recorded(meta_from_json(known), facts, known["sha256"])
    except _NOT_OURS:
        return None


def _kept(found: Object, place: str) -> Kept:
    try:
        known: dict[str, Any] = undigested(annotation(found, RECORD).encode())
        placed = known["placed"]
        return Kept(
            CertificateState.from_json(known["state"]),
            None if placed is None else int(placed),
            tuple(moment(each) for each in known["restored"]),
            revision=revision_of(found),
        )
    except _NOT_OURS:
        words = f"{place} is not a state that certrotd wrote"
        return Kept(damaged=words, revision=revision_of(found))
