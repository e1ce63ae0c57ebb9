"""The form of a profile: where an application has its keys, and what it encrypts with them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, model_validator

from certrotd.config.base import Entry, Items, SafeName, Text, refuse
from certrotd.config.nearest import suggestion
from certrotd.errors import UsageError

_SUFFIX = ".yaml"


class OptionEntry(Entry):
    """What differs between installations: given by ``--set``, used as ``${name}``."""

    description: Text
    default: Text | None = None  # none: it must be given
    choices: Items[Text] = ()
    many: bool = False  # a list, with commas between: as an item of a list it is all of them


class TableEntry(Entry):
    """A table of the application; the names of its fields are those of a dataset."""

    table: Text
    key: Items[Text] = ("id",)
    columns: Annotated[Items[Text], Field(min_length=1)]
    where: Text | None = None
    json_paths: dict[Text, Items[Text]] = Field(default={})
    lists: dict[Text, Text] = Field(default={})
    codec: str | dict[str, Any] | None = None  # none: that of the profile
    expects: dict[Text, Any] = Field(default={})
    others: Text | None = None
    plaintext: Literal["refuse", "leave"] = "refuse"
    optional: bool = False  # not every version of the application has it


class HintsEntry(Entry):
    """What a person does around a rotation; shown, never run."""

    stop: Items[Text] = ()
    start: Items[Text] = ()
    probe: Items[Text] = ()


class Profile(Entry):
    """One application.

    Texts of ``algorithm``, ``output``, ``codec``, ``expects``, ``drains``, ``cutover``,
    ``consumers`` and ``datasets`` may have ``${name}`` of an option. What it encrypts is in
    ``datasets`` that are no tables, or in ``tables``; without either, these are the installation's
    own, given by ``--table``, and ``expects`` is what plaintext of every column looks like.
    """

    title: Text
    tested: Items[Text]  # the versions; of a template, the form of values
    shape: Literal["ring", "two-slots", "one-slot"]
    options: dict[SafeName, OptionEntry] = Field(default={})
    algorithm: Text
    output: dict[str, Any]
    codec: str | dict[str, Any] | None = None
    expects: Any = None
    tables: dict[SafeName, TableEntry] = Field(default={})
    drains: dict[SafeName, Text] = Field(default={})
    cutover: dict[str, Any] | None = None
    consumers: dict[SafeName, Any] = Field(default={})
    datasets: dict[SafeName, Any] = Field(default={})
    hints: HintsEntry = HintsEntry()
    elsewhere: Items[Text] = ()  # what holds ciphertext, or depends on the key, and is no table

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.shape == "one-slot") and self.cutover is None:
            raise refuse("an application of one slot needs cutover")
        if (self.codec is None) != bool(self.datasets) or (self.datasets and self.tables):
            raise refuse("a profile has either a codec, for tables, or datasets of another kind")
        return self


def names() -> Sequence[str]:
    """The profiles that there are."""
    found = files(__package__).iterdir()
    return sorted(each.name.removesuffix(_SUFFIX) for each in found if each.name.endswith(_SUFFIX))


@cache
def profile(name: str) -> Profile:
    """The profile of that name; raises UsageError."""
    if name not in names():
        raise UsageError(f"there is no profile {name}", hint=suggestion(name, names()))
    text = files(__package__).joinpath(name + _SUFFIX).read_text(encoding="utf-8")
    return Profile.model_validate_json(_as_json(text))


def _as_json(text: str) -> str:
    """YAML as JSON, so that strict fields take its lists."""
    return json.dumps(yaml.safe_load(text))
