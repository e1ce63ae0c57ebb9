"""certrotd's own objects of one kind in one namespace: found by labels, written with care."""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from certrotd.clock import Deadline
from certrotd.errors import InvalidInput, NeedsOperator, Transient
from certrotd.files.disktrouble import DiskTrouble
from certrotd.kube.api import Api, Invalid, Kind, Missing, Object, Selection, was_sent
from certrotd.kube.memory import Known, Memory, forgetting
from certrotd.kube.names import object_name
from certrotd.state.ports import Conflict

GROUP = "certrotd.io"
NAME, WRITE = f"{GROUP}/name", f"{GROUP}/write"
"""Annotations: whose object it is, and a word of its last write alone."""
STATE, PART, KIND = f"{GROUP}/state", f"{GROUP}/part", f"{GROUP}/kind"
"""Labels: of which instance, what of it, and of which kind of subject."""
MANAGED_BY = "app.kubernetes.io/managed-by"
_PAUSE = 0.5

T = TypeVar("T")


def word() -> str:
    """A word that nobody has written before."""
    return secrets.token_hex(8)


@dataclass(frozen=True)
class Objects:
    """Those of ``part`` of the state of one ``instance``.

    ``patience`` is how many seconds an API server that is away is waited for.
    """

    api: Api
    kind: Kind
    namespace: str
    instance: str
    part: str
    patience: float = 60.0
    word: Callable[[], str] = word
    memory: Memory = field(default_factory=Memory, compare=False, repr=False)

    def alone(
        self, whose: str, *, again: bool = False, keeps: bool = False
    ) -> AbstractContextManager[None]:
        """Within the block this thread alone writes those of ``whose``, and reads them once.

        They are those of that very name, or of such names with a slash and more behind it.
        ``again`` and ``keeps`` are as of Memory.alone().
        """
        return self.memory.alone(whose, self.api.clock, again=again, keeps=keeps)

    def path(self, name: str) -> str:
        """The path of the object that ``name`` has."""
        return self.kind.path(self.namespace, self.called(name))

    def called(self, name: str) -> str:
        """What the object that ``name`` has is called."""
        return object_name(f"{self.instance}-{self.part}", name)

    def whose(self, found: Object) -> str:
        """The name that an object of these says it has; empty if it is none of certrotd's.

        Anybody can put labels and annotations on an object, but only one has the name of another.
        """
        name = annotation(found, NAME)
        return name if name and found["metadata"].get("name") == self.called(name) else ""

    def place(self, name: str) -> str:
        """Where it is, for people."""
        return f"{self.kind.plural}/{self.called(name)} in the namespace {self.namespace}"

    def read(self, name: str, *, metadata: bool = False) -> Object | None:
        """The object, None if there is none; raises DiskTrouble, or what Api.get does.

        Of ``metadata`` at least that.
        """
        known = self._known(name)
        if known is not None:
            if name not in known.objects and not known.complete:
                known.objects[name] = self._read(name)
            return known.objects.get(name)
        just = self.memory.just_left(name, self.api.clock)
        if just is not None and name in just.objects:
            return just.objects[name]
        return self._read(name, metadata=metadata)

    def _read(self, name: str, *, metadata: bool = False) -> Object | None:
        path = self.path(name)

        def get() -> Object | None:
            try:
                return self.api.get(path, metadata=metadata)
            except Missing:
                return None

        return self.patiently(f"read {self.place(name)}", get)

    def all_of(self, whose: str, labels: Mapping[str, str]) -> list[Object]:
        """All of ``whose``, which have these labels: at least the metadata. Raises as find()."""
        known = self.memory.of(whose)
        if known is None:
            just = self.memory.just_left(whose, self.api.clock)
            if just is None or not just.complete:
                return self.find(labels)
            known = just
        elif not known.complete:
            found = self.find(labels, metadata=False)
            known.forget()
            known.objects.update((self.whose(each), each) for each in found)
            known.complete = True
        return [each for each in known.objects.values() if each is not None]

    def selector(self, labels: Mapping[str, str]) -> str:
        """Of those that have these labels, too."""
        every = {STATE: self.instance, PART: self.part, **labels}
        return ",".join(f"{key}={value}" for key, value in every.items())

    def find(self, labels: Mapping[str, str], *, metadata: bool = True) -> list[Object]:
        """Those that have these labels, too; raises DiskTrouble, or what Api.find does."""
        path, wanted = self.kind.path(self.namespace), self.selector(labels)
        selection = Selection(path, labels=wanted, metadata=metadata)
        return self.patiently(
            f"list {self.kind.plural} in the namespace {self.namespace}",
            lambda: list(self.api.find(selection)),
        )

    def write(
        self,
        name: str,
        content: Object,
        *,
        revision: str,
        uid: str = "",
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> Object:
        """Replace the object as it was at ``revision``, or make it where that is empty.

        Of a kind that a replacement makes where there is none (Leases), ``uid`` keeps it from that.
        Raises Conflict if it is another by now, DiskTrouble, and what Api.replace does. A request
        without an answer may have been carried out: the word that came with it tells.
        """
        word = self.word()
        own = {MANAGED_BY: "certrotd", STATE: self.instance, PART: self.part}
        metadata: Object = {
            "name": self.called(name),
            "namespace": self.namespace,
            "labels": {**own, **(labels or {})},
            "annotations": {NAME: name, WRITE: word, **(annotations or {})},
        }
        if revision:
            metadata["resourceVersion"] = revision
        if uid:
            metadata["uid"] = uid
        put = partial(self._put, name, {**content, "metadata": metadata}, anew=not revision)
        once = written_once(put, lambda: self.api.get(self.path(name)), word)
        with forgetting(self._known(name)) as known:
            found = self.patiently(f"write {self.place(name)}", once)
            if known is not None:
                known.objects[name] = found
        return found

    def _put(self, name: str, body: Object, *, anew: bool) -> Object:
        """One request, which makes the object ``anew`` or replaces it; raises as write()."""
        try:
            if anew:
                return self.api.create(self.kind.path(self.namespace), body)
            return self.api.replace(self.path(name), body)
        except Missing:
            if anew:
                raise no_namespace(self.namespace) from None
            raise Conflict(f"{self.place(name)} was removed") from None
        except Invalid as failure:
            if "immutable" not in failure.message:
                raise
            raise NeedsOperator(failure.message, hint=made_anew(body)) from None

    def remove(self, name: str, *, revision: str | None = None) -> None:
        """Delete the object, if it is there; raises DiskTrouble, and what Api.delete does.

        With a ``revision`` Conflict if it is another by now.
        """

        def delete() -> None:
            with suppress(Missing):
                self.api.delete(self.path(name), revision=revision)

        with forgetting(self._known(name)) as known:
            self.patiently(f"remove {self.place(name)}", delete)
            if known is not None:
                known.objects[name] = None

    def _known(self, name: str) -> Known | None:
        """What this thread knows of those that this one is among, if it is alone with them."""
        known = self.memory.of(name)
        return self.memory.of(name.rpartition("/")[0]) if known is None else known

    def patiently(self, doing: str, act: Callable[[], T]) -> T:
        """As patiently()."""
        return patiently(self.api, self.patience, doing, act)


def patiently(api: Api, patience: float, doing: str, act: Callable[[], T]) -> T:
    """What ``act`` gives once the API server answers, for which to wait ``patience`` seconds.

    Or as long as all of the process may wait still. Raises DiskTrouble if it does not.
    """
    clock = api.clock
    deadline = Deadline(clock, min(patience, api.patience.left))
    while True:
        try:
            return act()
        except Conflict:
            raise
        except Transient as failure:
            if deadline.passed or clock.stopping():
                raise DiskTrouble(doing, OSError(failure.message)) from failure
            asked, begun = failure.retry_after, clock.monotonic()
            deadline.pause(max(_PAUSE, asked.total_seconds() if asked else 0))
            api.patience.spend(clock.monotonic() - begun)


def written_once(
    send: Callable[[], Object], find: Callable[[], Object], mine: str
) -> Callable[[], Object]:
    """``send``, fit to be repeated: what was carried out without an answer is not done again.

    A write that comes after one without an answer, and meets a conflict, met that one perhaps: the
    word of the last write, in what ``find`` gets, tells.
    """
    unsure = False

    def put() -> Object:
        nonlocal unsure
        try:
            return send()
        except Conflict:
            if unsure:
                with suppress(Missing):
                    if annotation(found := find(), WRITE) == mine:
                        return found
            raise
        except Transient as failure:
            unsure = unsure or was_sent(failure)
            raise

    return put


def made_anew(wanted: Object) -> str:
    """What to do about an object that nobody can change in the place of one of certrotd's own."""
    kind = f"of type {wanted['type']} and " if "type" in wanted else ""
    again = f"make it anew with its content, {kind}not immutable"
    return f"remove it if it is not certrotd's; else {again}"


def no_namespace(namespace: str) -> NeedsOperator:
    """What a 404 to a new object means."""
    return NeedsOperator(f"there is no namespace {namespace}", hint="create it")


def annotation(found: Object, key: str) -> str:
    """An annotation of an object, empty if it has none."""
    return str(((found.get("metadata") or {}).get("annotations") or {}).get(key) or "")


def label(found: Object, key: str) -> str:
    """A label of an object, empty if it has none."""
    return str(((found.get("metadata") or {}).get("labels") or {}).get(key) or "")


def secret(data: Mapping[str, bytes], kind: str = f"{GROUP}/state") -> Object:
    """A Secret of that type, that holds these."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": kind,
        "data": {key: b64encode(value).decode() for key, value in data.items()},
    }


def data_of(found: Object, place: str) -> dict[str, bytes]:
    """What a Secret holds; raises InvalidInput for what is none."""
    try:
        return {
            str(key): b64decode(value, validate=True)
            for key, value in (found.get("data") or {}).items()
        }
    except (ValueError, TypeError, AttributeError):
        raise InvalidInput(f"{place} cannot be read: it is no Secret") from None
