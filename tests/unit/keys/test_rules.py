"""What is due of a keyring: each rule, what holds it back, and that it explains itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.config.calendar import calendar
from certrotd.keyring.evidence import Confirmation, Count, Hold
from certrotd.keyring.keyring import Use
from certrotd.keyring.states import Versions
from certrotd.keys.case import Case
from certrotd.keys.decision import Rotate
from certrotd.keys.plan import plan_of
from certrotd.keys.policy import Attempts, Policy, Standing
from certrotd.keys.rules import RULES, WAITS, decide, explain
from certrotd.keys.steps import Await
from certrotd.lifecycle.decision import DAEMON, Action, Asked, Postpone, Wait
from certrotd.window import Window

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = Policy("orders", datasets=frozenset({"rows"}), waves=(("web",),))
FORCED = Asked(forced=True, by_hand=True, named=True)


def active(age: timedelta = 10 * DAY) -> Versions:
    """One version, that old."""
    return Versions().adopt(active=True, at=NOW - age, why="it was there")


def rotated(age: timedelta = 10 * DAY) -> Versions:
    """Version 2 has taken the place of version 1."""
    at = NOW - age
    versions = active(100 * DAY).generate(at=at, why="due").distribute(2, at=at, why="due")
    return versions.activate(2, at=at, why="due")


def counted(left: int, at: datetime = NOW) -> dict[int, dict[str, Count]]:
    return {1: {"rows": Count(left, at)}}


def _retired() -> Versions:
    return rotated(40 * DAY).retire(1, at=NOW - 8 * DAY, why="empty")


def _disabled() -> Versions:
    return (
        rotated(80 * DAY)
        .retire(1, at=NOW - 60 * DAY, why="empty")
        .disable(1, at=NOW - 40 * DAY, why="grace")
    )


CASES: dict[str, tuple[Policy, Standing, Attempts]] = {
    "disabled": (replace(POLICY, enabled=False), Standing(active()), Attempts()),
    "backups": (
        POLICY,
        Standing(present=("tink /etc/keys.json",), backups="/mnt/backups"),
        Attempts(),
    ),
    "adopt": (POLICY, Standing(present=("tink /etc/keys.json",)), Attempts()),
    "first": (POLICY, Standing(), Attempts()),
    "staged": (POLICY, Standing(active().generate(at=NOW, why="due")), Attempts()),
    "compromised": (POLICY, Standing(active()), Attempts(suspect=1)),
    "inactive": (
        POLICY,
        Standing(active().compromise(1, at=NOW, why="stolen")),
        Attempts(),
    ),
    "cryptoperiod": (POLICY, Standing(active(82 * DAY)), Attempts()),
    "departed": (POLICY, Standing(active()), Attempts(custodians=frozenset({"bob"}))),
    "messages": (POLICY, Standing(active(), uses={1: Use(2**31, 0)}), Attempts()),
    "bytes": (replace(POLICY, size=1000), Standing(active(), uses={1: Use(1, 1000)}), Attempts()),
    "calendar": (
        replace(POLICY, calendar=calendar("0 3 1 * *")),
        Standing(active(20 * DAY)),
        Attempts(),
    ),
    "clock": (POLICY, Standing(active(-400 * DAY)), Attempts()),
    "undelivered": (POLICY, Standing(active(), absent=("tink /etc/keys.json",)), Attempts()),
    "re-encrypt": (
        replace(POLICY, reencrypted=frozenset({"rows"})),
        Standing(rotated(), census=counted(3)),
        Attempts(),
    ),
    "retire": (POLICY, Standing(rotated(), census=counted(0)), Attempts()),
    "disable": (POLICY, Standing(_retired(), census=counted(0)), Attempts()),
    "destroy": (POLICY, Standing(_disabled(), census=counted(0), drilled=NOW - DAY), Attempts()),
    "not_due": (POLICY, Standing(active()), Attempts()),
}


@pytest.mark.parametrize("code", CASES)
def test_a_rule_matches_and_says_so(code: str) -> None:
    """The decision has the rule's code, and plan --explain ends with it."""
    policy, standing, attempts = CASES[code]
    decision = decide(policy, standing, attempts, now=NOW)
    assert decision.code == code
    assert decision.why
    tried = list(explain(policy, standing, attempts, now=NOW))
    matched = [each for each in tried if each.matched]
    assert matched[0].why == decision.why
    assert all(each.why for each in tried)


def test_what_was_stored_is_reencrypted_until_a_count_after_the_activation_is_zero() -> None:
    """An older count tells nothing, and only datasets that certrotd can read are."""
    policy = replace(POLICY, reencrypted=frozenset({"rows"}))

    def act(census: dict[int, dict[str, Count]], policy: Policy = policy) -> str:
        return decide(policy, Standing(rotated(), census=census), Attempts(), now=NOW).act

    assert act({}) == act(counted(0, NOW - 11 * DAY)) == act(counted(1)) == "re-encrypt"
    assert act(counted(0)) == "retire"
    assert act(counted(1), POLICY) == "wait"


def test_every_rule_has_a_case() -> None:
    """A rule that nothing shows would go unnoticed."""
    limits = {"clock", "cryptoperiod", "departed", "messages", "bytes", "calendar"}
    assert {each.code for each in RULES} - {"forced", "limit"} == CASES.keys() - limits


WAITING: dict[str, tuple[Policy, Standing, Attempts]] = {
    "hold": (POLICY, Standing(active(90 * DAY)), Attempts(held=NOW + DAY)),
    "slot": (replace(POLICY, capacity=2), Standing(rotated(90 * DAY)), Attempts()),
    "window": (
        replace(
            POLICY,
            window=Window(
                frozenset(range(7)),
                datetime(2026, 1, 1, 1).time(),  # noqa: DTZ001
                datetime(2026, 1, 1, 5).time(),  # noqa: DTZ001
                UTC,
            ),
        ),
        Standing(active(90 * DAY)),
        Attempts(),
    ),
    "backoff": (POLICY, Standing(active(90 * DAY)), Attempts(3, NOW - timedelta(minutes=5), "no")),
}


@pytest.mark.parametrize("code", WAITING)
def test_a_gate_postpones_what_is_due_and_says_so(code: str) -> None:
    """With the moment at which it opens."""
    policy, standing, attempts = WAITING[code]
    decision = decide(policy, standing, attempts, now=NOW)
    assert isinstance(decision, Postpone)
    assert (decision.code, decision.instead.act) == (code, "rotate")
    assert decision.until > NOW
    assert [each.code for each in explain(policy, standing, attempts, now=NOW)][-1] == code
    assert {str(each.code) for each in WAITS} == WAITING.keys()


@pytest.mark.parametrize("code", ["hold", "window", "backoff"])
def test_a_person_passes_every_gate_but_a_missing_slot(code: str) -> None:
    """There the application has no room, whoever asks."""
    assert isinstance(decide(*WAITING[code], FORCED, now=NOW), Action)
    assert isinstance(decide(*WAITING["slot"], FORCED, now=NOW), Postpone)


def test_a_configuration_that_was_mended_is_tried_at_once() -> None:
    """Whoever changed it need not wait for the backoff."""
    policy, standing, attempts = WAITING["backoff"]
    assert isinstance(decide(policy, standing, replace(attempts, mended=True), now=NOW), Action)


def test_an_output_of_one_slot_cannot_be_staged() -> None:
    """It takes a cut-over, which is said before anything begins."""
    one = replace(POLICY, capacity=1)
    decision = decide(one, Standing(active(90 * DAY)), Attempts(), now=NOW)
    assert isinstance(decision, Postpone)
    assert "one key" in decision.why
    assert isinstance(decide(one, Standing(), Attempts(), now=NOW), Action)


def test_a_slot_is_free_only_once_its_key_is_destroyed() -> None:
    """Until then ciphertext and people name the key by it; a destroyed one makes room."""
    slots = replace(POLICY, capacity=2, slots=2)
    withheld = _disabled()
    decision = decide(slots, Standing(withheld, census=counted(2)), Attempts(), FORCED, now=NOW)
    assert isinstance(decision, Postpone)
    assert decision.code == "slot"
    assert "version 1 is disabled, and " in decision.why
    assert "still has 2 ciphertexts under the key" in decision.why
    case = Case(slots, Standing(withheld, census=counted(0), drilled=NOW), Attempts(), NOW, DAEMON)
    evidence = case.evidence(withheld.version(1))
    gone = withheld.destroy(1, evidence, slots.fresh, at=NOW, why="watched")
    assert isinstance(decide(slots, Standing(gone), Attempts(), FORCED, now=NOW), Action)


def test_an_output_that_reads_no_secondary_key_cannot_be_staged() -> None:
    """It takes a cut-over, too, however many keys it holds."""
    policy = replace(POLICY, stages=False, capacity=2)
    decision = decide(policy, Standing(active(90 * DAY)), Attempts(), FORCED, now=NOW)
    assert isinstance(decision, Postpone)
    assert "it needs a cut-over, see docs/keys/cut-over.md" in decision.why


def test_a_full_output_is_made_room_in_before_the_next_key() -> None:
    """Else the rotation that is due would wait for ever for what it keeps from being done."""
    full = replace(POLICY, capacity=2)
    decision = decide(full, Standing(rotated(90 * DAY), census=counted(0)), Attempts(), now=NOW)
    assert (decision.act, decision.code) == ("retire", "retire")
    told = [*explain(full, Standing(rotated(90 * DAY), census=counted(0)), Attempts(), now=NOW)]
    assert [each.code for each in told if each.matched][-2:] == ["slot", "retire"]
    kept = decide(full, Standing(rotated(90 * DAY), census=counted(1)), Attempts(), now=NOW)
    assert kept.code == "slot"


LACKING: dict[str, Standing] = {
    "ciphertext is left": Standing(rotated(), census=counted(3)),
    "the count is from before": Standing(rotated(), census=counted(0, NOW - 11 * DAY)),
    "nothing was counted": Standing(rotated()),
    "a withheld key is missed": Standing(_disabled(), census=counted(1), drilled=NOW),
    "no drill": Standing(_disabled(), census=counted(0)),
    "retired, and not counted since": Standing(_retired(), census=counted(0, NOW - 2 * DAY)),
    "retired, and written again": Standing(_retired(), census=counted(1)),
    "retired, and held": Standing(_retired(), census=counted(0), holds={1: Hold("no", "ann", NOW)}),
    "withheld, and held": Standing(
        _disabled(), census=counted(0), drilled=NOW, holds={1: Hold("no", "ann", NOW)}
    ),
    "an old drill": Standing(_disabled(), census=counted(0), drilled=NOW - 200 * DAY),
}


@pytest.mark.parametrize("lacking", LACKING)
def test_a_key_stays_while_anything_is_not_shown(lacking: str) -> None:
    """Ciphertext left, a count from before, none at all, or no restore drill."""
    decision = decide(POLICY, LACKING[lacking], Attempts(), now=NOW)
    assert isinstance(decision, Wait)
    assert decision.code == "not_due"


def test_the_first_census_of_zero_retires_and_the_second_withholds() -> None:
    """A grace apart; what retires is what the consumers keep."""
    policy = replace(POLICY, fresh=replace(POLICY.fresh, apart=7 * DAY))
    assert decide(policy, Standing(rotated(), census=counted(0)), Attempts(), now=NOW).code == (
        "retire"
    )
    once = {1: {"rows": Count(0, NOW, zero_since=NOW - 6 * DAY)}}
    decision = decide(policy, Standing(_retired(), census=once), Attempts(), now=NOW)
    assert "it has to be zero 7 d later, too" in decision.why
    twice = {1: {"rows": Count(0, NOW, zero_since=NOW - 7 * DAY)}}
    decision = decide(policy, Standing(_retired(), census=twice), Attempts(), now=NOW)
    assert decision.code == "disable"


def test_two_people_confirm_a_destruction_that_is_due() -> None:
    """Each while the key is withheld: what was confirmed before it was given back is void."""
    policy = replace(POLICY, confirmations=2)
    standing = Standing(_disabled(), census=counted(0), drilled=NOW)
    early, late = Confirmation("ann", NOW - 50 * DAY), Confirmation("ann", NOW - DAY)
    bob = Confirmation("bob", NOW)
    for by, code in (((early, bob), "not_due"), ((late, bob), "destroy")):
        asked = replace(standing, confirmed={1: by})
        assert decide(policy, asked, Attempts(), now=NOW).code == code


def test_a_key_that_drains_says_until_when() -> None:
    """Cookies cannot be re-encrypted: they have to expire."""
    policy = replace(POLICY, datasets=frozenset(), drains={"cookies": 30 * DAY})
    decision = decide(policy, Standing(rotated()), Attempts(), now=NOW)
    assert isinstance(decision, Wait)
    assert decision.until == NOW + 20 * DAY
    assert "cookies" in decision.why
    over = decide(policy, Standing(rotated(31 * DAY)), Attempts(), now=NOW)
    assert over.code == "retire"


def test_what_protects_nothing_that_is_named_is_never_retired() -> None:
    """Nobody can tell whether it is still needed."""
    policy = replace(POLICY, datasets=frozenset())
    decision = decide(policy, Standing(rotated(50 * DAY)), Attempts(), now=NOW)
    assert isinstance(decision, Wait)


@given(
    age=st.timedeltas(timedelta(0), timedelta(days=400)),
    period=st.timedeltas(timedelta(hours=1), timedelta(days=400)),
)
def test_a_rotation_begins_when_a_tenth_of_the_cryptoperiod_is_left(
    age: timedelta, period: timedelta
) -> None:
    """Never later, so that there is time for every consumer before its end."""
    policy = replace(POLICY, cryptoperiod=period)
    decision = decide(policy, Standing(active(age)), Attempts(), now=NOW)
    assert isinstance(decision, Action) is (age >= period - period / 10)
    if isinstance(decision, Wait):
        assert NOW < decision.until <= NOW - age + period


def test_the_evidence_of_a_case_dates_drains_from_the_last_encryption() -> None:
    """Not from when the key was made."""
    policy = replace(POLICY, drains={"cookies": 3 * DAY})
    case = Case(policy, Standing(rotated(10 * DAY)), Attempts(), NOW, DAEMON)
    evidence = case.evidence(case.versions.version(1))
    assert evidence.drains == {"cookies": NOW - 7 * DAY}


def test_a_key_that_begins_in_the_future_by_a_little_is_no_reason_to_rotate() -> None:
    """Clocks are set back by seconds all the time; by more than a day the age is not known."""
    for ahead, code in ((DAY / 2, "not_due"), (2 * DAY, "clock")):
        assert decide(POLICY, Standing(active(-ahead)), Attempts(), now=NOW).code == code


def test_a_key_that_others_may_know_comes_first_whatever_state_it_is_in() -> None:
    """The active one is replaced; another is marked, whether the window is open or not."""
    closed = replace(POLICY, window=WAITING["window"][0].window)
    for number, act in ((2, "rotate"), (1, "compromise")):
        standing = Standing(rotated(), census=counted(0), suspects={number: "stolen"})
        decision = decide(closed, standing, Attempts(), now=NOW)
        assert (decision.code, decision.act) == ("compromised", act)
        assert "stolen" in decision.why
    known = replace(standing, versions=rotated().compromise(1, at=NOW, why="stolen"))
    assert decide(POLICY, known, Attempts(), now=NOW).code != "compromised"


def test_after_a_compromise_everything_is_counted_and_re_encrypted_anew() -> None:
    """A count from before says nothing of what the key protected by way of others."""
    policy = replace(POLICY, reencrypted=frozenset({"rows"}))
    leaked = rotated().compromise(1, at=NOW - timedelta(hours=1), why="stolen")
    before, after = counted(0, NOW - timedelta(hours=2)), counted(0)
    assert decide(policy, Standing(leaked, census=before), Attempts(), now=NOW).act == "re-encrypt"
    assert decide(policy, Standing(leaked, census=after), Attempts(), now=NOW).act == "wait"


def test_in_an_emergency_no_wave_waits_for_another() -> None:
    """Each consumer is told, and each has to acknowledge, at each stage."""
    policy = replace(POLICY, waves=(("canary",), ("web", "worker")))
    case = Case(policy, Standing(active()), Attempts(), NOW, DAEMON)

    def awaited(action: Rotate) -> list[object]:
        return [each.consumers for each in plan_of(case, action) if isinstance(each, Await)]

    assert awaited(Rotate("due")) == [("canary",), ("canary", "web", "worker")] * 2
    assert awaited(Rotate("stolen", compromised=1)) == [("canary", "web", "worker")] * 2
