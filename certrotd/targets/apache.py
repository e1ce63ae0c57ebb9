"""Target ``apache``: tested by ``apachectl -t``, told by ``apachectl -k graceful``."""

from __future__ import annotations

from functools import partial

from certrotd.config.context import Context
from certrotd.config.services import ApacheEntry
from certrotd.targets.command import CommandTarget
from certrotd.targets.pid import ASK, WantedProcess, signal_pid_file
from certrotd.targets.service import ServiceTarget

_NAMES = WantedProcess(("apache2", "httpd"))


def build(entry: ApacheEntry, context: Context) -> ServiceTarget:
    """The target of a configuration entry.

    A graceful restart starts an Apache that does not run: that is what an undo needs, once the new
    files have ended it, and what a check must find before.
    """
    program = (entry.program, *(("-f", str(entry.config)) if entry.config else ()))
    timeout, clock = entry.timeout.total_seconds(), context.clock
    return ServiceTarget(
        CommandTarget((*program, "-k", "graceful"), (*program, "-t"), timeout, clock=clock),
        partial(signal_pid_file, entry.pid_file, ASK, _NAMES, clock=clock),
    )
