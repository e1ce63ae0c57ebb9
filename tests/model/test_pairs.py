"""Every history with two faults: in one process, or a second one in what comes after the first.

Without servers (CERTROTD_DEMAND=none) it explores the smallest scenario, ``scripts/test`` two,
and ``scripts/test all`` all of them, which is what takes that one longest.
"""

import os

import pytest

from tests.model.explore import Explorer
from tests.model.scenarios import ALL, deterministic

FEWEST = {"rollback": 4_000, "deployment": 9_000, "renewal": 14_000}
CHOSEN = {"none": ["rollback"], "all": list(ALL)}.get(
    os.environ.get("CERTROTD_DEMAND", ""), ["rollback", "deployment"]
)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", CHOSEN)
def test_two_faults_anywhere_leave_a_whole_state(name: str) -> None:
    """A crash of the recovery, a failure while undoing, a full disk and then a power cut."""
    with deterministic():
        histories = Explorer(ALL[name]()).explore(2)
    print(f"{name}: {histories} histories with at most two faults")  # noqa: T201
    assert histories > FEWEST.get(name, 5_000)
