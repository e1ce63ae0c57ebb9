"""Objects of any kind in a cluster, named as EncryptionConfiguration does: found and written anew.

Of an object only its metadata is asked for: nothing here ever has what is in a Secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

from certrotd.errors import NeedsOperator
from certrotd.kube.api import METADATA, METADATA_LIST, PAGE, Api, Kind, Missing, revision_of
from certrotd.kube.rights import Right

_CORE = "api/v1"


@dataclass(frozen=True)
class Resource:
    """A kind of objects, such as ``secrets`` or ``widgets.example.com``."""

    name: str
    kind: Kind
    namespaced: bool


@dataclass(frozen=True)
class Collection:
    """All objects of a resource, or those in one ``namespace``."""

    resource: Resource
    namespace: str = ""

    @property
    def name(self) -> str:
        """For people, and for what is kept of it."""
        return f"{self.resource.name}/{self.namespace}" if self.namespace else self.resource.name

    @property
    def path(self) -> str:
        """Where they are listed."""
        kind = self.resource.kind
        return kind.path(self.namespace) if self.namespace else f"/{kind.group}/{kind.plural}"

    def rights(self) -> Iterator[Right]:
        """What the account needs for them."""
        for verb in ("list", "patch"):
            yield Right(self.resource.kind, verb, self.namespace)

    def object_path(self, place: str) -> str:
        """Where one is, by ``Seen.place``."""
        namespace, _, name = place.rpartition("/")
        kind = self.resource.kind
        if namespace:
            return kind.path(namespace, name)
        return f"/{kind.group}/{kind.plural}/{quote(name, safe='')}"


class Seen(NamedTuple):
    """An object as it was listed; ``place`` is ``NAMESPACE/NAME``, or its name alone."""

    place: str
    uid: str
    revision: int


def resolve(api: Api, name: str) -> Resource:
    """The resource of that name, in its preferred version; raises NeedsOperator, and as Api.ask."""
    plural, _, group = name.partition(".")
    try:
        version = _CORE
        if group:
            found = api.get(f"/apis/{quote(group, safe='')}")
            version = f"apis/{(found.get('preferredVersion') or {}).get('groupVersion')}"
        there = api.get(f"/{version}").get("resources") or ()
    except Missing:
        there = ()
    for each in there:
        if isinstance(each, dict) and each.get("name") == plural:
            return Resource(name, Kind(version, plural), bool(each.get("namespaced")))
    raise NeedsOperator(
        f"the API server knows no {name}", hint="kubectl api-resources has the names"
    )


def collections_of(
    api: Api, names: Sequence[str], namespaces: Sequence[str]
) -> Sequence[Collection]:
    """All objects of those resources, or those in some namespaces; raises as resolve()."""
    found: list[Collection] = []
    for name in names:
        resource = resolve(api, name)
        if namespaces and not resource.namespaced:
            raise NeedsOperator(f"{name} are in no namespace", hint="leave namespaces out")
        found += [Collection(resource, each) for each in namespaces or ("",)]
    return found


def listed(api: Api, collection: Collection) -> Iterator[Seen]:
    """Every object, in the order of their places; raises Expired, and as Api.ask."""
    query, more = {"limit": str(PAGE)}, True
    while more:
        page = api.ask("GET", collection.path, query=query, accept=METADATA_LIST)
        yield from map(_seen, page.get("items") or ())
        query["continue"] = str((page.get("metadata") or {}).get("continue") or "")
        more = bool(query["continue"])


def newest(api: Api, collection: Collection) -> int:
    """A revision: what has a greater one was written after this was asked. Raises as Api.ask."""
    page = api.ask("GET", collection.path, query={"limit": "1"}, accept=METADATA_LIST)
    return int(revision_of(page))


def write_anew(api: Api, collection: Collection, place: str, uid: str) -> None:
    """Have an object written as it is, unless it is stored under the API server's first key.

    A merge patch that changes nothing: an API server that gets one compares what is in etcd, and
    writes where another key or none was used. Raises Missing, Conflict where another object has
    taken the place, and as Api.ask.
    """
    change = {"metadata": {"uid": uid}}
    path, kind = collection.object_path(place), "application/merge-patch+json"
    api.ask("PATCH", path, change, kind=kind, accept=METADATA)


def _seen(item: Any) -> Seen:
    told = item["metadata"]
    namespace, name = told.get("namespace") or "", told["name"]
    return Seen(f"{namespace}/{name}" if namespace else name, told["uid"], int(revision_of(item)))
