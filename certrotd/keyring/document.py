"""A keyring as a document: every key wrapped by each KEK, the whole authenticated.

Two lines. The first is JSON: ``{"format": 1, "use": "own" or "given", "keyring": NAME, "revision":
N, "seal": {KEK: BASE64}, "versions": [{"number", "before", "id", "algorithm", "fingerprint", "iv",
"use", "transitions", "wrapped": {KEK: BASE64}}, …]}``. The second is the HMAC-SHA256 of the first,
in hex, under the seal's key. Use, name and revision are in what is authenticated, so a document
that was changed, renamed, swapped with another or put back from before is noticed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from certrotd.errors import Failure, InvalidInput, NeedsOperator, Transient, printable
from certrotd.jsontext import parsed
from certrotd.keyring.keyring import Entry, Keyring, Wrapped, fingerprint
from certrotd.keyring.material import Material
from certrotd.keyring.states import Version, Versions
from certrotd.keyring.version_json import version_json, version_read

FORMAT = 1
OWN, GIVEN = "own", "given"
"""What a document is for: certrotd keeps its own, and consumers are given less of it."""
_DOMAIN = b"certrotd keyring\0"
_MAC = hashlib.sha256().digest_size * 2


class Wraps(Protocol):
    """What is needed of a KEK here: kek/port.py says what it promises."""

    def wrap(self, key: bytes, context: Mapping[str, str]) -> bytes: ...

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes: ...

    def rewrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes: ...


Keks = Mapping[str, Wraps]
"""The KEKs of a keyring by name, the one to be asked first at the beginning."""


class Unreadable(NeedsOperator):
    """The document cannot be used; it stays where it is, and no key is made in its place."""

    def __init__(self, what: str, *, hint: str = "") -> None:
        restore = "restore it from a backup; no key is made in its place, and none is rotated"
        super().__init__(what, hint=hint or restore)


class CutShort(Unreadable):
    """Its end is missing."""


class Renamed(Unreadable):
    """It is the document of another keyring."""


class Replayed(Unreadable):
    """It is older than one that was there before."""


class Misplaced(Unreadable):
    """It is made for somebody else: certrotd's own keyring, or what a consumer is given of it."""


class Forged(Unreadable):
    """It does not bear the seal of this keyring."""


class NoKek(Unreadable):
    """No KEK unwraps it, and trying again will not help."""


class KeksUnavailable(Transient):
    """No KEK that could unwrap it answers."""


@dataclass(frozen=True)
class Opened:
    """A keyring as it was read, and what kept KEKs from unwrapping it where another did."""

    keyring: Keyring
    troubles: tuple[Failure, ...] = ()


@dataclass(frozen=True)
class Inspected:
    """What is known of a keyring without its keys: every entry is without a secret."""

    revision: int
    versions: Versions
    entries: Mapping[int, Entry]
    keks: tuple[str, ...]


def sealed(keyring: Keyring, keks: Keks, *, use: str = OWN) -> tuple[bytes, Keyring]:
    """The document of its next revision, and the keyring as it then is.

    Each key is wrapped by every KEK that has not wrapped it yet, and tried; what other KEKs have
    made of it is left out. Raises as Kek.wrap and Kek.unwrap, for a key that one of two KEKs has
    would not survive the loss of the other.
    """
    name = keyring.name
    entries = {
        number: replace(
            entry, secret=_wrapped(entry.secret, keks, _context_of(name, number, entry))
        )
        if entry.secret
        else entry
        for number, entry in keyring.entries.items()
    }
    seal = _wrapped(keyring.seal, keks, _seal_context(name))
    after = replace(keyring, revision=keyring.revision + 1, entries=entries, seal=seal)
    text = json.dumps(_rendered(after, use), separators=(",", ":"), sort_keys=True).encode()
    return b"%s\n%s\n" % (text, _mac(seal.material, text)), after


def rewrapped(keyring: Keyring, name: str, kek: Wraps) -> Keyring:
    """With what the KEK of that name has wrapped, wrapped by its present version.

    The data keys stay as they are. Raises as Kek.rewrap.
    """

    def anew(secret: Wrapped, context: Mapping[str, str]) -> Wrapped:
        if name not in secret.by:
            return secret
        return replace(secret, by={**secret.by, name: kek.rewrap(secret.by[name], context)})

    entries = {
        number: replace(entry, secret=anew(entry.secret, _context_of(keyring.name, number, entry)))
        if entry.secret
        else entry
        for number, entry in keyring.entries.items()
    }
    seal = anew(keyring.seal, _seal_context(keyring.name))
    return replace(keyring, entries=entries, seal=seal)


def opened(
    data: bytes,
    keks: Keks,
    *,
    name: str,
    place: str,
    least: int = 0,
    uses: Collection[str] = (OWN,),
) -> Opened:
    """The keyring that sealed() wrote, of revision ``least`` or newer; ``place`` is where it was.

    Raises Unreadable, as one of its kinds, or KeksUnavailable.
    """
    unwrapping = _Unwrapping(keks, place)
    told, seal = _authenticated(data, unwrapping, name, least, uses)
    try:
        keyring = _read(told, seal, unwrapping)
    except (KeyError, ValueError, TypeError, AttributeError, InvalidInput):
        raise _not_ours(place) from None
    return Opened(keyring, tuple(unwrapping.troubles.values()))


def inspected(
    data: bytes,
    keks: Keks,
    *,
    name: str,
    place: str,
    least: int = 0,
    uses: Collection[str] = (OWN,),
) -> Inspected:
    """As opened(), of everything but the keys: one unwrapping, however many they are."""
    told, seal = _authenticated(data, _Unwrapping(keks, place), name, least, uses)
    try:
        versions, entries = [], {}
        for each in told["versions"]:
            version, entry = version_read(each)
            versions.append(version)
            entries[version.number] = entry
        return Inspected(told["revision"], Versions(tuple(versions)), entries, tuple(seal.by))
    except (KeyError, ValueError, TypeError, AttributeError, InvalidInput):
        raise _not_ours(place) from None


def _authenticated(
    data: bytes, unwrapping: _Unwrapping, name: str, least: int, uses: Collection[str]
) -> tuple[dict[str, Any], Wrapped]:
    """What the document says, and the key of its seal, which it bears."""
    place = unwrapping.place
    text, mac = _lines(data, place)
    told = _told(text, place)
    if told["keyring"] != name:
        found = printable(str(told["keyring"])[:64])
        raise Renamed(f"{place} is the document of the keyring {found}, not of {name}")
    try:
        wraps = _decoded(told["seal"])
    except (ValueError, TypeError, AttributeError):
        raise _not_ours(place) from None
    seal = unwrapping.unwrap(wraps, _seal_context(name))
    if not hmac.compare_digest(_mac(seal.material, text), mac):
        raise Forged(f"{place} was changed by something else than certrotd: its seal is broken")
    if told["use"] not in uses:
        what = "what consumers are given" if told["use"] == GIVEN else "certrotd's own keyring"
        raise Misplaced(f"{place} is {what}: something put it in the place of another")
    if told["revision"] < least:
        raise Replayed(
            f"{place} is of revision {told['revision']}, and revision {least} was there before: "
            "something put an old one back"
        )
    return told, seal


def claimed(data: bytes, place: str) -> tuple[str, tuple[str, ...]]:
    """The names of the keyring and of the KEKs that a document claims: nothing is proven of it.

    Raises Unreadable.
    """
    told = _told(_lines(data, place)[0], place)
    return told["keyring"], tuple(told["seal"])


@dataclass
class _Unwrapping:
    """Asks the KEKs in their order; one that did not answer once is not asked again."""

    keks: Keks
    place: str
    troubles: dict[str, Failure] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)

    def unwrap(self, by: Mapping[str, bytes], context: Mapping[str, str]) -> Wrapped:
        for name, kek in self.keks.items():
            if name not in by or name in self.away:
                continue
            try:
                return Wrapped(Material(kek.unwrap(by[name], context)), by)
            except Transient as failure:
                self.away.add(name)
                self.troubles[name] = failure
            except NeedsOperator as failure:
                self.troubles.setdefault(name, failure)
        raise self._locked(by)

    def _locked(self, by: Mapping[str, bytes]) -> Failure:
        words = "; ".join(f"{name}: {each.message}" for name, each in self.troubles.items())
        if self.away:
            retry = [each for each in self.troubles.values() if isinstance(each, Transient)]
            waits = [each.retry_after for each in retry if each.retry_after is not None]
            return KeksUnavailable(
                f"{self.place} is locked: {words}",
                hint=retry[0].hint,
                retry_after=min(waits, default=None),
            )
        if not self.troubles:
            wrapped = ", ".join(printable(each[:64]) for each in sorted(by)) or "nothing"
            return NoKek(
                f"{self.place} is wrapped by {wrapped}, and none of these KEKs is configured",
                hint="configure a KEK that has wrapped it; a new one cannot open it",
            )
        hint = next((each.hint for each in self.troubles.values() if each.hint), "")
        return NoKek(f"{self.place} is not unwrapped: {words}", hint=hint)


def _wrapped(secret: Wrapped, keks: Keks, context: Mapping[str, str]) -> Wrapped:
    by = {name: secret.by[name] for name in keks if name in secret.by}
    for name, kek in keks.items():
        if name not in by:
            by[name] = kek.wrap(secret.material.reveal(), context)
            if Material(kek.unwrap(by[name], context)) != secret.material:
                raise NeedsOperator(
                    f"the KEK {name} gives another key back than it was given",
                    hint="do not use it: what it wraps is lost",
                )
    if not by:
        raise NeedsOperator("a keyring is not kept without a KEK", hint="configure one")
    return Wrapped(secret.material, by)


def _seal_context(name: str) -> dict[str, str]:
    return {"keyring": name, "purpose": "seal"}


def _context_of(name: str, number: int, entry: Entry) -> dict[str, str]:
    return {
        "keyring": name,
        "purpose": "data key",
        "version": str(number),
        "algorithm": entry.algorithm.value,
        "fingerprint": entry.fingerprint,
    }


def _mac(key: Material, text: bytes) -> bytes:
    return hmac.new(key.reveal(), _DOMAIN + text, "sha256").hexdigest().encode()


def _lines(data: bytes, place: str) -> tuple[bytes, bytes]:
    text, _, rest = data.partition(b"\n")
    mac, end, more = rest.partition(b"\n")
    if not end:
        raise CutShort(f"{place} is cut short: {len(data)} bytes are left of it")
    if more or len(mac) != _MAC:
        raise _not_ours(place)
    return text, mac


def _told(text: bytes, place: str) -> dict[str, Any]:
    """What the first line says, of which nothing is to be trusted yet but its shape."""
    try:
        told = parsed(text)
    except ValueError:
        raise _not_ours(place) from None
    match told:
        case {"format": int(number), **_rest} if number > FORMAT:
            raise Unreadable(
                f"{place} is of format {number}, and this certrotd reads {FORMAT}",
                hint="use the certrotd that wrote it, or a newer one",
            )
        case {
            "format": int(),
            "use": str(),
            "keyring": str(),
            "revision": int(),
            "seal": dict(),
            **_rest,
        }:
            return dict(told)
    raise _not_ours(place)


def _not_ours(place: str) -> Unreadable:
    return Unreadable(f"{place} is not what certrotd wrote")


def _rendered(keyring: Keyring, use: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "use": use,
        "keyring": keyring.name,
        "revision": keyring.revision,
        "seal": _encoded(keyring.seal.by),
        "versions": [
            {
                **version_json(each, entry := keyring.entries[each.number]),
                "wrapped": _encoded(entry.secret.by) if entry.secret else None,
            }
            for each in keyring.versions.all
        ],
    }


def _read(told: Mapping[str, Any], seal: Wrapped, unwrapping: _Unwrapping) -> Keyring:
    versions: list[Version] = []
    entries: dict[int, Entry] = {}
    name = told["keyring"]
    for each in told["versions"]:
        version, entry = version_read(each)
        versions.append(version)
        if each["wrapped"] is not None:
            context = _context_of(name, version.number, entry)
            secret = unwrapping.unwrap(_decoded(each["wrapped"]), context)
            if fingerprint(secret.material, seal.material) != entry.fingerprint:
                raise InvalidInput(f"version {version.number} is another key")
            entry = replace(entry, secret=secret)
        entries[version.number] = entry
    return Keyring(name, told["revision"], Versions(tuple(versions)), entries, seal)


def _encoded(by: Mapping[str, bytes]) -> dict[str, str]:
    return {name: base64.b64encode(each).decode() for name, each in by.items()}


def _decoded(by: Mapping[str, str]) -> dict[str, bytes]:
    return {name: base64.b64decode(each, validate=True) for name, each in by.items()}
