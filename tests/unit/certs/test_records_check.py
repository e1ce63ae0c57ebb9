"""Records of dns-persist-01 are looked at daily, so that nobody learns of one at a renewal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from certrotd.certs.checks import DAILY
from certrotd.certs.persistent_records import RecordsCheck
from certrotd.certs.world import PersistentRecord
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.lifecycle.finding import EarlierLooks, Finding, FindingSeverity
from tests.unit.certs.watched import NOW, WatchedCertificate

NAME = "_validation-persist.a.test"
ENDS = f"the record {NAME} ends at "


class Records:
    """A certificate of 90 days whose record at ``ca`` is as ``confirm`` says."""

    def __init__(self, confirm: Callable[[], datetime | None]) -> None:
        self.bench = WatchedCertificate()
        self.asked: list[str] = []
        self.confirm = confirm
        self.bench.world.otherwise["persistent"] = self._persistent
        self.check = RecordsCheck(self.bench.managed, self.bench.means)

    def _persistent(self, issuer: str) -> list[PersistentRecord]:
        self.asked.append(issuer)
        return [(NAME, self.confirm)]

    def told(self) -> tuple[Finding, ...]:
        """What is reported in the end, of looks that find the same."""
        held = EarlierLooks()
        for _ in range(2):
            [looked] = self.check.look()
            settled = looked.settle(held)
            held = settled.held
        assert settled.watched.key == "records of certificate/web"
        return settled.watched.findings


def fails(failure: Exception) -> Callable[[], None]:
    def confirm() -> None:
        raise failure

    return confirm


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (None, False),
        (timedelta(days=91), False),
        (timedelta(days=89), True),
        (timedelta(days=3), True),
    ],
    ids=["never", "after it", "before it", "soon"],
)
def test_a_record_that_ends_before_it_may_be_needed_is_reported(
    end: timedelta | None, told: bool
) -> None:
    """As a renewal would report it, which may be weeks away."""
    records = Records(lambda: None if end is None else NOW + end)
    found = records.told()
    assert [(each.kind, each.alert) for each in found] == [("record_ending", "trouble")] * told
    assert all(each.words.startswith(ENDS) for each in found)
    assert records.check.every == DAILY


@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (
            NeedsOperator(f"{NAME}: no TXT record", hint="set this record once: x"),
            "record_wrong",
            f"a renewal at ca would fail: {NAME}: no TXT record",
        ),
        (
            Transient("ns1 does not answer", hint="set this record once: x"),
            "unreachable",
            "the records of dns-persist-01 were not looked at: ns1 does not answer",
        ),
        (
            OSError(5, "Input/output error"),
            "unreachable",
            "the records of dns-persist-01 were not looked at: ",
        ),
    ],
    ids=["gone", "no answer", "no network"],
)
@pytest.mark.parametrize("where", ["the record", "the CA"])
def test_what_is_gone_or_cannot_be_looked_at_is_a_warning(
    failure: Failure | OSError, kind: str, words: str, where: str
) -> None:
    """There is time until the renewal; the hint says what to set."""
    records = Records(fails(failure))
    if where == "the CA":

        def persistent(_issuer: str) -> list[PersistentRecord]:
            raise failure

        records.bench.world.otherwise["persistent"] = persistent
    [found] = records.told()
    assert found.words.startswith(words)
    assert found.severity is FindingSeverity.WARNING
    if isinstance(failure, Failure):
        assert found.kind == kind
        assert found.todo == failure.hint


def test_what_passes_by_the_next_look_is_not_reported() -> None:
    """A zone that is just being changed."""
    records = Records(fails(NeedsOperator(f"{NAME}: no TXT record")))
    [looked] = records.check.look()
    settled = looked.settle(EarlierLooks())
    assert (settled.watched.findings, settled.watched.unsure) == ((), True)
    records.confirm = lambda: None
    [looked] = records.check.look()
    assert looked.settle(settled.held).watched.findings == ()


def test_those_of_each_ca_are_looked_at_and_none_of_a_certificate_that_nobody_renews() -> None:
    """The second CA is asked when the first one is away: that is no time to learn of it."""
    from certrotd.certs.policy import Issuance

    records = Records(fails(NeedsOperator("gone")))
    policy = records.bench.managed.policy
    two = replace(policy, others=(Issuance("second", "https://second.test"),))
    records.check = replace(records.check, managed=replace(records.bench.managed, policy=two))
    found = records.told()
    assert [each.words.split(" would")[0] for each in found] == [
        "a renewal at ca",
        "a renewal at second",
    ]
    assert records.asked[:2] == ["ca", "second"]
    off = replace(records.bench.managed, policy=replace(policy, enabled=False))
    records.check = replace(records.check, managed=off)
    assert records.told() == ()
