"""Whose fault it is when a CA does not issue, by what asking it raised."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

from certrotd.acme.problems import Busy, ClockOff, Refused
from certrotd.certs.fallback import Blame, Trouble
from certrotd.certs.policy import TROUBLE
from certrotd.errors import Failure, InvalidInput, LockHeld, Transient
from certrotd.files.disktrouble import DiskTrouble
from certrotd.pki.order import IssuanceRefused, OrderGone, ValidationFailed
from certrotd.rotation.outcome import Stopped
from certrotd.state.ports import Fenced, JournalBroken

OF_THE_USER = frozenset(
    {
        *("badCSR", "badPublicKey", "badSignatureAlgorithm", "badRevocationReason"),
        *("externalAccountRequired", "invalidContact", "unsupportedContact", "invalidProfile"),
        *("malformed", "unsupportedIdentifier", "compound"),
        *("caa", "connection", "dns", "dnssec", "incorrectResponse", "tls"),
    }
)
"""Problem kinds (RFC 8555 §6.7) that speak of the request, or of the user's own DNS."""
OF_THE_CA = frozenset({"rateLimited", "serverInternal"})
_NO_SUCH_PAGE = (404, 405)
F = TypeVar("F", bound=Callable[..., Any])


def blame_of(failure: Failure, *, registering: bool = False) -> Blame:
    """Whose fault a failure of a CA is; ``registering``: its account was being looked for.

    An account that the CA does not accept to begin with is the user's (a wrong EAB key); one that
    it accepted before, and now does not let order, is not.
    """
    match failure:
        case Busy(status=429) | Busy(code="rateLimited"):
            return Blame.LIMIT
        case ClockOff() | DiskTrouble() | LockHeld():
            return Blame.USER
        case Transient() | OrderGone() | InvalidInput():
            return Blame.OUTAGE
        case ValidationFailed(kinds=kinds) if kinds and OF_THE_CA.issuperset(kinds):
            return Blame.OUTAGE
        case Refused():
            return _of_refusal(failure, registering=registering)
    return Blame.USER


def _of_refusal(refused: Refused, *, registering: bool) -> Blame:
    if not refused.of_the_ca:
        # a wrong URL, else something that stands before the CA
        return Blame.USER if refused.status in _NO_SUCH_PAGE else Blame.OUTAGE
    if refused.code in OF_THE_USER or (registering and refused.code == "unauthorized"):
        return Blame.USER
    return Blame.REFUSAL


def trouble_in(failure: Failure, *, registering: bool = False) -> Trouble | None:
    """What a failure of a rotation says of its CA; None where the CA was not asked."""
    for each in _causes(failure):
        if isinstance(each, Failure) and each.at_ca:
            return Trouble(blame_of(_said(each), registering=registering), str(each))
    return None


def _said(failure: Failure) -> Failure:
    """The refusal behind a certificate that is refused: that has the CA's problem."""
    cause = failure.__cause__
    return cause if isinstance(failure, IssuanceRefused) and isinstance(cause, Refused) else failure


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # one may be raised from itself
        yield error
        seen.add(id(error))
        error = error.__cause__


def noting_trouble(*, registering: bool = False) -> Callable[[F], F]:
    """Have ``do`` of a step note in the ledger what failed it at a CA, for what comes next."""

    def decorate(do: F) -> F:
        @functools.wraps(do)
        def noting(self: Any, world: Any, ledger: Any) -> Any:
            try:
                return do(self, world, ledger)
            except (Stopped, Fenced, JournalBroken):
                raise
            except Failure as failure:
                trouble = trouble_in(failure, registering=registering)
                if trouble is not None:
                    with suppress(JournalBroken):
                        ledger.note(**{TROUBLE: trouble.to_json()})
                raise

        return noting  # type: ignore[return-value]

    return decorate
