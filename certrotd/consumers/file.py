"""An acknowledgement in a file that the consumer writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from certrotd.clock import Clock
from certrotd.config.acknowledgements import FileAcknowledgement
from certrotd.consumers import hashes
from certrotd.consumers.port import Answer, Expected
from certrotd.errors import InvalidInput
from certrotd.files.disktrouble import DiskTrouble
from certrotd.files.reading import read_file


@dataclass(frozen=True)
class FileAnswer:
    """The first word of ``path``; a symbolic link is not followed."""

    path: Path

    def ask(self, expected: Expected) -> Answer:
        """As Acknowledgement.ask."""
        try:
            said = read_file(self.path, limit=hashes.MAX_TEXT, follow=False)
        except FileNotFoundError:
            return Answer(False, f"has not written {self.path}")
        except (DiskTrouble, InvalidInput) as error:
            return Answer(False, f"cannot be asked: {error.message}")
        return hashes.answer(said, expected)


def build(entry: FileAcknowledgement, clock: Clock) -> FileAnswer:
    """The acknowledgement of a configuration entry."""
    del clock
    return FileAnswer(entry.file)
