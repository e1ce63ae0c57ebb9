"""Several CAs for one certificate: which is asked, when the next one is, and what is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from certrotd.acme.problems import ERROR_PREFIX, HINTS, ClockOff, failure_of, read_problem
from certrotd.certs.fallback import Blame, Trouble, choose, turn
from certrotd.certs.fitness import drift, standing_in
from certrotd.certs.limits.sliding_windows import Over
from certrotd.certs.policy import Issuance, Policy
from certrotd.certs.subject import Claim, PossibleOrder, first_with_room
from certrotd.certs.troubles import blame_of, trouble_in
from certrotd.certs.wiring.reporting_issuer import ReportingIssuer
from certrotd.errors import Failure, InvalidInput, LockHeld, NeedsOperator, Transient
from certrotd.files.disktrouble import DiskTrouble
from certrotd.pki.order import IssuanceRefused, OrderGone, ValidationFailed
from certrotd.rotation.outcome import RolledBack
from tests.fakes.issuer import MemoryIssuer
from tests.unit.certs.rotating import Case

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SECOND = Issuance("second", "https://second.example.test/directory")
POLICY = Policy("web", ("a.test",), "first", "https://first.example.test/directory")
BOTH = replace(POLICY, others=(SECOND,))
FIRST_AUTHORITY = POLICY.authority

BLAMES = {
    "accountDoesNotExist": Blame.REFUSAL,
    "alreadyReplaced": Blame.REFUSAL,
    "badCSR": Blame.USER,
    "badPublicKey": Blame.USER,
    "badSignatureAlgorithm": Blame.USER,
    "caa": Blame.USER,
    "compound": Blame.USER,
    "connection": Blame.USER,
    "dns": Blame.USER,
    "dnssec": Blame.USER,
    "externalAccountRequired": Blame.USER,
    "incorrectResponse": Blame.USER,
    "invalidContact": Blame.USER,
    "invalidProfile": Blame.USER,
    "malformed": Blame.USER,
    "orderNotReady": Blame.REFUSAL,
    "rateLimited": Blame.LIMIT,
    "rejectedIdentifier": Blame.REFUSAL,
    "serverInternal": Blame.OUTAGE,
    "tls": Blame.USER,
    "unauthorized": Blame.REFUSAL,
    "unsupportedContact": Blame.USER,
    "unsupportedIdentifier": Blame.USER,
    "userActionRequired": Blame.REFUSAL,
    "of its own": Blame.REFUSAL,
}


def said(kind: str, status: int = 403) -> Failure:
    problem = read_problem({"type": f"{ERROR_PREFIX}{kind}", "detail": "…"})
    return failure_of(problem, status=status, host="ca.test", retry_after=None)


@pytest.mark.parametrize("kind", BLAMES)
def test_every_kind_of_problem_has_somebody_to_blame(kind: str) -> None:
    """The next CA is asked only where this one is to blame."""
    assert blame_of(said(kind)) is BLAMES[kind]


def test_no_kind_of_problem_is_forgotten() -> None:
    """Each one that certrotd has a hint for is in the table."""
    assert set(HINTS) <= set(BLAMES)


def refused_csr(kind: str) -> Failure:
    try:
        raise IssuanceRefused("refused") from said(kind)
    except IssuanceRefused as refused:
        return refused


@pytest.mark.parametrize(
    ("failure", "blame"),
    [
        (Transient("no answer"), Blame.OUTAGE),
        (InvalidInput("no JSON"), Blame.OUTAGE),
        (OrderGone("it forgot the order"), Blame.OUTAGE),
        (failure_of(None, status=502, host="ca.test", retry_after=None), Blame.OUTAGE),
        (failure_of(None, status=403, host="ca.test", retry_after=None), Blame.OUTAGE),
        (failure_of(None, status=404, host="ca.test", retry_after=None), Blame.USER),
        (failure_of(None, status=429, host="ca.test", retry_after=None), Blame.LIMIT),
        (ClockOff("a year ahead"), Blame.USER),
        (DiskTrouble("write", OSError(28, "full")), Blame.USER),
        (LockHeld("the account", holder="another"), Blame.USER),
        (NeedsOperator("its terms are not agreed to"), Blame.USER),
        (ValidationFailed("no TXT record", kinds=["unauthorized"]), Blame.USER),
        (ValidationFailed("no reason given"), Blame.USER),
        (ValidationFailed("its resolver broke", kinds=["serverInternal"]), Blame.OUTAGE),
        (ValidationFailed("both", kinds=["serverInternal", "dns"]), Blame.USER),
    ],
    ids=str,
)
def test_failures_without_a_problem_document(failure: Failure, blame: Blame) -> None:
    """What the user has to correct is never hidden behind another CA."""
    assert blame_of(failure) is blame


def test_what_the_ca_was_not_asked_about_is_no_trouble_of_it() -> None:
    """A solver that is away is not an outage of the CA; a refused CSR goes by the CA's own word."""
    assert trouble_in(Transient("the name server is away")) is None
    for kind, blame in (("badCSR", Blame.USER), ("rejectedIdentifier", Blame.REFUSAL)):
        refused = refused_csr(kind)
        refused.at_ca = True
        found = trouble_in(refused)
        assert found is not None
        assert found.blame is blame
        assert Trouble.from_json(found.to_json()) == found
    key = said("unauthorized")
    key.at_ca = True
    first, later = trouble_in(key, registering=True), trouble_in(key)
    assert first is not None
    assert later is not None
    assert (first.blame, later.blame) == (Blame.USER, Blame.REFUSAL)


@pytest.mark.parametrize("left", [None, 30 * DAY], ids=["nothing served", "served"])
@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize("alone", [False, True], ids=["daemon", "by hand"])
def test_the_users_mistakes_never_reach_another_ca(
    left: timedelta | None, again: bool, alone: bool
) -> None:
    """However urgent it is; and what fails before a CA is asked does not either."""
    for trouble in (None, Trouble(Blame.USER, "")):
        assert not turn(trouble, wait=None, left=left, again=again, alone=alone).next


@pytest.mark.parametrize(
    ("blame", "wait", "left", "again", "alone", "expected"),
    [
        (Blame.REFUSAL, None, 30 * DAY, False, False, True),
        (Blame.OUTAGE, None, 30 * DAY, False, False, False),
        (Blame.OUTAGE, None, 30 * DAY, True, False, True),
        (Blame.OUTAGE, None, 30 * DAY, False, True, True),
        (Blame.OUTAGE, None, None, False, False, True),
        (Blame.LIMIT, HOUR, 30 * DAY, True, True, False),
        (Blame.LIMIT, 8 * DAY, 30 * DAY, False, False, True),
        (Blame.LIMIT, HOUR, 2 * HOUR, False, False, True),
        (Blame.LIMIT, HOUR, None, False, False, True),
        (Blame.LIMIT, None, 30 * DAY, False, False, False),
        (Blame.LIMIT, None, 30 * DAY, True, False, True),
    ],
)
def test_when_the_next_ca_is_asked(
    blame: Blame,
    wait: timedelta | None,
    left: timedelta | None,
    again: bool,
    alone: bool,
    expected: bool,
) -> None:
    """A blip moves no certificate, and nobody waits for a limit until it is too late."""
    found = turn(Trouble(blame, ""), wait=wait, left=left, again=again, alone=alone)
    assert found.next is expected
    assert found.why


def test_a_ca_that_wants_no_order_for_long_is_passed_over() -> None:
    """And is first again afterwards; where all are to be waited for, the one that is free first."""
    waits = {POLICY.authority: NOW + 4 * DAY}

    def chosen(left: timedelta | None, **how: Any) -> str:
        return choose(BOTH, how.pop("waits", waits), left=left, now=NOW, **how).policy.issuer

    assert chosen(10 * DAY) == chosen(None) == "second"
    assert chosen(20 * DAY) == "first"  # there is time to wait
    assert chosen(10 * DAY, forced=True) == "first"
    assert chosen(10 * DAY, waits={POLICY.authority: NOW}) == "first"
    assert chosen(10 * DAY, waits={POLICY.authority: NOW + 400 * DAY}) == "first"  # a wrong clock
    both = {POLICY.authority: NOW + 5 * DAY, SECOND.authority: NOW + 6 * DAY}
    assert chosen(10 * DAY, waits=both) == "first"
    assert "before 2026-06-05 00:00Z" in choose(BOTH, waits, left=None, now=NOW).why


def test_an_account_without_room_in_time_gives_way_to_the_next() -> None:
    """Nothing is queued for at a CA that another one stands in for."""
    orders = tuple(PossibleOrder(each.issuer, each.authority, True) for each in BOTH.one_by_one())
    rooms: dict[str, timedelta] = {"first": 4 * DAY}

    def ask(order: PossibleOrder) -> Over | None:
        wait = rooms.get(order.issuer)
        return Over("orders", NOW + wait, "full") if wait else None

    urgent, calm = Claim(orders, NOW + 10 * DAY), Claim(orders, NOW + 20 * DAY)
    assert first_with_room(urgent, ask, now=NOW) == (None, {POLICY.authority: NOW + 4 * DAY})
    held, passed = first_with_room(calm, ask, now=NOW)
    assert held is not None
    assert not passed
    rooms["second"] = 3 * DAY
    held, passed = first_with_room(urgent, ask, now=NOW)
    assert held is not None
    assert (held.until, passed) == (NOW + 3 * DAY, {})


class TwoCAs:
    """The world of the model with a second CA; the certificate is due."""

    def __init__(self, scenario: str = "renewal", others: Sequence[Issuance] = (SECOND,)) -> None:
        self.case = Case(scenario)
        world = self.case.world
        self.first = MemoryIssuer(world.clock.now, lookup=world.solver.visible)
        self.second = MemoryIssuer(world.clock.now, lookup=world.solver.visible)
        cas = {"first": self.first, "second": self.second}
        self.case.policy(issuer="first", authority=FIRST_AUTHORITY, others=tuple(others))
        shelf = world.store.shelves[world.policy.name]
        ours = tuple(
            (number, pair, replace(meta, issuer="first", authority=FIRST_AUTHORITY))
            for number, pair, meta in shelf.generations
        )
        world.store.shelves[world.policy.name] = replace(shelf, generations=ours)
        world.otherwise["issuer"] = lambda name: ReportingIssuer(cas[name], lambda _failure: None)

    @property
    def counts(self) -> tuple[int, int]:
        """Certificates by CA."""
        return len(self.first.issued), len(self.second.issued)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The history."""
        return self.case.world.managed().history.lines()


def test_the_second_ca_issues_while_the_first_is_away_and_the_first_again_later() -> None:
    """In the daemon after a second attempt, which counts as one failure at most."""
    two = TwoCAs()
    two.first.faults["order"] = Transient("connection refused")
    report = two.case.rotate()
    assert isinstance(report.outcome, RolledBack)
    assert (two.counts, len(two.second.orders)) == ((0, 0), 0)
    two.first.faults["order"] = Transient("connection refused")
    assert not two.case.rotate(after=timedelta(minutes=2)).failed
    assert two.counts == (0, 1)
    assert [line["failures"] for line in two.lines] == [1, 2, 0]
    assert "second is asked: first: connection refused" in two.lines[-1]["why"]
    live = two.case.world.managed().look().live
    assert live is not None
    told = standing_in(live, two.case.world.policy)
    assert told == "issued by second, not by first: first: connection refused"
    assert two.case.rotate().last is None, "what another CA of the list issued is not due"
    assert not two.case.rotate(after=61 * DAY).failed
    assert two.counts == (1, 1)


@pytest.mark.parametrize("point", ["order", "validate"])
def test_by_hand_the_next_ca_is_asked_at_once(point: Any) -> None:
    """The order at the first one was not finalized: nothing comes of it."""
    two = TwoCAs()
    two.first.faults[point] = Transient("504")
    assert not two.case.rotate(by_hand=True).failed
    assert two.counts == (0, 1)
    assert not two.case.world.solver.visible(f"_acme-challenge.{two.case.world.policy.names[0]}")


@pytest.mark.parametrize(
    ("full", "words"),
    [
        (Over("orders", NOW + DAY, "1 order in 6 h"), "its limit is used up: 1 order in 6 h"),
        (DiskTrouble("read the budget", OSError(5, "gone")), "cannot read the budget"),
    ],
)
def test_the_next_ca_is_not_asked_where_its_account_has_no_room(
    full: Over | Failure, words: str
) -> None:
    """Neither by the daemon nor where nobody can tell; a person by hand is not held back."""
    two = TwoCAs()
    said: list[str] = []
    two.case.world.otherwise["remark"] = said.append

    def claim(_issuer: str, **_how: object) -> Over:
        if isinstance(full, Failure):
            raise full
        return full

    def rotate(**how: bool) -> Any:
        two.case.clock.advance(HOUR)
        two.first.faults["order"] = Transient("connection refused")
        managed = replace(two.case.world.managed(), claim=claim)
        return two.case.rotator().rotate(managed, **how)

    assert rotate().failed
    assert rotate().failed
    assert (two.counts, len(two.second.orders)) == ((0, 0), 0)
    assert [line for line in said if "second is not asked" in line and words in line]
    assert not rotate(by_hand=True).failed
    assert two.counts == (0, 1)


def test_an_order_that_may_have_issued_is_waited_for() -> None:
    """No other CA is asked while the first one has, perhaps, a certificate for us."""
    two = TwoCAs()
    two.first.faults["issued"] = Transient("504")
    assert two.case.rotate(by_hand=True).failed
    assert two.counts == (1, 0)
    assert not two.case.rotate(by_hand=True).failed
    assert (two.counts, len(two.first.orders), len(two.second.orders)) == ((1, 0), 1, 0)


def test_a_proof_that_fails_is_not_tried_at_another_ca() -> None:
    """Our own records are wrong: the second CA would find the same."""
    two = TwoCAs()
    two.first.faults["validate"] = ValidationFailed("no TXT record", kinds=["unauthorized"])
    assert two.case.rotate(by_hand=True).failed
    assert (two.counts, len(two.second.orders)) == ((0, 0), 0)


def test_where_all_fail_each_was_asked_once_and_it_is_one_failure() -> None:
    """The backoff does not grow by the number of CAs."""
    two = TwoCAs()
    for ca in (two.first, two.second):
        ca.faults["order"] = Transient("away")
    assert two.case.rotate(by_hand=True).failed
    assert [line["failures"] for line in two.lines] == [1, 1]
    assert not two.case.rotate(by_hand=True).failed
    assert two.counts == (1, 0)


def test_what_one_ca_asked_to_wait_is_remembered_while_another_is_asked() -> None:
    """It is left alone until then, and renewed elsewhere."""
    two = TwoCAs()
    two.first.faults["order"] = Transient("rateLimited", retry_after=6 * DAY)
    two.second.faults["order"] = Transient("away")
    assert two.case.rotate(after=10 * DAY, by_hand=True).failed
    assert not two.case.rotate(by_hand=True).failed
    assert two.counts == (0, 1)
    assert two.lines[-1]["facts"]["waits"].keys() == {FIRST_AUTHORITY}


def test_a_certificate_of_no_ca_of_the_list_is_replaced() -> None:
    """The negative control: only CAs that are configured stand in for the first."""
    two = TwoCAs()
    live = two.case.world.managed().look().live
    assert live is not None
    assert live.facts is not None
    assert live.meta is not None
    policy = two.case.world.policy
    assert drift(live.facts, live, policy) is None
    for issuer, expected in (("second", None), ("third", "first or second")):
        authority = SECOND.authority if issuer == "second" else "https://third.test"
        meta = replace(live.meta, issuer=issuer, authority=authority)
        found = drift(live.facts, replace(live, meta=meta), policy)
        assert found is None if expected is None else expected in (found or "")
    moved = replace(live.meta, issuer="second", authority="https://other.test")
    assert "is another CA now" in (drift(live.facts, replace(live, meta=moved), policy) or "")
