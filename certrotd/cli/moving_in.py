"""``certrotd import``: go on with what certbot, lego or acme.sh kept."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from certrotd.cli.output import print_json, print_table, say
from certrotd.clock import Clock, Deadline, SystemClock
from certrotd.errors import Failure, NeedsOperator, UsageError
from certrotd.importing.configuration import STATE_DIR, Plan, plan
from certrotd.importing.found import Fate, Installation, Row
from certrotd.importing.reading import Reader
from certrotd.importing.schedules import Schedule, schedules

LOCK_WAIT = 30.0
CLIENTS = ("certbot", "lego", "acme.sh")
_PLACES = {"certbot": "/etc/letsencrypt", "lego": "./.lego", "acme.sh": "~/.acme.sh"}


@dataclass(frozen=True)
class Wish:
    """What is asked for; ``folder`` None: change nothing."""

    client: str
    path: Path | None
    folder: Path | None
    state_dir: Path = STATE_DIR
    ca_bundle: Path | None = None
    server: str = ""
    provider: str = ""
    environment: Path | None = None


def bring_in(wish: Wish, *, as_json: bool) -> int:
    """Carry out ``certrotd import``; the exit code is 1 if anything could not be read."""
    clock = SystemClock()
    found = _read(wish, clock)
    folder = _whole(wish.folder or Path("/etc/certrotd"))
    bundle = wish.ca_bundle and _whole(wish.ca_bundle)
    planned = plan(
        found, folder, now=clock.now(), state_dir=_whole(wish.state_dir), ca_bundle=bundle
    )
    started = schedules(wish.client)
    written = None if wish.folder is None else _write(planned, folder, clock)
    steps = _steps(planned, started, wish, written)
    if as_json:
        print_json(_as_json(found, planned, started, written, steps))
    else:
        _show(planned, steps)
    bad = any(row.fate is Fate.PROBLEM for row in planned.rows)
    return 1 if bad or (written is not None and not _is_valid(written)) else 0


def _whole(path: Path) -> Path:
    """A path of the command line as the configuration takes it."""
    return Path(os.path.abspath(path))


def _read(wish: Wish, clock: Clock) -> Installation:
    if wish.client not in CLIENTS:
        raise UsageError(f"{wish.client} is none of {', '.join(CLIENTS)}")
    if wish.client != "lego" and (wish.provider or wish.environment):
        raise UsageError("--dns and --env-file are for lego, which does not keep its DNS provider")
    path = wish.path or Path(_PLACES[wish.client]).expanduser()
    reader = Reader(path, users={os.geteuid()}, groups={os.getegid()})
    match wish.client:
        case "certbot":
            from certrotd.importing.certbot import read_certbot

            return read_certbot(reader, now=clock.now())
        case "lego":
            from certrotd.importing.lego import read_lego

            return read_lego(
                reader,
                now=clock.now(),
                provider=wish.provider,
                environment=wish.environment and wish.environment.absolute(),
                server=wish.server,
            )
    from certrotd.importing.acmesh import read_acme_sh

    return read_acme_sh(reader, now=clock.now(), server=wish.server)


def _write(planned: Plan, folder: Path, clock: Clock) -> Path:
    """Write everything; a configuration that is there has its secrets and accounts."""
    from certrotd.importing.writing import write

    if not any(not each.why for each in planned.certificates):
        raise NeedsOperator(
            "no certificate can be taken over, so nothing is written",
            hint="run it without --write to see why",
        )
    kept: list[str] = []
    try:
        return write(planned, folder, lambda config: _keep_accounts(config, planned, clock, kept))
    except Failure:
        if kept:
            say(f"account keys are kept for {', '.join(kept)}: the same command again uses them")
        raise


def _keep_accounts(config: Path, planned: Plan, clock: Clock, kept: list[str]) -> None:
    """Give every issuer the key of its account; a row says where it has another one already."""
    from certrotd.cli.account import chosen_of
    from certrotd.daemon.wiring import open_site

    command = "certrotd import"
    with open_site(config, clock=clock, command=command, listen=say, writes=True) as site:
        site.prepare()
        for issuer, account in planned.accounts.items():
            manager = chosen_of(site, issuer).issuer.account
            if manager.keep_key(account.key, deadline=Deadline(clock, LOCK_WAIT)):
                kept.append(issuer)
            else:
                note = f"the issuer {issuer} has another account already, which it keeps"
                planned.rows.append(Row(account.where, "account", Fate.BY_HAND, note))


def _is_valid(config: Path) -> bool:
    """Whether ``config check`` finds nothing; what it finds is printed."""
    from certrotd.config.load import check

    problems, warnings = check(config)
    for problem in problems:
        say(str(problem))
    for warning in warnings:
        say(f"{warning} (warning)")
    return not problems


def _steps(
    planned: Plan, started: Sequence[Schedule], wish: Wish, written: Path | None
) -> list[str]:
    """What is left for a person to do, in its order."""
    taken = [each for each in planned.certificates if not each.why]
    if not taken:
        return []
    if written is None:
        return ["write this configuration: the same command with --write DIR"]
    staying = len(planned.certificates) > len(taken)
    steps = [f"look through {written}"]
    if staying:
        steps.append(
            f"stop {wish.client} renewing what is taken over, and nothing else: {_some(wish)}"
        )
    else:
        steps += [each.stop for each in started]
        if not started:
            steps.append(f"stop whatever starts {wish.client}: no timer and no cron line was found")
    steps.append(f"certrotd -c {written} rotate --all  # takes the pairs over, orders nothing")
    steps.append("start certrotd's own daemon or timer")
    return steps


def _some(wish: Wish) -> str:
    match wish.client:
        case "certbot":
            return "move their renewal/NAME.conf away"
        case "lego":
            return "remove their lego renew lines"
    return "acme.sh --remove -d NAME (its files stay)"


def _show(planned: Plan, steps: Sequence[str]) -> None:
    rows = [(row.where, row.what, row.fate.value, row.note) for row in planned.rows]
    print_table(("FROM", "WHAT", "RESULT", "NOTE"), rows)
    for number, step in enumerate(steps, 1):
        say(f"{number}. {step}", sys.stdout)


def _as_json(
    found: Installation,
    planned: Plan,
    started: Sequence[Schedule],
    written: Path | None,
    steps: Sequence[str],
) -> dict[str, Any]:
    return {
        "client": found.client,
        "path": str(found.path),
        "certificates": [asdict(each) for each in planned.certificates],
        "issuers": sorted({each.issuer for each in planned.certificates if each.issuer}),
        "accounts": {name: each.where for name, each in planned.accounts.items()},
        "found": [
            {"from": row.where, "what": row.what, "result": row.fate.value, "note": row.note}
            for row in planned.rows
        ],
        "schedules": [asdict(each) for each in started],
        "written": None if written is None else str(written),
        "next": list(steps),
    }
