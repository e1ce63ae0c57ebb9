"""``certrotd internal``: the roots of private CAs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from certrotd.cli.output import say
from certrotd.clock import Deadline, SystemClock
from certrotd.config.nearest import suggestion
from certrotd.daemon.wiring import open_site
from certrotd.errors import UsageError

if TYPE_CHECKING:
    from certrotd.certs.wing import Certificates
    from certrotd.internal.issuer import InternalIssuer

LOCK_WAIT = 30.0
MOST_NAMED = 10


def init(config: Path, name: str) -> int:
    """Carry out ``certrotd internal init``; the exit code."""
    clock = SystemClock()
    with open_site(
        config, clock=clock, command="certrotd internal init", listen=say, writes=True
    ) as site:
        ours = [each for each, e in site.config.issuers.items() if e.type == "internal"]
        if name not in ours:
            hint = suggestion(name, ours)
            raise UsageError(f"there is no issuer {name!r} of type internal", hint=hint)
        site.prepare()
        certificates = cast("Certificates", site.wing("certificate"))
        issuer = cast("InternalIssuer", certificates.adapters().issuer(name))
        path = issuer.init(deadline=Deadline(clock, LOCK_WAIT))
        configured = {each.name for each in site.config.certificates if name in each.issuers}
        issued = [each for each in certificates.issued(name) if each in configured]
    say(f"the root of the CA {name} is {path}: clients must trust it", sys.stdout)
    if issued:
        which = " ".join(issued) if len(issued) <= MOST_NAMED else "NAME…"
        say(
            f"certrotd rotate {which} --force issues its certificates again now, "
            "else each one at its renewal"
        )
    return 0
