"""What every part of the schema is made of: the entry base class and the common value types."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from certrotd.errors import InvalidInput, one_line
from certrotd.pki import names

Loc = tuple[int | str, ...]
"""The keys and indexes that lead from the top of a configuration to a part of it."""

REFUSED = "certrotd"
"""The error type of refusals whose message is already in the project's words."""

TAG = "~"
"""What the tags of unions begin with, so that in a place they differ from the keys of a file."""

MAX_PATH = 4096
MAX_NAME = 64
TEXT = r"^[^\x00-\x1f\x7f]+$"
SAFE_NAME = r"^[a-z0-9](?:\.?[a-z0-9_-])*$"
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
CREDENTIAL = r"^[A-Za-z0-9_](?:\.?[A-Za-z0-9_@:-])*$"
PATTERNS = {
    TEXT: "must be one line of text without control characters",
    SAFE_NAME: "must be a plain name: lower-case letters, digits, '-', '_' and single dots, "
    "beginning with a letter or a digit (it becomes the name of a file or folder)",
    VARIABLE: "must be the name of an environment variable: letters, digits and '_'",
    CREDENTIAL: "must be the name of a systemd credential, such as tsig or api-token",
}
"""Each pattern of the schema, and what to say of a text that does not match it."""


@dataclass(frozen=True, slots=True)
class EntryFinding:
    """What a look at what an entry refers to found; ``fatal`` if it cannot be used so."""

    message: str
    fatal: bool = True


EntryFindings = Iterator[tuple[Loc, EntryFinding]]
"""Findings, each with its place below the entry that was looked at."""


class Entry(BaseModel):
    """A mapping of the configuration file: immutable, and without unknown keys."""

    # The validator of the whole file is built once, at the first load, not one per class at import.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    def examine(self) -> EntryFindings:
        """What is wrong with the files and programs that this entry itself names.

        What other entries in it name is theirs to tell. Files are read; no program is run.
        """
        return iter(())


def examined(part: object, loc: Loc = ()) -> EntryFindings:
    """Everything that the entries in ``part`` of a configuration refer to and that is not right."""
    if isinstance(part, Entry):
        for below, finding in part.examine():
            yield (*loc, *below), finding
        for name in type(part).model_fields:
            yield from examined(getattr(part, name), (*loc, name))
    elif isinstance(part, dict):
        for key, value in part.items():
            yield from examined(value, (*loc, key))
    elif isinstance(part, tuple):
        for index, value in enumerate(part):
            yield from examined(value, (*loc, index))


def refuse(message: str) -> PydanticCustomError:
    """The error that says ``message`` (what is wrong, what would be right) at this place."""
    return PydanticCustomError(REFUSED, "{words}", {"words": one_line(message)})


def shown(value: object) -> str:
    """What the file says, bounded, to follow ``got``; of a list or mapping only that it is one."""
    match value:
        case str():
            return f'"{one_line(value[:40])}{"…" if len(value) > 40 else ""}"'
        case int() | float() if not isinstance(value, bool):
            return str(value)
        case _:
            return kind(value)


def kind(value: object) -> str:
    """What sort of thing the file has somewhere, where the thing itself may be a secret."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case dict():
            return "a mapping"
        case _:
            return "a list"


def is_safe_name(text: str) -> bool:
    """Whether ``text`` is fit for the name of an entry, as the schema says too."""
    return len(text) <= MAX_NAME and re.fullmatch(SAFE_NAME, text) is not None


def absolute(value: object) -> Path:
    """``value`` as an absolute path without ``..``."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str):
        raise refuse(f"must be an absolute path such as /etc/ssl, got {kind(value)}")
    if "\0" in value or len(value) > MAX_PATH:
        raise refuse("must be a path without NUL and of at most 4,096 characters")
    path = Path(value)
    if not path.is_absolute() or ".." in path.parts:
        raise refuse(f'must be an absolute path without "..", such as /etc/ssl, got {shown(value)}')
    return path


def canonical(value: str) -> str:
    """The canonical spelling of a DNS name, wildcard or IP address."""
    try:
        return names.canonical(value)
    except InvalidInput as error:
        raise refuse(str(error)) from None


def _domain(value: str) -> str:
    name = canonical(value)
    if names.is_ip(name) or names.is_wildcard(name):
        raise refuse(f"must be a domain name such as example.com, got {shown(value)}")
    return name


def _ip(value: str) -> str:
    name = canonical(value)
    if not names.is_ip(name):
        raise refuse(f"must be an IP address such as 192.0.2.1, got {shown(value)}")
    return name


_T = TypeVar("_T")

Items = Annotated[tuple[_T, ...], Field(strict=False)]
"""A list in the file, a tuple afterwards."""

Text = Annotated[str, StringConstraints(max_length=1000, pattern=TEXT)]
Argv = Annotated[tuple[Text, ...], Field(strict=False, min_length=1, max_length=1000)]
"""A program and its arguments; no shell is between."""

SafeName = Annotated[str, StringConstraints(max_length=MAX_NAME, pattern=SAFE_NAME)]
Variable = Annotated[str, StringConstraints(max_length=200, pattern=VARIABLE)]
CredentialName = Annotated[str, StringConstraints(max_length=200, pattern=CREDENTIAL)]
AbsolutePath = Annotated[
    Path, PlainValidator(absolute), WithJsonSchema({"type": "string", "pattern": "^/"})
]
DomainName = Annotated[str, AfterValidator(_domain)]
IpAddress = Annotated[str, AfterValidator(_ip)]
AnyName = Annotated[str, AfterValidator(canonical)]
"""A DNS name, a wildcard or an IP address."""
