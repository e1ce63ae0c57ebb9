"""The JSON Schema: what editors complete and check is what certrotd reads."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from certrotd.config.schema import Choice, json_schema, places_of_schema


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Every mapping within ``schema``."""
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from nodes(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from nodes(value)


def test_the_schema_is_json() -> None:
    """It is printed for editors to read."""
    schema = json.loads(json.dumps(json_schema()))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert set(schema["properties"]) >= {"issuers", "solvers", "targets", "certificates"}


def test_every_option_is_described() -> None:
    """The descriptions are what an editor shows, and what the messages quote."""
    for name, definition in json_schema()["$defs"].items():
        for node in nodes(definition):
            for key, option in node.get("properties", {}).items():
                assert option.get("description", "").endswith("."), f"{name}.{key}"


def test_unknown_keys_are_refused_by_the_schema_too() -> None:
    """An editor underlines the typo before certrotd refuses it."""
    schema = json_schema()
    for node in nodes(schema):
        if "properties" in node and node is not schema.get("properties"):
            assert node.get("additionalProperties") is False


def test_defaults_are_shown_as_people_write_them() -> None:
    """``PT5M`` and ``416`` are not what the file says."""
    definitions = json_schema()["$defs"]
    assert definitions["AcmeEntry"]["properties"]["timeout"]["default"] == "5m"
    assert definitions["InstallEntry"]["properties"]["mode"]["default"] == "0640"
    assert json_schema()["properties"]["state_dir"]["default"] == "/var/lib/certrotd"


def test_every_number_has_a_least_and_a_most() -> None:
    """A wrong one is told with what would be right; account numbers and shares tell it themselves.

    Nobody means a quorum of 10^30 either.
    """
    bare = ({"type": "integer"}, {"type": "number"})
    for node in nodes(json_schema()):
        if node.get("type") in ("integer", "number") and node not in bare:
            assert {"minimum", "maximum"} <= node.keys(), node


@pytest.mark.parametrize(("name", "short"), [("KeyEntry", "enum"), ("UseEntry", "pattern")])
def test_short_forms_are_in_the_schema(name: str, short: str) -> None:
    """``key: ecdsa-p384`` and ``targets: [web]`` are right."""
    text, mapping = json_schema()["$defs"][name]["anyOf"]
    assert text["type"] == "string"
    assert short in text
    assert mapping["type"] == "object"


def test_patterns_are_regular_expressions() -> None:
    """One that is not would make the editor drop the whole schema."""
    for node in nodes(json_schema()):
        if isinstance(node.get("pattern"), str):
            re.compile(node["pattern"])


@pytest.mark.parametrize(
    ("loc", "keys"),
    [
        (("issuers", "x", Choice("internal")), {"type", "lifetime", "backdate"}),
        (("targets", "x", Choice("command")), {"command", "check", "environment"}),
        (("solvers", "x", Choice("rfc2136"), "tsig"), {"name", "algorithm", "secret"}),
        (("certificates", 3, "install", 0), {"privkey", "mode"}),
        (("certificates", 3, "install", 0, "pkcs12_password", Choice("command")), {"timeout"}),
        (("certificates", 3, "targets", 0, "probe", 0), {"address", "sni"}),
        (("defaults", "key"), {"type", "reuse"}),
        ((), {"certificates"}),
    ],
)
def test_the_keys_of_a_place_are_known(loc: tuple[int | str, ...], keys: set[str]) -> None:
    """Suggestions come from where the typo is, not from anywhere."""
    assert keys <= set(places_of_schema().known_keys(loc))


def test_the_keys_of_another_type_are_not_suggested() -> None:
    """``directory`` is not an option of the internal issuer."""
    known = places_of_schema().known_keys(("issuers", "x", Choice("internal")))
    assert "directory" not in known
