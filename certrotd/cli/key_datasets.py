"""``certrotd keys reencrypt``: what is stored comes under the active key, or what that would be."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from certrotd.cli.keys import ids_of, keyring_at, of_keyring
from certrotd.cli.output import print_json, print_table, say, span
from certrotd.cli.rotate import rotate as of_all
from certrotd.clock import Clock
from certrotd.datasets.blind_indexes import PREVIOUS
from certrotd.datasets.configured import Opened
from certrotd.datasets.port import Limited, SelfCounting
from certrotd.datasets.reencryption import trial
from certrotd.errors import Failure, NeedsOperator
from certrotd.keyring.keyring import Keyring
from certrotd.keyring.material import KeySet
from certrotd.keys import rotation
from certrotd.keys.case import Case
from certrotd.keys.cutting_over import rehearsed
from certrotd.keys.decision import Rotate
from certrotd.keys.managed import ConfiguredKeyring
from certrotd.lifecycle.decision import Asked
from certrotd.wording import count


def reencrypt(
    config: Path,
    name: str,
    *,
    dry_run: bool,
    as_json: bool,
    workers: int | None = None,
    dask: str | None = None,
) -> int:
    """Carry out ``certrotd keys reencrypt``; the exit code."""
    if dry_run:
        return _dry_run(config, name, as_json=as_json)
    wanted = partial(
        of_keyring, config, name, "reencrypt", rotation.reencrypt, as_json=as_json, joins=True
    )
    if workers is None and dask is None:
        return wanted()
    from certrotd.cli.key_shards import hire

    return wanted(before=hire(config, name, workers=workers, dask=dask))


def _dry_run(config: Path, name: str, *, as_json: bool) -> int:
    with keyring_at(config, name, "reencrypt", dry=True) as (found, site):
        if not found.policy.reencrypted:
            raise NeedsOperator(f"the keyring {name} has no dataset that certrotd re-encrypts")
        keyring = found.stored.keyring()
        names = sorted(found.policy.reencrypted)
        staged = not found.policy.cuts_over
        told = [
            look(found.stored.open(each), keyring, each, site.clock, staged=staged)
            for each in names
        ]
    if as_json:
        print_json(told)
    else:
        print_looks(told)
    return 1 if any(each["problems"] for each in told) else 0


def rotate_dry(config: Path, name: str, *, as_json: bool) -> int:
    """Carry out ``certrotd keys rotate --dry-run``; the exit code."""
    with keyring_at(config, name, "rotate", dry=True) as (found, site):
        if found.policy.cuts_over and found.has_keys():
            return _cut_over(found, site.clock, as_json=as_json)
        if found.has_keys() and found.journal.peek() is None:
            now, asked_for = site.clock.now(), Asked(forced=True, by_hand=True, named=True)
            case = Case(found.policy, found.look(thorough=True), found.attempts(), now, asked_for)
            rotation.rotate_because("asked for by hand", case)  # which raises what forbids it
    return of_all(config, ids_of([name]), force=True, dry_run=True, as_json=as_json)


def _cut_over(found: ConfiguredKeyring, clock: Clock, *, as_json: bool) -> int:
    """What would be in the way of a cut-over, and how long the application would be stopped."""
    world = found.world()
    problems = [str(each) for each in found.problems(Rotate("asked for by hand"))]
    begun, rows = clock.monotonic(), 0
    for each in sorted(world.datasets) if not problems else ():
        try:
            rows += rehearsed(world, each)
        except Failure as failure:
            problems.append(str(failure))
    least = clock.monotonic() - begun
    told: dict[str, Any] = {"name": found.policy.name, "rows": rows, "problems": problems}
    if not problems:
        told["seconds_at_least"] = round(least, 1)
    if as_json:
        print_json(told)
    else:
        for words in problems:
            say(f"{found.policy.name}: cannot be cut over: {words}", sys.stdout)
        if not problems:
            words = f"{count(rows, 'row')} would be re-encrypted, and the application stopped for "
            words += "at least"
            tried = "all were read and encrypted; writing, stop and start were not tried"
            shown = span(timedelta(seconds=max(1.0, least)))
            say(f"{found.policy.name}: {words} {shown} ({tried})", sys.stdout)
        say("dry run: nothing was changed")
    return 1 if problems else 0


def look(
    dataset: AbstractContextManager[Opened],
    keyring: Keyring,
    name: str,
    clock: Clock,
    *,
    staged: bool = True,
    held: int | None = None,
) -> dict[str, Any]:
    """All that is known of one dataset without writing to it; ``staged`` as Opened.findings.

    ``held``: the version that the application has, None for the active one.
    """
    told: dict[str, Any] = {"dataset": name, "values": [], "notes": [], "problems": []}
    try:
        with dataset as opened:
            findings = opened.findings(staged=staged)
            told["problems"] = [each.words for each in findings if each.fatal]
            told["notes"] = [each.words for each in findings if not each.fatal]
            tally = opened.tally(_held(keyring.every_key(), held))
            told["of"] = "rows" if opened.dataset.fields else "files"
            if isinstance(opened.dataset, SelfCounting):
                told["of"] = opened.dataset.unit
            keys = _held(keyring.key_set(), held)
            tried = trial(opened.dataset, opened.form, keys, opened.pace, clock)
            if isinstance(opened.dataset, Limited):
                narrow = opened.dataset.too_narrow(tried.growth)
                told["problems"] += [each.words for each in narrow]
    except Failure as failure:
        told["problems"].append(str(failure))
        return told
    for number, values in tally.by_version.items():
        version, entry = keyring.versions.version(number), keyring.entries[number]
        key_id: str | None = entry.id or str(number)
        if entry.secret is not None:  # else what it protected is still to be encrypted anew
            key_id = opened.form.codec.key_id_for(keyring.key(number))
        row = {"version": number, "state": version.state.value, "key_id": key_id, "count": values}
        told["values"].append(row)
    told |= {"plaintext": tally.plaintext, "unopened": tally.unopened, "counted": tally.method}
    active, seconds = keyring.key_set().active, round(tried.seconds, 1)
    told["blind_indexes"] = {str(number): count for number, count in tally.indexes.items()}
    told["blind_indexes_left"] = opened.indexes_left(tally, active)
    left = opened.left(tally, active) - tally.unopened - told["blind_indexes_left"]
    told |= {"rows": tried.rows, "tried": tried.tried, "left": left, "seconds_at_least": seconds}
    told["problems"] += [each.words(opened.dataset.fields) for each in tally.quarantined]
    return told


def _held(keys: KeySet, held: int | None) -> KeySet:
    return KeySet.of(keys.keys.values(), active=keys.active, held=held)


def print_looks(told: list[dict[str, Any]], *, dry: bool = True) -> None:
    """What look() found, for people; not ``dry`` where something is changed after it."""
    if rows := list(_rows(told)):
        print_table(("DATASET", "VERSION", "STATE", "KEY ID", "VALUES"), rows)
    for each in told:
        name = each["dataset"]
        for words in each["notes"]:
            say(f"{name}: {words}", sys.stdout)
        for words in each["problems"]:
            say(f"{name}: cannot be re-encrypted: {words}", sys.stdout)
        if "rows" in each:
            least = span(timedelta(seconds=each["seconds_at_least"]))
            words = f"{count(each['rows'], each['of'].removesuffix('s'))} would be read, and "
            words += f"{count(each['left'], 'value')} re-encrypted"
            if indexes := each["blind_indexes_left"]:
                words += f" and {count(indexes, 'blind index', 'blind indexes')} made anew"
            if each["left"] or indexes:
                words += f", in at least {least} (judged by {each['tried']:,} of them, in memory)"
            say(f"{name}: {words}", sys.stdout)
    if dry:
        say("dry run: nothing was changed")


def _rows(told: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    for each in told:
        name = each["dataset"]
        for value in each["values"]:
            number = f"{value['count']:,}"
            yield name, str(value["version"]), value["state"], value["key_id"] or "-", number
        for version, number in each.get("blind_indexes", {}).items():
            under = "previous" if version == str(PREVIOUS) else version
            yield name, under, "blind index", "-", f"{number:,}"
        for what in ("plaintext", "unopened"):
            if each.get(what):
                yield name, "-", what, "-", f"{each[what]:,}"
