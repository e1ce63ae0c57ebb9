"""``certrotd keys adopt --profile``: an application's configuration, and a look at its data."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certrotd.cli.key_datasets import look, print_looks
from certrotd.cli.keys import adopt
from certrotd.cli.output import print_json, say
from certrotd.clock import Clock, SystemClock
from certrotd.config.datasets import SqlDatasetEntry
from certrotd.config.load import load
from certrotd.config.sources import source_of
from certrotd.datasets.configured import opened
from certrotd.datasets.connecting import tables_there
from certrotd.errors import NeedsOperator, UsageError
from certrotd.keyring.ids import NoFreeId
from certrotd.keyring.keyring import Keyring
from certrotd.keyring.material import Algorithm, Material
from certrotd.keys.adopting import adopted
from certrotd.keys.managed import CHANCE
from certrotd.keys.new_key import new_key
from certrotd.outputs.build import files_of, output_of
from certrotd.outputs.port import Imported, Output
from certrotd.profiles.placing import place_of_new, write_new
from certrotd.profiles.plan import Installation, as_text, configuration
from certrotd.profiles.schema import Profile, profile

if TYPE_CHECKING:
    from certrotd.config.keyrings import KeyringEntry


@dataclass(frozen=True)
class Asked:
    """The options of the command, as they were given; lists are ``NAME=VALUE`` or names."""

    profile: str | None = None
    source: str | None = None
    database: str | None = None
    password_file: Path | None = None
    password_env: str | None = None
    targets: Sequence[str] = ()
    tables: Sequence[str] = ()
    options: Sequence[str] = ()
    write: bool = False


def adopt_by_profile(config: Path, name: str, asked: Asked, *, as_json: bool) -> int:
    """Carry out ``certrotd keys adopt --profile``; the exit code."""
    if asked.profile is None:
        raise UsageError("this needs a profile", hint="--profile NAME: docs/keys/profiles.md")
    known, clock = profile(asked.profile), SystemClock()
    place = _installation(name, asked, known)
    file = place_of_new(config, name) if asked.write else Path(f"{name}.yaml")
    every = as_text(known, place, configuration(known, place))
    entry = load(config, more=source_of(file, every)).config.keys.keyrings[name]
    keyring, keys, held = _rehearsal(name, entry, clock)
    datasets = {n: each for n, each in entry.datasets.items() if isinstance(each, SqlDatasetEntry)}
    absent, stages = _absent(known, datasets), known.cutover is None
    told = [
        look(opened(each, datasets[each]), keyring, each, clock, held=held, staged=stages)
        for each in datasets
        if each not in absent
    ]
    empty = [each["dataset"] for each in told if not _filled(each)]
    text = as_text(known, place, configuration(known, place, absent, empty))
    if not as_json:
        _print(text, absent, told, place, keys, dry=not asked.write)
    elif not asked.write:
        found = {"configuration": text, "absent": sorted(absent), "keys": keys, "datasets": told}
        print_json(found)
    if known.datasets:
        say(f"what is stored is not counted yet: certrotd keys reencrypt {name} --dry-run does")
    else:
        _check(told)
    if not asked.write:
        return 1 if any(each["problems"] for each in told) else 0
    if uncounted := [each["dataset"] for each in told if "unopened" not in each]:
        raise NeedsOperator(
            f"nothing is written while {' and '.join(uncounted)} cannot be counted",
            hint="mend what is listed, and run it again",
        )
    if not place.targets and known.cutover is None and not known.consumers:
        raise NeedsOperator(
            "a new key would encrypt before anything makes the application read it",
            hint="--target NAME, of a target that restarts it; or paste the plan, with consumers",
        )
    write_new(file, text)
    say(f"wrote {file}")
    return adopt(config, name, source=place.source, form=None, as_json=as_json)


def _filled(told: Mapping[str, Any]) -> bool:
    """Whether a dataset has a value, or cannot be counted."""
    if "unopened" not in told:
        return True
    counts = sum(value["count"] for value in told["values"])
    return bool(counts + told["unopened"] + told["plaintext"])


def _installation(name: str, asked: Asked, known: Profile) -> Installation:
    if asked.source is None or (asked.database is None and not known.datasets):
        raise UsageError("--profile needs --database URL, and --from FILE with the keys")
    if asked.database is not None and known.datasets:
        raise UsageError("the profile is of no database: leave --database out")
    if asked.password_file is not None and asked.password_env is not None:
        raise UsageError("the password has two places: give one of them")
    source, password = Path(asked.source).absolute(), None
    if asked.password_file is not None:
        password = {"file": str(asked.password_file.absolute())}
    elif asked.password_env is not None:
        password = {"env": asked.password_env}
    try:
        mode = stat.S_IMODE(os.stat(source).st_mode)
    except OSError as error:
        raise NeedsOperator(f"{source}: {error.strerror}") from None
    options = dict(_pair(each) for each in asked.options)
    return Installation(
        name,
        asked.database or "",
        str(source),
        f"{mode & 0o660:04o}",  # an output is not for everybody
        password,
        asked.targets,
        options,
        asked.tables,
    )


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not value:
        raise UsageError("--set takes NAME=VALUE")
    return name, value


def _absent(known: Profile, datasets: Mapping[str, SqlDatasetEntry]) -> frozenset[str]:
    """The datasets of tables that this version of the application does not have."""
    optional = {name: datasets[name] for name, each in known.tables.items() if each.optional}
    if not optional:
        return frozenset()
    entry = next(iter(optional.values()))

    def password() -> bytes | None:
        return entry.password.resolve().reveal() if entry.password is not None else None

    tables = {each.table for each in optional.values()}
    there = tables_there(entry.url, password, tables, what="the database")
    return frozenset(name for name, each in optional.items() if each.table not in there)


def _output(entry: KeyringEntry) -> tuple[Output, Imported]:
    """Where the application has its keys, and those that are there; raises Failure."""
    [told] = entry.outputs
    assert told.type != "keyring", "a profile has the output of an application"
    output = output_of(told, algorithm=Algorithm(entry.algorithm), chance=CHANCE)
    found = output.parse(files_of(told, output).present())
    if found is None:
        raise NeedsOperator(f"there is no key in {told.place}", hint="see the profile's options")
    return output, found


def _rehearsal(name: str, entry: KeyringEntry, clock: Clock) -> tuple[Keyring, int, int]:
    """The keys that it has, how many, and the version that encrypts.

    Above them is a new one, in memory, that nobody gets.
    """
    output, found = _output(entry)
    at, why = clock.now(), "a look"
    keyring = adopted(name, found, Material(CHANCE.random(32)), at=at, why=why)
    held = keyring.every_key().active
    try:
        key = new_key(keyring, [output], Algorithm(entry.algorithm), CHANCE)
    except NoFreeId:  # the values are counted all the same
        return keyring, len(found.keys), held
    versions = keyring.versions.generate(at=at, why=why)
    versions = versions.distribute(key.version, at=at, why=why)
    versions = versions.activate(key.version, at=at, why=why)
    return keyring.added(key, versions), len(found.keys), held


def _print(
    text: str,
    absent: frozenset[str],
    told: Sequence[dict[str, Any]],
    place: Installation,
    keys: int,
    *,
    dry: bool,
) -> None:
    sys.stdout.write(text)
    say(f"{place.source} has {keys} key{'s' if keys > 1 else ''}", sys.stdout)
    say("the next version stands for a new key, which is not made yet", sys.stdout)
    for each in sorted(absent):
        say(f"{each}: left out: the database has no such table", sys.stdout)
    print_looks(list(told), dry=dry)


def _check(told: Sequence[dict[str, Any]]) -> None:
    """Raises NeedsOperator where nothing opens: a wrong database, or a wrong key."""
    counted = [each for each in told if "unopened" in each]
    if len(counted) < len(told):
        return  # what keeps it from being counted is among the problems
    if not any(value["count"] for each in counted for value in each["values"]):
        raise NeedsOperator(
            "no value of the database opens with a key of the application",
            hint="is it the right database, and does the application encrypt?",
        )
