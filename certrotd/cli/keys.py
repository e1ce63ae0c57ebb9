"""``certrotd keys``: what only keyrings have, beside the commands that all subjects share."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from certrotd.cli.output import print_json, print_table, say, span, stamp
from certrotd.cli.rotate import of_one
from certrotd.clock import Clock, SystemClock
from certrotd.daemon.wiring import Site, looking, open_site
from certrotd.errors import UsageError
from certrotd.id import Id
from certrotd.keys import rotation
from certrotd.keys.census import COUNTED
from certrotd.keys.kind import KIND
from certrotd.keys.managed import ConfiguredKeyring
from certrotd.keys.subject import KeyringFound, KeyringSubject
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.runner import Runner
from certrotd.lifecycle.subject import Subject
from certrotd.lifecycle.view import View

_COLUMNS = (
    "NAME",
    "STATE",
    "ACTIVE",
    "VERSIONS",
    "PERIOD ENDS",
    "LEFT",
    "NEXT",
    "CONSUMERS",
    "WHY",
)


def ids_of(names: Sequence[str]) -> list[str]:
    """Keyrings by their names alone: nothing else is meant here, and UsageError says so."""
    for name in names:
        if "/" in name and not name.startswith(f"{KIND}/"):
            raise UsageError(f"{name} is no keyring", hint="certrotd keys list shows those")
    return [name if "/" in name else str(Id(KIND, name)) for name in names]


def listing(config: Path, names: Sequence[str], *, ask: bool, as_json: bool) -> int:
    """Carry out ``certrotd keys list``; the exit code."""
    views = _views(config, names)
    with views as found:
        if as_json:
            print_json([view.to_json(ask=ask) for view in found])
        else:
            print_table(_COLUMNS, [_row(view, ask=ask) for view in found])
        return 1 if any(view.failure for view in found) else 0


def show(config: Path, name: str, *, ask: bool, as_json: bool) -> int:
    """Carry out ``certrotd keys show``; the exit code."""
    with _views(config, [name]) as [view]:
        if as_json:
            print_json(view.to_json(ask=ask))
        else:
            _print_versions(view)
            users = [(each.name, each.words) for each in view.found.consumers(ask=ask)]
            print_table(("CONSUMER", "HAS"), users)
            found = view.found
            if isinstance(found, KeyringFound) and found.standing.keks:
                say(f"{view.id.name}: wrapped by {', '.join(found.standing.keks)}", sys.stdout)
            if isinstance(found, KeyringFound) and (last := found.standing.rehearsed) is not None:
                say(f"{view.id.name}: rehearsed at {stamp(last.at)}: {last}", sys.stdout)
            for number, _, why in _lacking(found):
                say(f"{view.id.name}: version {number} is not destroyed: {why}", sys.stdout)
            say(f"{view.id.name}: {view.state}: {view.why}", sys.stdout)
        return 1 if view.failure else 0


def rotate(config: Path, name: str, *, reason: str, as_json: bool) -> int:
    """Carry out ``certrotd keys rotate``; the exit code."""
    wanted = partial(rotation.rotate_because, reason)
    return of_keyring(config, name, "rotate", wanted, as_json=as_json, joins=True)


def activate(config: Path, name: str, *, as_json: bool) -> int:
    """Carry out ``certrotd keys activate``; the exit code."""
    return of_keyring(config, name, "activate", rotation.activate, as_json=as_json, joins=True)


def deliver(config: Path, name: str, *, overwrite: bool, as_json: bool) -> int:
    """Carry out ``certrotd keys deliver``; the exit code."""
    wanted = rotation.overwrite if overwrite else rotation.redeliver
    return of_keyring(config, name, "deliver", wanted, as_json=as_json, joins=True)


def rewrap(config: Path, name: str, *, as_json: bool) -> int:
    """Carry out ``certrotd keys rewrap``; the exit code."""
    return of_keyring(config, name, "rewrap", rotation.rewrap, as_json=as_json)


def adopt(config: Path, name: str, *, source: str | None, form: str | None, as_json: bool) -> int:
    """Carry out ``certrotd keys adopt``; the exit code."""
    from certrotd.observe.jobs import jobs_that_name

    def warn(keyring: KeyringSubject) -> None:
        for path in dict.fromkeys(
            each.partition(" ")[2] for each in keyring.managed.policy.outputs
        ):
            for job in jobs_that_name(Path(path)):
                say(f"{name}: {job} names {path}: if that rotates its keys, switch it off")
        for words in keyring.managed.exposed():
            then = "the next rotation corrects it: if an application needs it, name that as owner"
            say(f"{name}: {words}; {then}, group or mode of the output")

    wanted = partial(rotation.adopt, source, form)
    return of_keyring(config, name, "adopt", wanted, as_json=as_json, before=warn)


def plan(config: Path, names: Sequence[str], *, explained: bool, as_json: bool) -> int:
    """Carry out ``certrotd keys plan``; the exit code."""
    from certrotd.cli.status import plan as of_all

    every = ids_of(names) or [str(each) for each in _configured(config)]
    if not every:
        print_json([]) if as_json else print_table(("NAME", "DECISION", "AT", "STEPS", "WHY"), [])
        return 0
    return of_all(config, every, explained=explained, as_json=as_json)


def rollback(config: Path, name: str, *, as_json: bool) -> int:
    """Carry out ``certrotd keys rollback``; the exit code."""
    from certrotd.cli.rotate import rollback as of_any

    return of_any(config, ids_of([name])[0], to=None, as_json=as_json)


def cancel(config: Path, name: str, *, as_json: bool) -> int:
    """Carry out ``certrotd keys cancel``; the exit code."""
    from certrotd.cli.rotate import cancel as of_any

    return of_any(config, ids_of([name])[0], as_json=as_json)


def enable(config: Path, name: str, version: int, *, reason: str, as_json: bool) -> int:
    """Carry out ``certrotd keys enable``; the exit code."""
    wanted = partial(rotation.restore, version, reason)
    return of_keyring(config, name, "enable", wanted, as_json=as_json)


def of_keyring(
    config: Path,
    name: str,
    command: str,
    wanted: rotation.Wanted,
    *,
    as_json: bool,
    joins: bool = False,
    before: Callable[[KeyringSubject], None] = lambda _keyring: None,
) -> int:
    """Do what is ``wanted`` of a keyring, as ``certrotd keys COMMAND``; the exit code."""

    def act(subject: Subject, runner: Runner) -> Report:
        keyring = keyring_of(subject)
        before(keyring)
        managed, actor = keyring.managed, account()
        return rotation.asked_for(managed, runner, command, wanted, joins=joins, actor=actor)

    [asked] = ids_of([name])
    return of_one(config, asked, f"keys {command}", act, as_json=as_json)


def account() -> str:
    """Who asks: whoever became root by sudo, else the user of this process."""
    if name := os.environ.get("SUDO_USER"):
        return name
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # the machine has no name for it
        return f"user {os.geteuid()}"


def keyring_of(subject: Subject) -> KeyringSubject:
    """The subject, if it is a keyring; raises UsageError."""
    if not isinstance(subject, KeyringSubject):
        raise UsageError(f"{subject.id} is no keyring", hint="certrotd keys list shows those")
    return subject


@contextmanager
def keyring_at(
    config: Path,
    name: str,
    command: str,
    *,
    clock: Clock | None = None,
    dry: bool = False,
    writes: bool = False,
    listen: Callable[[str], None] = lambda _line: None,
    lock_patience: float | None = None,
) -> Iterator[tuple[ConfiguredKeyring, Site]]:
    """A keyring of the configuration, for ``certrotd keys COMMAND``; the rest as open_site().

    Raises Failure.
    """
    clock, command = clock or SystemClock(), f"certrotd keys {command}"
    with open_site(
        config,
        clock=clock,
        command=command,
        listen=listen,
        dry=dry,
        writes=writes,
        lock_patience=lock_patience,
    ) as site:
        [subject] = site.inventory.chosen(ids_of([name]))
        found = keyring_of(subject).managed
        assert isinstance(found, ConfiguredKeyring), "it is of a configuration"
        yield found, site


@contextmanager
def one_keyring(
    config: Path, name: str, command: str, *, lock_patience: float | None = None
) -> Iterator[tuple[ConfiguredKeyring, Site]]:
    """As keyring_at(), for a command that writes."""
    with keyring_at(
        config, name, command, listen=say, writes=True, lock_patience=lock_patience
    ) as (keyring, site):
        site.prepare()
        yield keyring, site


def _configured(config: Path) -> Sequence[Id]:
    with looking(config, "certrotd keys plan") as site:
        return [subject.id for subject in site.wing(KIND).subjects]


class _views:  # noqa: N801  # used as a function
    """The views of keyrings, while their site is open."""

    def __init__(self, config: Path, names: Sequence[str]) -> None:
        self._opened = looking(config, "certrotd keys list")
        self._names = ids_of(names)

    def __enter__(self) -> list[View]:
        site = self._opened.__enter__()
        chosen = site.inventory.chosen(self._names) if self._names else site.wing(KIND).subjects
        return list(site.look(chosen))

    def __exit__(self, *error: object) -> None:
        self._opened.__exit__(None, None, None)


def _row(view: View, *, ask: bool) -> tuple[str, ...]:
    found, validity = view.found, view.found.validity
    return (
        view.id.name,
        view.state,
        str(found.version or "-"),
        _states(found) if isinstance(found, KeyringFound) else "-",
        stamp(validity.not_after) if validity else "-",
        span(validity.not_after - view.now) if validity else "-",
        stamp(view.planned),
        ", ".join(f"{each.name}: {each.words}" for each in found.consumers(ask=ask)) or "-",
        f"{view.why}; {found.remark}" if found.remark else view.why,
    )


def _states(found: KeyringFound) -> str:
    return ", ".join(f"{each.number} {each.state}" for each in found.case.versions.all) or "-"


def _lacking(found: object) -> Iterator[tuple[int, str, str]]:
    """What keeps each version that no longer encrypts from being destroyed: its code and words."""
    if isinstance(found, KeyringFound):
        for version in found.case.versions.in_state(*COUNTED):
            for each in found.case.lacking(version):
                yield version.number, each.code.value, each.why


def _print_versions(view: View) -> None:
    found = view.found
    assert isinstance(found, KeyringFound)
    rows = []
    for version in found.case.versions.all:
        use = found.case.use(version.number)
        for number, each in enumerate(version.transitions):
            last = number == len(version.transitions) - 1
            used = f"{use.messages:,}" if last else ""
            rows.append((str(version.number), each.to.value, stamp(each.at), used, each.why))
    print_table(("VERSION", "STATE", "SINCE", "MESSAGES", "WHY"), rows)
