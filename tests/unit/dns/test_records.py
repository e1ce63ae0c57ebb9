"""A TXT record goes into a journal, an environment and a zone: it must be exactly one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.dns.records import TxtRecord
from certrotd.errors import InvalidInput
from tests.unit.dns.test_names import NAME

VALUE = st.from_regex(r"\A[A-Za-z0-9_-]{1,255}\Z")


@given(NAME, VALUE)
def test_a_record_survives_the_journal(name: str, value: str) -> None:
    """A sweep after a crash withdraws what was presented, or nothing at all."""
    record = TxtRecord(name, value)
    assert TxtRecord.from_json(record.to_json()) == record


@given(st.text(max_size=300))
def test_any_text_is_a_value_or_refused(value: str) -> None:
    """Values come from the CA by way of a hash; anything else is an attack or a mistake."""
    try:
        TxtRecord("_acme-challenge.example.com", value)
    except InvalidInput:
        assert not value.isascii() or not value.replace("-", "a").replace("_", "a").isalnum()
    else:
        assert value.isascii()
        assert 0 < len(value) <= 255


@pytest.mark.parametrize("value", ["", "a" * 256, "a=", "a b", 'a"', "a\n", "$(id)", "ä"])
def test_hostile_values_are_refused(value: str) -> None:
    """CVE-2023-38198: a token with shell metacharacters was executed."""
    with pytest.raises(InvalidInput, match="base64url"):
        TxtRecord("_acme-challenge.example.com", value)


@pytest.mark.parametrize("name", ["_acme-challenge.Example.com", "example.com.", "", "a..b"])
def test_a_name_that_is_not_normal_is_refused(name: str) -> None:
    """Two spellings of one name would be two records to the journal and one to DNS."""
    with pytest.raises(InvalidInput):
        TxtRecord(name, "a")


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "x",
        {},
        {"name": "a.example"},
        {"name": "a.example", "value": 1},
        {"name": None, "value": "a"},
        {"name": "a.example", "value": "a", "ttl": 1},
    ],
)
def test_a_malformed_record_is_refused(data: object) -> None:
    """A torn or foreign journal entry must not become a record."""
    with pytest.raises(InvalidInput):
        TxtRecord.from_json(data)
