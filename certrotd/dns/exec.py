"""Publishing through a program of the operator's: a script, another tool's hook, a vendor CLI.

The program is started once per act, without arguments of ours and without a shell, in ``/``, with
stdin closed and only this in its environment:

- ``CERTROTD_ACTION``: ``present`` (add the value beside others at the name) or ``withdraw``
  (delete exactly that value; absent is fine); both may come twice,
- ``CERTROTD_FQDN``: the name of the TXT record, without a trailing dot,
- ``CERTROTD_VALUE``: its value,
- ``CERTROTD_ZONE``: the configured zone that holds the name; left out if none is configured,
- ``PATH``, ``LANG``, ``HOME`` and the variables the configuration lists, where they are set.

As many run at a time as the configuration says, by default one, in all processes together.

Exit status 0 is success, 75 (EX_TEMPFAIL, sysexits.h) asks for another try later, anything else
needs an operator. What it prints is shown when it fails.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from certrotd.clock import Deadline
from certrotd.config.context import Context
from certrotd.config.environment import reveal
from certrotd.config.solvers import ExecEntry
from certrotd.dns.names import fqdn, longest_zone
from certrotd.dns.records import TxtRecord
from certrotd.dns.turns import Turn, in_turn, turns, unlimited
from certrotd.process import environment, require, succeed

_EX_TEMPFAIL = 75


class Exec:
    """A solver that runs ``command`` for at most ``timeout`` seconds.

    ``environment`` names further variables to hand through from ``inherited`` (this process's);
    ``zones`` are what CERTROTD_ZONE is chosen from. A run begins when it has a ``slot``; the time
    it waits for that is not its own.
    """

    def __init__(
        self,
        command: tuple[str, ...],
        *,
        timeout: float = 120.0,
        environment: tuple[str, ...] = (),
        zones: tuple[str, ...] = (),
        inherited: Mapping[str, str] = os.environ,
        slot: Turn = unlimited,
    ) -> None:
        self._command = command
        self._timeout = timeout
        self._environment = environment
        self._zones = tuple(fqdn(zone) for zone in zones)
        self._inherited = inherited
        self._slot = slot

    def present(self, record: TxtRecord, *, deadline: Deadline) -> None:
        """Run the command to add the record; raises NeedsOperator or Transient as it exits."""
        self._run("present", record, deadline)

    def withdraw(self, record: TxtRecord, *, deadline: Deadline) -> None:
        """Run the command to delete the record; raises as :meth:`present` does."""
        self._run("withdraw", record, deadline)

    def preflight(self, *, deadline: Deadline, dry: bool = False) -> None:  # noqa: ARG002
        """Raise NeedsOperator unless the program is there and executable."""
        require(self._command[0], what="the DNS command", path=self._base()["PATH"])

    def _run(self, action: str, record: TxtRecord, deadline: Deadline) -> None:
        what = f"DNS command {self._command[0]} ({action} {record.name})"
        variables = self._variables(action, record)
        with in_turn(self._slot, deadline):
            succeed(
                self._command,
                what=what,
                deadline=deadline.within(self._timeout),
                variables=variables,
                later=_EX_TEMPFAIL,
            )

    def _base(self) -> dict[str, str]:
        listed = {n: self._inherited[n] for n in self._environment if n in self._inherited}
        return environment(listed, inherited=self._inherited)

    def _variables(self, action: str, record: TxtRecord) -> dict[str, str]:
        variables = {
            **self._base(),
            "CERTROTD_ACTION": action,
            "CERTROTD_FQDN": record.name,
            "CERTROTD_VALUE": record.value,
        }
        zone = longest_zone(record.name, self._zones)
        return variables if zone is None else {**variables, "CERTROTD_ZONE": zone}


def build(entry: ExecEntry, context: Context) -> Exec:
    """The solver of a configuration entry; its secrets are read here, when it is first used."""
    variables = reveal(entry.environment)
    return Exec(
        entry.command,
        timeout=entry.timeout.total_seconds(),
        environment=tuple(variables),
        zones=entry.zones,
        inherited={**os.environ, **variables},
        slot=turns(context, f"the DNS command of solver {context.name}", at_once=entry.concurrency),
    )
