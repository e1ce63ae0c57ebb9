"""What pydantic found wrong, in the project's words: what it is, and what would be right."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from certrotd.config.base import PATTERNS, REFUSED, TAG, TEXT, Loc, kind, shown
from certrotd.config.nearest import suggestion
from certrotd.config.schema import Choice, Places, places_of_schema
from certrotd.config.secrets import SECRET_FORM, misformed

FILLED_IN = re.compile(r"\$\{\w{1,64}\}|\{\{")
_TYPED = ("issuers", "solvers", "targets", "notifications", "keks")
"""Sections whose entries are of one of several types: pydantic puts the type into the place."""
_OF_KINDS = "acknowledge"
"""The key whose mapping is of one of several kinds, like a secret's, and none itself."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong at ``loc`` of the merged configuration."""

    loc: Loc
    message: str


def explain(error: ValidationError) -> Iterator[Fault]:
    """Every error as a place in the file and a message that never shows a secret."""
    places = places_of_schema()
    for detail in error.errors(include_url=False):
        loc = _marked(detail)
        if detail["type"] in ("union_tag_invalid", "union_tag_not_found"):
            yield Fault((*_plain(loc), "type"), _which_type(detail, places.types(loc)))
        elif not _is_echo(detail):
            message = _message(detail, loc, places)
            yield Fault(_plain(loc), f"{message}{_aside(detail, loc, places)}")


def _is_echo(detail: ErrorDetails) -> bool:
    """Whether a list is called too short only because of wrong items, which are errors too."""
    context = detail.get("ctx", {})
    return detail["type"] == "too_short" and len(detail["input"]) >= context["min_length"]


def _marked(detail: ErrorDetails) -> Loc:
    """The place of an error with the choices in it marked as such.

    The last step never is one, except for the type of an entry, which has its fixed position.
    """
    loc = detail["loc"]
    if loc[-1] == "[key]" and detail["type"] != "extra_forbidden":
        loc = loc[:-1]  # the key itself is what is wrong
    steps: list[int | str] = []
    for position, step in enumerate(loc):
        is_type = _is_type(loc, position)
        is_tag = str(step).startswith(TAG) and 2 < position < len(loc) - 1
        steps.append(Choice(str(step).removeprefix(TAG)) if is_type or is_tag else step)
    return tuple(steps)


def _is_type(loc: Loc, position: int) -> bool:
    """Whether that step is the type of an entry, where entries are of one of several."""
    if loc[0] == "keyrings":
        return position == 4 and loc[2] == "outputs"
    return position == 2 and loc[0] in _TYPED


def _is_secret(loc: Loc) -> bool:
    """Whether ``loc`` is within a reference to a secret, or where text may stand for one."""
    return any(
        isinstance(step, Choice) and not _is_type(loc, position) and loc[position - 1] != _OF_KINDS
        for position, step in enumerate(loc)
    )


def _plain(loc: Loc) -> Loc:
    """``loc`` as the file has it."""
    return tuple(step for step in loc if not isinstance(step, Choice))


def _which_type(detail: ErrorDetails, types: list[str]) -> str:
    if detail["type"] == "union_tag_not_found":
        glued = next((key for key in detail["input"] if str(key).startswith("type:")), None)
        hint = f" (put a space after the ':' of {shown(glued)})" if glued else ""
        return f"is required: {', '.join(types)}{hint}"
    return f"unknown type {shown(detail['ctx']['tag'])}, {suggestion(detail['ctx']['tag'], types)}"


def _message(detail: ErrorDetails, loc: Loc, places: Places) -> str:
    context = detail.get("ctx", {})
    match detail["type"]:
        case kind if kind == REFUSED:
            return detail["msg"]
        case kind if kind == SECRET_FORM:
            return misformed(detail["input"])
        case "missing":
            told = (node["description"] for node in places.at(loc) if "description" in node)
            return f"is required: {next(told, str(loc[-1])).rstrip('.')}"
        case "extra_forbidden":
            return f"unknown key, {suggestion(str(loc[-1]), places.known_keys(loc[:-1]))}"
        case "too_short" if context["min_length"] > 1:
            return f"must have at least {context['min_length']:,} entries"
        case "too_short":
            return "must not be empty"
        case "too_long":
            return f"must have at most {context['max_length']:,} entries"
        case "string_too_long":
            return f"must be at most {context['max_length']:,} characters long"
        case "string_pattern_mismatch" if context["pattern"] == TEXT:
            return PATTERNS[TEXT]
        case _:
            return _mismatch(detail, loc, places)


def _mismatch(detail: ErrorDetails, loc: Loc, places: Places) -> str:
    """What would be right, and what is there instead."""
    value = detail["input"]
    got = kind(value) if _is_secret(loc) else shown(value)
    match detail["type"]:
        case "string_type":
            if value is None:
                return "must be text, got nothing: write a value, or remove the entry"
            quotes = "" if isinstance(value, list | dict) else ": put it in quotes"
            return f"must be text, got {got}{quotes}"
        case "bool_type":
            return f"must be true or false, got {got}"
        case "list_type" | "tuple_type":
            plain = any(node.get("type") == "string" for node in places.at((*loc, 0)))
            item = "a, b" if plain else _example((*loc, 0), places)
            return f"must be a list such as [{item}], got {kind(value)}"
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"must be a mapping such as {_example(loc, places)}, got {kind(value)}"
        case "string_pattern_mismatch":
            return f"{PATTERNS[detail['ctx']['pattern']]}, got {got}"
        case "literal_error":
            choices = re.findall(r"'([^']*)'", detail["ctx"]["expected"])
            return f"must be one of {', '.join(choices)}; got {got}"
        case _:
            return _number(places.at(loc), value)


def _aside(detail: ErrorDetails, loc: Loc, places: Places) -> str:
    """What else may be the reason: something at the wrong depth, or meant to be filled in."""
    value, last = detail["input"], loc[-1]
    if isinstance(value, str) and FILLED_IN.search(value) and detail["type"] != SECRET_FORM:
        return " (variables are not expanded here)"
    wrong_kind = detail["type"] in ("model_type", "model_attributes_type")
    if len(loc) == 2 and loc[0] in _TYPED and wrong_kind:
        if last in places.known_keys(()):
            return f" ({last} is a section: do not indent it)"
        known = (name for kind in places.types((*loc,)) for name in _keys_of(places, loc, kind))
        if last in {"type", *known}:
            return f" ({last} belongs to an entry: indent it further than the entry's name)"
    if len(loc) == 1 and detail["type"] == "extra_forbidden":
        if last in places.known_keys(("certificates", 0)):
            return f" ({last} belongs to a certificate: indent it like its name)"
        if isinstance(value, dict) and "type" in value:
            return " (indent it if it is an entry of the section before)"
    return ""


def _keys_of(places: Places, loc: Loc, kind: str) -> list[str]:
    return places.known_keys((*loc, Choice(kind)))


def _example(loc: Loc, places: Places) -> str:
    """How a mapping at ``loc`` begins."""
    required = (key for node in places.at(loc) for key in node.get("required", ()))
    key = next(required, None) or next(iter(places.known_keys(loc)), None)
    return f"{{{key}: …}}" if key else "{key: value}"


def _number(nodes: Iterable[Mapping[str, Any]], value: object) -> str:
    """The number that would be right, as the schema bounds it, and what is there instead."""
    for node in nodes:
        if node.get("type") in ("integer", "number"):
            least, most = node["minimum"], node["maximum"]
            whole = "whole " if node["type"] == "integer" else ""
            limit = f"{most:g}" if most < 10**6 else f"{most:,}"
            right = f"must be a {whole}number from {least:g} to {limit}, got {shown(value)}"
            if isinstance(value, float) and value.is_integer() and least <= value <= most:
                return f"{right}: write {int(value)}"
            is_quoted = isinstance(value, str) and re.fullmatch("[0-9]{1,10}", value)
            return f"{right}: write it without quotes" if is_quoted else right
    return f"is not valid, got {shown(value)}"
