"""What is on disk of a certificate, as values: generations, the live one, and per-target state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from certrotd.pki.certificate import CertificateFacts, moment
from certrotd.pki.order import Missed
from certrotd.pki.renewal import Suggestion
from certrotd.pki.revocation import Revocation, revocations_in, revocations_to_json
from certrotd.value import value

T = TypeVar("T")
PLACEHOLDER = "placeholder"
"""The origin of a self-signed pair that stands in for a certificate until there is one."""


@value
class Meta:
    """What a generation remembers beside the certificate itself.

    ``origin`` is "issued", "adopted" or PLACEHOLDER; ``draw`` is the random number in [0, 1) that
    was drawn once for this generation, so that every later look comes to the same renewal time.
    ``asked`` are the names that were ordered, empty if that is not known; ``terms`` what was
    asked of the issuer besides, as Policy.terms; ``missed`` the chain that was not offered;
    ``instead`` why the first CA of the list has not issued it, empty if it has.
    ``request`` is what the request was, as pki.request.digest, where the key is elsewhere.
    """

    created: datetime
    origin: str
    issuer: str
    authority: str
    draw: float
    order: str = ""
    asked: tuple[str, ...] = ()
    terms: str = ""
    missed: Missed | None = None
    instead: str = ""
    request: str = ""


@value
class Generation:
    """One pair on disk: ``facts`` of the leaf, or why it is ``broken``.

    ``damaged`` says which of its files are not as they were sealed, where what is whole of them is
    enough to put them back.
    """

    number: int
    meta: Meta | None
    facts: CertificateFacts | None
    broken: str | None = None
    damaged: str | None = None

    @property
    def placeholder(self) -> bool:
        """Whether it only stands in for a certificate; no more is to be read from its dates."""
        return self.meta is not None and self.meta.origin == PLACEHOLDER


@value
class TargetState:
    """The generation a target was last told of.

    ``fingerprint`` is the leaf it was then proven to serve; empty if it has no endpoint to look at.
    """

    generation: int
    fingerprint: str
    proven: datetime


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy as it was installed: what was ``asked`` for, and the ``stamp`` of the file then."""

    asked: str
    stamp: tuple[int, ...]


@value
class CertificateState:
    """What changes about a certificate without a new generation.

    ``withdrawn`` generations were rolled back by hand and are not deployed again by themselves;
    until ``held`` nothing is renewed unasked. ``copies`` are, by path, what was installed last.
    ``suggested`` is what a CA said last of when to renew. ``revoked`` are the generations that are
    revoked, or are to be: nothing goes back to them.
    """

    targets: Mapping[str, TargetState] = field(default_factory=dict)
    withdrawn: tuple[int, ...] = ()
    held: datetime | None = None
    copies: Mapping[str, Copy] = field(default_factory=dict)
    suggested: Suggestion | None = None
    revoked: Mapping[int, Revocation] = field(default_factory=dict)

    @property
    def barred(self) -> frozenset[int]:
        """The generations that are not deployed by themselves."""
        return frozenset({*self.withdrawn, *self.revoked})

    def to_revoke(self, now: datetime) -> tuple[int, ...]:
        """The generations of which the CA is still to be told."""
        return tuple(number for number, each in self.revoked.items() if each.is_open(now))

    def to_json(self) -> dict[str, Any]:
        """A JSON object that from_json reads back to an equal value."""
        return {
            "targets": {
                name: {
                    "generation": target.generation,
                    "fingerprint": target.fingerprint,
                    "proven": target.proven.isoformat(),
                }
                for name, target in self.targets.items()
            },
            "withdrawn": list(self.withdrawn),
            "held": self.held.isoformat() if self.held else None,
            "copies": {path: [copy.asked, *copy.stamp] for path, copy in self.copies.items()},
            "suggested": self.suggested.to_json() if self.suggested else None,
            "revoked": revocations_to_json(self.revoked),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CertificateState:
        """Read what to_json wrote.

        KeyError, TypeError, AttributeError or ValueError if it is something else.
        """
        held, suggested = data["held"], data.get("suggested")
        return cls(
            targets={
                name: TargetState(
                    _is(int, target["generation"]),
                    _is(str, target["fingerprint"]),
                    moment(target["proven"]),
                )
                for name, target in data["targets"].items()
            },
            withdrawn=tuple(_is(int, number) for number in data["withdrawn"]),
            held=moment(held) if held else None,
            copies={
                path: Copy(_is(str, asked), tuple(_is(int, each) for each in stamp))
                for path, (asked, *stamp) in data.get("copies", {}).items()
            },
            suggested=Suggestion.from_json(suggested) if suggested is not None else None,
            revoked=revocations_in(data.get("revoked", {})),
        )


@dataclass(frozen=True, slots=True)
class Behind:
    """One of what a target tells, such as a container, that runs with an older copy.

    ``why`` goes on from its ``name``; ``todo`` is what a person has to do, empty where the target
    can bring it up to date.
    """

    name: str
    why: str
    todo: str = ""


@dataclass(frozen=True, slots=True)
class ForeignChange:
    """What somebody else has put in the place of the live generation; it is left there.

    Nobody can use what is ``broken``: it was put right so often that it is not any more for now.
    """

    words: str
    broken: bool = False


@value
class Standing:
    """What is on disk of one certificate; ``newest`` may be a later one than ``live``.

    ``damaged`` says why what is there of the state is not one, and ``state`` not what was recorded;
    ``displaced`` which of the copies is not what the state says, or not what is asked for.
    ``earlier`` are the generations but those two, the newest first, where the live one cannot be
    used; else they are not looked at. ``foreign`` says what stands in the place of the live one.
    ``behind`` is, by target, who is known to have an older copy than the live one.
    """

    live: Generation | None = None
    newest: Generation | None = None
    state: CertificateState = field(default_factory=CertificateState)
    damaged: str | None = None
    displaced: str | None = None
    earlier: tuple[Generation, ...] = ()
    foreign: ForeignChange | None = None
    behind: Mapping[str, Sequence[Behind]] = field(default_factory=dict)

    def reached(self, place: str) -> bool:
        """Whether the live generation is what was brought there last."""
        state = self.state.targets.get(place)
        return state is not None and self.live is not None and state.generation == self.live.number


def _is(kind: type[T], value: object) -> T:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


@dataclass(frozen=True)
class Checked:
    """What a target tells of a look that found nothing in the way.

    ``warnings`` has a line about each thing that its reload would make felt. ``shown`` is what it
    showed of the live certificate, in JSON, for its undo: that asks for no more.
    """

    warnings: Sequence[str] = ()
    shown: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LiveCertificate:
    """A certificate that a target is told for, as it is live then.

    ``live`` is the folder with its files. Without a live generation there are no ``fingerprint``
    and ``key`` (its type; both as CertificateFacts) and no end. ``sealed`` is the Secret that its
    generation has for good, empty where it is in files. ``combined`` are the files in which its
    key and chain are together, which may be replaced while they are read.
    """

    certificate: str
    names: tuple[str, ...]
    live: str
    fingerprint: str = ""
    not_after: datetime | None = None
    key: str = ""
    sealed: str = ""
    combined: tuple[str, ...] = ()
