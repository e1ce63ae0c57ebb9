"""The front door of the configuration: files in, a checked Config out, or every problem at once."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path

from pydantic import ValidationError

from certrotd.config.base import Loc, examined
from certrotd.config.certificates import CertificateEntry
from certrotd.config.crosscheck import Checked, Finding, crosscheck, unproven
from certrotd.config.file import ConfigFile
from certrotd.config.merge import Merged
from certrotd.config.model import Config, resolve
from certrotd.config.schema import json_schema
from certrotd.config.sources import Source, Unreadable, fragments, read
from certrotd.errors import ConfigInvalid, Problem

__all__ = ["Loaded", "check", "json_schema", "load"]

_LISTED = ("certificates", "issuers", "solvers", "targets", "notifications")
"""Sections of which one entry may be wrong and the others still make sense."""


@dataclass(frozen=True)
class Loaded:
    """A configuration that can be used.

    ``problems`` are those of certificates that were left out, and only there after a lenient
    load; ``warnings`` prevent nothing. ``files`` are all that were read, the main one first.
    """

    config: Config
    warnings: tuple[Problem, ...]
    files: tuple[Path, ...]
    problems: tuple[Problem, ...] = ()


def load(path: Path, *, lenient: bool = False) -> Loaded:
    """Read and check the configuration in ``path`` and the files it includes.

    Raises ConfigInvalid with every problem found. A ``lenient`` load leaves out certificates
    whose entries are wrong, and only raises for what is wrong elsewhere.
    """
    found = _Found(path)
    if found.general or found.file is None or (found.certificates and not lenient):
        raise ConfigInvalid(found.problems)
    return Loaded(
        config=resolve(found.file, [entry for _, entry in found.entries]),
        warnings=found.sorted(found.warnings),
        files=found.files,
        problems=found.sorted(found.certificates),
    )


def check(path: Path) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """All problems and all warnings, those that only a person asks for too.

    They are about names that no zone of a solver holds, and about what the entries refer to: are
    secrets, other files and programs there, and secrets protected? Never raises ConfigInvalid, and
    runs no program.
    """
    found = _Found(path)
    found.look_at_zones()
    found.look_at_the_rest()
    return found.problems, found.sorted(found.warnings)


class _Found:
    """All that one reading of the files finds, good and bad.

    ``general`` are problems outside of the certificates' entries and ``certificates`` those
    inside. ``file`` is what passed the schema (None: nothing did), ``entries`` are the good
    certificates with their positions among all.
    """

    def __init__(self, path: Path) -> None:
        self.general: list[Problem] = []
        self.certificates: list[Problem] = []
        self.warnings: list[Problem] = []
        self.files: tuple[Path, ...] = (path,)
        self.file: ConfigFile | None = None
        self.entries: list[tuple[int, CertificateEntry]] = []
        self._unread = False
        sources = self._read(path)
        if sources:
            self._merged = Merged(sources)
            self.general += self._merged.problems
            self._validate()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All of them, in the order of files and lines."""
        return self.sorted(self.general + self.certificates)

    def sorted(self, problems: Iterable[Problem]) -> tuple[Problem, ...]:
        """``problems`` in the order of files and lines."""
        order = {file: number for number, file in enumerate(self.files)}
        return tuple(sorted(problems, key=lambda p: (order.get(p.file, len(order)), p.line)))

    def look_at_zones(self) -> None:
        """Whether each name can be proven, as far as zones tell; once nothing else is wrong."""
        if self.file is not None and not self.problems:
            for finding in unproven(Checked(self.file, self.entries)):
                self._add(finding)

    def look_at_the_rest(self) -> None:
        """Whether what is referred to is there: secrets (by whom else?), other files, programs."""
        if self.file is None:
            return
        rest = self.file.model_copy(update={"certificates": ()})
        parts: list[tuple[Loc, object]] = [((), rest)]
        parts += ((("certificates", index), entry) for index, entry in self.entries)
        for start, part in parts:
            for loc, seen in examined(part, start):
                problem = self._merged.problem(loc, seen.message)
                (self.general if seen.fatal else self.warnings).append(problem)

    def _read(self, path: Path) -> list[Source]:
        """The main file and those it includes, as far as they can be read."""
        main = self._read_one(path, main=True)
        if main is None:
            return []
        pattern = main.data.get("include", ConfigFile.model_fields["include"].default)
        if not isinstance(pattern, str):
            return [main]
        files, problems = fragments(path, pattern)
        self.general += problems
        if not files and not problems and not has_magic(pattern):
            line = main.document.line(("include",))
            self.general.append(Problem(path, line, "include", f"there is no file {pattern}"))
        self.files = (path, *files)
        more = [self._read_one(file, main=False) for file in files]
        return [main, *(source for source in more if source is not None)]

    def _read_one(self, file: Path, *, main: bool) -> Source | None:
        try:
            source, problems = read(file, main=main)
        except Unreadable as error:
            self.general.append(error.problem)
            self._unread = True
            return None
        self.general += problems
        if source.exposed:
            why = "everybody may write it, and so decide what certrotd runs: chmod it to 0644"
            self.warnings.append(Problem(file, 0, "", why))
        return source

    def _validate(self) -> None:
        """Check against the schema, drop what fails, and check the rest against each other."""
        data: Mapping[str, object] = self._merged.data
        indexes: Iterable[int] = range(len(self._merged.certificates))
        broken = set(self._merged.unusable)
        try:
            self.file = ConfigFile.model_validate(data)
        except ValidationError as error:
            from certrotd.config.explain import explain

            for fault in explain(error):
                self._add(Finding(fault.loc, fault.message))
                broken.add(fault.loc[: 2 if fault.loc[0] in _LISTED else 1])
            indexes = [index for index in indexes if ("certificates", index) not in broken]
            self.file = _salvaged(data, broken)
        if self.file is None or self._unread:
            return  # what seems to be missing may be in a file that could not be read
        entries = list(zip(indexes, self.file.certificates, strict=True))
        wrong = {
            self._add(finding)
            for finding in crosscheck(Checked(self.file, entries, frozenset(broken)))
        }
        self.entries = [(index, entry) for index, entry in entries if index not in wrong]

    def _add(self, finding: Finding) -> int | None:
        """Keep ``finding``; the number of the certificate it disqualifies, if it does."""
        message = finding.message
        if finding.other is not None:
            file, line = self._merged.place(finding.other)
            message = message.replace("{there}", f"{file}:{line}")
        problem = self._merged.problem(finding.loc, message)
        inside = finding.loc[0] == "certificates" and len(finding.loc) > 1
        if finding.warning:
            self.warnings.append(problem)
            return None
        (self.certificates if inside else self.general).append(problem)
        return int(finding.loc[1]) if inside else None


def _salvaged(data: Mapping[str, object], broken: Collection[Loc]) -> ConfigFile:
    """What of ``data`` passes the schema: each error is inside of a part that is left out."""
    rest: dict[str, object] = {}
    for key, value in data.items():
        if (key,) in broken:
            continue
        if key in _LISTED and isinstance(value, dict):
            rest[key] = {name: value[name] for name in value if (key, name) not in broken}
        elif key in _LISTED and isinstance(value, list):
            rest[key] = [item for at, item in enumerate(value) if (key, at) not in broken]
        else:
            rest[key] = value
    return ConfigFile.model_validate(rest)
