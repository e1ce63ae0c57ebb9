"""``certrotd keys hold``, ``release`` and ``confirm``: what people say of a key's destruction."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from certrotd.audit.record import Happened
from certrotd.cli.key_report import moment
from certrotd.cli.keys import account, one_keyring
from certrotd.cli.output import print_json, say, stamp
from certrotd.errors import NeedsOperator
from certrotd.keyring.consent import Consent
from certrotd.keyring.evidence import Confirmation, Hold
from certrotd.keyring.states import State, Version
from certrotd.keys.keyring_store import NoKeyring
from certrotd.rotation.step import JSON

_EVENTS = {
    "hold": "keyring.version_held",
    "release": "keyring.version_released",
    "confirm": "keyring.destruction_confirmed",
}
"""What the audit log calls them."""
Change = Callable[[Consent, Version, datetime], Consent]


def hold(
    config: Path, name: str, number: int, *, why: str, until: str | None, as_json: bool
) -> int:
    """Carry out ``certrotd keys hold``; the exit code."""
    end = moment(until, "--until").astimezone(UTC) if until else None

    def held(consent: Consent, version: Version, now: datetime) -> Consent:
        return consent.held(version, Hold(why, account(), now, end))

    told: dict[str, JSON] = {"why": why, "until": end.isoformat() if end else None}
    words = f"version {number} is neither withheld nor destroyed"
    words = f"{words} before {stamp(end)}" if end else f"{words} until it is released"
    return _said(config, name, number, "hold", held, told, words, as_json=as_json)


def release(config: Path, name: str, number: int, *, why: str, as_json: bool) -> int:
    """Carry out ``certrotd keys release``; the exit code."""
    words = f"version {number} is not held any more"
    return _said(
        config,
        name,
        number,
        "release",
        lambda consent, _version, _now: consent.released(number),
        {"why": why},
        words,
        as_json=as_json,
    )


def confirm(config: Path, name: str, number: int, *, as_json: bool) -> int:
    """Carry out ``certrotd keys confirm``; the exit code."""

    def confirmed(consent: Consent, version: Version, now: datetime) -> Consent:
        return consent.confirming(version, Confirmation(account(), now))

    words = f"{account()} confirms the destruction of version {number}"
    return _said(config, name, number, "confirm", confirmed, {}, words, as_json=as_json)


def _said(
    config: Path,
    name: str,
    number: int,
    command: str,
    change: Change,
    told: dict[str, JSON],
    words: str,
    *,
    as_json: bool,
) -> int:
    """Keep what somebody said of a version, and have the audit log know first."""
    with one_keyring(config, name, command) as (keyring, site):
        found, now = keyring.store.inspect(), site.clock.now()
        if found is None:
            raise NoKeyring(name)
        version = found.versions.version(number)
        if command == "confirm" and not keyring.policy.confirmations:
            raise NeedsOperator(
                f"nobody has to confirm destructions of {name}",
                hint="the option confirm: two of the keyring asks for it",
            )
        change(keyring.consent.read(), version, now)  # or it is refused before it is recorded
        details: dict[str, JSON] = {"version": number, "actor": account(), **told}
        site.audit.record(Happened(_EVENTS[command], str(keyring.policy.id), "", details))
        keyring.consent.change(lambda consent: change(consent, version, now))
        after = keyring.store.inspect()
        if after and after.versions.version(number).state is State.DESTROYED:
            raise NeedsOperator(f"version {number} was destroyed meanwhile")
    print_json({"name": name, **details}) if as_json else say(f"{name}: {words}", sys.stdout)
    return 0
