"""What a person's attempts and a mended configuration mean for those that certrotd makes itself."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certrotd.certs.managed import attempts_of
from certrotd.errors import Transient
from certrotd.lifecycle.decision import Postpone
from certrotd.rotation.engine import Finished, RolledBack
from tests.model import scenarios
from tests.unit.certs.rotating import Case

MINUTE = timedelta(minutes=1)


@pytest.fixture
def case() -> Case:
    """A renewal at a CA that refuses every order, which has failed once unasked."""
    case = Case("renewal")
    case.world.issuer.faults["order"] = Transient("no")
    assert isinstance(case.rotate().outcome, RolledBack)
    return case


def test_trying_by_hand_again_and_again_does_not_lengthen_the_wait(case: Case) -> None:
    """Else whoever looks for the cause makes it worse."""
    for _ in range(4):
        case.world.issuer.faults["order"] = Transient("no")
        assert isinstance(case.rotate(by_hand=True).outcome, RolledBack)
    attempts = attempts_of(case.world.managed())
    assert (attempts.failures, attempts.by_hand) == (5, 4)
    waiting = case.rotate().decision
    assert isinstance(waiting, Postpone)
    assert waiting.until == scenarios.NOW + MINUTE
    assert isinstance(case.rotate(after=MINUTE).outcome, Finished)


def test_a_mended_configuration_is_tried_at_once(case: Case) -> None:
    """A reload or a restart is all that it takes; with the same one the wait goes on."""
    managed = case.world.managed()
    assert not attempts_of(managed).mended
    assert isinstance(case.rotate().decision, Postpone)
    mended = replace(managed, configuration=lambda: "mended")
    assert attempts_of(mended).mended
    report = case.rotator().rotate(mended)
    assert isinstance(report.outcome, Finished)


def test_a_configuration_that_was_mended_in_vain_waits_again(case: Case) -> None:
    """One try for each change, not one a second."""
    mended = replace(case.world.managed(), configuration=lambda: "mended")
    case.world.issuer.faults["order"] = Transient("no")
    assert isinstance(case.rotator().rotate(mended).outcome, RolledBack)
    assert isinstance(case.rotator().rotate(mended).decision, Postpone)
