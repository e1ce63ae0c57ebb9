"""What comes back over D-Bus, as far as it can be told without its library."""

from __future__ import annotations

from typing import Any, TypeVar

from certrotd.errors import Failure, InvalidInput, Transient

T = TypeVar("T")


class ErrorReply(Failure):
    """The other side answered with an error; ``name`` is D-Bus' name of it."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{text or 'no reason given'} [{name}]")
        self.name = name


class Late(Transient):
    """Nothing came before the deadline."""


def only(kind: type[T], content: tuple[Any, ...]) -> T:
    """The one value of that kind that an answer has to be; raises InvalidInput."""
    if len(content) != 1 or not isinstance(content[0], kind):
        raise InvalidInput(f"an answer over D-Bus is not one {kind.__name__}: {content!r}")
    return content[0]
