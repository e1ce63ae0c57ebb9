"""The JSON Schema of the configuration file, for editors and for finding what a place allows."""

from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from certrotd.address import Address
from certrotd.config.base import Loc
from certrotd.config.durations import render
from certrotd.config.file import ConfigFile
from certrotd.config.modes import Mode

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the configuration file and of those below conf.d."""
    schema = ConfigFile.model_json_schema(schema_generator=_Generator)
    return {"$schema": DIALECT, **schema}


class Choice(str):
    """A step of a place that no file has: which of several types, or forms, something is of."""

    __slots__ = ()


class Places:
    """What the schema says about the places of a configuration."""

    def __init__(self, schema: JsonSchemaValue) -> None:
        self._schema = schema

    def at(self, loc: Loc) -> Iterator[JsonSchemaValue]:
        """What may be at ``loc``: its schema, then what that refers to or is a choice of.

        Where something is one of several on the way, ``loc`` has a Choice at that place.
        """
        nodes = [self._schema]
        for step in loc:
            wide = [inner for node in nodes for inner in self._opened(node)]
            nodes = [inner for node in wide for inner in _below(node, step)]
        for node in nodes:
            yield from self._opened(node)

    def known_keys(self, loc: Loc) -> list[str]:
        """The keys a mapping at ``loc`` may have."""
        return [key for node in self.at(loc) for key in node.get("properties", ())]

    def types(self, loc: Loc) -> list[str]:
        """The types an entry at ``loc`` may be of."""
        choices = (node.get("discriminator", {}) for node in self.at(loc))
        return [tag for choice in choices for tag in choice.get("mapping", ())]

    def _opened(self, node: JsonSchemaValue) -> Iterator[JsonSchemaValue]:
        yield node
        if "$ref" in node:
            yield from self._opened(self._schema["$defs"][node["$ref"].rpartition("/")[2]])
        for choice in (*node.get("anyOf", ()), *node.get("oneOf", ())):
            yield from self._opened(choice)


@cache
def places_of_schema() -> Places:
    """The places of the configuration file; made once, since it takes as long as a small file."""
    return Places(json_schema())


class _Generator(GenerateJsonSchema):
    """Shows defaults as people write them, and keys without a repetition as their title."""

    def encode_default(self, dft: Any) -> Any:
        match dft:
            case timedelta():
                return render(dft)
            case Mode() | Address():
                return str(dft)
            case _:
                return super().encode_default(dft)

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False


def _below(node: JsonSchemaValue, step: int | str) -> Iterator[JsonSchemaValue]:
    """What ``node`` says of its item or key ``step``; itself if that is the choice it is."""
    properties = node.get("properties", {})
    if isinstance(step, int):
        if "items" in node:
            yield node["items"]
    elif isinstance(step, Choice):
        type_ = properties.get("type", {}).get("const")
        if step == type_ or (type_ is None and step in properties):
            yield node
    elif step in properties:
        yield properties[step]
    else:
        yield from node.get("patternProperties", {}).values()
