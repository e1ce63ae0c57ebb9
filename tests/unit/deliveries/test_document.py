"""What was delivered is remembered as it was, and nothing else is taken for it."""

from dataclasses import replace
from typing import Any

import pytest

from certrotd.deliveries.document import from_json, to_json
from tests.unit.deliveries.examples import delivered

KNOWN = replace(delivered(), drift="live is gone")


def test_it_is_read_as_it_was_written() -> None:
    """Moments with their zone, and every file."""
    assert from_json(to_json(KNOWN)) == KNOWN


@pytest.mark.parametrize(
    "change",
    [{"stamps": {"a": ["x"]}}, {"stamps": []}, {"generation": "one"}, {"at": "soon"}, {"at": None}],
)
def test_a_damaged_one_is_none(change: dict[str, Any]) -> None:
    """Then the certificate is delivered again, which harms nobody."""
    with pytest.raises((ValueError, TypeError, AttributeError, KeyError)):
        from_json({**to_json(KNOWN), **change})
