"""The page for operators about KEKs: its examples load, and it leaves out no type and no option."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import TypeAdapter

from certrotd.config import keks
from certrotd.config.keks import KekEntry

PAGE = (Path(__file__).parents[3] / "docs" / "keys" / "keks.md").read_text()
EXAMPLES = [yaml.safe_load(each) for each in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
ENTRIES: TypeAdapter[dict[str, KekEntry]] = TypeAdapter(dict[str, KekEntry])
CLASSES = get_args(get_args(KekEntry)[0])


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_of_the_page_is_valid(example: dict[str, Any]) -> None:
    """Whoever copies it copies what works."""
    assert list(example) == ["keks"]
    assert ENTRIES.validate_python(example["keks"])


def test_each_type_has_its_section_with_an_example() -> None:
    """In the order of the schema or not, but each."""
    types = [get_args(each.model_fields["type"].annotation)[0] for each in CLASSES]
    shown = {entry["type"] for example in EXAMPLES for entry in example["keks"].values()}
    assert shown == set(types)
    assert all(f"\n## {each}\n" in PAGE for each in types)


def test_a_section_shows_what_its_type_needs() -> None:
    """Required keys are in the first example of the type; the others are optional."""
    firsts: dict[str, dict[str, Any]] = {}
    for example in EXAMPLES:
        for entry in example["keks"].values():
            firsts.setdefault(entry["type"], entry)
    for each in CLASSES:
        [kind] = get_args(each.model_fields["type"].annotation)
        needed = {name for name, field in each.model_fields.items() if field.is_required()}
        assert needed <= set(firsts[kind]), kind


def test_every_option_has_a_description() -> None:
    """The schema is what editors show."""
    for each in CLASSES:
        for name, field in each.model_fields.items():
            assert field.description, f"{each.__name__}.{name}"
            assert field.description.endswith("."), f"{each.__name__}.{name}"


def test_the_links_within_the_page_lead_somewhere() -> None:
    """A section may have been renamed."""
    sections = {
        re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-")
        for each in re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= sections


def test_the_timeout_of_the_page_is_the_schemas() -> None:
    """It says 10 s."""
    assert keks.VaultKekEntry.model_fields["timeout"].default.total_seconds() == 10
    assert "`timeout` (10 s by default)" in PAGE
