"""PodDisruptionBudgets: which of them say that no pod of a workload may be missed now.

Rolling updates ignore them, whoever starts them: they bind evictions alone. So the pause before a
restart is certrotd's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from certrotd.kube.api import Kind, Object

BUDGETS = Kind("apis/policy/v1", "poddisruptionbudgets")


def holding(budgets: Iterable[Object], labels: Mapping[str, str]) -> Iterator[str]:
    """The names of those over pods with such labels that allow no disruption for the moment.

    One whose pods are all healthy already, that is over none, or whose controller cannot count
    them (those of a DaemonSet have no scale) never will: to wait for it would be in vain.
    """
    for budget in budgets:
        if _covers(budget, labels) and not _allowed(budget) and not _never(budget):
            yield _name(budget)


def never_allowing(budgets: Iterable[Object], labels: Mapping[str, str]) -> Iterator[str]:
    """The names of those that allow none although no pod is missed, or cannot count them."""
    return (_name(each) for each in budgets if _covers(each, labels) and _never(each))


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector selects what has those labels; an empty one selects everything."""
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_holds(each, labels) for each in selector.get("matchExpressions") or ())


def _holds(requirement: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    has, values = labels.get(requirement["key"]), requirement.get("values") or ()
    match requirement["operator"]:
        case "In":
            return has in values
        case "NotIn":
            return has not in values
        case "Exists":
            return has is not None
        case _:
            return has is None


def _covers(budget: Object, labels: Mapping[str, str]) -> bool:
    selector = (budget.get("spec") or {}).get("selector")
    return selector is not None and selects(selector, labels)


def _allowed(budget: Object) -> int:
    return int((budget.get("status") or {}).get("disruptionsAllowed", 0))


def _never(budget: Object) -> bool:
    metadata, status = budget.get("metadata") or {}, budget.get("status") or {}
    known = status.get("observedGeneration", 0) >= metadata.get("generation", 0)
    expected = status.get("expectedPods", 0)
    healthy = status.get("currentHealthy", 0) >= expected
    return bool(not _allowed(budget) and ((known and healthy) or _uncounted(budget)))


def _uncounted(budget: Object) -> bool:
    """Whether its controller says that it fails to count; it allows nothing then."""
    conditions = (budget.get("status") or {}).get("conditions") or ()
    return any(
        (each.get("type"), each.get("reason")) == ("DisruptionAllowed", "SyncFailed")
        for each in conditions
    )


def _name(budget: Object) -> str:
    return str((budget.get("metadata") or {}).get("name"))
