"""``certrotd keys compromise``: a key that others may know is replaced before all else."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path

from certrotd.audit.record import Happened
from certrotd.cli.confirmation import confirm
from certrotd.cli.keys import account, of_keyring, one_keyring
from certrotd.cli.output import say
from certrotd.errors import LockHeld, NeedsOperator
from certrotd.keyring.states import Version
from certrotd.keys import rotation
from certrotd.keys.case import Case
from certrotd.keys.managed import ConfiguredKeyring
from certrotd.lifecycle.decision import DAEMON
from certrotd.rotation.step import JSON

PATIENCE = 300.0
"""So many seconds it is waited for whoever works on the keyring: a re-encryption ends its batch."""


def compromise(
    config: Path,
    name: str,
    version: int | None,
    *,
    reason: str,
    confirmed: str | None,
    as_json: bool,
) -> int:
    """Carry out ``certrotd keys compromise``; the exit code."""
    if version is not None:  # else which one it is has to be looked up first
        confirm(name, f"version {version} of {name} never encrypts again", confirmed)
    with one_keyring(config, name, "compromise", lock_patience=PATIENCE) as (keyring, site):
        number = version or _active(keyring)
        if version is None:
            confirm(name, f"version {number} of {name} never encrypts again", confirmed)
        if _is_remembered(keyring, number):
            told = _told(keyring, "reported", number, reason)
            site.audit.record(told)
            keyring.suspicions.add(number, reason)
            with suppress(LockHeld), keyring.lock():
                pass
            if _is_done(keyring, number):
                keyring.suspicions.drop(number)
                say(f"{name}: the daemon has dealt with version {number} meanwhile")
                return 0
    wanted = partial(rotation.compromise, number, reason)
    code = of_keyring(config, name, "compromise", wanted, as_json=as_json)
    with one_keyring(config, name, "compromise") as (keyring, _):
        if _is_done(keyring, number):
            keyring.suspicions.drop(number)
            say(f"{name}: what others could read: certrotd keys exposure {name} {number}")
        elif number in keyring.suspicions.read():
            say(f"{name}: it is remembered, and done as soon as it can be")
    return code


def withdraw(config: Path, name: str, version: int | None, *, reason: str) -> int:
    """Carry out ``certrotd keys compromise --withdraw``; the exit code."""
    with one_keyring(config, name, "compromise") as (keyring, site):
        number = version or _active(keyring)
        if number not in keyring.suspicions.read():
            raise NeedsOperator(f"nothing is remembered of version {number}")
        site.audit.record(_told(keyring, "withdrawn", number, reason))
        keyring.suspicions.drop(number)
    say(f"{name}: version {number} is not replaced for that reason any more")
    return 0


def _told(keyring: ConfiguredKeyring, what: str, number: int, reason: str) -> Happened:
    details: dict[str, JSON] = {"version": number, "why": reason, "actor": account()}
    return Happened(f"keyring.compromise_{what}", str(keyring.policy.id), "", details)


def _active(keyring: ConfiguredKeyring) -> int:
    active = _case(keyring).active
    if active is None:
        raise NeedsOperator(f"no version of {keyring.policy.name} encrypts: name the version")
    return active.number


def _case(keyring: ConfiguredKeyring) -> Case:
    now = keyring.clock.now()
    return Case(keyring.policy, keyring.look(), keyring.attempts(), now, DAEMON)


def _version(case: Case, number: int) -> Version | None:
    return {each.number: each for each in case.versions.all}.get(number)


def _is_remembered(keyring: ConfiguredKeyring, number: int) -> bool:
    """Whether there is something to replace or to mark; else it is refused for good."""
    case = _case(keyring)
    version, staged = _version(case, number), case.staged
    if version is None or version.compromised:
        return False
    return staged is None or staged.number != number


def _is_done(keyring: ConfiguredKeyring, number: int) -> bool:
    version = _version(_case(keyring), number)
    return version is not None and version.compromised
