"""Plans as the journal keeps them."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.rotation.engine import titles
from certrotd.rotation.step import (
    Done,
    Journaled,
    Ledger,
    Observed,
    Plan,
    Savepoint,
    plan_from_json,
    plan_to_json,
)


@dataclass(frozen=True)
class Paint(Journaled):
    """A step with one field of each kind that steps have."""

    colour: str
    layers: int
    walls: tuple[str, ...]
    kind = "paint"

    def do(self, world: None, ledger: Ledger) -> Done:
        return Done()

    def undo(self, world: None, ledger: Ledger) -> None: ...


def rebuild(kind: str, intent: Any) -> Paint:
    """As a wing has it."""
    return {"paint": Paint}[kind].rebuild(intent)


TEXTS = st.text(max_size=20)
PAINTS = st.builds(Paint, TEXTS, st.integers(), st.lists(TEXTS, max_size=3).map(tuple))
SAVEPOINTS = st.builds(Savepoint, TEXTS, st.booleans(), st.booleans())


@given(st.lists(PAINTS | SAVEPOINTS, max_size=5).map(tuple))
def test_a_plan_comes_back_from_the_journal_as_it_was(plan: Plan[None]) -> None:
    """A crash loses the plan; the next process goes by what the journal says of it."""
    assert plan_from_json(json.loads(json.dumps(plan_to_json(plan))), rebuild) == plan


def test_a_step_of_an_unknown_kind_is_refused() -> None:
    """A newer version may have begun the rotation."""
    with pytest.raises(KeyError):
        plan_from_json([{"kind": "sing", "intent": {}}], rebuild)


def test_a_step_that_shows_nothing_is_unknown(tmp_path: Any) -> None:
    """It is then done again, which every step allows."""
    paint = Paint("red", 2, ("north",))
    assert paint.observe(None, ledger=None) is Observed.UNKNOWN  # type: ignore[arg-type]


def test_titles_name_steps_and_savepoints() -> None:
    """A listing shows both."""
    plan: Plan[None] = (Paint("red", 1, ()), Savepoint("dry"))
    assert list(titles(plan)) == ["paint", "dry"]
