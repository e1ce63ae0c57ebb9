"""An acknowledgement by the target itself, of one that shows what its application has."""

from __future__ import annotations

from dataclasses import dataclass

from certrotd.consumers.port import Answer, Expected
from certrotd.errors import Failure
from certrotd.keys.policy import id_of
from certrotd.keys.world import Proving


@dataclass(frozen=True)
class Proof:
    """Acknowledgement, of a consumer that has no other than its target."""

    target: Proving

    def ask(self, expected: Expected) -> Answer:
        """As Acknowledgement.ask."""
        hashes = {str(id_of(expected.keyring)): expected.delivery}
        try:
            words = self.target.lacks(hashes)
        except Failure as failure:
            return Answer(False, f"cannot be asked: {failure.message}")
        return Answer(words is None, f"does not have the present keys: {words}" if words else "")
