"""The settings files of certbot, acme.sh and systemd: read as data, never run."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

MAX_LINES = 10_000
_SECTION = re.compile(r"(\[+)([^\[\]]+)(\]+)")
_SETTING = re.compile(r"""(?:(?:"([^"]+)"|'([^']+)')\s*|([^"'=\[\]#\s][^=]*))=\s*(.*)""")
_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.ASCII)
_BARE = re.compile(r"[A-Za-z0-9_./:@%+,=*~-]*", re.ASCII)
_START, _END = "__ACME_BASE64__START_", "__ACME_BASE64__END_"


@dataclass
class Settings:
    """Values by name, sections by name, and the numbers of lines that could not be read.

    ``lines`` are those of the values.
    """

    values: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    sections: dict[str, Settings] = field(default_factory=dict)
    unread: list[int] = field(default_factory=list)


def read_ini(text: str) -> Settings:
    """A file as certbot writes them by ConfigObj: ``key = value`` in ``[sections]``.

    What certbot never writes (values of several lines, interpolation) is left unread.
    """
    top = Settings()
    path = [top]
    for number, line in _lines(text):
        if section := _SECTION.fullmatch(line):
            depth = len(section[1])
            if depth != len(section[3]) or depth > len(path):
                top.unread.append(number)
                continue
            path[depth:] = [path[depth - 1].sections.setdefault(section[2].strip(), Settings())]
            continue
        setting = _SETTING.fullmatch(line)
        value = _ini_value(setting[4]) if setting else None
        if setting is None or value is None:
            top.unread.append(number)
        else:
            name = setting[1] or setting[2] or setting[3].rstrip()
            path[-1].values[name], path[-1].lines[name] = value, number
    return top


def read_assignments(text: str) -> Settings:
    """``NAME=value`` as acme.sh and environment files have it: quoted or bare text, nothing else.

    A value that a shell would expand is left unread.
    """
    found = Settings()
    for number, line in _lines(text):
        value = _shell_value(match[2]) if (match := _ASSIGNMENT.fullmatch(line)) else None
        if match and value is not None:
            found.values[match[1]], found.lines[match[1]] = value, number
        else:
            found.unread.append(number)
    return found


def decoded(value: str) -> str | None:
    """A value that acme.sh may have written in base64; None for one that is damaged."""
    if not (value.startswith(_START) and value.endswith(_END)):
        return value
    try:
        return b64decode(value[len(_START) : -len(_END)], validate=True).decode()
    except ValueError:
        return None


def words(value: str) -> list[str]:
    """The items of a list as ConfigObj writes it."""
    return [item for each in value.split(",") if (item := each.strip().strip("'\""))]


def without(values: Mapping[str, str], *prefixes: str) -> dict[str, str]:
    """The values with the first of the prefixes that fits cut off their names."""
    short = {}
    for name, value in values.items():
        prefix = next((each for each in prefixes if name.startswith(each)), "")
        short[name[len(prefix) :]] = value
    return short


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that say anything, with their numbers."""
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if number > MAX_LINES:
            return
        if stripped and stripped[0] not in "#;":
            yield number, stripped


def _ini_value(text: str) -> str | None:
    """A value without its quotes or the comment after it; None for what needs several lines."""
    if text[:3] in ("'''", '"""'):
        return None
    if text[:1] in ("'", '"'):
        value, closed, rest = text[1:].partition(text[0])
        if closed and (not rest.strip() or rest.strip().startswith("#")):
            return value
        return text if closed and rest.strip().startswith(",") else None
    return re.split(r"(?<!\s)\s+#|^#", text, maxsplit=1)[0].strip()


def _shell_value(text: str) -> str | None:
    if len(text) > 1 and text[0] == text[-1] == "'" and "'" not in text[1:-1]:
        return text[1:-1]
    if len(text) > 1 and text[0] == text[-1] == '"' and not re.search(r'["$`\\]', text[1:-1]):
        return text[1:-1]
    return text if _BARE.fullmatch(text) else None
