"""Values of Ansible Vault in files: whole ones, and those within YAML and JSON.

They are found by how they begin, whatever is around them: under ``!vault |``, indented, or within
quotes, where ``\\n`` stands for a newline. Nothing else of a file is read, or changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from certrotd.codecs.ansible_vault import MARK
from certrotd.codecs.errors import Damaged
from certrotd.jsonscan import Place

_BEGINNING = re.compile(re.escape(MARK.decode()) + r"\d")
_WORD = r"[^\s;\\\"']+"
_VALUE = re.compile(
    rf"(?P<first>{re.escape(MARK.decode())}[0-9.]+;[A-Z0-9]+(?:;{_WORD}(?: {_WORD})*)?)[ \t]*"
    r"(?P<between>\\n|\r?\n[ \t]*)(?P<lines>[0-9a-f]+(?:(?P=between)[0-9a-f]+)*)"
)


class VaultDocument:
    """Document of any text, in which values stand."""

    def places(self, document: bytes) -> Sequence[Place]:
        """As Document.places; raises Damaged for what begins as a value does, and is none."""
        return list(self._places(document.decode("latin-1")))

    def spliced(self, document: bytes, changes: Sequence[tuple[Place, bytes]]) -> bytes:
        """As Document.spliced: each line is indented, and ends, as those of the value before."""
        text, parts, last = document.decode("latin-1"), list[str](), 0
        for place, value in changes:
            found = _VALUE.match(text, place.start)
            assert found is not None, "it was found there"
            lines = value.decode("latin-1").split("\n")
            parts += [text[last : place.start], found["between"].join(lines)]
            last = place.end
        return "".join([*parts, text[last:]]).encode("latin-1")

    def _places(self, text: str) -> Iterator[Place]:
        end, line, counted = 0, 1, 0
        for begun in _BEGINNING.finditer(text):
            line += text.count("\n", counted, begun.start())
            counted = begun.start()
            found = _VALUE.match(text, begun.start())
            if begun.start() < end or found is None:
                raise Damaged(f"line {line} begins a value of Ansible Vault that is not whole")
            end = found.end()
            lines = found["lines"].split(found["between"])
            value = "\n".join([found["first"], *lines])
            yield Place(f"line {line}", found.start(), end, value)
