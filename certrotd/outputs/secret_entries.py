"""The entries of a Kubernetes Secret that an output has: read without trust, replaced together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path

from certrotd.config.output import SecretPlace
from certrotd.errors import Failure, NeedsOperator, Transient, failed
from certrotd.kube.api import SECRETS, Api, Missing, Object, revision_of
from certrotd.kube.applied import Applied
from certrotd.kube.objects import (
    MANAGED_BY,
    STATE,
    data_of,
    label,
    no_namespace,
    patiently,
    secret,
)
from certrotd.kube.rights import Right, missing
from certrotd.outputs.errors import NotDeliverable, NotExpressible
from certrotd.outputs.port import Contents, Placed, Present
from certrotd.state.ports import Conflict

NEEDED = ("get", "create", "patch")
"""The verbs that an output needs on its Secret by name."""
MAX_SIZE = 1024 * 1024
"""What all entries of a Secret may have together, in bytes; the API server refuses more."""
PLAIN = "Opaque"
KEPT_OF = "certrotd.io/kept-of"
"""The annotation of a Secret that holds what was moved out of the way: where that was."""
TRIES = 5
_STRUCTURED = ("kubernetes.io/", "certrotd.io/", "helm.sh/", "bootstrap.kubernetes.io/")
_LONGEST_MANAGER = 128


class Entries(dict[Path, bytes | None]):
    """Present, with the Secret that it was read from, None if there is none."""

    def __init__(self, found: Object | None) -> None:
        super().__init__()
        self.found = found


class SecretEntries:
    """OutputPlace, of a Secret: each path is the entry that has the path's last part as its name.

    All are written by one request, which is refused if the Secret has changed since it was read.
    Entries of others in the same Secret stay.
    """

    def __init__(self, output: Placed, home: Callable[[], Applied]) -> None:
        self._output = output
        self._home = home

    def present(self) -> Entries:
        """As OutputPlace.present; raises also NotExpressible, and as Applied.read."""
        home = self._home()
        found = home.read()
        data = {} if found is None else data_of(found, home.place)
        there = Entries(found)
        while new := [path for path in self._output.paths(there) if path not in there]:
            there.update((path, data.get(path.name)) for path in new)
        return there

    def problems(self, *, dry: bool = False) -> Iterator[Failure]:  # noqa: ARG002
        """As OutputPlace.problems; the API server is asked, and changes nothing for it, ever."""
        try:
            home = self._home()
            lacking = list(missing(home.api, _rights(home)))
            if lacking:
                yield from lacking
                return
            present = self.present()
        except Failure as failure:
            yield failure
            return
        yield from failed(partial(refuse, present.found, home.place))
        yield from failed(partial(self._output.check, present))
        if present.found is None:
            first = next(iter(present)).name
            yield from failed(partial(home.rehearse, secret({first: b""}, PLAIN)))

    def findings(self) -> Iterator[str]:
        """Nobody by the object itself: who may read Secrets is for the cluster's Roles to say."""
        return iter(())

    def write(self, contents: Contents, *, over: Present | None = None) -> None:
        """As OutputPlace.write; what changed beside its entries meanwhile is read anew.

        Raises Transient where one of its own has changed, NotDeliverable, NotExpressible, and as
        Applied.apply.
        """
        before = over if isinstance(over, Entries) else self.present()
        for _ in range(TRIES):
            try:
                self._write(contents, before.found)
            except Conflict:
                now = self.present()
                if any(now.get(path) != before.get(path) for path in contents):
                    raise Transient(
                        f"{self._home().place} was changed by something else just now"
                    ) from None
                before = now
            else:
                return
        raise Transient(f"{self._home().place} is being changed by others all the time")

    def set_aside(self, mark: str) -> Sequence[Path]:
        """Move its entries to an immutable Secret of their own; raises as write().

        That needs a right more: to create Secrets, whatever their names are.
        """
        home = self._home()
        for number in range(1, TRIES + 1):
            present = self.present()
            there = {path.name: data for path, data in present.items() if data is not None}
            if not there:
                return []
            name = f"{home.name[:200].rstrip('.-')}-{mark.lower()}"
            name += f"-{number}" if number > 1 else ""
            with suppress(Conflict):  # the name is taken, or the Secret was changed
                self._keep(home, name, there)
                self._remove(home, present.found, there)
                return [Path("secrets", home.namespace, name, entry) for entry in there]
        raise Transient(f"{home.place} is being changed by others all the time")

    def sweep(self) -> None:
        """Nothing is left: a write is one request."""

    def _write(self, contents: Contents, found: Object | None) -> None:
        home = self._home()
        refuse(found, home.place)
        new = {path.name: data for path, data in contents.items() if data is not None}
        if len({path.name for path in contents}) < len(contents):
            raise NotExpressible(
                f"two files of the output would be one entry of {home.place}",
                hint="choose another key of the Secret, or another stem",
            )
        gone = [path.name for path, data in contents.items() if data is None]
        kept = {} if found is None else data_of(found, home.place)
        size = sum(map(len, ({**kept, **new}).values()))
        if size > MAX_SIZE:
            raise NotDeliverable(
                f"{home.place} would have {size:,} bytes, and a Secret holds {MAX_SIZE:,}",
                hint="give the keys a Secret of their own",
            )
        kind = PLAIN if found is None else str(found.get("type") or PLAIN)
        after = home.apply(secret(new, kind), over=found, annotations={})
        # an entry that somebody else had made as well is still there
        if left := {name: b"" for name in gone if name in (after.get("data") or {})}:
            self._remove(home, after, left)

    def _remove(self, home: Applied, found: Object | None, names: Mapping[str, bytes]) -> None:
        assert found is not None, "it has these entries"
        change = {
            "metadata": {"resourceVersion": revision_of(found)},
            "data": dict.fromkeys(names),
        }
        _patiently(home, lambda: home.api.merge(home.path, change))

    def _keep(self, home: Applied, name: str, data: Mapping[str, bytes]) -> None:
        metadata = {
            "name": name,
            "namespace": home.namespace,
            "labels": {MANAGED_BY: "certrotd"},
            "annotations": {KEPT_OF: home.name},
        }
        body = {**secret(data, PLAIN), "metadata": metadata, "immutable": True}
        path = SECRETS.path(home.namespace)

        def make() -> Object:
            try:
                return home.api.create(path, body)
            except Missing:
                raise no_namespace(home.namespace) from None

        _patiently(home, make)


def refuse(found: Object | None, place: str) -> None:
    """Raise NeedsOperator for a Secret that cannot be written, or is something else's."""
    if found is None:
        return
    metadata, kind = found.get("metadata") or {}, str(found.get("type") or PLAIN)
    other = "name another secret"
    if found.get("immutable"):
        # a kubelet keeps what an immutable one held while any pod uses it, of a new one, too
        cure = f"{other}; or remove it and every pod that uses it"
        raise NeedsOperator(f"{place} is immutable", hint=cure)
    if kind.startswith(_STRUCTURED) or label(found, STATE):
        raise NeedsOperator(f"{place} is of type {kind}, which is for something else", hint=other)
    if metadata.get("deletionTimestamp"):
        raise Transient(f"{place} is being deleted")
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("controller"):
            raise NeedsOperator(
                f"{place} is kept by {owner.get('kind')} {owner.get('name')}, which would put its "
                "own content back",
                hint=other,
            )


def home_of(
    place: SecretPlace, keyring: str, connect: Callable[[Path | None, str | None], Api]
) -> Applied:
    """The Secret of a configuration entry, of which ``keyring`` writes one; raises NeedsOperator.

    Its manager has no other fields, so that outputs that share a Secret leave each other alone.
    """
    api = connect(place.kubeconfig, place.context)
    namespace = place.namespace or api.access.namespace
    manager = f"certrotd/key/{keyring}/{place.key}"
    if len(manager) > _LONGEST_MANAGER:
        manager = f"certrotd/key/{sha256(manager.encode()).hexdigest()}"
    return Applied(api, SECRETS, namespace, place.name, manager=manager)


def _rights(home: Applied) -> list[Right]:
    return [Right(SECRETS, verb, home.namespace, home.name) for verb in NEEDED]


def _patiently(home: Applied, act: Callable[[], Object]) -> Object:
    return patiently(home.api, home.patience, f"write {home.place}", act)
