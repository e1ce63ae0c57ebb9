"""Several files as one configuration: sections joined by key, and the place of every part kept."""

import bisect
from collections.abc import Sequence
from pathlib import Path

from certrotd.config.base import Loc, is_safe_name, shown
from certrotd.config.sources import Source
from certrotd.errors import ConfigProblem

SECTIONS = (
    *("issuers", "solvers", "dns", "targets", "hosts", "notifications", "defaults"),
    *("keks", "keyrings", "managed_keys"),
)
"""What several files may add keys to."""
MAX_SHOWN = 64
_UNNAMED = ("dns", "defaults")


class Merged:
    """All files' data as one.

    ``problems`` are what joining stumbled over; what of it could not be joined at all is
    ``unusable``.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self.data: dict[str, object] = {}
        self.certificates: list[object] = []
        self.problems: list[ConfigProblem] = []
        self.unusable: set[Loc] = set()
        self._main = sources[0]
        self._origins: dict[Loc, Source] = {}
        self._starts: list[int] = []
        self._parts: list[Source] = []
        for source in sources:
            for key in source.data:
                self._add(source, key, source.data[key])
        self.data["certificates"] = self.certificates

    def place(self, loc: Loc) -> tuple[Path, int]:
        """The file and the 1-based line of the deepest part of ``loc`` there is."""
        if loc[:1] == ("certificates",) and len(loc) > 1 and isinstance(loc[1], int):
            part = bisect.bisect_right(self._starts, loc[1]) - 1
            source = self._parts[part]
            return source.file, source.document.line(
                ("certificates", loc[1] - self._starts[part], *loc[2:])
            )
        source = self._origins.get(loc[:2]) or self._origins.get(loc[:1]) or self._main
        return source.file, source.document.line(loc)

    def path(self, loc: Loc) -> str:
        """``loc`` as people read it: ``certificates[web].install[0].mode``."""
        text = ""
        for depth, step in enumerate(loc):
            if isinstance(step, str):
                key = step if len(step) <= MAX_SHOWN else f"{step[:MAX_SHOWN]}…"
                text += f".{key}" if text else key
            elif depth == 1 and loc[0] == "certificates":
                text += f"[{self.label(step)}]"
            else:
                text += f"[{step}]"
        return text

    def label(self, index: int) -> str:
        """The name of a certificate if it has a usable one, else its number from 0."""
        entry = self.certificates[index]
        name = entry.get("name") if isinstance(entry, dict) else None
        return name if isinstance(name, str) and is_safe_name(name) else str(index)

    def problem(self, loc: Loc, message: str) -> ConfigProblem:
        """Something wrong at ``loc``."""
        return ConfigProblem(*self.place(loc), self.path(loc), message)

    def _add(self, source: Source, key: str, value: object) -> None:
        if key == "certificates":
            self._add_certificates(source, value)
        elif key in SECTIONS:
            self._add_section(source, key, value)
        elif key == "include" and source is not self._main:
            self._complain(source, (key,), "is allowed only in the main file: remove it here")
        elif key in self.data:
            self._complain(source, (key,), self._already((key,)))
        else:
            self.data[key] = value
            self._origins[key,] = source

    def _add_certificates(self, source: Source, value: object) -> None:
        if value is None:  # every entry below the key is commented out
            return
        if not isinstance(value, list):
            wrong = f'must be a list, each entry beginning with "- name:", got {shown(value)}'
            self._complain(source, ("certificates",), wrong)
            return
        self._starts.append(len(self.certificates))
        self._parts.append(source)
        self._origins.setdefault(("certificates",), source)
        self.certificates.extend(value)

    def _add_section(self, source: Source, key: str, value: object) -> None:
        if value is None:
            return
        if not isinstance(value, dict):
            self.unusable.add((key,))
            how = "" if key in _UNNAMED else " with a name of your choice for each entry"
            self._complain(source, (key,), f"must be a mapping{how}, got {shown(value)}")
            return
        self._origins.setdefault((key,), source)
        section = self.data.setdefault(key, {})
        assert isinstance(section, dict)
        for name, entry in value.items():
            if name in section:
                self._complain(source, (key, name), self._already((key, name)))
            else:
                section[name] = entry
                self._origins[key, name] = source

    def _already(self, loc: Loc) -> str:
        file, line = self.place(loc)
        return f"is already in {file}:{line}: keep one of them"

    def _complain(self, source: Source, loc: Loc, message: str) -> None:
        line = source.document.line(loc)
        self.problems.append(ConfigProblem(source.file, line, self.path(loc), message))
