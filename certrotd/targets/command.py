"""Target ``command``: a program of the operator's that makes a service read its files again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from certrotd.clock import Clock, Deadline, SystemClock
from certrotd.config.context import Context
from certrotd.config.environment import reveal
from certrotd.config.targets import CommandEntry
from certrotd.pki.generation import LiveCertificate
from certrotd.process import environment, require, succeed


@dataclass(frozen=True)
class CommandTarget:
    """``command`` is run to apply; ``check_command``, if any, must succeed before that.

    Both are argv lists; ``timeout`` is in seconds for each. ``environment`` may hold secrets.
    ``together``: one run may serve several certificates.
    """

    command: tuple[str, ...]
    check_command: tuple[str, ...] | None = None
    timeout: float = 60.0
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    clock: Clock = field(default_factory=SystemClock, repr=False)
    together: bool = False

    def precheck(self) -> None:
        """As Precheck.precheck: the programs exist."""
        for argv in (self.command, self.check_command):
            if argv:
                path = environment(self.environment)["PATH"]
                require(argv[0], what="the program", path=path)

    def check(self) -> None:
        """As Target.check: the programs exist, and the check command is content."""
        self.precheck()
        self._check()

    def apply(self) -> None:
        """As Target.apply; nothing is applied that the check command is not content with."""
        self.apply_for(())

    def apply_for(self, certificates: Sequence[LiveCertificate]) -> None:
        """As Informed.apply_for: the programs find the certificates in their environment."""
        told = variables(certificates) if certificates else {}
        self._check(told)
        self._run(self.command, told)

    def _check(self, told: Mapping[str, str] = MappingProxyType({})) -> None:
        if self.check_command:
            self._run(self.check_command, told)

    def _run(self, argv: tuple[str, ...], told: Mapping[str, str]) -> None:
        deadline = Deadline(self.clock, self.timeout)
        variables = environment({**self.environment, **told})
        succeed(argv, what=" ".join(argv), deadline=deadline, variables=variables)


def variables(certificates: Sequence[LiveCertificate]) -> dict[str, str]:
    """The environment of a program: a line for each certificate it runs for in every variable."""
    lines = {
        "CERTROTD_CERTIFICATE": [each.certificate for each in certificates],
        "CERTROTD_NAMES": [" ".join(each.names) for each in certificates],
        "CERTROTD_LIVE": [each.live for each in certificates],
        "CERTROTD_FINGERPRINT": [each.fingerprint for each in certificates],
        "CERTROTD_EXPIRES": [
            f"{each.not_after:%Y-%m-%dT%H:%M:%SZ}" if each.not_after else ""
            for each in certificates
        ],
    }
    return {name: "\n".join(values) for name, values in lines.items()}


def build(entry: CommandEntry, context: Context) -> CommandTarget:
    """The target of a configuration entry; its secrets are read here, when it is first used."""
    return CommandTarget(
        command=entry.command,
        check_command=entry.check,
        timeout=entry.timeout.total_seconds(),
        environment=reveal(entry.environment),
        together=entry.together,
        clock=context.clock,
    )
