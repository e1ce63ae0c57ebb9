"""Which pods of a workload showed their certificate before a change, and so must after its undo."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shown:
    """Whether ``some`` pod showed it, and the uids of those that were ``silent``.

    Where none did, what looks may be wrong, or the pods may be: either way nothing can be asked of
    them afterwards.
    """

    some: bool = False
    silent: frozenset[str] = frozenset()

    def must(self, uid: str) -> bool:
        """Whether that pod must show it again: all but the silent ones, also those that came since.

        A new pod is of the same template as one that did.
        """
        return self.some and uid not in self.silent


def shown_by(pods: Iterable[str], showed: Collection[str]) -> Shown:
    """What there is to ask of a workload, by the uids of its pods and of those that ``showed``."""
    return Shown(some=True, silent=frozenset(pods) - frozenset(showed)) if showed else Shown()


def to_json(workloads: Mapping[str, Shown]) -> dict[str, Any]:
    """The silent pods of each workload of which some pod showed it: for the journal."""
    return {name: sorted(each.silent) for name, each in workloads.items() if each.some}


def from_json(known: Mapping[str, Any], workload: str) -> Shown:
    """What the journal has of a workload; nothing where it says nothing."""
    silent = known.get(workload)
    if not isinstance(silent, list):
        return Shown()
    return Shown(some=True, silent=frozenset(map(str, silent)))
