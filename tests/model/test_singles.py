"""Every history with one fault, in every scenario."""

import pytest

from certrotd.errors import NeedsOperator
from tests.fakes.journal import LateJournal
from tests.model.explore import Explorer
from tests.model.scenarios import ALL, deterministic

FEWEST = {
    "renewal": 380,
    "renewal_as_suggested": 380,
    "renewal_after_expiry": 380,
    "renewal_through_an_outage": 380,
    "renewal_in_a_cluster": 300,
    "first_issuance": 270,
    "bootstrap": 400,
    "deployment": 240,
    "damaged_state": 240,
    "new_target": 240,
    "lost_copies": 240,
    "damaged_files": 240,
    "rollback": 200,
    "revocation": 400,
    "adoption": 310,
}


def test_every_scenario_is_explored() -> None:
    """A scenario that nobody explores proves nothing."""
    assert set(FEWEST) == set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_one_fault_anywhere_leaves_a_whole_state(name: str) -> None:
    """A refusal, a lie, a stop, a crash, a torn record or a power cut at any point is survived."""
    with deterministic():
        histories = Explorer(ALL[name]()).explore(1)
    print(f"{name}: {histories} histories with at most one fault")  # noqa: T201
    assert histories > FEWEST[name]


@pytest.mark.parametrize("name", ALL)
def test_one_fault_anywhere_is_survived_while_records_wait_in_memory(name: str) -> None:
    """Nothing is done whose intent is not written yet, however many records are lost at once."""
    with deterministic():
        scenario = ALL[name]()
        scenario.world.journals = LateJournal
        histories = Explorer(scenario).explore(1)
    assert histories > FEWEST[name] / 2


@pytest.mark.parametrize("name", ["renewal", "renewal_after_expiry", "first_issuance"])
def test_one_fault_anywhere_is_survived_that_somebody_must_mend(name: str) -> None:
    """Intercepted TLS hides an issued certificate as well as a dead line does."""
    with deterministic():
        scenario = ALL[name]()
        scenario.world.unanswered = NeedsOperator
        histories = Explorer(scenario).explore(1)
    assert histories > FEWEST[name]


@pytest.mark.parametrize("name", ALL)
def test_without_faults_all_is_done_at_once(name: str) -> None:
    """The negative control of the faults: nothing but they makes a second run necessary."""
    with deterministic():
        assert Explorer(ALL[name]()).explore(0) == 1
