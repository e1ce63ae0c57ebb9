"""The page of codecs: every example is a configuration, and every codec is in its table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from certrotd.config.codecs import CODEC_ALGORITHMS, CodecWord
from certrotd.config.datasets import SqlDatasetEntry

PAGE = (Path(__file__).parents[3] / "docs/keys/codecs.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_is_the_codec_of_a_dataset(text: str) -> None:
    """As it stands there."""
    told = {"type": "sql", "url": "sqlite:////app.db", "table": "t", "columns": ["v"]}
    SqlDatasetEntry.model_validate({**told, **yaml.safe_load(text)})


def test_the_table_has_every_codec_with_its_algorithms() -> None:
    """What is not there, nobody finds."""
    rows = re.findall(
        r"^\| `(?:\{type: )?([a-z0-9-]+)(?:, …\})?` \|(?:.*\|){3} (.*) \|$", PAGE, re.M
    )
    found = {name: set(re.findall("`([a-z0-9-]+)`", held)) for name, held in rows}
    assert {name: found.pop(name) for name in CODEC_ALGORITHMS} == CODEC_ALGORITHMS
    assert found.keys() == {"codec", "layout", "layouts"}, "the heading, and what ciphers tell"
    mappings = {"jwe", "rails", "wso2", "symmetric-encryption"}
    assert {*get_args(CodecWord), *mappings} == CODEC_ALGORITHMS.keys()
