"""Values within JSON: which they are, and that nothing else of a document changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.codecs.errors import Damaged
from certrotd.datasets.documents import JsonDocument, places
from certrotd.datasets.port import Row
from certrotd.datasets.row_values import Quarantined
from certrotd.datasets.values import Form, Leftover, Values
from certrotd.jsonpath import path_of
from certrotd.jsonscan import DEPTH, Place, spliced
from tests.unit.datasets.test_values import FERNET, key_of, keys_of

ODD = """ {"a" : [1.50, 1e400,-0.0, {"b":"caf\\u00e9\\/","b":"twice"}], "A b":null,
  "big":12345678901234567890.10, "":"empty name", "x":{"y":{"z":"deep"}} }\t"""


def found(document: str, *paths: str) -> list[tuple[str, str | None]]:
    """Where values are, and what they are."""
    return [(each.where, each.value) for each in places(document, list(map(path_of, paths)))]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$.a[3].b", [('$["a"][3]["b"]', "café/"), ('$["a"][3]["b"]', "twice")]),
        ("$.a[*]", [(f'$["a"][{n}]', None) for n in range(4)]),
        ('$["A b"]', []),
        ('$[""]', [('$[""]', "empty name")]),
        ("$.x.*.z", [('$["x"]["y"]["z"]', "deep")]),
        ("$.a.b", []),
        ("$[0]", []),
        ("$.none.such", []),
        ("$.x", [('$["x"]', None)]),
    ],
)
def test_values_are_found_by_their_paths(path: str, expected: list[Any]) -> None:
    """Null is none; a number, an array or an object is one that is no text."""
    assert found(ODD, path) == expected


def test_a_value_that_several_paths_name_is_found_once_and_in_order() -> None:
    """So it is not encrypted twice."""
    expected = [('$["x"]["y"]["z"]', "deep")]
    assert found(ODD, "$.x.y.z", "$.*.y.z", "$.x.*.*") == expected
    assert found('"root"', "$") == [("$", "root")]


def test_nothing_but_the_value_changes() -> None:
    """Numbers keep their digits, names their order, also those that are there twice."""
    [first, second] = places(ODD, [path_of("$.a[*].b")])
    assert spliced(ODD, [(second, 'new"')]) == ODD.replace('"twice"', '"new\\""')
    assert spliced(ODD, [(first, "1"), (second, "2")]) == ODD.replace(
        '"caf\\u00e9\\/"', '"1"'
    ).replace('"twice"', '"2"')
    assert spliced(ODD, []) == ODD


@pytest.mark.parametrize(
    "text",
    ["", " ", "{", "[1,]", '{"a":1,}', "{'a':1}", "[1 2]", '{"a" 1}', "01", "+1", "NaN", "tru",
     '"a', '["a\nb"]', "[1]x", "{} {}", '{"a":"\\x"}', "gAAAAA",
     pytest.param("[" * 5000 + "]" * 5000, id="deep")],
)  # fmt: skip
def test_what_is_no_json_is_damaged(text: str) -> None:
    """Whatever the paths, and wherever it ends."""
    with pytest.raises(Damaged):
        places(text, [path_of("$.a")])


def test_a_document_is_read_down_to_a_depth() -> None:
    """More than any that people write."""
    deep = "[" * DEPTH + '"v"' + "]" * DEPTH
    assert len(found(deep, "$" + "[0]" * DEPTH)) == 1


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON, st.booleans(), st.sampled_from([None, 1]))
def test_every_document_is_walked_as_python_reads_it(
    value: Any, ascii_only: bool, indent: int | None
) -> None:
    """Each text of the first three levels is found, and can be replaced by itself."""
    document = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    seen = places(document, [path_of(each) for each in ("$", "$.*", "$.*.*")])
    assert sorted(each.value for each in seen if each.value is not None) == sorted(texts(value, 3))
    changed = spliced(document, [(each, each.value) for each in seen if each.value is not None])
    assert json.loads(changed) == value


def texts(value: Any, levels: int) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for each in inner for text in texts(each, levels - 1)] if levels > 1 else []


def sealed(text: str, version: int) -> str:
    return FERNET.encrypt(text.encode(), key_of(FERNET, version)).decode()


def test_the_values_of_a_document_are_re_encrypted_and_the_rest_is_listed() -> None:
    """One that does not open, or is no text, holds up no other."""
    form = Form(FERNET, documents={1: JsonDocument([path_of("$.keys.*"), path_of("$.n")])})
    values = Values(form, keys_of(FERNET))
    keys = {"a": sealed("one", 1), "b": sealed("two", 2), "c": sealed("three", 3), "d": ""}
    document = json.dumps({"n": 1.50, "keys": keys, "plain": "as it is"})
    row = Row((1,), (sealed("column", 1).encode(), document.encode()), None)
    batch = values.reencrypted([row])
    [change] = batch.changes
    after = json.loads(change.values[1] or b"")
    for name, text in (("a", b"one"), ("b", b"two")):
        assert FERNET.decrypt(after["keys"][name].encode(), key_of(FERNET, 2)) == text
    left = {**after, "keys": {**after["keys"], "a": keys["a"]}}
    assert json.dumps(left) == document
    whys = [(each.field, each.why.partition(",")[0]) for each in batch.quarantined]
    assert whys == [(1, 'at $["n"]'), (1, 'at $["keys"]["c"]')]
    seen = list(values.looked_at(row))
    assert [getattr(each, "version", "none") for each in seen] == [1, "none", 1, 2, "none"]
    assert [each.why for each in seen if isinstance(each, Quarantined)] == [
        each.why for each in batch.quarantined
    ]


@pytest.mark.parametrize("document", [b"{", b"\xff", b"gAAAAABqsTuAyweWLJSO5HICYA3Vjel1"])
def test_what_is_no_json_where_json_should_be_is_listed(document: bytes) -> None:
    """And stays."""
    form = Form(FERNET, plaintext=Leftover.ENCRYPT, documents={0: JsonDocument([path_of("$.a")])})
    values, row = Values(form, keys_of(FERNET)), Row((1,), (document,), None)
    batch = values.reencrypted([row])
    assert (batch.changes, [each.why for each in batch.quarantined]) == ((), ["it is no JSON"])
    assert [type(each) for each in values.looked_at(row)] == [Quarantined]


@pytest.mark.parametrize(
    ("plaintext", "changed", "listed"),
    [(Leftover.REFUSE, 0, 2), (Leftover.ENCRYPT, 1, 1), (Leftover.LEAVE, 0, 0)],
)
def test_plaintext_in_a_document_is_what_the_configuration_makes_of_it(
    plaintext: Leftover, changed: int, listed: int
) -> None:
    """A number is never made a text."""
    form = Form(FERNET, plaintext=plaintext, documents={0: JsonDocument([path_of("$.*")])})
    row = Row((1,), (b'{"a": "plain text", "b": 12}',), None)
    batch = Values(form, keys_of(FERNET)).reencrypted([row])
    assert (len(batch.changes), len(batch.quarantined)) == (changed, listed)
    for each in batch.changes:
        assert json.loads(each.values[0] or b"")["b"] == 12


def test_a_place_shows_no_value() -> None:
    """In a traceback, for example."""
    assert "canary" not in repr(Place("$.a", 0, 8, "canary"))
