"""Records that somebody set once are looked for before the CA is, and never published."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from certrotd.certs.authorize import Authorize
from certrotd.certs.passed_order import PassedOrder
from certrotd.cli.reports import outcome_of
from certrotd.clock import Deadline, ManualClock
from certrotd.errors import NeedsOperator, Transient
from certrotd.pki.order import Challenge, Persistent
from certrotd.rotation.outcome import Finished
from tests.unit.certs.rotating import Case

NOW = datetime(2026, 11, 30, tzinfo=UTC)
NAME = "_validation-persist.a.test"
RIGHT = "ca.test; accounturi=https://ca.test/1"
CHALLENGE = Challenge(NAME, RIGHT, persistent=Persistent(("ca.test",), "https://ca.test/1", False))


class Ledger:
    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}

    def note(self, **facts: Any) -> None:
        self.facts |= facts


def authorize(*values: str, records: int = 1) -> tuple[list[str], list[str]]:
    """What the CA was asked for and what was remarked, where the DNS has these values.

    Each look takes most of the time that there is for one.
    """
    asked: list[str] = []
    said: list[str] = []
    clock = ManualClock(NOW)

    def texts(_name: str, *, deadline: Deadline) -> dict[str, frozenset[str]]:
        clock.advance(timedelta(seconds=50))
        if deadline.passed:
            raise Transient("too late")
        return {"ns": frozenset(values)}

    order = SimpleNamespace(
        url="https://ca.test/order",
        challenges=lambda: (CHALLENGE,) * records,
        validate=lambda: asked.append("validate"),
    )
    world: Any = SimpleNamespace(
        name="web",
        order=order,
        clock=clock,
        dns_time=60.0,
        dns=lambda: SimpleNamespace(texts=texts),
        remark=said.append,
        fence=lambda: None,
    )
    ledger: Any = Ledger()
    try:
        Authorize("ca", ("a.test",), None).do(world, ledger)
    finally:
        assert not ledger.facts.get("left")
    return asked, said


def test_the_ca_is_asked_where_the_record_is_right() -> None:
    """No solver is needed, and nothing is left behind that would have to be withdrawn."""
    assert authorize(RIGHT) == (["validate"], [])


def test_many_names_have_the_time_that_one_has() -> None:
    """Where a name server is dead, each look waits for it in vain."""
    assert authorize(RIGHT, records=100) == (["validate"], [])


def test_the_ca_is_not_asked_where_it_is_missing() -> None:
    """CAs count failed validations."""
    with pytest.raises(NeedsOperator, match=f"{NAME}: no TXT record"):
        authorize()


class _Proven(PassedOrder):
    def challenges(self) -> tuple[Challenge, ...]:
        return (CHALLENGE,) * 2 if super().challenges() else ()


@pytest.mark.parametrize(
    ("lifetime", "until", "said"), [(90, 80, 1), (90, 91, 0), (6, 29, 1), (6, 31, 0)]
)
def test_a_record_that_ends_before_the_certificate_or_soon_is_reported(
    lifetime: int, until: int, said: int
) -> None:
    """While it still works: the next renewal looks for it, and somebody has to set another one."""
    case = Case("first_issuance")
    issuer, end = case.world.issuer, case.clock.now() + timedelta(days=until)
    issuer.lifetime, issuer.lookup = timedelta(days=lifetime), None
    values = frozenset({f"{RIGHT}; persistUntil={int(end.timestamp())}"})
    case.world.otherwise["dns"] = lambda: SimpleNamespace(texts=lambda *_, **__: {"ns": values})
    case.world.otherwise["issuer"] = lambda _name: SimpleNamespace(
        order=lambda *names, **how: _Proven(issuer.order(*names, **how))
    )
    outcome = case.rotate().outcome
    assert isinstance(outcome, Finished)
    assert outcome_of(outcome)[1] == "".join(each.split(": ", 1)[1] for each in case.world.remarks)
    assert len(case.world.remarks) == said
    for each in case.world.remarks:
        assert f"the record {NAME} ends at {end:%Y-%m-%d %H:%M}Z, and the next renewal" in each
