"""What is said where the root of a private CA is gone."""

import pytest

from certrotd.internal.root import refuse_another


@pytest.mark.parametrize(
    ("issued", "said"), [(["a"], "and a is live of it"), (["a", "b"], "and a, b are live of it")]
)
def test_a_lost_root_is_reported_with_what_is_live_of_it(issued: list[str], said: str) -> None:
    """One or several."""
    assert said in refuse_another("/s/internal/lab", "lab", issued).message
