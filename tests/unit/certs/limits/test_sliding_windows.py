"""The budget: never more than the limit in any window, and never waiting for nothing."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.certs.limits.sliding_windows import (
    Limit,
    Limits,
    Spent,
    charge_certificate,
    charge_failure,
    charge_order,
    charged,
    leapt,
    over,
    registered_domain,
    renews,
    settle,
)
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.generation import Generation, Meta, Standing

NOW = datetime(2026, 6, 1, tzinfo=UTC)
COUNT = itertools.count()
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
WEB = ("www.example.com", "example.com")


def charge(
    spent: Spent, limits: Limits, names: Sequence[str], *, renewal: bool, now: datetime
) -> None:
    """An order and its certificate."""
    charge_order(spent, limits, now=now)
    charge_certificate(spent, limits, names, f"{next(COUNT)}", renewal=renewal, now=now)


def test_an_order_over_the_limit_learns_when_there_is_room() -> None:
    """Whoever asks the CA anyway is refused, and for longer."""
    limits, spent = Limits(orders=Limit(2, HOUR)), Spent()
    for minutes in (0, 10):
        at = NOW + minutes * MINUTE
        assert over(spent, limits, WEB, renewal=False, now=at) is None
        charge(spent, limits, WEB, renewal=False, now=at)
    told = over(spent, limits, WEB, renewal=False, now=NOW + 20 * MINUTE)
    assert told is not None
    assert NOW + HOUR <= told.until <= NOW + HOUR + timedelta(seconds=2)
    assert told.why == "orders of the account: 2 in 1 hours"
    assert over(spent, limits, WEB, renewal=False, now=told.until) is None


def test_several_waiting_orders_each_get_their_own_time() -> None:
    """A thousand that come back at the same moment are a storm."""
    limits, spent = Limits(orders=Limit(2, HOUR)), Spent()
    for minutes in (0, 10):
        charge(spent, limits, WEB, renewal=False, now=NOW + minutes * MINUTE)
    told = [
        over(spent, limits, WEB, renewal=False, now=NOW + HOUR / 2, ahead={"orders": ahead})
        for ahead in range(4)
    ]
    after = [round((each.until - NOW) / MINUTE) for each in told if each]
    assert after == [60, 70, 120, 130]


def test_a_new_name_counts_for_its_domain_and_a_renewal_does_not() -> None:
    """Let's Encrypt lets what it issued before be renewed, however many there are."""
    limits, spent = Limits(domain=Limit(1, HOUR)), Spent()
    charge(spent, limits, ["a.example.com"], renewal=False, now=NOW)
    told = over(spent, limits, ["b.example.com"], renewal=False, now=NOW)
    assert told is not None
    assert told.why == "new certificates for example.com: 1 in 1 hours"
    assert over(spent, limits, ["b.example.com"], renewal=True, now=NOW) is None
    assert over(spent, limits, ["b.example.net"], renewal=False, now=NOW) is None


def test_the_same_names_in_another_order_are_a_duplicate() -> None:
    """The CA compares sets."""
    limits, spent = Limits(duplicates=Limit(1, HOUR)), Spent()
    charge(spent, limits, WEB, renewal=True, now=NOW)
    assert over(spent, limits, WEB[::-1], renewal=True, now=NOW) is not None
    assert over(spent, limits, WEB[:1], renewal=True, now=NOW) is None


def test_a_certificate_fetched_again_counts_once() -> None:
    """After a crash, or while the CA is slow, the same order is finalized more than once."""
    limits, spent = Limits(duplicates=Limit(2, HOUR)), Spent()
    for _ in range(3):
        charge_certificate(spent, limits, WEB, "https://ca/1", renewal=False, now=NOW)
    assert over(spent, limits, WEB, renewal=False, now=NOW) is None
    charge_certificate(spent, limits, WEB, "https://ca/2", renewal=False, now=NOW)
    assert over(spent, limits, WEB, renewal=False, now=NOW) is not None


def test_orders_that_come_to_nothing_leave_the_certificates_to_come() -> None:
    """A week of broken DNS must not cost another week when it is mended."""
    limits, spent = Limits(duplicates=Limit(1, HOUR), domain=Limit(1, HOUR)), Spent()
    charge_order(spent, limits, now=NOW)
    assert over(spent, limits, WEB, renewal=False, now=NOW) is None


def test_a_name_that_failed_too_often_waits_and_others_do_not() -> None:
    """One broken delegation must not use up the patience of the CA, nor stop the rest."""
    limits, spent = Limits(failures=Limit(2, HOUR)), Spent()
    charge(spent, limits, WEB, renewal=False, now=NOW)
    assert over(spent, limits, WEB, renewal=False, now=NOW) is None
    for _ in range(2):
        charge_failure(spent, limits, ["*.example.com"], now=NOW)
    told = over(spent, limits, ["example.com"], renewal=True, now=NOW)
    assert told is not None
    assert told.why.startswith("failed validations of example.com")
    assert over(spent, limits, ["www.example.com"], renewal=False, now=NOW) is None
    assert over(spent, limits, WEB, renewal=False, now=told.until) is None


def test_orders_with_a_future_time_count_from_now_on() -> None:
    """A clock that was a year ahead must not stop renewals for a year."""
    limits, spent = Limits(orders=Limit(1, HOUR)), Spent()
    charge(spent, limits, WEB, renewal=False, now=NOW + timedelta(days=365))
    settled = settle(spent, limits, now=NOW)
    told = over(settled, limits, WEB, renewal=False, now=NOW)
    assert told is not None
    assert told.until <= NOW + HOUR + timedelta(seconds=2)


def test_a_clock_set_forward_does_not_empty_a_window_of_hours() -> None:
    """The CA's clock was not set; but a week's window may have passed in a machine's sleep."""
    limits, spent = Limits(orders=Limit(1, HOUR), duplicates=Limit(1, 2 * DAY)), Spent()
    charge(spent, limits, WEB, renewal=False, now=NOW)
    leap = 20 * HOUR
    assert over(spent, limits, ["a.b"], renewal=False, now=NOW + leap) is None
    moved = leapt(spent, limits, leap)
    told = over(moved, limits, ["a.b"], renewal=False, now=NOW + leap)
    assert told is not None
    assert told.until <= NOW + leap + HOUR + timedelta(seconds=2)
    assert over(moved, limits, WEB, renewal=False, now=NOW + 2 * DAY + HOUR) is None


def test_orders_that_no_limit_counts_are_forgotten() -> None:
    """A configuration that changed leaves nothing behind."""
    spent = Spent({"orders": (NOW.timestamp(),), "set:x": (NOW.timestamp(),)})
    assert settle(spent, Limits(orders=Limit(1, HOUR)), now=NOW).stamps.keys() == {"orders"}
    assert settle(spent, Limits(orders=Limit(1, HOUR)), now=NOW + HOUR).stamps == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("example.com", "example.com"),
        ("*.a.b.example.com", "example.com"),
        ("localhost", "localhost"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("shop.example.co.uk", "co.uk"),  # slower than need be; the list is not consulted
    ],
)
def test_the_registered_domain_is_the_last_two_labels(name: str, expected: str) -> None:
    """It groups certificates, and errs to the slow side."""
    assert registered_domain(name) == expected


def test_a_renewal_is_the_same_names_at_the_same_ca() -> None:
    """Another name, or another CA, is a new certificate to it."""
    facts = CertificateFacts(WEB, "ecdsa-p256", "", "", "1", NOW, NOW + HOUR, "f", False)
    standing = Standing(Generation(1, Meta(NOW, "issued", "ca", "https://ca", 0.5), facts))
    assert renews(standing, WEB[::-1], "https://ca")
    assert not renews(standing, WEB, "https://other")
    assert not renews(standing, WEB[:1], "https://ca")
    assert not renews(Standing(), WEB, "https://ca")


minutes = st.lists(st.integers(0, 90), max_size=60)


@given(minutes, st.integers(1, 4), st.integers(1, 120), st.booleans())
def test_no_window_ever_holds_more_than_its_limit(
    waits: list[int], count: int, length: int, renewal: bool
) -> None:
    """Whatever the pattern of demand, and there is always a time when it goes on."""
    limits = Limits(orders=Limit(count, length * MINUTE), domain=Limit(2, 60 * MINUTE))
    spent, now, placed = Spent(), NOW, []
    for wait in waits:
        now += wait * MINUTE
        told = over(spent, limits, WEB, renewal=renewal, now=now)
        if told is not None:
            assert now < told.until <= now + max(length, 60) * MINUTE + timedelta(seconds=2)
            now = told.until
            assert over(spent, limits, WEB, renewal=renewal, now=now) is None
        charge(spent, limits, WEB, renewal=renewal, now=now)
        placed.append(now)
    for key in charged(limits, WEB, renewal=renewal):
        limit = limits.of(key)
        assert limit is not None
        for start in placed:
            inside = [each for each in placed if start <= each < start + limit.per]
            assert len(inside) <= limit.count
