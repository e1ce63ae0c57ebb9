"""Regular expressions over text that others choose: a match ends in time, whatever the text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from certrotd.codecs.errors import CodecError
from certrotd.errors import NeedsOperator
from certrotd.extras import how_to_install

SECONDS = 1.0
"""So long one match may take, in seconds."""


class TooSlow(CodecError):
    """Nobody can tell in time whether a pattern matches."""


@dataclass(frozen=True)
class WholePattern:
    """A regular expression, of text or of bytes, that is to match all of a value."""

    pattern: str | bytes

    def matches(self, value: str | bytes) -> bool:
        """Whether it matches all of ``value``; raises TooSlow, and NeedsOperator."""
        try:
            return self._compiled.fullmatch(value, timeout=SECONDS) is not None
        except TimeoutError:
            raise TooSlow(f"a regular expression takes longer than {SECONDS:g} s for it") from None

    @cached_property
    def _compiled(self) -> Any:
        try:
            import regex  # unlike re, it can be told how long a match may take
        except ModuleNotFoundError:
            raise NeedsOperator(
                "regular expressions need regex, which is not installed", hint=how_to_install("sql")
            ) from None
        try:
            return regex.compile(self.pattern, regex.DOTALL)
        except regex.error as error:
            raise NeedsOperator(f"{self.pattern!r} is no regular expression: {error}") from None
