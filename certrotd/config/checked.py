"""What is crosschecked of a configuration, and what is found wrong with it."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from certrotd.config.base import Loc, shown
from certrotd.config.certificates import CertificateEntry
from certrotd.config.hostfile import HostFile
from certrotd.config.nearest import suggestion
from certrotd.config.watch import WatchEntry


@dataclass(frozen=True, slots=True)
class ConfigFinding:
    """Something wrong at ``loc``; ``message`` may say ``{there}`` for the place ``other``."""

    loc: Loc
    message: str
    other: Loc | None = None
    warning: bool = False


@dataclass(frozen=True)
class Checked:
    """What is checked: ``entries`` with their positions in the file.

    ``broken`` are places whose content did not pass the schema: not there, but not missing.
    """

    file: HostFile
    entries: Sequence[tuple[int, CertificateEntry]]
    broken: Collection[Loc] = ()

    def known(self, section: str) -> set[str]:
        """The names of a section's entries, of broken ones too."""
        names = set(getattr(self.file, section))
        return names | {str(loc[1]) for loc in self.broken if loc[0] == section and len(loc) > 1}

    def has(self, section: str, name: str) -> bool:
        """Whether ``name`` is in known(), without making a set for each of 10,000 questions."""
        return name in getattr(self.file, section) or (
            bool(self.broken) and name in self.known(section)
        )

    def watched(self) -> Iterator[tuple[int, WatchEntry]]:
        """The entries of ``watch`` with their positions in the file: broken ones are not in it."""
        out = {loc[1] for loc in self.broken if loc[0] == "watch" and len(loc) > 1}
        return zip((at for at in count() if at not in out), self.file.watch, strict=False)

    def sure(self, section: str) -> bool:
        """Whether all of a section is known."""
        return (section,) not in self.broken


def refers(checked: Checked, section: str, name: str, loc: Loc) -> Iterator[ConfigFinding]:
    """A name that no entry of ``section`` has."""
    if not checked.has(section, name) and checked.sure(section):
        there = suggestion(name, sorted(checked.known(section)))
        yield ConfigFinding(loc, f"there is no {section[:-1]} {shown(name)}, {there}")
