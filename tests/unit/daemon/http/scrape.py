"""An exposition as Prometheus reads it, and what its linter would say."""

from __future__ import annotations

import re
from collections.abc import Mapping

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_BASE_UNITS = ("_milliseconds", "_minutes", "_hours", "_days", "_kilobytes", "_megabytes")
_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",), "gauge": ("",)}


def parsed(text: str) -> dict[str, Metric]:
    """Every family by its name as it is queried (with _total); fails on what a linter minds."""
    found: dict[str, Metric] = {}
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert name not in found, f"{name} comes twice"
        _lint(name, family)
        found[name] = family
    return found


def series(text: str, name: str) -> dict[frozenset[tuple[str, str]], float]:
    """The values of one metric by its labels."""
    return {
        frozenset(sample.labels.items()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def value(text: str, name: str, /, **labels: str) -> float:
    """The value of one series."""
    return series(text, name)[frozenset(labels.items())]


def names_of(families: Mapping[str, Metric]) -> dict[str, set[str]]:
    """Every name that a query may use, with the labels it may have."""
    found: dict[str, set[str]] = {}
    for name, family in families.items():
        for suffix in _SUFFIXES[family.type] if family.type == "histogram" else ("",):
            found.setdefault(f"{name}{suffix}", set())
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def _lint(name: str, family: Metric) -> None:
    """As promtool check metrics: names, base units, suffixes, help."""
    assert _NAME.fullmatch(name), name
    assert family.documentation.endswith("."), name
    assert family.type in _SUFFIXES, name
    assert not name.endswith(_BASE_UNITS), name
    assert (family.type == "counter") == name.endswith("_total"), name
    if "timestamp" in name:
        assert name.endswith("_timestamp_seconds"), name
    seen = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples]
    assert len(seen) == len(set(seen)), f"{name} has a series twice"
