"""``certrotd notify``: try the ways that alerts go."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.cli.output import print_json, say
from certrotd.cli.warned import logging_in_lines
from certrotd.clock import Deadline, SystemClock
from certrotd.config.load import load
from certrotd.config.model import Config
from certrotd.config.nearest import suggestion
from certrotd.errors import UsageError, one_line
from certrotd.notify.message import Message
from certrotd.rotation.unexpected import as_failure

if TYPE_CHECKING:
    from certrotd.config.notifications import Notification

AT_ONCE = 8


def test(config: Path, names: Sequence[str], *, as_json: bool) -> int:
    """Carry out ``certrotd notify test``; the exit code is 1 if one of them did not deliver."""
    loaded, clock = load(config).config, SystemClock()
    chosen = _chosen(loaded, names)
    if not chosen:
        say("the configuration has no notifications")
        if as_json:
            print_json([])
        return 0
    message = _message(socket.gethostname(), clock.now())
    attempt = partial(_attempt, loaded.state_dir, clock, message)
    with logging_in_lines(), ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = dict(zip(chosen, pool.map(attempt, chosen, chosen.values()), strict=True))
    if as_json:
        print_json([{"name": name, "failure": why} for name, why in outcomes.items()])
    else:
        for name, why in outcomes.items():
            say(one_line(f"{name}: {why or 'delivered'}"), sys.stdout)
    return 1 if any(outcomes.values()) else 0


def _chosen(config: Config, names: Sequence[str]) -> dict[str, Notification]:
    there = config.notifications
    for name in names:
        if name not in there:
            hint = suggestion(name, sorted(there))
            raise UsageError(f"there is no notification {name!r}", hint=hint)
    return {name: there[name] for name in dict.fromkeys(names or there)}


def _attempt(
    state_dir: Path, clock: SystemClock, message: Message, name: str, entry: Notification
) -> str | None:
    """Why the message was not delivered, or None."""
    from certrotd.alerting.dispatch import make

    try:
        notifier = make(name, entry, state_dir=state_dir, clock=clock)
        notifier.send(message, deadline=Deadline(clock, entry.timeout.total_seconds()))
    except Exception as error:  # noqa: BLE001  # the others are tried all the same
        return str(as_failure(error, f"send a test through notification {name}"))
    return None


def _message(host: str, now: datetime) -> Message:
    return Message(
        host=host,
        at=now,
        state="test",
        kind="test",
        severity="warning",
        subject="",
        title="a test of notifications",
        what="This is what an alert of certrotd looks like. Somebody asked for it by: certrotd "
        "notify test",
        todo="There is nothing to do.",
        key="test",
    )
