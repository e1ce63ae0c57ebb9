"""The pages of docs/keys: the examples, commands and files that they show."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path

PAGES = Path(__file__).parents[2] / "docs" / "keys"
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"\A(?:#!.*\n)?# (/\S+)\n")


def blocks(page: str, language: str) -> list[str]:
    """The examples of a page in one language."""
    found = _BLOCK.findall((PAGES / page).read_text(encoding="utf-8"))
    return [textwrap.dedent(text) for _, of, text in found if of == language]


def files(page: str) -> Mapping[str, str]:
    """What the page has an operator write, by a first line such as ``# /etc/app.yaml``."""
    shown = [*blocks(page, "yaml"), *blocks(page, "bash")]
    return {found[1]: text for text in shown if (found := _FILE.match(text))}


def commands(page: str) -> list[str]:
    """The lines of the examples for a shell, without their comments."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    return [line.partition(" #")[0].strip() for line in lines]
