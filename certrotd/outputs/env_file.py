"""Files of NAME=value lines, as dotenv libraries, Docker and systemd read them.

Only the values of the keyring's own variables are changed: every other byte stays, also the quotes
around a value and a comment behind it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from certrotd.outputs.errors import NotDeliverable, NotExpressible
from certrotd.outputs.reading import text_of

PLAIN = re.compile(r"[A-Za-z0-9+/=_:;,. -]*\Z", re.ASCII)
"""What needs neither quotes nor escapes; a space does, and stands between quotes only."""
_NAME = r"[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_.]*)[ \t]*=[ \t]*"
_REST = r"(?P<rest>[ \t]*(?:#[^\n]*)?)\r?(?=\n|\Z)"
_QUOTED = re.compile(
    _NAME + r"(?P<quote>['\"])(?P<value>(?:(?!(?P=quote))[^\\]|\\.)*)(?P=quote)" + _REST, re.DOTALL
)
_BARE = re.compile(_NAME + r"(?P<value>[^\s#'\"]*)(?P<rest>(?:[ \t]+#[^\n]*|[ \t]*))\r?(?=\n|\Z)")


@dataclass(frozen=True)
class _Value:
    text: str
    start: int
    end: int
    quoted: bool


class EnvFile:
    """The text of such a file, in which the values of ``names`` can be read and replaced."""

    def __init__(self, path: Path, data: bytes | None, names: Collection[str]) -> None:
        """Raises NotExpressible where those variables are not plain and unique."""
        self._path = path
        self._text = "" if data is None else text_of(path, data)
        self._values: dict[str, _Value] = {}
        self._read(names)

    def value(self, name: str) -> str:
        """What the variable is, empty where it is not set."""
        found = self._values.get(name)
        return found.text if found else ""

    def replaced(self, values: Mapping[str, str]) -> bytes:
        """The file with these values; variables that are not there are appended, unless empty."""
        text = self._text
        for name in values:
            if not PLAIN.match(values[name]):
                raise NotDeliverable(f"the value of {name} has characters that need escapes")
        there = sorted(
            (known for known in self._values.items() if known[0] in values),
            key=lambda known: known[1].start,
            reverse=True,
        )
        for name, old in there:
            new = values[name]
            if " " in new and not old.quoted:
                new = f'"{new}"'
            text = text[: old.start] + new + text[old.end :]
        ending = "\r\n" if "\r\n" in text else "\n"
        for name, value in values.items():
            if name not in self._values and value:
                quote = '"' if " " in value else ""
                begun = "" if not text or text.endswith("\n") else ending
                text += f"{begun}{name}={quote}{value}{quote}{ending}"
        return text.encode("utf-8")

    def _read(self, names: Collection[str]) -> None:
        at, text = 0, self._text
        while at < len(text):
            found = _QUOTED.match(text, at) or _BARE.match(text, at)
            if found and found["name"] in names:
                self._own(found)
            newline = text.find("\n", found.end() if found else at)
            at = newline + 1 if newline >= 0 else len(text)
        for name in names:
            lines = re.findall(rf"^[ \t]*(?:export[ \t]+)?{re.escape(name)}[ \t]*[=:]", text, re.M)
            if len(lines) != (name in self._values):
                raise NotExpressible(
                    f"{self._path}: {name} is not set by one plain line of its own",
                    hint=f"write it once, as {name}=value",
                )

    def _own(self, found: re.Match[str]) -> None:
        name, value = found["name"], found["value"]
        quoted = "quote" in found.re.groupindex
        if name in self._values:
            raise NotExpressible(f"{self._path}: {name} is set twice", hint="remove one line")
        if not PLAIN.match(value):
            raise NotExpressible(
                f"{self._path}: the value of {name} has escapes, variables or other characters "
                "that keys are not written with",
            )
        self._values[name] = _Value(value, *found.span("value"), quoted)
