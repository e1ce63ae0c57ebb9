"""Every profile is of its schema, makes a configuration, and stands in the page of profiles."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from certrotd.config.load import load
from certrotd.config.sources import source_of
from certrotd.errors import NeedsOperator, UsageError
from certrotd.outputs.build import output_of
from certrotd.profiles.placing import place_of_new
from certrotd.profiles.plan import Installation, as_text, configuration
from certrotd.profiles.schema import Profile, names, profile

PAGE = (Path(__file__).parents[3] / "docs/keys/profiles.md").read_text(encoding="utf-8")
PURPOSE = {"ring": "any number", "two-slots": "two", "one-slot": "one"}


def _is_path(option: str) -> bool:
    return "file" in option or "directory" in option or "kubeconfig" in option


def installation(told: Profile, **more: Any) -> Installation:
    """With whatever the profile asks for."""
    options = {
        name: each.choices[0]
        if each.choices
        else "/some/file"
        if _is_path(name)
        else "https://10.0.0.11:6443"
        if name == "api_server"
        else f"V_{number}"
        for number, (name, each) in enumerate(told.options.items())
        if each.default is None
    }
    tables = () if told.tables or told.datasets else ("users=a,b", "shop.Orders(tenant,id)=card")
    targets = () if told.cutover or told.consumers else ("app",)
    given = {"options": options, "tables": tables, "targets": targets, **more}
    return Installation("shop", "sqlite:////srv/app.db", "/srv/app/keys", **given)


@pytest.fixture
def main(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    keks = {"k": {"type": "file", "path": str(tmp_path / "kek")}}
    targets = {"app": {"type": "command", "command": ["/bin/true"]}}
    path.write_text(yaml.safe_dump({"keks": keks, "targets": targets}))
    return path


@pytest.mark.parametrize("name", names())
def test_a_profile_makes_a_configuration(name: str, main: Path) -> None:
    """With all of its tables, an output that holds such keys, and a codec that takes them."""
    from certrotd.keyring.material import Algorithm
    from certrotd.keys.managed import CHANCE

    told = profile(name)
    place = installation(told)
    text = as_text(told, place, configuration(told, place))
    entry = load(main, more=source_of(Path("shop.yaml"), text)).config.keys.keyrings["shop"]
    assert len(entry.datasets) == (len(told.tables) or len(told.datasets) or 2)
    [output] = entry.outputs
    assert output.type != "keyring"
    traits = output_of(output, algorithm=Algorithm(entry.algorithm), chance=CHANCE).traits
    assert {1: "one-slot", 2: "two-slots"}.get(traits.capacity or 0, "ring") == told.shape
    assert traits.secondary or entry.cutover is not None
    assert all(line in text for line in told.elsewhere)


@pytest.mark.parametrize("name", names())
def test_a_profile_stands_in_the_page(name: str) -> None:
    """With the versions tested, and each of its options."""
    told = profile(name)
    tables = "known" if told.tables or told.datasets else "yours"
    tested, keys = ", ".join(told.tested), PURPOSE[told.shape]
    assert f"| `{name}` | {told.title} | {tested} | {keys} | {tables} |" in PAGE
    for option, each in told.options.items():
        default = f"`{each.default}`" if each.default else ""
        row = rf"^\| (?:`{name}`)? ?\| `{option}` \| {re.escape(default)} ?\| (.*) \|$"
        assert each.description in re.findall(row, PAGE, re.M)


@pytest.mark.parametrize(
    "change",
    [{"shape": "heap"}, {"tables": {"t": {"table": "t", "columns": []}}}, {"more": 1}],
)
def test_what_is_no_profile_is_refused(change: dict[str, Any]) -> None:
    """A key that nobody knows, a shape that nothing has, a table without a column."""
    good: dict[str, Any] = {"title": "x", "tested": ["1"], "shape": "ring", "algorithm": "fernet"}
    good |= {"output": {"type": "fernet-list"}, "codec": "fernet"}
    Profile.model_validate(good)
    with pytest.raises(ValidationError):
        Profile.model_validate({**good, **change})


@pytest.mark.parametrize(
    ("name", "more", "why"),
    [
        ("rails", {"options": {}}, "the profile needs salt_file"),
        ("laravel", {"options": {"cipher": "rot13"}}, "cipher must be one of"),
        ("laravel", {"tables": ()}, "does not know which tables"),
        ("laravel", {"tables": ("users",)}, "--table takes"),
        ("laravel", {"tables": ("users=a,,b",)}, "has a name that is empty"),
        ("laravel", {"tables": ("users=a", "users=b")}, "is named twice"),
        ("kubernetes", {"tables": ("users=a",)}, "the profile knows its tables"),
        ("kubernetes", {"targets": ("app",)}, "the profile knows its consumers"),
    ],
)
def test_an_installation_that_does_not_fit_is_refused(
    name: str, more: dict[str, Any], why: str
) -> None:
    """In words that name the option of the command."""
    told = profile(name)
    with pytest.raises(UsageError, match=why):
        configuration(told, installation(told, **more))


@pytest.mark.parametrize(
    ("include", "why"),
    [
        ("null", "includes no files of one directory"),
        ("'conf.d/*.yml'", "would not include"),
        ("'*/x.yaml'", "includes no files of one directory"),
        ("'more.d/*.yaml'", "there is no directory"),
    ],
)
def test_a_file_that_would_not_be_read_is_not_written(main: Path, include: str, why: str) -> None:
    """An operator who believes in it would wait for ever."""
    main.write_text(f"include: {include}\n")
    with pytest.raises(NeedsOperator, match=why):
        place_of_new(main, "shop")
