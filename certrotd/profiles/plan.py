"""From a profile and what a person says of an installation to a configuration: pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from pydantic import ValidationError

from certrotd.errors import UsageError
from certrotd.profiles.schema import OptionEntry, Profile, TableEntry

_OPTION = re.compile(r"\$\{([a-z0-9_-]+)\}")
_WORDS = {"true": True, "false": False}
_NAME = re.compile(r"[^a-z0-9_-]+")


@dataclass(frozen=True)
class Installation:
    """What a profile does not know: the names, places and options of one installation.

    ``mode`` is that of the file with the keys. ``password`` is a reference to the database's.
    """

    keyring: str
    database: str
    source: str
    mode: str = "0600"
    password: Mapping[str, str] | None = None
    targets: Sequence[str] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    tables: Sequence[str] = ()


def tables_of(profile: Profile, place: Installation) -> Mapping[str, TableEntry]:
    """The tables with ciphertext, by the names of their datasets; raises UsageError."""
    if (profile.tables or profile.datasets) and place.tables:
        raise UsageError("the profile knows its tables: add others to what --write has written")
    if profile.tables or profile.datasets:
        return profile.tables
    if not place.tables:
        raise UsageError(
            "the profile does not know which tables the application has",
            hint="--table TABLE=COLUMN,COLUMN, or TABLE(KEY,KEY)=COLUMN; as often as needed",
        )
    named = [_table(each) for each in place.tables]
    found = {_NAME.sub("-", each.table.lower()).strip("-") or "table": each for each in named}
    if len(found) < len(named):
        raise UsageError("a table is named twice: give all its columns in one --table")
    return found


def _table(text: str) -> TableEntry:
    matched = re.fullmatch(r"([^=()]+)(?:\(([^=()]+)\))?=([^=()]+)", text)
    if matched is None:
        raise UsageError("--table takes TABLE=COLUMN,COLUMN, or TABLE(KEY,KEY)=COLUMN")
    table, key, columns = matched.groups()
    try:
        return TableEntry(
            table=table, key=tuple((key or "id").split(",")), columns=tuple(columns.split(","))
        )
    except ValidationError:
        raise UsageError("--table has a name that is empty, too long or not of one line") from None


def configuration(
    profile: Profile,
    place: Installation,
    absent: Collection[str] = (),
    empty: Collection[str] | None = None,
) -> dict[str, Any]:
    """What ``certrotd`` needs in its configuration; ``absent`` are datasets that are not there.

    ``empty`` are those that nobody has looked into (None: all of them), or that have no value: of
    any other a census that finds none is not believed.
    Raises UsageError for options that the profile does not have, and for those that are missing.
    """
    options = {name: _option(name, each, place) for name, each in profile.options.items()}
    if strange := sorted(place.options.keys() - options.keys()):
        known = ", ".join(profile.options) or "none"
        raise UsageError(f"the profile has no option {strange[0]}", hint=f"it has {known}")
    keyring: dict[str, Any] = {
        "purpose": f"what {profile.title} stores",
        "algorithm": _filled(profile.algorithm, options),
        "outputs": [{**_filled(profile.output, options), "path": place.source, "mode": place.mode}],
    }
    if profile.consumers and place.targets:
        raise UsageError("the profile knows its consumers: leave --target out")
    if profile.cutover is None:
        told = {each: {"target": each} for each in place.targets}
        keyring["consumers"] = _filled(profile.consumers, options) or told
    elif place.targets:
        raise UsageError("the application is stopped for a rotation: leave --target out")
    else:
        keyring["cutover"] = _filled(profile.cutover, options)
    keyring["datasets"] = {
        name: _dataset(
            each,
            place,
            _filled(each.codec or profile.codec, options),
            _filled(profile.expects, options),
            may_be_empty=empty is None or name in empty,
        )
        for name, each in tables_of(profile, place).items()
        if name not in absent
    } | _filled(profile.datasets, options)
    keyring["drains"] = _filled(profile.drains, options)
    return {"keyrings": {place.keyring: {name: each for name, each in keyring.items() if each}}}


def _dataset(
    table: TableEntry, place: Installation, codec: Any, expects: Any, *, may_be_empty: bool
) -> dict[str, Any]:
    told = table.model_dump(mode="json", exclude_defaults=True, exclude={"optional", "codec"})
    if expects is not None:
        told["expects"] = dict.fromkeys(table.columns, expects)
    password = {"password": dict(place.password)} if place.password else {}
    return {
        "type": "sql",
        "url": place.database,
        **password,
        **told,
        "codec": codec,
        **({"may_be_empty": True} if may_be_empty else {}),
    }


def _option(name: str, option: OptionEntry, place: Installation) -> str | tuple[str, ...]:
    value = place.options.get(name, option.default)
    if value is None:
        raise UsageError(f"the profile needs {name}: {option.description}", hint=f"--set {name}=…")
    if option.choices and value not in option.choices:
        raise UsageError(f"{name} must be one of {', '.join(option.choices)}")
    return tuple(value.split(",")) if option.many else value


def _filled(part: Any, options: Mapping[str, str | tuple[str, ...]]) -> Any:
    """``part`` with the options in their places; a whole text of ``true`` or ``false`` is one.

    An option of several is several items of a list.
    """
    match part:
        case dict():
            return {name: _filled(each, options) for name, each in part.items()}
        case list():
            every = (_filled(each, options) for each in part)
            return [one for each in every for one in (each if isinstance(each, tuple) else [each])]
        case str() if (whole := _OPTION.fullmatch(part)) and isinstance(options[whole[1]], tuple):
            return options[whole[1]]
        case str() if _OPTION.search(part):
            text = _OPTION.sub(lambda found: str(options[found[1]]), part)
            return _WORDS.get(text, text)
        case _:
            return part


def as_text(profile: Profile, place: Installation, configured: Mapping[str, Any]) -> str:
    """The configuration as YAML, with what a person should know above it."""
    return "".join(f"# {line}\n" for line in _known(profile, place)) + yaml.safe_dump(
        dict(configured), sort_keys=False, allow_unicode=True, width=100
    )


def _known(profile: Profile, place: Installation) -> Iterator[str]:
    yield f"{profile.title}; tested: {', '.join(profile.tested) or 'no version of the application'}"
    if profile.cutover is None and not place.targets and not profile.consumers:
        yield (
            "No --target: a new key encrypts before anything makes the application read it. "
            "Add consumers."
        )
    for what, lines in (
        ("to stop it", profile.hints.stop),
        ("to start it", profile.hints.start),
        ("to see that it reads", profile.hints.probe),
        ("elsewhere", profile.elsewhere),
    ):
        for line in lines:
            yield f"{what}: {line}"
