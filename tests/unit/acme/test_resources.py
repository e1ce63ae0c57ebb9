"""What the CA shows is parsed once, and nothing it shows can do harm."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.acme.resources import (
    challenge_of,
    new_order,
    read_authorization,
    read_order,
    same_names,
)
from certrotd.errors import NeedsOperator

URL = "https://ca.example/authz/1"
TOKEN = "t" * 24
ORDER: dict[str, Any] = {
    "status": "pending",
    "identifiers": [
        {"type": "dns", "value": "A.example"},
        {"type": "dns", "value": "*.a.example"},
        {"type": "ip", "value": "2001:DB8::1"},
    ],
    "authorizations": [URL],
    "finalize": "https://ca.example/finalize",
    "expires": "2030-01-01T00:00:00Z",
}
AUTHORIZATION: dict[str, Any] = {
    "status": "pending",
    "identifier": {"type": "dns", "value": "a.example"},
    "challenges": [
        {"type": "http-01", "url": "https://ca.example/c/1", "token": TOKEN},
        {"type": "dns-01", "url": "https://ca.example/c/2", "token": TOKEN, "status": "pending"},
        {"type": "dns-persist-01", "url": "https://ca.example/c/3", "accounturi": "x"},
    ],
}
WANTED = frozenset(["a.example", "*.a.example"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=10,
)


def dump(data: object) -> bytes:
    return json.dumps(data).encode()


def test_an_order_is_read_in_canonical_names() -> None:
    """Names are compared with what was asked, so there is one spelling."""
    order = read_order(dump(ORDER))
    assert order.names == {"a.example", "*.a.example", "2001:db8::1"}
    assert order.authorizations == (URL,)
    assert order.certificate == ""
    same_names(order, ("2001:db8::1", "*.a.example", "a.example"))


def test_an_order_for_other_names_is_refused() -> None:
    """Proving what was not asked for would serve somebody else (RFC 8555 §7.4)."""
    with pytest.raises(NeedsOperator, match="was ordered"):
        same_names(read_order(dump(ORDER)), ("a.example",))


def test_new_orders_carry_both_kinds_of_identifiers() -> None:
    """IP addresses have their own type (RFC 8738 §3)."""
    shown = new_order(("a.example", "192.0.2.1")).to_json()["identifiers"]
    assert [(each["type"], each["value"]) for each in shown] == [
        ("dns", "a.example"),
        ("ip", "192.0.2.1"),
    ]


def test_the_dns_challenge_is_found_among_unknown_ones() -> None:
    """CAs add challenge types; the one we answer is still there."""
    found = read_authorization(dump(AUTHORIZATION), URL, WANTED)
    assert found.offered == ("http-01", "dns-01", "dns-persist-01")
    assert challenge_of(found).uri == "https://ca.example/c/2"
    assert found.waits_for_answer


def test_an_authorization_without_dns_01_says_what_is_offered() -> None:
    """The operator has to choose another way."""
    only = {**AUTHORIZATION, "challenges": AUTHORIZATION["challenges"][:1]}
    with pytest.raises(NeedsOperator, match=r"a\.example, it offers http-01"):
        challenge_of(read_authorization(dump(only), URL, WANTED))


def test_an_authorization_for_another_name_is_refused() -> None:
    """No record is published for a name that was not ordered."""
    other = {**AUTHORIZATION, "identifier": {"type": "dns", "value": "b.example"}}
    with pytest.raises(NeedsOperator, match=r"b\.example, which was not ordered"):
        read_authorization(dump(other), URL, WANTED)


def test_an_expired_authorization_is_understood() -> None:
    """RFC 8555 §7.1.6 has a status the library does not know."""
    expired = {**AUTHORIZATION, "status": "expired"}
    assert read_authorization(dump(expired), URL, WANTED).status == "expired"


def test_the_cas_words_about_a_failed_challenge_are_kept() -> None:
    """They say which record was missing where."""
    error = {"type": "urn:ietf:params:acme:error:dns", "detail": "NXDOMAIN"}
    challenges = [
        AUTHORIZATION["challenges"][0],
        {**AUTHORIZATION["challenges"][1], "error": error},
    ]
    failed = {**AUTHORIZATION, "status": "invalid", "challenges": challenges}
    problem = read_authorization(dump(failed), URL, WANTED).problem
    assert problem is not None
    assert problem.words() == "dns: NXDOMAIN"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"[]",
        b"[" * 100_000,
        b'{"status": "pending"}',
        b"\xff\xfe",
        dump({**ORDER, "status": "strange"}),
        dump({**ORDER, "finalize": 7}),
        dump({**ORDER, "authorizations": [7]}),
        dump({**ORDER, "identifiers": [{"type": "dns", "value": "../x"}]}),
        dump({**ORDER, "authorizations": [URL] * 1001}),
    ],
    ids=range(11),
)
def test_a_document_that_is_not_an_order_is_reported(content: bytes) -> None:
    """A wrong directory URL, a proxy's page, a hostile server: one line, no traceback."""
    with pytest.raises(NeedsOperator, match="did not send an order"):
        read_order(content)


@pytest.mark.parametrize("url", [None, 7, {}])
def test_a_challenge_without_a_url_is_reported(url: object) -> None:
    """There would be nowhere to answer."""
    challenges = [{**AUTHORIZATION["challenges"][1], "url": url}]
    with pytest.raises(NeedsOperator, match="did not send an authorization"):
        read_authorization(dump({**AUTHORIZATION, "challenges": challenges}), URL, WANTED)


@given(st.sampled_from(sorted(ORDER)), anything)
def test_any_order_field_may_be_anything(name: str, value: object) -> None:
    """Either it parses, or it is said."""
    with contextlib.suppress(NeedsOperator):
        read_order(dump({**ORDER, name: value}))


@given(st.sampled_from(sorted(AUTHORIZATION)), anything, st.integers(0, 2))
def test_any_authorization_field_may_be_anything(name: str, value: object, index: int) -> None:
    """Also inside of the challenges."""
    challenges = list(AUTHORIZATION["challenges"])
    challenges[index] = value
    for data in ({**AUTHORIZATION, name: value}, {**AUTHORIZATION, "challenges": challenges}):
        with contextlib.suppress(NeedsOperator):
            read_authorization(dump(data), URL, WANTED)
