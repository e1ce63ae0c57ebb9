"""Publishing through dns-lexicon, which knows about 90 providers, each act in a process of its own.

Few of its providers have a timeout: a child with a deadline can be ended. Its settings, secrets
among them, go there by its environment, never by its arguments; of ours it has nothing else but,
where asked, the proxy.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from certrotd.clock import Deadline
from certrotd.config.context import SolverContext
from certrotd.config.dns_providers import LexiconEntry
from certrotd.config.environment import reveal
from certrotd.config.secrets import Environment
from certrotd.dns.api import zone_chosen
from certrotd.dns.records import TxtRecord, Unpublished
from certrotd.dns.turns import Turn, in_turn, turns, unlimited
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.extras import how_to_install
from certrotd.process import environment, run
from certrotd.rotation.outcome import Stopped
from certrotd.rotation.stopping import StoppableDeadline

CHILD = Path(__file__).with_name("lexicon_child.py")
MAX_ANSWER = 16 * 1024
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy")
_LONGEST = timedelta(days=1)


class Lexicon:
    """A solver for a ``provider`` of Lexicon with its ``options``, which are read for each act.

    ``zone_of`` gives the zone that holds a name; one act takes at most ``timeout`` seconds, and
    begins when it has its turn. ``ttl`` is in seconds.
    """

    def __init__(
        self,
        what: str,
        provider: str,
        options: Environment,
        *,
        zone_of: Callable[[str, Deadline], str],
        ttl: int = 60,
        timeout: float = 120.0,
        proxy: bool = False,
        turn: Turn = unlimited,
    ) -> None:
        self._what = what
        self._provider = provider
        self._options = options
        self._zone_of = zone_of
        self._ttl = ttl
        self._timeout = timeout
        self._passed = _PROXIES if proxy else ()
        self._turn = turn

    def present(self, record: TxtRecord, *, deadline: Deadline) -> None:
        """As Solver.present; raises Unpublished where the provider refuses before it.

        Transient if it is away or busy, or was killed at the deadline.
        """
        self._act("present", record, deadline)

    def withdraw(self, record: TxtRecord, *, deadline: Deadline) -> None:
        """As Solver.withdraw; raises as :meth:`present`."""
        self._act("withdraw", record, deadline)

    def preflight(self, *, deadline: Deadline, dry: bool = False) -> None:  # noqa: ARG002
        """Whether Lexicon is there and knows the provider, and its options can be read."""
        self._run({"action": "look"}, deadline)

    def covers(self, name: str, *, deadline: Deadline, dry: bool = False) -> None:  # noqa: ARG002
        """As Coverage.covers: the provider takes the credentials for the zone, or it raises."""
        zone = self._zone_of(name, deadline)
        self._run({"action": "ask", "zone": zone}, deadline.within(self._timeout))

    def _act(self, action: str, record: TxtRecord, deadline: Deadline) -> None:
        zone = self._zone_of(record.name, deadline)
        about = {"action": action, "zone": zone, "name": record.name, "value": record.value}
        with in_turn(self._turn, deadline):
            self._run(about, deadline.within(self._timeout))

    def _run(self, about: dict[str, str], deadline: Deadline) -> None:
        limit = StoppableDeadline(deadline)
        told = {
            **about,
            "provider": self._provider,
            "options": reveal(self._options),
            "ttl": self._ttl,
            "seconds": max(1.0, limit.remaining),
        }
        # requests would send what ~/.netrc has for the host instead of nothing
        variables = {"NETRC": os.devnull, "CERTROTD_LEXICON": json.dumps(told)}
        variables |= {name: os.environ[name] for name in self._passed if name in os.environ}
        # -P: the folder of the program is not where modules come from, nor is any other
        ran = run(
            [sys.executable, "-P", str(CHILD)],
            what=self._what,
            deadline=limit,
            variables=environment(variables),
            errors_too=False,
            most=MAX_ANSWER,
        )
        if ran.status is None and deadline.clock.stopping():
            raise Stopped("the process was told to stop")
        if ran.status is None:
            raise Transient(f"{self._what} did not end in time, or printed too much: killed")
        if ran.status:
            raise NeedsOperator(f"{self._what} {ran.how} without reporting the result")
        failure = self._judged(ran.output)
        if failure is not None:
            raise failure

    def _judged(self, output: bytes) -> Failure | None:
        """What the child's line of JSON means, None for success."""
        try:
            found = json.loads(output)
            kind, why, wait = found["kind"], str(found["why"]), found["retry_after"]
            pause = None if wait is None else min(timedelta(seconds=int(wait)), _LONGEST)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return NeedsOperator(f"{self._what} printed an unknown result")
        words = f"{self._what}: {why}"
        match kind:
            case "done":
                return None
            case "missing":
                return NeedsOperator(words, hint=how_to_install("lexicon"))
            case "later":
                return Transient(words, retry_after=pause)
            case "denied":
                return Unpublished(words, hint="compare its options with the provider's console")
            case _:
                return NeedsOperator(words, hint="see the provider's options: lexicon PROVIDER -h")


def build(entry: LexiconEntry, context: SolverContext) -> Lexicon:
    """The solver of a configuration entry; its secrets are read when it is first used."""
    what = f"Lexicon ({entry.provider}) of solver {context.name}"
    return Lexicon(
        what,
        entry.provider,
        entry.options,
        zone_of=zone_chosen(entry.zone, context),
        ttl=entry.ttl,
        timeout=entry.timeout.total_seconds(),
        proxy=entry.use_proxy,
        turn=turns(context, what, at_once=entry.concurrency),
    )
