"""Where it is kept that others may know a key, until that is dealt with.

What cannot be read is never taken for nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.jsontext import parsed
from certrotd.state.ports import ABSENT, Document


@dataclass(frozen=True)
class Suspicions:
    """The versions of one keyring that others may know, and why, in a document."""

    document: Document

    def read(self) -> Mapping[int, str]:
        """By version; raises NeedsOperator where that cannot be read, and DiskTrouble."""
        return self._read()[0]

    def add(self, number: int, why: str) -> None:
        """Remember it; raises as read(), and Conflict."""
        known, revision = self._read()
        self._write({**known, number: why}, revision)

    def drop(self, number: int) -> bool:
        """Forget it, and whether it was there; raises as add()."""
        known, revision = self._read()
        if number in known:
            self._write({n: why for n, why in known.items() if n != number}, revision)
        return number in known

    def _write(self, known: Mapping[int, str], revision: str) -> None:
        told = {str(number): why for number, why in known.items()}
        self.document.write(json.dumps(told).encode(), expected=revision)

    def _read(self) -> tuple[dict[int, str], str]:
        try:
            content = self.document.read()
            told = parsed(content.data) if content else {}
            if not isinstance(told, dict) or not all(isinstance(e, str) for e in told.values()):
                raise ValueError("it is not what certrotd wrote")
            known = {int(number): str(why) for number, why in told.items()}
        except (ValueError, InvalidInput) as error:
            raise NeedsOperator(
                f"{self.document.place} cannot be read: {error}",
                hint="it says which keys others may know: certrotd audit show has that, too; then "
                "move it away, and say so again",
            ) from None
        return known, content.revision if content else ABSENT
