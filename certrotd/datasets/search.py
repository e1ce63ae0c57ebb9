"""Whether an application finds its rows while some are under one key, and some under another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from certrotd.datasets.port import PreflightFinding
from certrotd.errors import listed

CUT_OVER = "docs/keys/cut-over.md"


def one_key_only(columns: Sequence[str]) -> str:
    """Why columns that are searched under one key forbid a rotation in stages."""
    are = "is" if len(columns) == 1 else "are"
    return (
        f"{listed(columns, most=3)} {are} searched under one key (search_two_keys: false): while "
        "two keys live, the application would not find the rows of the other key. Stop it for the "
        f"rotation, by cutover: see {CUT_OVER}"
    )


@dataclass(frozen=True)
class Searched:
    """The columns that the application searches by, and whether it does so under two keys."""

    columns: tuple[str, ...] = ()
    two_keys: bool = True

    def findings(self, *, staged: bool) -> Iterator[PreflightFinding]:
        """What that means; ``staged``: the application runs while two keys live."""
        if not self.columns or not staged:
            return
        if not self.two_keys:
            yield PreflightFinding("search", one_key_only(self.columns), fatal=True)
            return
        are = "is" if len(self.columns) == 1 else "are"
        words = f"{listed(self.columns, most=3)} {are} searched by: meanwhile the application "
        yield PreflightFinding("search", f"{words}searches under both keys (search_two_keys: true)")


NOT_SEARCHED = Searched()
