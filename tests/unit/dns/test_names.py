"""Names come from the CA, from DNS and from the configuration; none may be more than a name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.dns.names import fqdn, longest_zone, upward, within
from certrotd.errors import InvalidInput

LABEL = st.from_regex(r"\A[a-z0-9_-]{1,63}\Z")
NAME = st.lists(LABEL, min_size=1, max_size=4).map(".".join).filter(lambda n: len(n) <= 253)


@given(NAME)
def test_a_clean_name_stays_as_it_is(name: str) -> None:
    """The same record must have the same name before and after the journal."""
    assert fqdn(name) == name
    assert fqdn(name.upper() + ".") == name


@given(st.text(max_size=300))
def test_any_text_is_a_clean_name_or_refused(text: str) -> None:
    """A hostile name must end as InvalidInput, and never as a path, an option or a crash."""
    try:
        name = fqdn(text)
    except InvalidInput:
        return
    assert name == text.lower().removesuffix(".")
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-.")
    assert len(name) <= 253
    assert all(0 < len(label) <= 63 for label in name.split("."))


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        ".",
        "a..b",
        ".a",
        "a..",
        "../../etc/passwd",
        "a b.example",
        "a\n.example",
        "a.example\n",
        "$(id).example",
        "*.example",
        "x" * 64 + ".example",
        ".".join(["x" * 63] * 4),
        "bücher.example",
        "\u212aelvin.example",
        "a\0.example",
    ],
)
def test_hostile_names_are_refused(hostile: str) -> None:
    """Each of these has been somebody's CVE or outage."""
    with pytest.raises(InvalidInput):
        fqdn(hostile)


def test_the_longest_possible_name_is_accepted() -> None:
    """The limit is 253, not 252: real names reach it."""
    longest = ".".join(["x" * 63, "x" * 63, "x" * 63, "x" * 61])
    assert len(longest) == 253
    assert fqdn(longest) == longest


def test_a_zone_holds_whole_labels_only() -> None:
    """notexample.com is somebody else's domain."""
    assert within("a.example.com", "example.com")
    assert within("example.com", "example.com")
    assert not within("notexample.com", "example.com")
    assert not within("example.com", "a.example.com")


def test_the_longest_zone_wins() -> None:
    """A delegated child zone is served by other servers than its parent."""
    zones = ("example.com", "a.example.com", "other.net")
    assert longest_zone("x.a.example.com", zones) == "a.example.com"
    assert longest_zone("x.b.example.com", zones) == "example.com"
    assert longest_zone("example.org", zones) is None


def test_upward_goes_label_by_label() -> None:
    """The walk to the zone's apex must not skip a zone cut."""
    assert list(upward("a.b.example")) == ["a.b.example", "b.example", "example"]
