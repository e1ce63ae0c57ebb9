"""The pages about backups and reports say what the code does."""

from __future__ import annotations

import re

import pytest
import yaml

from certrotd.assessment.exceptions import Kind
from certrotd.assessment.rendering import Format
from certrotd.config.escrow import BackupEntry, DrillEntry
from certrotd.escrow.drill import Found
from tests.parts.pages import PAGES, blocks, commands


@pytest.mark.parametrize("example", blocks("backup.md", "yaml"))
def test_every_example_is_a_configuration(example: str) -> None:
    """As an operator copies it."""
    [(key, given)] = yaml.safe_load(example).items()
    assert key == "backup"
    entry = BackupEntry.model_validate(given)
    assert entry.directory.is_absolute()


def test_the_examples_show_each_way() -> None:
    """Recipients, shares, a passphrase, and a drill by itself."""
    entries = [
        BackupEntry.model_validate(yaml.safe_load(example)["backup"])
        for example in blocks("backup.md", "yaml")
    ]
    assert any(each.recipients for each in entries)
    assert any(each.shares for each in entries)
    assert any(each.passphrase for each in entries)
    assert any(each.drill.identity for each in entries)


def test_defaults_are_those_of_the_configuration() -> None:
    """The table of settings."""
    text = (PAGES / "backup.md").read_text()
    assert f"| `keep` | {BackupEntry.model_fields['keep'].default} |" in text
    assert f"| `drill.every` | {DrillEntry.model_fields['every'].default.days}d |" in text


def rows(page: str, heading: str) -> list[str]:
    """The codes in the first column of the table below a heading."""
    section = (PAGES / page).read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    firsts = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [code for first in firsts for code in re.findall(r"`([a-z-]+)`", first)]


def test_every_finding_of_a_drill_is_explained() -> None:
    """In the order of the code."""
    assert rows("backup.md", "Drills") == list(Found)


def test_every_exception_of_a_report_is_explained() -> None:
    """In the order of the report."""
    assert rows("report.md", "Exceptions") == list(Kind)


def test_every_format_of_a_report_is_named() -> None:
    """And the command that makes it."""
    text = (PAGES / "report.md").read_text()
    assert all(f"| `{form}` |" in text for form in Format)
    assert any(line.startswith("certrotd keys report") for line in commands("report.md"))


def test_links_lead_to_pages_that_are_there() -> None:
    """And to headings in them."""
    for page in ("backup.md", "report.md"):
        text = (PAGES / page).read_text()
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
            path, _, anchor = target.partition("#")
            there = (PAGES / path).resolve() if path else PAGES / page
            headings = re.findall(r"^#+ (.+)$", there.read_text(), re.MULTILINE)
            assert not anchor or anchor in {each.lower().replace(" ", "-") for each in headings}
