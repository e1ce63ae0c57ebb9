"""YAML: read strictly and within bounds, and every complaint has its line."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.config.yamlpos import MAX_DEPTH, YamlDocument, resolve
from certrotd.config.yamlwords import BadYaml


def test_scalars_follow_the_core_schema() -> None:
    """A certificate for the domain "no", or one named 2025-01-01, is text to everybody else too."""
    text = """
    text: [plain, "quoted", 'one', no, on, 2025-01-01, 1:30, 192.0.2.7, "1", !!str 2]
    numbers: [0, 12, -3, 0x1f, 0o17, 1.5, 1e3, -.5, !!int 4]
    leading zeros: [0640, 007]
    long: 123456789012345678901234567890
    truth: [true, False]
    nothing: [null, ~, ]
    empty:
    """
    assert YamlDocument(text).data == {
        "text": ["plain", "quoted", "one", "no", "on", "2025-01-01", "1:30", "192.0.2.7", "1", "2"],
        "numbers": [0, 12, -3, 31, 15, 1.5, 1000.0, -0.5, 4],
        "leading zeros": ["0640", "007"],
        "long": "123456789012345678901234567890",
        "truth": [True, False],
        "nothing": [None, None],
        "empty": None,
    }


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "~"])
def test_a_document_without_content_is_nothing(text: str) -> None:
    """An empty fragment below conf.d is not an error."""
    assert YamlDocument(text).data is None


def test_an_alias_repeats_what_it_stands_for() -> None:
    """Anchors are how YAML avoids repetition; within bounds they are welcome."""
    assert YamlDocument("a: &x [1]\nb: *x\nc: [*x, *x]").data == {
        "a": [1],
        "b": [1],
        "c": [[1], [1]],
    }


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\nb: [1, 2\n", 2, "close the bracket"),
        ("a:\n\tb: 1", 2, "indent with spaces"),
        ("a: 1\nb: c: d", 2, "mapping values are not allowed"),
        ("a: 'x\n\ny", 1, "the quote that begins here is not closed"),
        ('a: "x', 1, "close the quote"),
        ("a: 1\n b: 2", 2, "mapping values are not allowed"),
        ("a: @x", 1, "quote the text"),
        ("a: 1\n- b", 2, "check the indentation"),
        ("- a\nb: 1", 2, "check the indentation"),
        ("a: 1\nb: \x01", 2, "control character"),
        ("a: \x00", 1, "control character"),
        ("a: 1\nb: *y", 2, "nothing before is marked &y"),
        ("a: &x [*x]", 1, "nothing before is marked &x"),
        ("a: 1\n--- \nb: 1", 2, "more than one document"),
        ("a: !!python/object/apply:os.system [x]", 1, "tag"),
        ("a: 1\nb: !secret x", 2, "the tag !secret is not read"),
        ("a: !!binary aGk=", 1, "tag"),
        ("a: !!set {b}", 1, "tag"),
        ("1: x", 1, "a key must be text, got 1 (put it in quotes)"),
        ("a: 1\ntrue: x", 2, "a key must be text, got true"),
        ("? [a]\n: x", 1, "a key must be text, got a list"),
        ("a: &x {b: 1}\nc:\n  <<: *x", 3, "merge keys"),
        ("%YAML 9.9\n--- a", 1, "incompatible YAML document"),
    ],
)
def test_invalid_yaml_is_refused_at_its_line(text: str, line: int, said: str) -> None:
    """Nobody finds the missing bracket in 3,000 lines without the line."""
    with pytest.raises(BadYaml) as caught:
        YamlDocument(text)
    assert caught.value.line == line
    assert said in str(caught.value)


def test_a_quoted_merge_sign_is_an_ordinary_key() -> None:
    """Only the plain one would mean something else to another reader."""
    assert YamlDocument('"<<": 1').data == {"<<": 1}


def test_keys_written_twice_are_all_reported_with_both_lines() -> None:
    """Most readers silently take the last one: half of what the operator wrote is gone."""
    document = YamlDocument("a: 1\nb: {c: 1, c: 2}\nd:\n- {e: 1}\n- e: 1\n  'e': 2\na: 3\n")
    assert document.data == {"a": 1, "b": {"c": 1}, "d": [{"e": 1}, {"e": 1}]}
    assert document.faults == (
        (2, '"c" is already in line 2: keep one of them'),
        (6, '"e" is already in line 5: keep one of them'),
        (7, '"a" is already in line 1: keep one of them'),
    )


def test_the_same_key_in_two_mappings_is_no_repetition() -> None:
    """Every certificate has a name."""
    assert YamlDocument("- {a: 1}\n- {a: 1}\n").faults == ()


@pytest.mark.parametrize(
    ("loc", "line"),
    [
        ((), 1),
        (("a",), 1),
        (("b",), 2),
        (("b", 0), 3),
        (("b", 1), 4),
        (("b", 1, "d"), 5),
        (("b", 1, "d", "e"), 6),
        (("b", 1, "missing"), 4),
        (("b", 7), 2),
        (("missing", "x"), 1),
        (("a", "x"), 1),
    ],
)
def test_a_place_has_the_line_of_its_deepest_part(loc: tuple[int | str, ...], line: int) -> None:
    """What is missing is told where it belongs."""
    assert YamlDocument("a: 1\nb:\n- x\n- c: 1\n  d:\n    e: 1\n").line(loc) == line


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_is_refused_before_it_hurts(opening: str) -> None:
    """libyaml's own composer overflows the stack on this, and takes the daemon with it."""
    with pytest.raises(BadYaml, match="nested more than"):
        YamlDocument(opening * 200_000)
    assert YamlDocument("[" * MAX_DEPTH + "]" * MAX_DEPTH).data is not None


def test_a_bomb_of_aliases_is_refused_before_it_is_unfolded() -> None:
    """Ten lines that stand for ten thousand million values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    with pytest.raises(BadYaml, match="more than 2,000,000 values") as caught:
        YamlDocument("\n".join(lines))
    assert caught.value.line > 1


@given(st.text(max_size=200) | st.text("abc:-[]{}&*!|>'\"#%@` \n\t01.~?,", max_size=200))
def test_any_text_is_data_or_refused(text: str) -> None:
    """A broken file is a message, never a crash."""
    with suppress(BadYaml):
        assert YamlDocument(text).line(("a", 0)) >= 1


@given(st.text(max_size=30))
def test_any_plain_scalar_resolves(text: str) -> None:
    """Numbers beyond Python's conversion limits are text."""
    assert resolve(text) == text or not isinstance(resolve(text), str)
