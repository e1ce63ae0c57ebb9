"""A document of one type: one that is damaged is kept aside, reported, and begun anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from certrotd.errors import InvalidInput
from certrotd.state.ports import ABSENT, Document

T = TypeVar("T")


class TypedDocument(Generic[T]):
    """``parse`` reads what ``render`` wrote; for anything else None, ValueError or InvalidInput.

    For state that costs less to begin anew than to do without. ``report`` takes the line that says
    so, which ends with what the ``loss`` is.
    """

    def __init__(
        self,
        document: Document,
        parse: Callable[[bytes], T | None],
        render: Callable[[T], bytes],
        *,
        report: Callable[[str], None] = lambda _line: None,
        loss: str = "",
    ) -> None:
        self._document = document
        self._parse = parse
        self._render = render
        self._report = report
        self._loss = loss
        self._seen: str | None = None

    def read(self) -> T | None:
        """What it says; None before the first write, and after a damaged one was kept aside.

        Raises DiskTrouble.
        """
        found = self.peek()
        if found is None and self._seen != ABSENT:
            place, aside = self._document.place, self._document.set_aside()
            self._seen = ABSENT
            self._report(f"{place} is not what certrotd wrote: kept as {aside}{self._loss}")
        return found

    def peek(self) -> T | None:
        """As read(), and a damaged one stays where it is."""
        self._seen = None
        try:
            content = self._document.read()
            self._seen = content.revision if content else ABSENT
            return self._parse(content.data) if content else None
        except (ValueError, InvalidInput):
            return None

    def changed(self) -> bool:
        """Whether it is another than was read or written last; raises DiskTrouble."""
        return self._document.revision() != self._seen

    def write(self, value: T) -> None:
        """Replace it, durably, whatever it says; raises as Document.write."""
        self._seen = self._document.write(self._render(value))

    def replace(self, value: T) -> None:
        """As write(), but raises Conflict if it is another than was read or written last."""
        assert self._seen is not None, "it is read first"
        self._seen = self._document.write(self._render(value), expected=self._seen)
