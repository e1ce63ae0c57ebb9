"""What a file of SOPS says of itself: for whom its data key is wrapped, and what is encrypted.

SOPS keeps that under the name ``sops``: of YAML and JSON as it is, of INI and of environment files
flat, as in ``age__list_0__map_recipient``. A binary file is JSON. Nothing else of a file is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from certrotd.codecs.errors import Damaged, TooLarge, Unsupported

MOST = 256 * 1024
"""So many bytes of YAML are read, which takes a second: of 500 recipients, say."""
_YAML = re.compile(rb"^sops:[ \t]*\r?\n((?:[ \t][^\n]*(?:\n|\Z)|\r?\n)+)", re.MULTILINE)
_DOTENV = re.compile(rb"^sops_([a-z_0-9]+)=(.*)$", re.MULTILINE)
_INI = re.compile(rb"^\[sops\][ \t]*\r?\n((?:(?!\[)[^\n]*(?:\n|\Z))*)", re.MULTILINE)
_INI_LINE = re.compile(rb"^([a-z_0-9]+)[ \t]*=[ \t]*(.*?)[ \t\r]*$", re.MULTILINE)
_INDENT = re.compile(rb"^( +)\S", re.MULTILINE)
"""Of the first line that is indented at all: by tabs, JSON is by default."""
_LISTED = re.compile(r"([a-z_]+?)__list_(\d{1,9})__map_([a-z_0-9]+)")
_PASSING = ("lastmodified", "mac", "version")
"""What each writing changes."""
_RULES = ("_suffix", "_regex")
_NO_RULE = {"unencrypted_suffix": "_unencrypted"}
"""What a file without a rule is read as, and written with."""
_WRAPPED = ("enc", "created_at")
"""The same of one recipient."""
_NOTHING = (None, "", "null", "~")
"""How formats write that there is no value."""


class Stanza(NamedTuple):
    """The data key of a file, wrapped for one recipient of age, in its armor."""

    recipient: str
    wrapped: bytes


@dataclass(frozen=True)
class Metadata:
    """``kind`` is what SOPS calls the format; ``indent`` by how many spaces YAML or JSON indents.

    ``others`` are recipients that are none of age, ``settings`` say what is encrypted.
    """

    kind: str
    indent: int | None
    stanzas: tuple[Stanza, ...]
    others: frozenset[str]
    settings: Mapping[str, str]


def metadata_of(data: bytes) -> Metadata | None:
    """What a file says, None of one that SOPS did not write; raises CodecError."""
    for kind, read in (("json", _json), ("yaml", _yaml), ("ini", _ini), ("dotenv", _dotenv)):
        if (found := read(data)) is not None:
            return _metadata(kind, data, found)
    return None


def _metadata(kind: str, data: bytes, found: Any) -> Metadata:
    if not isinstance(found, dict) or not isinstance(found.get("mac"), str):
        raise Damaged("what it says under sops is not whole")
    if found.get("key_groups"):
        raise Unsupported("its data key is shared out among key groups")
    stanzas, others, settings = list[Stanza](), set[str](), dict[str, str]()
    for name, value in found.items():
        if not isinstance(value, list):
            if name not in _PASSING and value not in _NOTHING:
                settings[str(name)] = str(value)
            continue
        for each in value:
            if not isinstance(each, dict):
                raise Damaged(f"its {name} under sops are not recipients")
            if name == "age":
                stanzas.append(_stanza(each))
            else:
                rest = {k: str(v) for k, v in each.items() if k not in _WRAPPED and v}
                others.add(f"{name} {json.dumps(rest, sort_keys=True)}")
    if not any(name.endswith(_RULES) for name in settings):
        settings |= _NO_RULE
    return Metadata(kind, _indent(kind, data), tuple(stanzas), frozenset(others), settings)


def _indent(kind: str, data: bytes) -> int | None:
    block = _YAML.search(data) if kind == "yaml" else None
    first = _INDENT.search(data if block is None else block[1])
    return len(first[1]) if first is not None and kind in ("yaml", "json") else None


def _stanza(told: dict[str, Any]) -> Stanza:
    recipient, wrapped = told.get("recipient"), told.get("enc")
    if not isinstance(recipient, str) or not isinstance(wrapped, str):
        raise Damaged("a recipient of age under sops is not whole")
    return Stanza(recipient, wrapped.strip().encode("utf-8", "replace"))


def _json(data: bytes) -> Any:
    if not data.lstrip().startswith(b"{"):
        return None
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        if _named(data):
            raise Damaged("it is not whole as JSON") from None
        return None
    return found.get("sops")


def _yaml(data: bytes) -> Any:
    """That of one document; each of several has the same."""
    blocks = list(dict.fromkeys(found[0] for found in _YAML.finditer(data)))
    if not blocks:
        return None
    if sum(map(len, blocks)) > MOST:
        raise TooLarge(f"what it says under sops takes more than {MOST:,} bytes")
    import yaml

    class Loader(yaml.BaseLoader):
        """Of texts alone, each written out: what an alias repeats may grow without end."""

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError
            return super().compose_node(parent, index)

    try:
        read = [yaml.load(each, Loader) for each in blocks]  # noqa: S506  # it makes texts
    except (yaml.YAMLError, ValueError, RecursionError):
        raise Damaged("what it says under sops is not whole") from None
    if any(each != read[0] for each in read):
        raise Damaged("its documents say different things under sops")
    return read[0]["sops"]


def _ini(data: bytes) -> Any:
    found = _INI.search(data)
    return _nested(_INI_LINE.findall(found[1])) if found is not None else None


def _dotenv(data: bytes) -> Any:
    found = _DOTENV.findall(data)
    return _nested(found) if found else None


def _nested(flat: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    """What was made flat, with its newlines."""
    whole: dict[str, Any] = {}
    lists: dict[str, dict[int, dict[str, str]]] = {}
    for name, value in _text(flat):
        listed = _LISTED.fullmatch(name)
        if name.startswith("key_groups"):
            whole["key_groups"] = True
        elif listed is not None:
            into = lists.setdefault(listed[1], {}).setdefault(int(listed[2]), {})
            into[listed[3]] = value
        else:
            whole[name] = value
    return whole | {name: [each[n] for n in sorted(each)] for name, each in lists.items()}


def _text(flat: list[tuple[bytes, bytes]]) -> Iterator[tuple[str, str]]:
    for name, value in flat:
        text = value.decode("utf-8", "replace").strip("`\r")
        yield name.decode("ascii"), text.replace("\\n", "\n")


def _named(data: bytes) -> bool:
    return re.search(rb'"sops"\s*:\s*\{', data) is not None
