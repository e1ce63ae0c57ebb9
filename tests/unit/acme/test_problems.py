"""A CA's refusals become words and the right kind of failure."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.acme.problems import (
    ERROR_PREFIX,
    Busy,
    Refused,
    failure_of,
    read_problem,
)
from certrotd.errors import NeedsOperator, Transient, listed

json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def failure(kind: str, status: int = 403, **more: object) -> Refused | Busy:
    problem = read_problem({"type": ERROR_PREFIX + kind, "detail": "because", **more})
    return failure_of(problem, status=status, host="ca.example", retry_after=None)


@pytest.mark.parametrize(
    "kind",
    [
        "unauthorized",
        "rejectedIdentifier",
        "caa",
        "externalAccountRequired",
        "userActionRequired",
        "malformed",
    ],
)
def test_a_refusal_needs_somebody_and_comes_with_a_hint(kind: str) -> None:
    """Retrying these would only use up the CA's limits."""
    refused = failure(kind)
    assert isinstance(refused, NeedsOperator)
    assert f"ca.example says {kind}: because" in refused.message
    assert refused.hint


def test_a_redundant_name_is_not_blamed_on_the_directory() -> None:
    """Let's Encrypt calls it malformed; that of a page which is not there is the other case."""
    assert "directory" not in failure("malformed").hint
    assert "names that a wildcard covers" in failure("malformed").hint
    assert "is the directory URL one of an ACME server" in failure("malformed", 404).hint


@pytest.mark.parametrize(
    ("kind", "status"), [("rateLimited", 429), ("rateLimited", 403), ("serverInternal", 500)]
)
def test_a_busy_ca_is_transient(kind: str, status: int) -> None:
    """These pass without anybody's help, whatever the HTTP status."""
    assert isinstance(failure(kind, status), Transient)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_an_error_without_a_document_is_judged_by_its_status(status: int) -> None:
    """Load balancers answer in HTML."""
    wait = timedelta(seconds=7)
    found = failure_of(None, status=status, host="ca.example", retry_after=wait)
    assert isinstance(found, Busy)
    assert found.retry_after == wait
    assert isinstance(
        failure_of(None, status=404, host="ca.example", retry_after=None), NeedsOperator
    )


def test_subproblems_name_their_identifiers() -> None:
    """With a hundred names in an order the one that is wrong must be said (RFC 8555 §6.7.1)."""
    part = {
        "type": f"{ERROR_PREFIX}caa",
        "detail": "CAA forbids",
        "identifier": {"type": "dns", "value": "b.example"},
    }
    assert "b.example: caa: CAA forbids" in failure("compound", subproblems=[part, 7]).message


def test_the_page_to_visit_is_named() -> None:
    """New terms are agreed to there, and nowhere else is it said (RFC 8555 §7.3.3)."""
    page = "https://ca.example/acme/agreement/?token=W8Ih3PswD-8"
    refused = failure("userActionRequired", instance=page)
    assert f"because; see {page}" in refused.message
    assert "see" not in failure("userActionRequired", instance=7).message


@pytest.mark.parametrize(
    ("document", "own"),
    [
        ({"type": f"{ERROR_PREFIX}malformed"}, True),
        ({"type": "about:blank", "title": "Not Found"}, False),
        ({"type": "https://gateway.example/not-found"}, False),
        ({"detail": "Not Found"}, False),
        (None, False),
    ],
)
def test_an_error_of_a_gateway_differs_from_one_of_the_ca(document: object, own: bool) -> None:
    """Gateways explain themselves in the same format (RFC 9457), though not in ACME's words."""
    found = failure_of(
        read_problem(document), status=404, host="ca.example", retry_after=None, url="u"
    )
    assert isinstance(found, Refused)
    assert found.of_the_ca is own


def test_hostile_words_stay_one_printable_line() -> None:
    """A CA's words end up in logs and terminals."""
    problem = read_problem({"type": "x", "detail": "a\n\x1b[31mred" + "y" * 100_000})
    assert problem is not None
    assert "\x1b" not in problem.words()
    assert "\n" not in problem.words()
    assert len(problem.words()) < 2001


@given(json)
def test_any_json_is_a_problem_or_none(data: object) -> None:
    """Whatever comes, the reader of errors must not fail itself."""
    problem = read_problem(data)
    if problem is not None:
        assert problem.words().isprintable()
        assert len(problem.parts) <= 20


def test_long_lists_are_cut() -> None:
    """A hundred names do not fit into a message."""
    assert listed(["a", "b"]) == "a, b"
    assert listed("abcdefg") == "a, b, c, d, e and 2 more"
