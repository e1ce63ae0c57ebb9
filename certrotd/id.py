"""What a managed thing is called: its kind and its name, as in ``certificate/web``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from certrotd.errors import InvalidInput, printable

ONLY_KIND = "certificate"
"""The kind of everything that a state directory of format 1 holds."""
MAX_KIND = 32
MAX_NAME = 64
_KIND = re.compile(r"[a-z]+(?:-[a-z]+)*")
# what the configuration lets the name of an entry be: SAFE_NAME there
_NAME = re.compile(r"[a-z0-9](?:\.?[a-z0-9_-])*")


@dataclass(frozen=True, order=True, slots=True)
class Id:
    """A kind and a name (as the configuration allows it).

    A kind is words of lower-case ASCII letters with a hyphen between them, 32 characters at most.
    Sorted by kind, then by name. Neither part needs quoting in a path, a URL, a label of a metric
    or a shell. Raises InvalidInput for anything else.
    """

    kind: str
    name: str

    def __post_init__(self) -> None:
        if not is_kind(self.kind) or not is_name(self.name):
            shown = printable(f"{self.kind}/{self.name}"[:40])
            raise InvalidInput(
                f'"{shown}" is no id',
                hint="an id is a kind and a name, as in certificate/web",
            )

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The id that ``text`` spells, exactly as str() does; raises InvalidInput."""
        kind, _, name = text.partition("/")
        return cls(kind, name)


def id_in(text: str) -> Id | None:
    """The id that ``text`` spells; None for what is no id, as of a file that somebody put there."""
    try:
        return Id.parse(text)
    except InvalidInput:
        return None


def is_kind(text: str) -> bool:
    """Whether ``text`` is fit for a kind."""
    return len(text) <= MAX_KIND and _KIND.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether ``text`` is fit for a name."""
    return len(text) <= MAX_NAME and _NAME.fullmatch(text) is not None
