"""The example: valid, complete, and right about the defaults."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from yaml.nodes import MappingNode, Node, SequenceNode

from certrotd.config.base import Entry
from certrotd.config.file import ConfigFile
from certrotd.config.load import load
from certrotd.config.schema import json_schema

EXAMPLE = Path(__file__).parents[3] / "config.example.yaml"
LINES = EXAMPLE.read_text().splitlines()


@cache
def within() -> frozenset[str]:
    """The names of the classes that the schema has."""
    return frozenset({ConfigFile.__name__, *json_schema()["$defs"]})


def classes(kind: type[Entry] = Entry) -> Iterator[type[Entry]]:
    """Every class of the schema that a file can have an entry of."""
    found: dict[type[Entry], None] = {}  # each once, however many ways lead to it
    for each in kind.__subclasses__():
        found.update(dict.fromkeys(classes(each)))
        if each.__name__ in within():
            found[each] = None
    yield from found


def entries(part: object) -> Iterator[Entry]:
    """Every entry within ``part`` of a configuration."""
    if isinstance(part, Entry):
        yield part
        for name in type(part).model_fields:
            yield from entries(getattr(part, name))
    elif isinstance(part, dict):
        for value in part.values():
            yield from entries(value)
    elif isinstance(part, tuple):
        for value in part:
            yield from entries(value)


def keys(entry: object, node: Node | None) -> Iterator[tuple[type[Entry], str, int]]:
    """Every key of the example with the class it belongs to, and its line from 0."""
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if isinstance(entry, Entry):
                yield type(entry), key.value, key.start_mark.line
                yield from keys(getattr(entry, key.value), value)
            elif isinstance(entry, dict):
                yield from keys(entry[key.value], value)
    elif isinstance(node, SequenceNode) and isinstance(entry, tuple):
        for inner, item in zip(entry, node.value, strict=True):
            yield from keys(inner, item)


def parsed() -> ConfigFile:
    """The example as the schema reads it."""
    return ConfigFile.model_validate(yaml.safe_load(EXAMPLE.read_text()))


def documented() -> Iterator[tuple[type[Entry], str, Any]]:
    """Every default the example's comments tell, with the option it is told of."""
    last: tuple[type[Entry], str] | None = None
    by_line: dict[int, tuple[type[Entry], str]] = {}
    for kind, name, number in keys(parsed(), yaml.compose(EXAMPLE.read_text())):
        by_line.setdefault(number, (kind, name))
    for number, line in enumerate(LINES):
        last = by_line.get(number, last)
        told = re.search(r"#.*\bdefault: (.+?)(?: \([^()]*\))?$", line)
        if told and last:
            yield *last, yaml.safe_load(told[1])


def test_the_example_is_valid() -> None:
    """Whoever copies from it copies what works."""
    found = load(EXAMPLE)
    assert found.warnings == ()
    assert len(found.config.certificates) == 3
    assert len(found.config.keys.keyrings) == 14


@pytest.mark.parametrize("kind", sorted(classes(), key=str), ids=lambda kind: kind.__name__)
def test_the_example_has_every_option(kind: type[Entry]) -> None:
    """The schema is the truth; an option that is not here is one nobody finds."""
    shown: set[str] = set()
    for entry in entries(parsed()):
        if type(entry) is kind:
            shown |= entry.model_fields_set
    assert shown == set(kind.model_fields)


def test_the_example_shows_the_actual_defaults() -> None:
    """A comment that lies is worse than none."""
    schema = json_schema()
    wrong = []
    for kind, name, told in documented():
        definition = schema if kind is ConfigFile else schema["$defs"][kind.__name__]
        definition = next((d for d in definition.get("anyOf", ()) if "properties" in d), definition)
        option = definition["properties"][name]
        if "default" not in option or option["default"] != told:
            wrong.append((kind.__name__, name, told, option.get("default")))
    assert wrong == []


def test_the_example_shows_the_default_of_every_option_that_has_one() -> None:
    """Otherwise the test above would be content with an example that tells none."""
    told = {(kind, name) for kind, name, _ in documented()}
    silent = {
        (kind.__name__, name)
        for kind in classes()
        for name, field in kind.model_fields.items()
        if not field.is_required() and field.default_factory is None and (kind, name) not in told
    }
    assert silent == set()


def test_the_example_is_readable_in_a_terminal() -> None:
    """Comments beside the options stay on their line."""
    assert max(map(len, LINES)) <= 100
