"""Documents of a CA that lack something, or have something else: said in a person's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from certrotd.clock import Deadline
from certrotd.errors import Failure
from tests.unit.acme.scripted import CSR, NAME, Reply, ScriptedCA, Skipping

ODD = {
    "null": None,
    "a number": 7,
    "a list": [None],
    "a mapping": {"a": None},
    "empty": "",
    "a word": "x",
    "no number": float("nan"),
    "true": True,
    "missing": ...,
}
FIELDS = {
    "/directory": ["newNonce", "newAccount", "newOrder", "meta"],
    "/orders": ["status", "identifiers", "authorizations", "finalize", "expires", "error"],
    "/authz": ["status", "identifier", "challenges", "expires", "wildcard"],
    "/challenge": ["status", "url", "token", "type", "error"],
    "/finalize": ["status", "identifiers", "authorizations", "finalize", "certificate", "error"],
}
PYTHON = ("NoneType", "object is", "attribute", "unexpected", "defect", "subscript", "iterable")


def body(ca: ScriptedCA, path: str) -> dict[str, Any]:
    """What the CA honestly shows there."""
    match path:
        case "/directory":
            return ca._directory()
        case "/authz":
            return ca.authorization_body()
        case "/finalize":
            return {**ca.order_body(status="valid"), "certificate": f"{ca.base}/certificate"}
        case _:
            return ca.order_body()


def obtain(ca: ScriptedCA, directory: Path) -> bytes:
    """All that is asked of a CA."""
    clock = Skipping()
    issuer = ca.issuer(directory, clock, agree_to_terms=True)
    order = issuer.order([NAME], deadline=Deadline(clock, 60))
    order.challenges()
    order.validate()
    return order.finalize(CSR)


def refusal(ca: ScriptedCA, directory: Path) -> str:
    """Why nothing comes of it, "" if a certificate does."""
    try:
        assert b"BEGIN CERTIFICATE" in obtain(ca, directory)
    except Failure as failure:
        return failure.message
    return ""


def changed(document: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """The document with another value there."""
    found = {**document, name: value}
    return {key: each for key, each in found.items() if each is not ...}


@pytest.mark.parametrize(("path", "name"), [(p, n) for p, names in FIELDS.items() for n in names])
@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_a_document_with_something_odd_in_it_is_used_or_refused_with_a_reason(
    ca: ScriptedCA, tmp_path: Path, path: str, name: str, value: Any
) -> None:
    """ "'NoneType' object has no attribute 'name'" helps nobody."""
    location = {"Location": f"{ca.base}/order"} if path == "/orders" else {}
    if path == "/challenge":
        document = ca.authorization_body(challenges=[changed(ca.challenge_body(), name, value)])
        ca.on("/authz", Reply(200, document))
    else:
        ca.on(path, Reply(200, changed(body(ca, path), name, value), location))
    said = refusal(ca, tmp_path)
    assert not [word for word in PYTHON if word in said], said


@pytest.mark.parametrize("path", [*FIELDS, "/account", "/order", "/certificate"])
@pytest.mark.parametrize(
    "content", [b"", b"null", b"[]", b"7", b'"x"', b"{}", b"{", b"\xff", b"[" * 50_000, b"<html>"]
)
def test_a_foreign_document_is_refused_with_a_reason(
    ca: ScriptedCA, tmp_path: Path, path: str, content: bytes
) -> None:
    """A gateway's page, or a server of another protocol."""
    location = {"Location": f"{ca.base}/order"} if path == "/orders" else {}
    ca.on(path, Reply(200, content, location))
    said = refusal(ca, tmp_path)
    assert not [word for word in PYTHON if word in said], said
