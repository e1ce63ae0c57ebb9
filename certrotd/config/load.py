"""The front door of the configuration: files in, a checked Config out, or every problem at once."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path

from pydantic import ValidationError

from certrotd.config.base import Loc, examined, shown
from certrotd.config.certificates import CertificateEntry
from certrotd.config.checked import Checked, ConfigFinding
from certrotd.config.crosscheck import crosscheck
from certrotd.config.crosscheck_names import unproven
from certrotd.config.hostfile import HostFile
from certrotd.config.merge import Merged
from certrotd.config.model import Config, resolve
from certrotd.config.sources import Source, Unreadable, fragments, read, source_of
from certrotd.errors import ConfigInvalid, ConfigProblem

Entries = list[tuple[int, CertificateEntry]]
_LISTED = (
    *("certificates", "issuers", "solvers", "targets", "hosts", "notifications", "watch"),
    *("keks", "keyrings", "managed_keys"),
)
"""Sections of which one entry may be wrong and the others still make sense."""


@dataclass(frozen=True)
class Loaded:
    """A configuration that can be used.

    ``problems`` are those of certificates that were left out, and only there after a lenient
    load; ``warnings`` prevent nothing. ``files`` are all that were read, the main one first.
    """

    config: Config
    warnings: tuple[ConfigProblem, ...]
    files: tuple[Path, ...]
    problems: tuple[ConfigProblem, ...] = ()


def load(path: Path, *, lenient: bool = False, more: Source | None = None) -> Loaded:
    """Read and check the configuration in ``path`` and the files it includes.

    ``more`` is read as if it were one of those. Raises ConfigInvalid with every problem found. A
    ``lenient`` load leaves out certificates whose entries are wrong, and only raises for what is
    wrong elsewhere.
    """
    found = _Found(path, more)
    if found.general or found.file is None or (found.certificates and not lenient):
        raise ConfigInvalid(found.problems)
    return Loaded(
        config=resolve(found.file, [entry for _, entry in found.entries]),
        warnings=found.sorted(found.warnings),
        files=found.files,
        problems=found.sorted(found.certificates),
    )


def check(
    path: Path, *, text: str | None = None
) -> tuple[tuple[ConfigProblem, ...], tuple[ConfigProblem, ...]]:
    """All problems and all warnings, those that only a person asks for too.

    They are about names that no zone of a solver holds, and about what the entries refer to: are
    secrets, other files and programs there, and secrets protected? Never raises ConfigInvalid, and
    runs no program. With a ``text``, which is a mapping, ``path`` is looked at as if it had that.
    """
    found = _Found(path, main=None if text is None else source_of(path, text))
    found.look_at_zones()
    found.look_at_the_rest()
    return found.problems, found.sorted(found.warnings)


class _Found:
    """All that one reading of the files finds, good and bad.

    ``general`` are problems outside of the certificates' entries and ``certificates`` those
    inside. ``file`` is what passed the schema (None: nothing did), ``entries`` are the good
    certificates with their positions among all.
    """

    def __init__(
        self, path: Path, more: Source | None = None, *, main: Source | None = None
    ) -> None:
        self.general: list[ConfigProblem] = []
        self.certificates: list[ConfigProblem] = []
        self.warnings: list[ConfigProblem] = []
        self.files: tuple[Path, ...] = (path,)
        self.file: HostFile | None = None
        self.entries: list[tuple[int, CertificateEntry]] = []
        self._parsed: list[tuple[int, CertificateEntry]] = []
        self._unread = False
        self._broken: set[Loc] = set()
        sources = self._read(path, main)
        if sources and more is not None:
            sources.append(more)
            self.files = (*self.files, more.file)
        if sources:
            self._merged = Merged(sources)
            self.general += self._merged.problems
            self._validate()

    @property
    def problems(self) -> tuple[ConfigProblem, ...]:
        """All of them, in the order of files and lines."""
        return self.sorted(self.general + self.certificates)

    def sorted(self, problems: Iterable[ConfigProblem]) -> tuple[ConfigProblem, ...]:
        """``problems`` in the order of files and lines."""
        order = {file: number for number, file in enumerate(self.files)}
        return tuple(sorted(problems, key=lambda p: (order.get(p.file, len(order)), p.line)))

    def look_at_zones(self) -> None:
        """Whether each name can be proven, as far as zones tell, where all of them are known."""
        sections = {loc[0] for loc in self._broken}
        if self.file is not None and sections.isdisjoint(("defaults", "issuers", "solvers")):
            for finding in unproven(Checked(self.file, self.entries)):
                self._add(finding)

    def look_at_the_rest(self) -> None:
        """Whether what is referred to is there: secrets (by whom else?), other files, programs."""
        if self.file is None:
            return
        rest = self.file.model_copy(update={"certificates": (), "watch": ()})
        watched = Checked(self.file, (), self._broken).watched()
        parts: list[tuple[Loc, object]] = [((), rest)]
        parts += ((("certificates", index), entry) for index, entry in self._parsed)
        parts += ((("watch", index), entry) for index, entry in watched)
        for start, part in parts:
            for loc, seen in examined(part, start):
                problem = self._merged.problem(loc, seen.message)
                (self.general if seen.fatal else self.warnings).append(problem)

    def _read(self, path: Path, main: Source | None) -> list[Source]:
        """The main file and those it includes, as far as they can be read."""
        main = main or self._read_one(path, main=True)
        if main is None:
            return []
        pattern = main.data.get("include", HostFile.model_fields["include"].default)
        if not isinstance(pattern, str):
            return [main]
        files, problems = fragments(path, pattern)
        self.general += problems
        if not files and not problems and not has_magic(pattern):
            line = main.document.line(("include",))
            why = _not_included(path, pattern)
            self.general.append(ConfigProblem(path, line, "include", why))
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
            why = "everybody can write it, and so decide what certrotd runs: chmod it to 0644"
            self.warnings.append(ConfigProblem(file, 0, "", why))
        return source

    def _validate(self) -> None:
        """Check against the schema, drop what fails, and check the rest against each other."""
        data: Mapping[str, object] = self._merged.data
        indexes: Iterable[int] = range(len(self._merged.certificates))
        self._broken = broken = set(self._merged.unusable)
        faulty: dict[int, set[Loc]] = {}
        try:
            self.file = _schema(data).model_validate(data)
        except ValidationError as error:
            from certrotd.config.explain import explain

            for fault in explain(error):
                self._add(ConfigFinding(fault.loc, fault.message))
                broken.add(fault.loc[: 2 if fault.loc[0] in _LISTED else 1])
                if fault.loc[0] == "certificates" and len(fault.loc) > 1:
                    faulty.setdefault(int(fault.loc[1]), set()).add(fault.loc[:3])
            indexes = [index for index in indexes if ("certificates", index) not in broken]
            self.file = _salvaged(data, broken)
        self._parsed = entries = list(zip(indexes, self.file.certificates, strict=True))
        if self._unread:
            return  # what seems to be missing may be in a file that could not be read
        wrong = {
            self._add(finding)
            for finding in crosscheck(Checked(self.file, entries, frozenset(broken)))
        }
        self.entries = [(index, entry) for index, entry in entries if index not in wrong]
        self._check_rest(entries, faulty)

    def _check_rest(self, good: Entries, faulty: Mapping[int, Collection[Loc]]) -> None:
        """What else is wrong with entries that are left out anyway, beside each other and others.

        Whatever it is, it is told with the rest, and keeps nobody else out.
        """
        assert self.file is not None
        found = ((at, _rest(at, self._merged.certificates[at], faulty[at])) for at in faulty)
        rest = [(at, entry) for at, entry in found if entry is not None]
        if not rest:
            return
        self._parsed = everything = sorted([*good, *rest], key=lambda each: each[0])
        for finding in crosscheck(Checked(self.file, everything, frozenset(self._broken))):
            known = faulty.get(_number(finding))
            if known is not None and not any(finding.loc[: len(loc)] == loc for loc in known):
                self._add(finding)

    def _add(self, finding: ConfigFinding) -> int | None:
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


def _not_included(main: Path, pattern: str) -> str:
    """Why a pattern without wildcards includes nothing."""
    try:
        if (main.parent / pattern).samefile(main):
            return "is this file itself: name others, such as conf.d/*.yaml, or null"
    except (OSError, ValueError):
        pass
    return f"there is no file {shown(pattern)}"


def _schema(data: Mapping[str, object]) -> type[HostFile]:
    """That of the whole file where it says anything of data keys, or anything unknown."""
    if data.keys() <= HostFile.model_fields.keys():
        return HostFile
    from certrotd.config.file import ConfigFile

    return ConfigFile


def _salvaged(data: Mapping[str, object], broken: Collection[Loc]) -> HostFile:
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
    return _schema(data).model_validate(rest)


def _number(finding: ConfigFinding) -> int:
    """Of the certificate that it is in, or -1."""
    inside = finding.loc[0] == "certificates" and len(finding.loc) > 1
    return int(finding.loc[1]) if inside else -1


def _rest(index: int, entry: object, faults: Collection[Loc]) -> CertificateEntry | None:
    """A certificate without what is wrong in it, so that what it refers to is checked too."""
    if not isinstance(entry, dict):
        return None
    wrong = {loc[2] for loc in faults if len(loc) > 2}
    rest = {key: value for key, value in entry.items() if key not in wrong}
    # no name of anybody's: they collide with none
    rest.setdefault("name", f"certificate-{index}")
    rest.setdefault("names", [f"certificate-{index}.invalid"])
    try:
        return CertificateEntry.model_validate(rest)
    except ValidationError:
        return None
