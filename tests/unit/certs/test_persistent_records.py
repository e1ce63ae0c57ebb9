"""Records that somebody set once are looked for before the CA is, and never published."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from certrotd.certs.authorize import Authorize
from certrotd.clock import ManualClock
from certrotd.errors import NeedsOperator
from certrotd.pki.order import Challenge, Persistent

NOW = datetime(2026, 11, 30, tzinfo=UTC)
NAME = "_validation-persist.a.test"
RIGHT = "ca.test; accounturi=https://ca.test/1"
CHALLENGE = Challenge(NAME, RIGHT, persistent=Persistent(("ca.test",), "https://ca.test/1", False))


class Ledger:
    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}

    def note(self, **facts: Any) -> None:
        self.facts |= facts


def authorize(*values: str) -> tuple[list[str], list[str]]:
    """What the CA was asked for and what was remarked, where the DNS has these values."""
    asked: list[str] = []
    said: list[str] = []
    order = SimpleNamespace(
        url="https://ca.test/order",
        challenges=lambda: (CHALLENGE,),
        validate=lambda: asked.append("validate"),
    )
    world: Any = SimpleNamespace(
        name="web",
        order=order,
        clock=ManualClock(NOW),
        dns_time=60.0,
        dns=lambda: SimpleNamespace(texts=lambda _name, *, deadline: {"ns": frozenset(values)}),
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


def test_the_ca_is_not_asked_where_it_is_missing() -> None:
    """CAs count failed validations."""
    with pytest.raises(NeedsOperator, match=f"{NAME}: no TXT record"):
        authorize()


@pytest.mark.parametrize(("days", "said"), [(29, 1), (31, 0)])
def test_a_record_that_ends_soon_is_reported(days: int, said: int) -> None:
    """While it still works: somebody has to set another one."""
    end = int((NOW + timedelta(days=days)).timestamp())
    asked, remarks = authorize(f"{RIGHT}; persistUntil={end}")
    assert asked == ["validate"]
    assert len(remarks) == said
    assert all(f"the record {NAME} ends at 2026-12-29" in each for each in remarks)
