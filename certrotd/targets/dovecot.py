"""Target ``dovecot``: tested by ``doveconf -n``, told by ``doveadm reload``."""

from __future__ import annotations

from certrotd.config.context import Context
from certrotd.config.services import DovecotEntry
from certrotd.targets.command import CommandTarget
from certrotd.targets.service import ServiceTarget


def build(entry: DovecotEntry, context: Context) -> ServiceTarget:
    """The target of a configuration entry."""
    config = ("-c", str(entry.config)) if entry.config else ()
    timeout, clock = entry.timeout.total_seconds(), context.clock
    test, admin = ("doveconf", *config, "-n"), ("doveadm", *config)
    return ServiceTarget(
        CommandTarget((*admin, "reload"), test, timeout, clock=clock),
        CommandTarget((*admin, "service", "status"), timeout=timeout, clock=clock).apply,
        "start Dovecot, or look into its log",
    )
