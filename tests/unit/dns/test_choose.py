"""The wrong solver publishes where no CA looks, or fails for want of rights."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.dns.choose import choose
from certrotd.dns.names import within
from certrotd.errors import NeedsOperator
from tests.unit.dns.test_names import NAME

SOLVERS: dict[str, tuple[str, ...]] = {
    "cloud": ("example.com", "example.net"),
    "bind": ("internal.example.com",),
    "rest": (),
}


@pytest.mark.parametrize(
    ("name", "explicit", "expected"),
    [
        ("_acme-challenge.www.example.com", None, "cloud"),
        ("_acme-challenge.internal.example.com", None, "bind"),
        ("internal.example.com", None, "bind"),
        ("_acme-challenge.notinternal.example.com", None, "cloud"),
        ("_acme-challenge.example.org", None, "rest"),
        ("_acme-challenge.example.org", "cloud", "cloud"),
        ("_acme-challenge.internal.example.com", "rest", "rest"),
    ],
)
def test_the_solver_is_chosen(name: str, explicit: str | None, expected: str) -> None:
    """Explicit wins, then the longest zone, then the one that takes anything."""
    assert choose(name, SOLVERS, explicit) == expected


@pytest.mark.parametrize(
    ("solvers", "explicit", "said"),
    [
        ({}, None, "no DNS solver serves a.example"),
        ({"x": ("other.example",)}, None, "no DNS solver serves a.example"),
        ({"x": (), "y": ()}, None, "x, y all have no zones"),
        ({"x": ("example",), "y": ("example",)}, None, "x, y all serve the zone example"),
        ({"cloud": ()}, "clod", 'did you mean "cloud"?'),
        ({"cloud": (), "bind": ()}, "zzz", "known: bind, cloud"),
        ({}, "cloud", "none is configured"),
    ],
)
def test_no_choice_says_what_to_configure(
    solvers: dict[str, tuple[str, ...]], explicit: str | None, said: str
) -> None:
    """Guessing among equals would fail at the worst time, half of the time."""
    with pytest.raises(NeedsOperator) as caught:
        choose("a.example", solvers, explicit)
    assert said in str(caught.value)
    assert caught.value.hint


@given(
    NAME, st.dictionaries(st.sampled_from("abcd"), st.lists(NAME, max_size=3).map(tuple)), st.data()
)
def test_a_choice_is_never_beaten_by_a_longer_zone(
    name: str, solvers: dict[str, tuple[str, ...]], data: st.DataObject
) -> None:
    """Whatever is configured: the chosen one serves the name, and no other serves it closer."""
    parents = [name.split(".", n)[-1] for n in range(name.count(".") + 1)]
    if solvers:
        lucky = data.draw(st.sampled_from(sorted(solvers)))
        solvers[lucky] = (*solvers[lucky], data.draw(st.sampled_from(parents)))
    try:
        chosen = choose(name, solvers, None)
    except NeedsOperator:
        return
    best = [zone for zone in solvers[chosen] if within(name, zone)]
    assert best or not solvers[chosen]
    longest = max(map(len, best), default=0)
    for zones in solvers.values():
        assert all(len(zone) <= longest for zone in zones if within(name, zone))
