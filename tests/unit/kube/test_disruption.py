"""Which PodDisruptionBudgets stand against a restart, and which never will allow one."""

from __future__ import annotations

from typing import Any

import pytest

from certrotd.kube.disruption import holding, never_allowing, selects
from tests.unit.kube.memory_api import budget

LABELS = {"app": "web", "tier": "edge"}


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({}, True),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "web", "zone": "a"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "x"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["x"]}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["x"]}]}, True),
        ({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["x"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "zone", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_a_selector_selects_as_the_api_server_does(selector: Any, selected: bool) -> None:
    """What it says has to hold all together."""
    assert selects(selector, LABELS) is selected


def test_one_that_allows_none_for_the_moment_holds() -> None:
    """Some of its pods are not healthy: that may end."""
    budgets = [budget(healthy=2), budget(healthy=3, allowed=1, name="free")]
    budgets += [budget(healthy=2, app="db", name="others")]
    assert list(holding(budgets, LABELS)) == ["one"]
    assert not list(never_allowing(budgets, LABELS))


def test_one_whose_pods_are_all_healthy_never_allows_any() -> None:
    """Unless its controller has not counted yet."""
    never = budget(healthy=3)
    assert not list(holding([never], LABELS))
    assert list(never_allowing([never], LABELS)) == ["one"]
    never["status"]["observedGeneration"] = 0
    assert list(holding([never], LABELS)) == ["one"]
    assert not list(never_allowing([never], LABELS))


def test_one_over_no_pods_never_allows_any() -> None:
    """Its workload is scaled to nothing."""
    none = budget(healthy=0)
    none["status"]["expectedPods"] = 0
    assert not list(holding([none], LABELS))
    assert list(never_allowing([none], LABELS)) == ["one"]


def test_one_whose_pods_cannot_be_counted_never_allows_any() -> None:
    """As that of a DaemonSet by a share of its pods: its controller gives up, without a count."""
    failed = budget(healthy=0)
    failed["status"] = {
        "disruptionsAllowed": 0,
        "conditions": [{"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed"}],
    }
    assert not list(holding([failed], LABELS))
    assert list(never_allowing([failed], LABELS)) == ["one"]
    failed["status"]["conditions"][0]["reason"] = "InsufficientPods"
    assert list(holding([failed], LABELS)) == ["one"], "the control: not counted yet"


@pytest.mark.parametrize("spec", [None, {}, {"selector": None}])
def test_one_without_a_selector_is_over_no_pods(spec: Any) -> None:
    """As policy/v1 has it."""
    found = budget(healthy=0) | {"spec": spec}
    assert not list(holding([found], LABELS))
