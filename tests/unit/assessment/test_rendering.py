"""A report as a file: whatever names and reasons are, a cell stays a cell and a line a line."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from certrotd.assessment.facts import BackupFacts, ConsumerFacts, DatasetFacts, DrainFacts
from certrotd.assessment.json_form import _plain, told
from certrotd.assessment.markdown import escaped
from certrotd.assessment.rendering import Format, rendered
from certrotd.assessment.report import Report
from certrotd.assessment.spreadsheet import COLUMNS, cell
from certrotd.errors import printable
from certrotd.keyring.material import Algorithm, Material
from tests.unit.assessment.samples import DAY, MADE, drilled, facts, log, made, said

HOSTILE = st.one_of(
    st.text(max_size=20),
    st.text(alphabet="=+-@|\\`*_<>[]()#!~&:.\"',;\n\r\t abcwww12", max_size=30),
    st.sampled_from(
        [
            "=cmd|'/C calc'!A0",
            "+1+1",
            "-2+3",
            "@SUM(1)",
            "\t=1",
            "\r\n## Exceptions\n\nNone.",
            "a | b | c",
            "\\| x",
            "`code` **bold** <script>alert(1)</script>",
            "[x](javascript:alert(1))",
            "![x](http://evil.example/)",
            "&lt;b&gt;",
            "www.evil.example http://evil.example a@evil.example",
            "1. one",
            "- item",
            "---",
            "\u202etxt.exe",
            "＝1+1",
        ]
    ),
)


def test_a_passphrase_is_of_unknown_strength_in_every_format() -> None:
    """No number stands where nobody knows one."""
    ring = facts()
    versions = tuple(replace(each, algorithm=Algorithm.PASSPHRASE) for each in ring.versions)
    ring = replace(ring, versions=versions)
    found = made(ring)
    assert b"| passphrase | not known |" in rendered(found, Format.MD)
    rows = [each for each in table(rendered(found, Format.CSV)) if each["row"] == "version"]
    assert {each["strength_bits"] for each in rows} == {""}
    (entry,) = json.loads(rendered(found, Format.JSON))["keyrings"]
    assert {each["strength_bits"] for each in entry["versions"]} == {None}


def table(data: bytes) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def tokens(data: bytes) -> list[Any]:
    return list(MarkdownIt("commonmark").enable("table").parse(data.decode()))


def cells(data: bytes) -> list[list[str]]:
    """The texts of the tables in a Markdown file, a list for each row."""
    rows: list[list[str]] = []
    found = tokens(data)
    for index, token in enumerate(found):
        if token.type == "tr_open":
            rows.append([])
        if token.type in ("td_open", "th_open"):
            children = found[index + 1].children or []
            assert {child.type for child in children} <= {"text", "text_special"}
            rows[-1].append("".join(child.content for child in children))
    return rows


def hostile(text: str) -> Report:
    """A report in which everything that somebody else chose is ``text``."""
    keyring = facts(
        owner=text,
        custodians=(text, text),
        classification=text,
        purpose=text,
        stored=text,
        wrapped_by=(text,),
        outputs=(text,),
        consumers=(ConsumerFacts(text),),
        datasets=(DatasetFacts(text),),
        drains=(DrainFacts(text),),
        drills=(drilled(MADE - 30 * DAY, failed=text),),
        backups=(BackupFacts(text, 1, MADE, text, (1, 2, 3)),),
        cryptoperiod=50 * DAY,
    )
    versions = tuple(
        replace(
            each,
            id=text,
            fingerprint=text,
            version=replace(
                each.version,
                transitions=tuple(replace(t, why=text) for t in each.version.transitions),
            ),
        )
        for each in keyring.versions
    )
    keyring = replace(keyring, versions=versions)
    events = [
        (at, replace(event, details={**event.details, "actor": text}))
        for at, event in said(keyring)
        if event.event != "key.compromised"
    ]
    return made(keyring, records=log(events))


@given(HOSTILE)
def test_hostile_names_do_not_break_markdown(text: str) -> None:
    """The file has the same headings, bullets, tables and columns, whatever is written in it."""

    def shape(data: bytes) -> list[str]:
        return [each.type for each in tokens(data)]

    def headings(data: bytes) -> list[str]:
        found = tokens(data)
        return [found[i + 1].content for i, each in enumerate(found) if each.type == "heading_open"]

    data, plain = rendered(hostile(text), Format.MD), rendered(hostile("x"), Format.MD)
    assert shape(data) == shape(plain)
    assert headings(data) == headings(plain)
    rows, usual = cells(data), cells(plain)
    assert [len(row) for row in rows] == [len(row) for row in usual]
    reasons = {row[3] for row in rows if row[0] == "payments" and len(row) in (6, 7)}
    assert (printable(text).strip() or "–") in reasons


@given(HOSTILE)
def test_hostile_names_do_not_break_csv(text: str) -> None:
    """No row more, no cell that a spreadsheet computes, and no control character."""
    data, plain = rendered(hostile(text), Format.CSV), rendered(hostile("x"), Format.CSV)
    rows, usual = table(data), table(plain)
    assert [row["row"] for row in rows] == [row["row"] for row in usual]
    for row in rows:
        assert tuple(row) == COLUMNS
        for value in row.values():
            assert value.isprintable()
            assert not value.lstrip().startswith(tuple("=+-@＝＋－＠"))
    [keyring] = [row for row in rows if row["row"] == "keyring"]
    assert keyring["owner"].removeprefix("'") == printable(text).removeprefix("'")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("  @x", "'  @x"),
        ("\t=1", "\\t=1"),
        ("a=1", "a=1"),
        ("", ""),
        (None, ""),
        (-5, "-5"),
        (DAY, "86400"),
        (MADE, "2026-07-20T00:00:00+00:00"),
    ],
)
def test_a_cell_is_text_or_a_number_of_ours(value: object, shown: str) -> None:
    """Only what somebody else wrote can be a formula."""
    assert cell(value) == shown


@given(HOSTILE)
def test_json_says_the_same_words(text: str) -> None:
    """As they are; JSON has its own escapes."""
    found = json.loads(rendered(hostile(text), Format.JSON))
    [keyring] = found["keyrings"]
    assert keyring["owner"] == text
    assert {each["why"] for each in found["rotations"]} == {text}


def test_every_form_tells_of_every_version_once() -> None:
    """Beside the events that name it."""
    found = made(facts(), facts(name="users"))
    wanted = Counter({(name, number): 1 for name in ("payments", "users") for number in (1, 2, 3)})
    spread = [row for row in table(rendered(found, Format.CSV)) if row["row"] == "version"]
    assert Counter((row["keyring"], int(row["version"])) for row in spread) == wanted
    parsed = json.loads(rendered(found, Format.JSON))
    assert (
        Counter(
            (keyring["name"], version["number"])
            for keyring in parsed["keyrings"]
            for version in keyring["versions"]
        )
        == wanted
    )
    inventory = [row for row in cells(rendered(found, Format.MD)) if len(row) == 13]
    assert Counter(row[0] for row in inventory) == {"Version": 2, "1": 2, "2": 2, "3": 2}


def test_every_form_has_the_same_totals() -> None:
    """Which are those of the report."""
    found = made(facts(cryptoperiod=50 * DAY))
    totals = {name: str(number) for name, number in found.totals.items()}
    assert totals["exceptions"] == "2"
    spread = [row for row in table(rendered(found, Format.CSV)) if row["row"] == "total"]
    assert {row["code"]: row["text"] for row in spread} == totals
    parsed = json.loads(rendered(found, Format.JSON))
    assert {name: str(number) for name, number in parsed["totals"].items()} == totals
    assert {row[0]: row[1] for row in cells(rendered(found, Format.MD)) if len(row) == 2} == {
        "What": "How many",
        **totals,
    }


def test_people_read_what_an_assessor_asks_for() -> None:
    """Who, what, how strong, where, wrapped by what, how long, by whom asked, on what evidence."""
    text = rendered(made(facts()), Format.MD).decode()
    for words in (
        "- Period: 2026-01-01 00:00:00 UTC to 2026-06-30 00:00:00 UTC",
        "None. Every transition in the period has its record in the audit log.",
        "- Owner: Payments team",
        "- Custodians: alice; bob",
        "- Classification: restricted",
        "- Purpose: card numbers in users.card",
        "- Cryptoperiod: 120 d",
        "- Wrapped by: aws-kms alias/certrotd; file /etc/certrotd/kek",
        "| aes-256-gcm | 256 |",
        "alice",
        "census 0 of users at",
        "| payments | 2026-03-12 00:00:00 UTC | succeeded | 7 | 2, 3 | – |",
        "users.card (1200 values under old keys, 2026-03-02",
        "archive (never counted, –)",
    ):
        assert words in text
    assert "## Exceptions" in text.split("## Totals")[0]


def test_an_empty_inventory_is_a_report_too() -> None:
    """Of a host that has no keyring."""
    text = rendered(made(), Format.MD).decode()
    assert text.count("None.") == 6
    assert "- Signed by: 0123456789abcdef" in text
    assert "nobody" in rendered(replace(made(), signer=""), Format.MD).decode()
    assert "**broken**" in rendered(replace(made(), whole=False), Format.MD).decode()
    assert '"broken"' in rendered(replace(made(), whole=False), Format.CSV).decode()


def test_the_same_report_is_the_same_bytes() -> None:
    """Or its signature would be of another file."""
    for form in Format:
        assert rendered(made(facts()), form) == rendered(made(facts()), form)


def test_nothing_but_times_and_spans_becomes_text_by_itself() -> None:
    """Least of all a key."""
    assert told(made(facts()))["made"] == MADE
    with pytest.raises(TypeError, match="a report holds no Material"):
        _plain(Material(b"k" * 32))


def test_what_markdown_gives_a_meaning_is_escaped() -> None:
    """And a name that has none of it stays readable."""
    assert escaped("a|b`c") == "a\\|b\\`c"
    assert escaped("users.card-2 (x), at 03:04") == "users.card-2 (x), at 03:04"
    assert escaped("http://a.example") == "http\\://a.example"
    assert escaped("www.a.example") == "www\\.a.example"
