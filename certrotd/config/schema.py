"""The JSON Schema of the configuration file, for editors and for finding what a place allows."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from certrotd.config.addresses import Address
from certrotd.config.base import TAG, Loc
from certrotd.config.certificates import Mode
from certrotd.config.durations import render
from certrotd.config.file import ConfigFile

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the configuration file and of those below conf.d."""
    schema = ConfigFile.model_json_schema(schema_generator=_Generator)
    return {"$schema": DIALECT, **schema}


class Places:
    """What the schema says about the places of a configuration."""

    def __init__(self) -> None:
        self._schema = json_schema()

    def at(self, loc: Loc) -> Iterator[JsonSchemaValue]:
        """What may be at ``loc``: its schema, then what that refers to or is a choice of.

        Where there is a choice of types on the way, ``loc`` has a step with the type, marked "~".
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
    """What ``node`` says of its item or key ``step``; itself if that is its tag in a union."""
    properties = node.get("properties", {})
    if isinstance(step, int):
        if "items" in node:
            yield node["items"]
    elif step.startswith(TAG):
        tag = step.removeprefix(TAG)
        if properties.get("type", {}).get("const", tag) == tag and {"type", tag} & set(properties):
            yield node
    elif step in properties:
        yield properties[step]
    else:
        yield from node.get("patternProperties", {}).values()
        if isinstance(node.get("additionalProperties"), dict):
            yield node["additionalProperties"]
