"""What plaintext looks like, for ciphertext that proves nothing by itself."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from certrotd.config.base import REFUSED, Entry, Text, refuse, shown
from certrotd.config.codecs import (
    CodecEntry,
    LayoutCodecEntry,
    LayoutsCodecEntry,
    SymmetricCodecEntry,
    codec_name,
)

if TYPE_CHECKING:
    from certrotd.codecs.expectation import Expectation

_WORDS = ("utf8", "json")
_MAX = 64 * 1024 * 1024


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError):
        raise refuse("is no regular expression") from None
    return value


Pattern = Annotated[Text, AfterValidator(_pattern)]


class RegexExpectation(Entry):
    """Text that a regular expression matches as a whole."""

    regex: Pattern = Field(description="It matches the whole plaintext, which is UTF-8.")


class LengthExpectation(Entry):
    """Bytes of some length, which alone shows little."""

    least: Annotated[int, Field(ge=0, le=_MAX)] = Field(description="So many bytes at least.")
    most: Annotated[int, Field(ge=0, le=_MAX)] = Field(description="So many bytes at most.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.most < self.least:
            raise refuse("most is below least")
        return self


def _tag(value: object) -> str | None:
    if isinstance(value, str):
        return "~word" if value in _WORDS else None
    if isinstance(value, dict):
        return "~regex" if "regex" in value else "~length" if "least" in value else None
    return "~regex" if isinstance(value, RegexExpectation) else "~length"


ExpectationEntry = Annotated[
    Annotated[Literal["utf8", "json"], Tag("~word")]
    | Annotated[RegexExpectation, Tag("~regex")]
    | Annotated[LengthExpectation, Tag("~length")],
    Discriminator(
        _tag,
        custom_error_type=REFUSED,
        custom_error_message="must be utf8, json, a mapping with regex, or one with least and most",
    ),
]


def expectation_of(entry: ExpectationEntry) -> Expectation:
    """The same, to be asked."""
    from certrotd.codecs.expectation import Json, Length, Matching, Utf8
    from certrotd.codecs.patterns import WholePattern

    match entry:
        case RegexExpectation(regex=regex):
            return Matching(WholePattern(regex))
        case LengthExpectation(least=least, most=most):
            return Length(least, most)
        case "json":
            return Json()
    return Utf8()


def check_expects(
    expects: Mapping[str, ExpectationEntry],
    codec: CodecEntry,
    columns: Sequence[str],
    several: Collection[str],
) -> None:
    """Raise a refusal unless they are those of ``columns``, where ``codec`` needs them.

    ``several`` are columns with more than one value.
    """
    if strange := next((each for each in expects if each not in columns), None):
        raise refuse(f"expects has {shown(strange)}, which is none of the columns")
    takes, needs = isinstance(codec, SymmetricCodecEntry), False
    if isinstance(codec, LayoutCodecEntry | LayoutsCodecEntry):
        takes = needs = not codec.checked().traits.authenticated
    if expects and not takes:
        raise refuse(f"{codec_name(codec)} proves its key by itself: leave expects out")
    for name in several:
        if isinstance(expects.get(name), LengthExpectation):
            raise refuse(f"the length alone tells too little of the values in {name}")
    missing = [each for each in columns if each not in expects]
    if missing and (needs or expects):
        raise refuse(
            f"{codec_name(codec)} has no MAC here, and a wrong key can seem to open it: "
            f"say under expects what plaintext of {', '.join(missing)} looks like"
        )
