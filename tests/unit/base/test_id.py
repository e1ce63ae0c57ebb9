"""What a managed thing is called: read strictly, sorted, and the same text again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.config.base import MAX_NAME as CONFIGURED
from certrotd.config.base import SAFE_NAME, is_safe_name
from certrotd.errors import InvalidInput
from certrotd.id import MAX_KIND, MAX_NAME, Id, is_name

KINDS = st.from_regex(r"[a-z]{1,15}(-[a-z]{1,15})?", fullmatch=True)
NAMES = st.from_regex(SAFE_NAME.replace("^", "").replace("$", ""), fullmatch=True)


@given(KINDS, NAMES.filter(is_safe_name))
def test_an_id_is_read_back_from_its_text(kind: str, name: str) -> None:
    """It stands in paths, URLs and records, and is read from there."""
    assert Id.parse(str(Id(kind, name))) == Id(kind, name)


@given(st.one_of(st.text(max_size=80), NAMES))
def test_a_name_is_what_the_configuration_allows(text: str) -> None:
    """The same grammar in two layers, of which neither may import the other."""
    assert MAX_NAME == CONFIGURED
    assert is_name(text) == is_safe_name(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "/", "web", "/web", "certificate/", "certificate//web", "certificate/web/"),
        *("Certificate/web", "certificate2/web", "zertifikät/web", "certificate /web"),
        *("certificate/Web", "certificate/_daemon", "certificate/.", "certificate/..", "../web"),
        *("certificate/a..b", "certificate/a/../b", "certificate/web\n", "certificate\n/web"),
        *("certificate/we\0b", "certificate/wéb", "certificate/web.", "certificate/%2e"),
        *("-key/web", "managed-/web", "managed--key/web", "managed_key/web", "-/web"),
        *("a" * (MAX_KIND + 1) + "/web", "certificate/" + "a" * (MAX_NAME + 1)),
    ],
)
def test_a_text_of_anything_else_is_no_id(text: str) -> None:
    """Whatever is parsed becomes the name of a file."""
    with pytest.raises(InvalidInput, match="is no id"):
        Id.parse(text)


@given(st.text(max_size=200))
def test_a_hostile_text_is_refused_in_one_line_or_is_itself(text: str) -> None:
    """Neither a traceback nor another id than the text says."""
    try:
        shown = str(Id.parse(text))
    except InvalidInput as failure:
        shown, text = str(failure.message.isprintable()), "True"
    assert shown == text


def test_ids_are_sorted_by_kind_and_then_by_name() -> None:
    """Listings of several kinds keep each together."""
    ids = [Id("key", "a"), Id("certificate", "web"), Id("certificate", "mail")]
    assert [str(each) for each in sorted(ids)] == ["certificate/mail", "certificate/web", "key/a"]
