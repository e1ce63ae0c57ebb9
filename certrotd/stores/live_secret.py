"""Where a certificate is in a cluster, and whose the Secret is that pods read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from certrotd.errors import NeedsOperator
from certrotd.kube.api import SECRETS, Api, Object
from certrotd.kube.applied import Applied
from certrotd.kube.objects import GROUP, STATE, Objects, annotation, data_of
from certrotd.kube.rights import Right
from certrotd.stores.own_secrets import CERTIFICATE, OwnSecrets, Shelf
from certrotd.stores.tls_secret import TYPE, Shapes, judge

LIVE = f"{GROUP}/generation"
"""The annotation of the live Secret that names its generation."""
NEEDED_LIVE = ("get", "create", "patch")
"""The verbs that the store needs on each live Secret by its name, and no others."""
NEEDED_OWN = ("get", "list", "create", "update", "delete")
"""The verbs that it needs on Secrets in the namespace of the generations, and no others."""


@dataclass(frozen=True)
class Place:
    """Where a certificate is: the live ``secret``, and a namespace for its ``generations``.

    ``namespace`` None is the account's own, ``generations`` None the same as that. What somebody
    else has in the place is taken over if ``adopt``. ``patience`` is as of Applied.
    """

    api: Callable[[], Api]
    secret: str
    shapes: Shapes
    namespace: str | None = None
    generations: str | None = None
    instance: str = "certrotd"
    adopt: bool = False
    patience: float = 60.0


@dataclass(frozen=True)
class Home:
    """A place whose API server was connected to."""

    place: Place
    live: Applied
    own: OwnSecrets

    @classmethod
    def of(cls, place: Place) -> Home:
        api = place.api()
        namespace = place.namespace or api.access.namespace
        generations = place.generations or namespace
        own = Objects(api, SECRETS, generations, place.instance, "store", place.patience)
        return cls(
            place,
            Applied(api, SECRETS, namespace, place.secret, place.patience),
            OwnSecrets(own),
        )

    @property
    def rights(self) -> list[Right]:
        """All that the store does there."""
        live = self.live
        named = (Right(SECRETS, verb, live.namespace, live.name) for verb in NEEDED_LIVE)
        return [*self.own_rights, *named]

    @property
    def own_rights(self) -> list[Right]:
        """What it does with Secrets of its own, which it uses all the time."""
        return [Right(SECRETS, verb, self.own.objects.namespace) for verb in NEEDED_OWN]


@dataclass(frozen=True)
class Seen:
    """One look: the live Secret, which generation it should hold, and all certrotd has itself."""

    found: Object | None
    number: int | None
    shelf: Shelf


def verdict_of(
    home: Home, found: Object | None, digests: Mapping[str, str], *, now: datetime
) -> tuple[str | None, str | None]:
    """How the live Secret is broken, and what of somebody else is in it: in words."""
    place = home.live.place
    if found is None:
        return f"{place} was deleted", None
    verdict = judge(data_of(found, place), digests, home.place.shapes, now=now)
    broken = f"{place} is broken: {verdict.broken}" if verdict.broken else None
    return broken, f"{place}: {verdict.foreign}" if verdict.foreign else None


def is_ours(found: Object | None, home: Home, name: str) -> bool:
    """Whether the live Secret says that it holds a generation of this certificate."""
    if found is None or named(found) is None:
        return False
    whose = annotation(found, STATE), annotation(found, CERTIFICATE)
    return whose == (home.place.instance, name)


def named(found: Object | None) -> int | None:
    """The generation that the live Secret says it holds, None if it says nothing."""
    text = annotation(found, LIVE) if found is not None else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else None


def refuse_kind(found: Object, place: str) -> None:
    """Raise NeedsOperator for a Secret that nobody can make a live one."""
    kind = found.get("type")
    if found.get("immutable"):
        # a kubelet keeps what an immutable one held while any pod uses it, of a new one, too
        raise NeedsOperator(
            f"{place} is immutable",
            hint="name another secret; or remove it and every pod that uses it",
        )
    if kind != TYPE:
        raise NeedsOperator(
            f"{place} is of type {kind}, not {TYPE}", hint="remove it, or name another secret"
        )


def refuse(home: Home, name: str, seen: Seen) -> None:
    """Raise NeedsOperator for a live Secret that is somebody else's or cannot be replaced."""
    found, place = seen.found, home.live.place
    if found is None:
        return
    refuse_kind(found, place)
    ours, whose = is_ours(found, home, name), annotation(found, CERTIFICATE)
    if whose and not ours and named(found) is not None:
        raise NeedsOperator(
            f"{place} is that of certificate {whose} of {annotation(found, STATE)}",
            hint="name another secret; or set instance to that, if it is a former one",
        )
    if not ours and seen.shelf.kept.placed is None and not home.place.adopt:
        raise NeedsOperator(
            f"{place} is there and not certrotd's",
            hint="adopt: true takes it over; or name another secret",
        )


def given_up(until: datetime) -> str:
    """That it is left as it is, and what to do."""
    return (
        "certrotd has put it right too often and leaves it until "
        f"{until:%Y-%m-%d %H:%M:%S}Z: stop whoever writes it"
    )
