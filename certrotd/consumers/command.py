"""An acknowledgement by the exit code of a program of the operator's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from certrotd.clock import Clock, Deadline
from certrotd.config.acknowledgements import CommandAcknowledgement
from certrotd.config.environment import reveal
from certrotd.consumers.port import Answer, Expected
from certrotd.errors import Transient
from certrotd.process import environment, run


@dataclass(frozen=True)
class CommandAnswer:
    """0 confirms, any other exit code does not; what it prints then is its reason."""

    argv: tuple[str, ...]
    timeout: float
    clock: Clock
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    def ask(self, expected: Expected) -> Answer:
        """As Acknowledgement.ask; raises NeedsOperator where the program cannot be started."""
        told = {
            "CERTROTD_KEYRING": expected.keyring,
            "CERTROTD_HASH": expected.delivery,
            "CERTROTD_HASHES": " ".join(sorted(expected.hashes)),
        }
        name = self.argv[0]
        try:
            ran = run(
                self.argv,
                what=name,
                deadline=Deadline(self.clock, self.timeout),
                variables=environment({**self.environment, **told}),
            )
        except Transient as error:
            return Answer(False, f"cannot be asked: {error.message}")
        if ran.status == 0:
            return Answer(True)
        return Answer(False, f"{name} {ran.how}{ran.tail}")


def build(entry: CommandAcknowledgement, clock: Clock) -> CommandAnswer:
    """The acknowledgement of a configuration entry."""
    timeout, variables = entry.timeout.total_seconds(), reveal(entry.environment)
    return CommandAnswer(entry.command, timeout, clock, variables)
