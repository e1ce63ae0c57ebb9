"""The page for operators about DNS solvers: its examples load, and it leaves out no type."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import TypeAdapter

from certrotd.config.solvers import SolverEntry

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "dns.md").read_text()
EXAMPLES = [yaml.safe_load(each) for each in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
ENTRIES: TypeAdapter[dict[str, SolverEntry]] = TypeAdapter(dict[str, SolverEntry])
TYPES = [
    get_args(each.model_fields["type"].annotation)[0] for each in get_args(get_args(SolverEntry)[0])
]


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_of_the_page_is_valid(example: dict[str, Any]) -> None:
    """Whoever copies it copies what works."""
    assert list(example) == ["solvers"]
    assert ENTRIES.validate_python(example["solvers"])


def test_each_type_has_its_section_and_is_in_the_table() -> None:
    """With an example of its own."""
    shown = {entry["type"] for example in EXAMPLES for entry in example["solvers"].values()}
    assert shown == set(TYPES)
    table = PAGE.partition("## Which one")[2].partition("## ")[0]
    for each in TYPES:
        assert f"\n## {each}\n" in PAGE
        assert f"`{each}`" in table


def test_the_policy_for_aws_allows_what_the_solver_asks_and_no_more() -> None:
    """One action that is missing is found at the first renewal."""
    [policy] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    allowed = {each["Action"].removeprefix("route53:") for each in json.loads(policy)["Statement"]}
    source = (ROOT / "certrotd" / "dns" / "route53.py").read_text()
    asked = re.findall(r'"((?:list|change|get)_[a-z_]+)"', source)
    assert {"".join(part.capitalize() for part in each.split("_")) for each in asked} == allowed
    changes = re.findall(r'"(UPSERT|DELETE|CREATE)"', source)
    assert set(changes) == {"UPSERT", "DELETE"}


def test_links_lead_to_files() -> None:
    """Of the documentation itself."""
    for link in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (ROOT / "docs" / link).exists(), link
