"""What is asked of a certificate, and what became of the last attempts to give it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from certrotd.id import Id
from certrotd.value import value
from certrotd.window import Window

KIND = "certificate"
"""What an Id says of every certificate."""
AUTHORITY = "authority"
"""The fact that says which CA a rotation asks, as Policy.authority."""
REPLACES = "replaces"
"""The fact that says which certificate an order is to replace, as pki.renewal.renewal_id."""
TROUBLE = "trouble"
"""The fact that says why a CA did not issue, as fallback.Trouble."""
WAITS = "waits"
"""The fact that says until when other CAs take no order, by their authority."""
INSTEAD = "instead"
"""The fact that says why the first CA of the list was not asked, or did not issue."""
HOLD_AFTER_ROLLBACK = timedelta(days=1)
COPIES = "install:"
"""What CertificateState.targets calls the copies of ``install:``; no target can have this name."""


def id_of(name: str) -> Id:
    """What the certificate of that name is called beside things of other kinds."""
    return Id(KIND, name)


@dataclass(frozen=True, slots=True)
class Issuance:
    """A CA that may issue a certificate; fields as Policy's."""

    issuer: str
    authority: str
    terms: str = ""
    preferred_chain: str = ""
    renewal_info: bool = False


@value
class Policy:
    """What the configuration asks of one certificate; ``names`` are canonical.

    ``authority`` identifies the CA behind the issuer (the directory URL); ``terms`` are what it is
    asked for besides names and a key, such as a lifetime. ``fraction`` of the
    lifetime or ``before`` its end (at most one is set; neither is the default rule) says when
    to renew; ``jitter`` is the share of the lifetime by which it may come earlier. ``waves`` are
    the targets: those of a later wave are told when those of the earlier ones are proven.
    ``window``: when services may be reloaded. ``id``: what it is called beside things of other
    kinds.
    ``renewal_info``: the CA is asked when it wants a certificate to be renewed (RFC 9773).
    ``others`` are the CAs that are asked, in this order, where the first one does not issue.
    ``elsewhere``: the key is not made here; ``request`` is the request for it now, as
    pki.request.digest, empty if that cannot be told.
    ``bootstraps``: a placeholder stands in until there is a certificate. ``programs``: a target
    runs programs on this host. ``trailing`` are the targets of which parts come and go.
    """

    name: str
    names: tuple[str, ...]
    issuer: str
    authority: str
    key_type: str = "ecdsa-p256"
    reuse_key: bool = False
    solver: str | None = None
    fraction: float | None = None
    before: timedelta | None = None
    jitter: float = 0.05
    keep: int = 3
    enabled: bool = True
    installs: bool = False
    waves: tuple[tuple[str, ...], ...] = ()
    adopts: bool = False
    bootstraps: bool = False
    terms: str = ""
    preferred_chain: str = ""
    window: Window | None = None
    programs: bool = True
    trailing: tuple[str, ...] = ()
    renewal_info: bool = False
    others: tuple[Issuance, ...] = ()
    elsewhere: bool = False
    request: str = ""
    id: Id = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", id_of(self.name))

    def one_by_one(self) -> Iterator[Policy]:
        """The same policy for each of its CAs, as if that were the only one, in their order."""
        yield replace(self, others=()) if self.others else self
        for each in self.others:
            yield replace(
                self,
                issuer=each.issuer,
                authority=each.authority,
                terms=each.terms,
                preferred_chain=each.preferred_chain,
                renewal_info=each.renewal_info,
                others=(),
            )

    def of(self, authority: str) -> Policy | None:
        """The policy as if that CA were the only one; None where it is none of its CAs."""
        if authority == self.authority:
            return self
        return next((each for each in self.one_by_one() if each.authority == authority), None)

    def by(self, issuer: str) -> Policy | None:
        """The same for an issuer by its name."""
        if issuer == self.issuer:
            return self
        return next((each for each in self.one_by_one() if each.issuer == issuer), None)

    @property
    def issuers(self) -> tuple[str, ...]:
        """The names of its issuers, the first one first."""
        return (self.issuer, *(each.issuer for each in self.others))

    @property
    def targets(self) -> tuple[str, ...]:
        """Every target, in the order of its waves."""
        return tuple(name for wave in self.waves for name in wave)

    @property
    def places(self) -> tuple[str, ...]:
        """Everything a generation must have reached, as CertificateState.targets names it."""
        return (COPIES, *self.targets) if self.installs else self.targets


@value
class Attempts:
    """How the last rotations went: ``failures`` in a row, the last one at ``at``.

    ``left`` are TXT records that could not be withdrawn, as {"solver": …, "record": …}. It was the
    CA ``authority`` that named ``retry_after``, "" if that is not known. ``by_hand`` of the
    failures were a person's, the last of the others was at ``unasked_at`` (None: at ``at``).
    ``mended``: what they failed with is configured otherwise now. ``at_ca``: the last one failed
    at a CA and through no fault of the user. ``waits``: until when other CAs take no order.
    ``act`` is what the last one was for, as Action.act, "" if that is not known.
    """

    failures: int = 0
    at: datetime | None = None
    why: str = ""
    retry_after: timedelta | None = None
    left: tuple[Mapping[str, Any], ...] = ()
    authority: str = ""
    by_hand: int = 0
    unasked_at: datetime | None = None
    mended: bool = False
    at_ca: bool = False
    waits: Mapping[str, datetime] = field(default_factory=dict)
    act: str = ""
