"""Target ``postfix``: tested by ``postfix check``, told by ``postfix reload``."""

from __future__ import annotations

from certrotd.config.context import Context
from certrotd.config.services import PostfixEntry
from certrotd.targets.command import CommandTarget
from certrotd.targets.service import ServiceTarget


def build(entry: PostfixEntry, context: Context) -> ServiceTarget:
    """The target of a configuration entry."""
    program = ("postfix", *(("-c", str(entry.config)) if entry.config else ()))
    timeout, clock = entry.timeout.total_seconds(), context.clock
    return ServiceTarget(
        CommandTarget((*program, "reload"), (*program, "check"), timeout, clock=clock),
        CommandTarget((*program, "status"), timeout=timeout, clock=clock).apply,
        "start Postfix, or look into its mail log: it may say why there alone",
    )
