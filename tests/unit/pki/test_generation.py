"""What is remembered of a certificate comes back as it was, or is refused."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.pki.generation import CertificateState, TargetState

MOMENTS = st.integers(-(10**9), 10**11).map(lambda s: datetime.fromtimestamp(s, UTC))
STATES = st.builds(
    CertificateState,
    targets=st.dictionaries(
        st.text(), st.builds(TargetState, st.integers(1, 10**9), st.text(), MOMENTS)
    ),
    withdrawn=st.lists(st.integers(1)).map(tuple),
    held=st.none() | MOMENTS,
)
TARGET = {"generation": 3, "fingerprint": "ab", "proven": "2026-06-01T12:00:00+00:00"}


@given(STATES)
def test_a_state_survives_its_json(state: CertificateState) -> None:
    """A restart must not forget what was withdrawn, or what each target serves."""
    assert CertificateState.from_json(state.to_json()) == state


def test_an_absent_state_is_the_empty_state() -> None:
    """The first look at a certificate."""
    assert CertificateState.from_json(CertificateState().to_json()) == CertificateState()


@pytest.mark.parametrize(
    "data",
    [
        {},
        [],
        None,
        {"targets": {}, "withdrawn": []},
        {"targets": [], "withdrawn": [], "held": None},
        {"targets": {}, "withdrawn": 3, "held": None},
        {"targets": {}, "withdrawn": [], "held": "tomorrow"},
        {"targets": {}, "withdrawn": [], "held": "2026-06-01T12:00:00"},
        {"targets": {"web": {**TARGET, "generation": "x"}}, "withdrawn": [], "held": None},
        {"targets": {"web": {**TARGET, "proven": "2026-06-01"}}, "withdrawn": [], "held": None},
        {"targets": {"web": {}}, "withdrawn": [], "held": None},
        {"targets": {"web": None}, "withdrawn": [], "held": None},
    ],
)
def test_a_malformed_state_is_refused(data: Any) -> None:
    """Taken for an empty one, it would redeploy what somebody withdrew."""
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        CertificateState.from_json(data)
