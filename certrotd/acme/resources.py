"""Orders and authorizations as the CA shows them, parsed once into plain values."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from acme import messages
from josepy.errors import DeserializationError
from josepy.json_util import field

from certrotd.acme.challenges import SHAPES
from certrotd.acme.problems import Problem, read_problem
from certrotd.errors import InvalidInput, NeedsOperator, listed
from certrotd.jsontext import parsed
from certrotd.pki.names import base, canonical, is_ip, is_wildcard
from certrotd.pki.order import DNS_01

MAX_NAMES = 1000
T = TypeVar("T")


@dataclass(frozen=True)
class OrderState:
    """An order (RFC 8555 §7.1.3).

    ``names`` are its canonical identifiers; ``authorizations``, ``finalize`` and ``certificate``
    URLs ("" where it has none yet); ``status`` one of pending, ready, processing, valid, invalid.
    """

    status: str
    names: frozenset[str]
    authorizations: tuple[str, ...]
    finalize: str
    certificate: str
    expires: datetime | None
    problem: Problem | None


@dataclass(frozen=True)
class AuthorizationState:
    """An authorization (RFC 8555 §7.1.4) and the ``challenge`` of the ``kind`` to be answered.

    ``name`` is the canonical name without ``*.``, which a ``wildcard`` has; ``status`` pending,
    valid, invalid, deactivated, expired or revoked; ``problem`` what the CA found wrong with the
    challenges.
    """

    url: str
    name: str
    status: str
    kind: str
    challenge: messages.ChallengeBody | None
    offered: tuple[str, ...]
    problem: Problem | None
    wildcard: bool = False

    @property
    def waits_for_answer(self) -> bool:
        """Whether the CA has yet to be told to look, or to look again (RFC 8555 §8.2)."""
        return self.challenge is not None and self.challenge.status == messages.STATUS_PENDING


class NewOrder(messages.NewOrder):
    """The library's, with what it does not know: which certificate is replaced (RFC 9773 §5)."""

    replaces: str | None = field("replaces", omitempty=True)


def new_order(names: tuple[str, ...], *, profile: str = "", replaces: str = "") -> NewOrder:
    """The message that asks for canonical ``names`` (RFC 8555 §7.4; IP addresses: RFC 8738).

    Of a ``profile`` of the CA's, and in the place of a certificate that is called ``replaces``;
    empty for neither.
    """
    return NewOrder(
        profile=profile or None,
        replaces=replaces or None,
        identifiers=[
            messages.Identifier(
                typ=messages.IDENTIFIER_IP if is_ip(name) else messages.IDENTIFIER_FQDN, value=name
            )
            for name in names
        ],
    )


def read_order(content: bytes) -> OrderState:
    """Parse an order; raises NeedsOperator for anything else."""
    return _reading("an order", content, _order)


def read_authorization(
    content: bytes, url: str, wanted: frozenset[str], kind: str = DNS_01
) -> AuthorizationState:
    """Parse the authorization at ``url`` of an order for ``wanted`` names.

    Of its challenges that of the ``kind`` is to be answered.

    Raises NeedsOperator, also for a name that was not ordered: no record is published for one.
    """
    found = _reading("an authorization", content, lambda data: _authorization(data, url, kind))
    if found.name not in {base(name) for name in wanted}:
        raise NeedsOperator(f"the CA asks to authorize {found.name}, which was not ordered")
    return found


def challenge_of(authorization: AuthorizationState) -> messages.ChallengeBody:
    """The challenge to answer; NeedsOperator where the CA does not offer it."""
    if authorization.challenge is not None:
        return authorization.challenge
    kinds, wanted = listed(authorization.offered) or "nothing", authorization.kind
    hint = ""
    if is_ip(authorization.name):
        hint = f"no {wanted} exists for IP addresses (RFC 8738 §7)"
    elif others := sorted(set(SHAPES) & set(authorization.offered)):
        hint = f"choose another challenge of the certificate: {listed(others)}"
    raise NeedsOperator(
        f"the CA does not offer {wanted} for {authorization.name}, it offers {kinds}", hint=hint
    )


def _reading(what: str, content: bytes, parse: Callable[[dict[str, Any]], T]) -> T:
    try:
        data = parsed(content)
        if isinstance(data, dict):
            return parse(data)
        reason = f"it is {_kind(data)}"
    except (ValueError, DeserializationError) as error:
        reason = str(error)[:200]
    except (TypeError, KeyError, AttributeError):
        reason = "something in it is malformed"
    except InvalidInput as error:
        reason = error.message
    raise NeedsOperator(
        f"the CA did not send {what}: {reason}",
        hint="is the directory URL one of an ACME server (RFC 8555)?",
    )


def _kind(value: object) -> str:
    """What JSON has there, in words."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    kinds: dict[type, str] = {str: "a text", list: "a list", dict: "an object"}
    return kinds.get(type(value), "a number")


def _shaped(data: Any, needed: Mapping[str, Any], more: Mapping[str, Any]) -> None:
    """Raises InvalidInput unless the members are like these examples, whose lists hold one kind.

    Those that are ``needed`` must be there; ``more`` may be missing, or null.
    """
    for name, example in {**needed, **more}.items():
        value: Any = data.get(name)
        if value is None and name in more:
            continue
        if name not in data:
            raise InvalidInput(f"it has no {name!r}")
        if type(value) is not type(example):
            raise InvalidInput(f"its {name!r} is {_kind(value)}, not {_kind(example)}")
        if isinstance(value, list):
            for each in value:
                if type(each) is not type(example[0]):
                    raise InvalidInput(f"{_kind(each)} is among its {name!r}")


def _order(data: dict[str, Any]) -> OrderState:
    needed = {"status": "", "identifiers": [{}], "finalize": ""}
    _shaped(data, needed, {"authorizations": [""], "certificate": "", "expires": ""})
    for each in data["identifiers"]:
        _shaped(each, {"type": "", "value": ""}, {})
    order = messages.Order.from_json(data)
    identifiers = order.identifiers or ()
    authorizations = tuple(order.authorizations or ())
    if max(len(identifiers), len(authorizations)) > MAX_NAMES:
        raise InvalidInput(f"it has more than {MAX_NAMES} names")
    return OrderState(
        status=order.status.name,
        names=frozenset(canonical(each.value) for each in identifiers),
        authorizations=authorizations,
        finalize=order.finalize,
        certificate=order.certificate or "",
        expires=order.expires,
        problem=read_problem(data.get("error")),
    )


def _authorization(data: dict[str, Any], url: str, kind: str) -> AuthorizationState:
    needed = {"status": "", "identifier": {}, "challenges": [{}]}
    _shaped(data, needed, {"expires": "", "wildcard": False})
    _shaped(data["identifier"], {"type": "", "value": ""}, {})
    for each in data["challenges"]:
        if each.get("type") == kind:
            _shaped(each, *SHAPES[kind])
    status = data["status"]
    offered = data["challenges"]
    # of the others nobody needs to know more than that they are there
    known = {**data, "challenges": [each for each in offered if each.get("type") == kind]}
    if status == "expired":  # RFC 8555 §7.1.6, unknown to the library
        known["status"] = "invalid"
    parsed = messages.Authorization.from_json(known)
    name = canonical(parsed.identifier.value)
    problems = (read_problem(each.get("error")) for each in offered)
    return AuthorizationState(
        url=url,
        name=base(name),
        status=status if status == "expired" else parsed.status.name,
        kind=kind,
        challenge=next(iter(parsed.challenges), None),
        offered=tuple(str(each.get("type"))[:40] for each in offered),
        problem=next((problem for problem in problems if problem), None),
        wildcard=bool(data.get("wildcard")) or is_wildcard(name),
    )


def same_names(order: OrderState, asked: tuple[str, ...]) -> None:
    """The CA's order is for what was asked (RFC 8555 §7.4); raises NeedsOperator."""
    if order.names != frozenset(asked):
        raise NeedsOperator(
            f"{listed(asked)} was ordered, the CA's order is for {listed(sorted(order.names))}"
        )
