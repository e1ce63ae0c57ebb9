"""Rotations of one certificate, in a world in memory where single things go wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from errno import EIO
from typing import NoReturn, TypeVar, cast

import pytest

from certrotd.certs.decision import Deploy, Postpone, Renew, Sweep, Wait
from certrotd.certs.policy import COPIES, Policy
from certrotd.certs.rotate import Report, Rotator
from certrotd.clock import ManualClock
from certrotd.errors import InvalidInput, LockHeld, NeedsOperator, Transient
from certrotd.pki.generation import State
from certrotd.pki.order import IssuanceRefused, OrderGone, ValidationFailed
from certrotd.rotation.engine import Finished, Parked, RolledBack, Stopped, Stuck
from tests.fakes.chance import Refused
from tests.fakes.issuer import MemoryOrder
from tests.fakes.store import Pair
from tests.fakes.world import MemoryWorld
from tests.model import scenarios

T = TypeVar("T")
DAY = timedelta(days=1)


@dataclass
class Trouble:
    """A chance by which what is named is refused so many times, and everything is written down."""

    refuse: dict[str, int] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    then: dict[str, Callable[[], object]] = field(default_factory=dict)

    def look(self, what: str) -> None:
        self._ask(what)

    def act(self, what: str, effect: Callable[[], T]) -> T:
        self._ask(what)
        result = effect()
        self.then.pop(what, lambda: None)()
        return result

    def write(self, what: str, effect: Callable[[float], None]) -> None:
        self._ask(what)
        effect(1.0)
        self.then.pop(what, lambda: None)()

    def _ask(self, what: str) -> None:
        self.log.append(what)
        if self.refuse.get(what, 0) > 0:
            self.refuse[what] -= 1
            raise Refused(what)


class Case:
    """A scenario of the model with a trouble of one's own."""

    def __init__(self, scenario: str) -> None:
        self.world: MemoryWorld = scenarios.ALL[scenario]().world
        self.trouble = Trouble()
        self.world.use(self.trouble)
        self.clock = cast("ManualClock", self.world.clock)
        self.told_to_stop = False
        self.ids = 0

    def policy(self, **changes: object) -> Policy:
        """Change what is asked of the certificate."""
        self.world.policy = replace(self.world.policy, **changes)  # type: ignore[arg-type]
        return self.world.policy

    def rotator(self) -> Rotator:
        """That of a new process."""
        return self.world.rotator(new_id=self._id, stopping=lambda: self.told_to_stop)

    def rotate(self, *, after: timedelta = timedelta(), **how: bool) -> Report:
        """One run, some time later."""
        self.clock.advance(after)
        return self.rotator().rotate(self.world.managed(), **how)

    def rollback(self, to: int | None = None) -> Report:
        """A rollback by hand."""
        return self.rotator().rollback(self.world.managed(), to=to)

    def serves(self) -> set[str | None]:
        """What the targets serve."""
        return {target.serves for target in self.world.targets.values()}

    @property
    def live(self) -> int | None:
        """The live generation."""
        return self.world.store.shelf(scenarios.NAME).live

    def _id(self) -> str:
        self.ids += 1
        return f"r{self.ids}"


class TestIssuing:
    def test_a_ca_that_does_not_answer_is_asked_again_with_the_same_order(self) -> None:
        """It may have issued: another order would cost that certificate (caddy #2223)."""
        case = Case("renewal")
        case.trouble.refuse = {"issuer: finalize": 1}
        parked = case.rotate()
        assert isinstance(parked.outcome, Parked)
        assert "could not be fetched" in parked.outcome.why
        assert parked.failed
        assert isinstance(case.rotate().recovered, Finished)
        assert len(case.world.issuer.orders) == 1

    def test_a_ca_that_asks_to_wait_puts_the_rotation_off(self) -> None:
        """Its Retry-After stands, even against a person's wish, and the order is kept for it."""
        case = Case("renewal")
        busy = Transient("too many requests", retry_after=timedelta(hours=3))
        case.world.issuer.faults["issued"] = busy
        report = case.rotate()
        until = scenarios.NOW + timedelta(hours=3)
        assert isinstance(report.outcome, Parked)
        assert (report.outcome.until, report.failed) == (until, True)
        case.trouble.log.clear()
        asked = case.rotate(by_hand=True, forced=True)
        assert isinstance(asked.recovered, Parked)
        assert (asked.recovered.until, asked.outcome) == (until, None)
        assert not [what for what in case.trouble.log if what.startswith("issuer")]
        assert isinstance(case.rotate(after=timedelta(hours=3)).recovered, Finished)
        assert len(case.world.issuer.orders) == 1

    @pytest.mark.parametrize(
        "trouble",
        [
            NeedsOperator("the certificate of ca is not trusted", hint="mend it"),
            InvalidInput("the CA's certificate chain holds no certificate"),
            LockHeld("the account", holder="another process"),
            OSError(EIO, "Input/output error"),
        ],
        ids=lambda trouble: type(trouble).__name__,
    )
    def test_what_somebody_must_mend_does_not_cost_the_order(self, trouble: Exception) -> None:
        """The CA has issued: it is fetched when that is mended, and said until then."""
        case = Case("renewal")
        for _ in range(2):
            case.world.issuer.faults["issued"] = trouble
            report = case.rotate(after=timedelta(hours=1))
            outcome = report.outcome or report.recovered
            assert isinstance(outcome, Parked)
            assert report.failed
            assert "could not be fetched: " in outcome.why
            assert getattr(trouble, "hint", "") in outcome.why
        assert isinstance(case.rotate().recovered, Finished)
        assert len(case.world.issuer.orders) == len(case.world.issuer.issued) == 1

    @pytest.mark.parametrize(
        "word",
        [
            IssuanceRefused("badCSR: key too small"),
            ValidationFailed("the CA gave up the order"),
            OrderGone("the CA no longer knows the order"),
        ],
        ids=lambda word: type(word).__name__,
    )
    def test_a_definite_word_of_the_ca_ends_the_order(self, word: Exception) -> None:
        """The negative control: there is nothing to fetch, ever."""
        case = Case("renewal")
        case.world.issuer.faults["finalize"] = word
        report = case.rotate()
        assert isinstance(report.outcome, RolledBack)
        assert str(word) in report.outcome.because
        assert isinstance(case.rotate(after=DAY).outcome, Finished)
        assert len(case.world.issuer.orders) == 2

    def test_an_order_is_not_kept_for_ever(self) -> None:
        """What is wrong may be wrong with this one alone: a week, and then another."""
        case = Case("renewal")
        for hours in (0, 100, 67):
            case.trouble.refuse = {"issuer: finalize": 1}
            kept = case.rotate(after=timedelta(hours=hours))
            assert isinstance(kept.outcome or kept.recovered, Parked)
        case.trouble.refuse = {"issuer: finalize": 1}
        report = case.rotate(after=timedelta(hours=1))
        assert isinstance(report.recovered, RolledBack)
        assert "since 2026-06-01 00:00Z, the order is given up" in report.recovered.because
        assert case.world.store.shelf(scenarios.NAME).staging == ()
        assert isinstance(case.rotate(after=DAY).outcome, Finished)
        assert len(case.world.issuer.orders) == 2

    def test_an_issuer_without_orders_has_none_to_keep(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The internal CA issues again for nothing."""
        nothing = property(lambda _self: "", lambda _self, _url: None)
        monkeypatch.setattr(MemoryOrder, "url", nothing, raising=False)
        case = Case("renewal")
        case.world.issuer.faults["finalize"] = NeedsOperator("its root has ended")
        report = case.rotate()
        assert isinstance(report.outcome, RolledBack)
        assert "its root has ended" in report.outcome.because

    def test_an_issuer_that_the_configuration_lost_ends_its_order(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """There is nobody left to fetch the certificate from, and nobody wants it."""
        case = Case("renewal")
        case.trouble.refuse = {"issuer: finalize": 1}
        case.rotate()
        real = case.world._world

        def lost(name: str) -> NoReturn:
            raise NeedsOperator(f"the configuration no longer has {name!r}")

        monkeypatch.setattr(case.world, "_world", lambda: replace(real(), issuer=lost))
        report = case.rotate()
        assert isinstance(report.recovered, RolledBack)
        assert "no longer has 'ca'" in report.recovered.because

    def test_a_process_told_to_stop_while_it_waits_for_the_ca_keeps_the_order(self) -> None:
        """That is no failure to fetch, and nobody is told of one."""
        case = Case("renewal")
        case.world.issuer.faults["finalize"] = Stopped("the process was told to stop")
        report = case.rotate()
        assert isinstance(report.outcome, Parked)
        assert not report.failed
        assert isinstance(case.rotate().recovered, Finished)
        assert len(case.world.issuer.orders) == 1

    def test_an_order_that_ended_before_it_was_finalized_begins_anew(self) -> None:
        """A new order has to be proven first, which is another rotation's work."""
        case = Case("renewal")
        case.trouble.refuse = {"issuer: finalize": 1}
        case.rotate()
        case.world.issuer.forget()
        report = case.rotate()
        assert isinstance(report.recovered, RolledBack)
        assert "the order ended" in report.recovered.because
        assert isinstance(case.rotate(after=DAY).outcome, Finished)

    def test_a_certificate_for_other_names_is_dropped(self) -> None:
        """It never becomes a generation."""
        case = Case("renewal")
        case.world.issuer.other_names = ("other.test",)
        report = case.rotate()
        assert isinstance(report.outcome, RolledBack)
        assert "lacks" in report.outcome.because
        assert (case.live, case.world.store.shelf(scenarios.NAME).staging) == (2, ())

    def test_a_validation_that_fails_withdraws_its_records(self) -> None:
        """Nothing is left that could break the next one (acme.sh #2037)."""
        case = Case("renewal")
        case.world.issuer.lookup = lambda _name: ()
        assert isinstance(case.rotate().outcome, RolledBack)
        assert not case.world.solver.records

    def test_a_key_may_be_kept(self) -> None:
        """Where it is pinned, the new certificate is for the old key."""
        case = Case("renewal")
        case.policy(reuse_key=True)
        assert isinstance(case.rotate().outcome, Finished)
        old, new = (
            case.world.store.read(scenarios.NAME, 2),
            case.world.store.read(scenarios.NAME, 3),
        )
        assert old[0] == new[0]
        assert old[1] != new[1]

    def test_a_key_of_another_type_is_not_kept(self) -> None:
        """The negative control: the configuration asks for a new type."""
        case = Case("renewal")
        case.policy(reuse_key=True, key_type="ecdsa-p384")
        assert isinstance(case.rotate().outcome, Finished)
        old, new = (
            case.world.store.read(scenarios.NAME, 2),
            case.world.store.read(scenarios.NAME, 3),
        )
        assert old[0] != new[0]

    @pytest.mark.parametrize("lost", ["key", "chain"])
    def test_staging_that_somebody_removed_fails_and_is_begun_anew(self, lost: str) -> None:
        """It says what is gone, and the next rotation makes a new one."""
        case = Case("renewal")

        def remove() -> None:
            shelf = case.world.store.shelf(scenarios.NAME)
            [(number, pair)] = shelf.staging
            rest = Pair(None, pair.chain) if lost == "key" else Pair(pair.key, None)
            changed = replace(shelf, staging=((number, rest),))
            case.world.store.shelves[scenarios.NAME] = changed

        at = "issuer: validate" if lost == "key" else "store: stage chain"
        case.trouble.then = {at: remove}
        report = case.rotate()
        assert isinstance(report.outcome, RolledBack)
        assert "is gone" in report.outcome.because
        assert isinstance(case.rotate(after=DAY).outcome, Finished)


class TestRecordsLeftBehind:
    def test_they_do_not_spoil_a_certificate_and_are_swept_by_the_next_run(self) -> None:
        """A validated certificate is worth more than a tidy zone."""
        case = Case("renewal")
        case.trouble.refuse = {"solver: withdraw": 1}
        assert isinstance(case.rotate().outcome, Finished)
        assert len(case.world.solver.records) == 1
        swept = case.rotate()
        assert isinstance(swept.decision, Sweep)
        assert isinstance(swept.outcome, Finished)
        assert not case.world.solver.records
        assert isinstance(case.rotate().decision, Wait)

    def test_a_sweep_that_fails_is_said_and_backs_off(self) -> None:
        """A dead name server is not asked at every tick."""
        case = Case("renewal")
        case.trouble.refuse = {"solver: withdraw": 4}
        case.rotate()
        failed = case.rotate()
        assert isinstance(failed.outcome, RolledBack)
        assert "still there" in failed.outcome.because
        assert isinstance(case.rotate().decision, Postpone)
        assert isinstance(case.rotate(after=DAY).outcome, Finished)
        assert not case.world.solver.records

    def test_a_deployment_in_between_does_not_forget_them(self) -> None:
        """They are carried from rotation to rotation until they are gone."""
        case = Case("renewal")
        case.trouble.refuse = {"solver: withdraw": 2, "target web: apply": 1}
        assert isinstance(case.rotate().outcome, RolledBack)
        deployed = case.rotate(after=DAY)
        assert isinstance(deployed.decision, Deploy)
        assert isinstance(deployed.outcome, Finished)
        assert isinstance(case.rotate().decision, Sweep)
        assert not case.world.solver.records

    def test_a_renewal_sweeps_them_too(self) -> None:
        """And goes on whether or not it can."""
        case = Case("renewal")
        case.trouble.refuse = {"solver: withdraw": 4, "issuer: validate": 1}
        case.rotate()
        case.trouble.log.clear()
        assert isinstance(case.rotate(after=DAY).outcome, Finished)
        first = next(what for what in case.trouble.log if what.startswith("solver"))
        assert first == "solver: withdraw"

    def test_those_of_a_solver_that_is_gone_are_given_up(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody could withdraw them any more."""
        case = Case("renewal")
        case.trouble.refuse = {"solver: withdraw": 1}
        case.rotate()
        real = case.world._world

        def without_solver() -> object:
            world = real()
            world.solver = lambda _name: None
            return world

        monkeypatch.setattr(case.world, "_world", without_solver)
        assert isinstance(case.rotate().outcome, Finished)
        assert isinstance(case.rotate().decision, Wait)

    def test_a_solver_that_the_configuration_lost_is_said(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The order fails before anything is published."""
        case = Case("renewal")
        real = case.world._world

        def without_solver() -> object:
            world = real()
            world.solver = lambda _name: None
            return world

        monkeypatch.setattr(case.world, "_world", without_solver)
        report = case.rotate()
        assert isinstance(report.outcome, RolledBack)
        assert "no solver 'memory'" in report.outcome.because


class TestDeploying:
    def test_a_target_that_refuses_gets_the_old_generation_back(self) -> None:
        """Everything is as it was, and the certificate is kept for later."""
        case = Case("renewal")
        before = case.serves()
        case.trouble.refuse = {"target mail-copies: apply": 1}
        report = case.rotate()
        assert isinstance(report.outcome, RolledBack)
        assert (report.outcome.to, case.live, case.serves()) == ("issued", 2, before)
        again = case.rotate(after=DAY)
        assert isinstance(again.decision, Deploy)
        assert isinstance(again.outcome, Finished)
        assert len(case.world.issuer.orders) == 1

    def test_a_target_broken_by_itself_is_in_order_while_it_serves_the_old_leaf(self) -> None:
        """Its own configuration is what broke; the old workers serve on."""
        case = Case("renewal")
        web = case.world.targets["web"]
        case.trouble.then = {"store: switch": lambda: setattr(web, "broken", "unknown directive")}
        report = case.rotate()
        assert isinstance(report.outcome, RolledBack)
        assert "unknown directive" in report.outcome.because
        assert case.live == 2

    def test_a_target_that_went_down_is_stuck_until_it_is_back(self) -> None:
        """Nobody can say what it will read; every start tries again to tell it."""
        case = Case("renewal")
        web = case.world.targets["web"]
        old = web.serves
        case.trouble.refuse = {"prober: look at web": 1}
        case.trouble.then = {"store: switch": lambda: setattr(web, "broken", "not running")}
        stuck = case.rotate()
        assert isinstance(stuck.outcome, Stuck)
        assert stuck.failed
        assert isinstance(case.rotate(after=DAY).recovered, Stuck)
        web.broken = ""
        report = case.rotate()
        assert isinstance(report.recovered, RolledBack)
        assert (case.live, web.serves) == (2, old)

    def test_without_a_way_back_the_report_says_so(self) -> None:
        """An expired generation never comes back (certbot #10655)."""
        case = Case("renewal_after_expiry")
        case.trouble.refuse = {"target web: apply": 1}
        report = case.rotate()
        assert isinstance(report.outcome, RolledBack)
        assert "generation 3 stays live: generation 2 cannot be used" in report.outcome.because
        assert (case.live, report.failed) == (3, True)
        assert isinstance(case.rotate(after=DAY).outcome, Finished)

    def test_copies_that_are_half_there_are_put_back_whole_even_then(self) -> None:
        """A whole expired pair can be read, half a pair cannot."""
        case = Case("renewal_after_expiry")
        before = case.world.installer.files
        case.trouble.refuse = {"installer: install the chain": 1}
        assert isinstance(case.rotate().outcome, RolledBack)
        assert (case.live, case.world.installer.files) == (3, before)
        again = case.rotate(after=DAY)
        assert isinstance(again.decision, Deploy)
        assert "not yet installed" in again.decision.why
        assert isinstance(again.outcome, Finished)
        assert case.world.installer.files != before

    def test_copies_alone_are_retried_too(self) -> None:
        """Without any target, a deployment that failed is still not done."""
        case = Case("first_issuance")
        case.trouble.refuse = {"installer: install the chain": 1}
        assert isinstance(case.rotate().outcome, RolledBack)
        assert case.live == 1
        assert isinstance(case.rotate(after=DAY).outcome, Finished)
        assert case.world.store.shelf(scenarios.NAME).recorded.targets[COPIES].generation == 1

    def test_copies_that_somebody_removed_are_installed_again(self) -> None:
        """Without an order, and the targets are told: they may have read half of it."""
        case = Case("lost_copies")
        report = case.rotate()
        assert isinstance(report.decision, Deploy)
        assert "the copies are not as they should be" in report.decision.why
        assert isinstance(report.outcome, Finished)
        assert len(case.world.installer.files) == 2
        assert (case.live, case.world.issuer.orders) == (2, [])
        assert isinstance(case.rotate().decision, Wait)

    def test_copies_are_installed_again_where_somebody_rolled_back_to(self) -> None:
        """And that stays held as before."""
        case = Case("rollback")
        case.rollback()
        before = case.world.store.shelf(scenarios.NAME).recorded
        case.world.installer.files = ()
        assert isinstance(case.rotate().outcome, Finished)
        after = case.world.store.shelf(scenarios.NAME).recorded
        assert (case.live, after.held, after.withdrawn) == (1, before.held, (2,))

    def test_a_target_that_the_configuration_lost_rolls_back(self) -> None:
        """In the middle of a rotation; the next one no longer has it."""
        case = Case("renewal")
        case.trouble.then = {"store: switch": lambda: case.world.targets.pop("mail-copies")}
        report = case.rotate()
        assert isinstance(report.outcome, RolledBack)
        assert "no longer has the target 'mail-copies'" in report.outcome.because
        case.policy(waves=(("web",),))
        assert isinstance(case.rotate(after=DAY).outcome, Finished)


class TestDamagedState:
    """What was known of targets, holds and withdrawals cannot be read any more."""

    def damaged(self, scenario: str) -> Case:
        """A case whose state is damaged."""
        case = Case(scenario)
        self.damage(case)
        return case

    def damage(self, case: Case) -> None:
        """Something else than a state is in its place now."""
        shelves = case.world.store.shelves
        shelves[scenarios.NAME] = replace(shelves[scenarios.NAME], damaged=True)

    def test_it_does_not_stand_in_the_way_of_a_renewal(self) -> None:
        """And costs no more than one order; that it was so is said once, and remembered."""
        case = self.damaged("renewal")
        report = case.rotate()
        assert isinstance(report.outcome, Finished)
        assert (case.live, len(case.world.issuer.orders)) == (3, 1)
        said = "the state is damaged: kept as the state of 00:00, and begun anew"
        assert case.world.remarks == [f"{scenarios.NAME}: {said}"]
        [line] = case.world.managed().journal.history.lines()
        assert said in line["why"]
        again = case.rotate()
        assert isinstance(again.decision, Wait)
        assert len(case.world.remarks) == 1

    def test_every_target_is_told_and_proven_once_more(self) -> None:
        """Of the same generation, and only once: one reload each."""
        case = Case("new_target")
        case.rotate()
        self.damage(case)
        case.trouble.log.clear()
        report = case.rotate()
        assert isinstance(report.decision, Deploy)
        assert "not yet installed and not yet proven on web, mail-copies" in report.decision.why
        assert isinstance(report.outcome, Finished)
        told = [what for what in case.trouble.log if what.endswith(": apply")]
        assert told == ["target web: apply", "target mail-copies: apply"]
        assert not case.world.issuer.orders
        assert isinstance(case.rotate().decision, Wait)

    def test_without_any_place_it_is_begun_anew_all_the_same(self) -> None:
        """Else it would be said for ever, and nobody could be held to a rollback."""
        case = Case("new_target")
        case.policy(waves=(), installs=False)
        self.damage(case)
        report = case.rotate()
        assert isinstance(report.decision, Deploy)
        assert "what was known of it is lost" in report.decision.why
        assert isinstance(report.outcome, Finished)
        assert isinstance(case.rotate().decision, Wait)

    def test_what_was_issued_and_not_deployed_still_is_deployed(self) -> None:
        """That is told by the generations."""
        case = self.damaged("deployment")
        report = case.rotate()
        assert isinstance(report.outcome, Finished)
        assert (case.live, len(case.world.issuer.orders)) == (3, 0)

    def test_what_was_rolled_back_by_hand_is_not_deployed_again(self) -> None:
        """The history knows that a person decided so, and since when it is held."""
        case = Case("rollback")
        case.rollback()
        before = case.world.store.shelf(scenarios.NAME).recorded
        self.damage(case)
        report = case.rotate(after=timedelta(hours=1))
        assert isinstance(report.outcome, Finished)
        after = case.world.store.shelf(scenarios.NAME).recorded
        assert (case.live, after.withdrawn, after.held) == (1, (2,), before.held)

    def test_a_rollback_before_the_last_issuance_no_longer_counts(self) -> None:
        """What was issued since and could not be deployed is deployed."""
        case = Case("rollback")
        case.rollback()
        case.trouble.refuse = {"target web: apply": 1}
        assert isinstance(case.rotate(forced=True).outcome, RolledBack)
        self.damage(case)
        report = case.rotate(after=2 * DAY)
        assert isinstance(report.outcome, Finished)
        assert case.live == 3

    def test_a_rollback_that_did_not_come_about_does_not_count(self) -> None:
        """Nobody's decision stands then."""
        case = Case("deployment")
        case.rotate()
        case.trouble.refuse = {"target web: apply": 1}
        assert isinstance(case.rollback().outcome, RolledBack)
        self.damage(case)
        assert isinstance(case.rotate(after=DAY).outcome, Finished)
        assert case.live == 3
        assert case.world.store.shelf(scenarios.NAME).recorded.withdrawn == ()

    def test_a_rollback_by_hand_goes_on_from_it(self) -> None:
        """It too needs a state to begin with."""
        case = self.damaged("rollback")
        assert isinstance(case.rollback().outcome, Finished)
        assert (case.live, len(case.world.remarks)) == (1, 1)

    def test_with_failures_behind_it_it_still_waits_its_turn(self) -> None:
        """A broken target is not told at every tick because a file is broken too."""
        case = Case("renewal")
        case.trouble.refuse = {"target web: apply": 1}
        case.rotate()
        self.damage(case)
        report = case.rotate()
        assert isinstance(report.decision, Postpone)
        assert "after 1 failure" in report.decision.why
        assert "the state is damaged" in report.decision.why

    def test_a_state_that_cannot_be_put_aside_is_left_and_said(self) -> None:
        """Nothing is begun on a state that would be forgotten again."""
        case = self.damaged("renewal")
        case.trouble.refuse = {"store: mend": 1}
        report = case.rotate()
        assert report.failure is not None
        assert not case.world.issuer.orders
        assert isinstance(case.rotate().outcome, Finished)


class TestStopping:
    def test_a_process_told_to_stop_begins_nothing(self) -> None:
        """And says so."""
        case = Case("renewal")
        case.told_to_stop = True
        report = case.rotate()
        assert report.failure is not None
        assert "told to stop" in report.failure.message
        assert case.trouble.log == []

    def test_an_adoption_that_is_stopped_is_not_begun_over(self) -> None:
        """Its journal is in flight: nothing else may begin in it."""
        case = Case("adoption")
        case.trouble.then = {"store: stage key": lambda: setattr(case, "told_to_stop", True)}
        report = case.rotate()
        assert isinstance(report.outcome, Parked)
        case.told_to_stop = False
        assert isinstance(case.rotate().recovered, Finished)
        assert len(case.world.issuer.orders) == 0


class TestAdopting:
    def test_without_a_pair_a_certificate_of_our_own_is_ordered(self) -> None:
        """Whatever came of the adoption, there must be one."""
        case = Case("adoption")
        case.world.adoptable = None
        report = case.rotate()
        assert isinstance(report.decision, Renew)
        assert isinstance(report.outcome, Finished)

    def test_a_pair_that_does_not_match_is_not_adopted(self) -> None:
        """Serving it would break every client."""
        case = Case("adoption")
        assert case.world.adoptable is not None
        case.world.adoptable = (scenarios.keys()[3], case.world.adoptable[1])
        report = case.rotate()
        assert isinstance(report.decision, Renew)
        line = case.world.managed().journal.history.lines()[0]
        assert "does not belong" in line["failure"]

    def test_an_adoption_that_fails_does_not_hide_what_the_ca_asked(self) -> None:
        """The order that would follow it has to wait."""
        case = Case("adoption")
        case.world.adoptable = None
        busy = Transient("too many requests", retry_after=timedelta(days=2))
        case.world.issuer.faults["order"] = busy
        assert isinstance(case.rotate().outcome, RolledBack)
        assert isinstance(case.rotate(after=DAY).decision, Postpone)
        assert isinstance(case.rotate(after=DAY).outcome, Finished)


class TestRollingBack:
    def test_the_generation_before_comes_back_and_is_held(self) -> None:
        """Nothing is renewed unasked for a day, and what was withdrawn stays so."""
        case = Case("rollback")
        report = case.rollback()
        assert isinstance(report.outcome, Finished)
        state = case.world.store.shelf(scenarios.NAME).recorded
        assert (case.live, state.withdrawn) == (1, (2,))
        assert state.held == scenarios.NOW + DAY
        assert isinstance(case.rotate().decision, Wait)

    @pytest.mark.parametrize(
        ("to", "said"),
        [(2, "it is live already"), (9, "it is not there"), (None, "no earlier generation")],
    )
    def test_where_there_is_no_way_back_it_is_said(self, to: int | None, said: str) -> None:
        """And nothing is touched."""
        case = Case("rollback" if to else "first_issuance")
        report = case.rollback(to)
        assert isinstance(report.failure, NeedsOperator)
        assert said in report.failure.message

    def test_an_expired_generation_is_refused(self) -> None:
        """Not even by hand."""
        case = Case("renewal")
        report = case.rollback(1)
        assert isinstance(report.failure, NeedsOperator)
        assert "expired" in report.failure.message
        assert case.live == 2

    def test_a_rotation_in_flight_is_brought_to_its_end_first(self) -> None:
        """And if that does not go well, it is what there is to know."""
        case = Case("renewal")
        case.trouble.refuse = {"issuer: finalize": 2}
        case.rotate()
        report = case.rollback()
        assert isinstance(report.recovered, Parked)
        assert report.outcome is None

    def test_a_defect_ends_in_the_report(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With the place where it is."""
        case = Case("rollback")

        def broken(_name: str) -> State:
            raise ZeroDivisionError

        monkeypatch.setattr(case.world.store, "look", broken)
        for report in (case.rollback(), case.rotate()):
            assert report.failure is not None
            assert "unexpected ZeroDivisionError" in report.failure.message


def test_a_damaged_journal_is_reported_and_stops_that_certificate() -> None:
    """Somebody has to look, and nobody guesses meanwhile."""
    case = Case("renewal")
    case.trouble.refuse = {"issuer: finalize": 1}
    case.rotate()
    data = case.world.disk.journal
    case.world.disk.journal = data[:30] + b"X" + data[31:]
    report = case.rotate()
    assert isinstance(report.failure, NeedsOperator)
    assert "damaged" in report.failure.message
    assert case.live == 2
