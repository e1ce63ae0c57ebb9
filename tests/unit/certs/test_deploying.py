"""Generations that are deployed, put back, and installed again."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certrotd.certs.decision import Deploy
from certrotd.certs.policy import COPIES
from certrotd.certs.world import Bound
from certrotd.errors import NeedsOperator, ProofFailed
from certrotd.lifecycle.decision import Wait
from certrotd.observe.tls import Endpoint
from certrotd.pki.generation import Checked
from certrotd.rotation.engine import Finished, RolledBack, Stuck
from certrotd.rotation.outcome import remark_of
from tests.fakes.prober import MemoryProber
from tests.model import scenarios
from tests.unit.certs.rotating import Case

DAY = timedelta(days=1)


class Restarted:
    """A target of pods that crash with what is new."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.told: list[str] = []

    def check(self) -> None:
        pass

    def checked(self) -> Checked:
        return Checked(shown={"pods": [f"{self.case.live}"]})

    def apply(self) -> None:
        self.told.append(f"apply {self.case.live}")
        raise NeedsOperator("the new pod crashes")

    def revert(self, shown: Mapping[str, Any]) -> Sequence[str]:
        self.told.append(f"revert {self.case.live}, which {shown.get('pods')} showed")
        return ()


class Lost(Restarted):
    """One whose old pods do not all come back."""

    def revert(self, shown: Mapping[str, Any]) -> Sequence[str]:
        super().revert(shown)
        raise NeedsOperator("2 of 3 pods are ready")


class Removed(Restarted):
    """One of which ``gone`` is removed as soon as it is told; ``serves`` is what answers then."""

    def __init__(self, case: Case, gone: Sequence[str], serves: str | None) -> None:
        super().__init__(case)
        self.gone = gone
        self.serves = serves

    def apply(self) -> None:
        self.case.world.targets["web"].serves = self.serves
        super().apply()

    def revert(self, shown: Mapping[str, Any]) -> Sequence[str]:
        super().revert(shown)
        return self.gone


class Idle(Restarted):
    """One of which nothing runs."""

    def checked(self) -> Checked:
        return Checked(nobody=True)

    def apply(self) -> None:
        pass


class Quiet:
    """A target that is told, and proves by itself."""

    def check(self) -> None:
        pass

    def apply(self) -> None:
        pass


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

    def test_the_key_that_is_looked_for_is_that_of_the_leaf(self) -> None:
        """Before the swap and on the way back it is the old one's: two kinds may be served."""
        case = Case("renewal")
        case.policy(key_type="rsa-2048")
        case.trouble.refuse = {"prober: prove at web": 1}
        assert isinstance(case.rotate().outcome, RolledBack)
        old, new = "ecdsa-p256", "rsa-2048"
        looked = [key for key, _ in itertools.groupby(case.world.prober.keys)]
        assert looked == [old, new, old]

    def test_a_target_broken_by_itself_is_in_order_while_it_serves_the_old_leaf(self) -> None:
        """Its own configuration is what broke; the old workers serve on."""
        case = Case("renewal")
        web = case.world.targets["web"]
        case.trouble.then = {"store: switch": lambda: setattr(web, "broken", "unknown directive")}
        report = case.rotate()
        assert isinstance(report.outcome, RolledBack)
        assert "unknown directive" in report.outcome.because
        assert case.live == 2

    def test_a_target_that_can_go_back_is_not_told_again(self) -> None:
        """The old generation is live by then; what was shown of it is known from before."""
        case = Case("renewal")
        target = Restarted(case)
        case.policy(waves=(("web",),))
        case.world.otherwise["target"] = lambda _name: Bound(target, ())
        report = case.rotate()
        assert isinstance(report.outcome, RolledBack)
        assert "the new pod crashes" in report.outcome.because
        assert target.told == ["apply 3", "revert 2, which ['2'] showed"]

    def test_what_somebody_took_away_meanwhile_is_back_after_the_undo(self) -> None:
        """A Secret that was deleted counts as the former one, of which nothing is there."""
        case = Case("renewal")
        target, shelves = Restarted(case), case.world.store.shelves

        def take_away() -> None:
            shelves[scenarios.NAME] = replace(shelves[scenarios.NAME], live=2, worn=(2,))
            Restarted.apply(target)

        target.apply = take_away  # type: ignore[method-assign]
        case.policy(waves=(("web",),))
        case.world.otherwise["target"] = lambda _name: Bound(target, ())
        assert isinstance(case.rotate().outcome, RolledBack)
        assert target.told == ["apply 2", "revert 2, which ['2'] showed"]
        assert shelves[scenarios.NAME].worn == ()

    @pytest.mark.parametrize(("several", "outcome"), [(True, Stuck), (False, RolledBack)])
    def test_a_target_of_several_processes_is_not_back_because_one_of_them_is(
        self, several: bool, outcome: type[Stuck | RolledBack]
    ) -> None:
        """Handshakes with a Service meet the good pods alone; a single process has answered."""
        case = Case("renewal")
        web = case.world.endpoint("web")
        bound = Bound(Lost(case), (web,), several=several)
        case.policy(waves=(("web",),))
        case.world.otherwise["target"] = lambda _name: bound
        report = case.rotate()
        assert isinstance(report.outcome, outcome)

    @pytest.mark.parametrize(
        ("gone", "serves", "outcome"),
        [
            (["the container web is gone"], None, RolledBack),
            (["the container web is gone"], "ab" * 32, Stuck),
            ([], None, Stuck),
        ],
        ids=["it is gone", "another answers", "it is there"],
    )
    def test_nothing_is_left_to_prove_once_what_served_is_gone(
        self, gone: list[str], serves: str | None, outcome: type[Stuck | RolledBack]
    ) -> None:
        """The former files are back, and the undo says what it could not prove."""
        case = Case("renewal")
        bound = Bound(Removed(case, gone, serves), (case.world.endpoint("web"),), several=True)
        case.policy(waves=(("web",),))
        case.world.otherwise["target"] = lambda _name: bound
        report = case.rotate()
        assert isinstance(report.outcome, outcome)
        assert case.live == 2
        if isinstance(report.outcome, RolledBack):
            words = f"nothing answers at {bound.endpoints[0]} any more: the container web is gone"
            assert remark_of(report.outcome.facts) == words
            assert report.outcome.left == f"rolled back to issued; {words}"

    @pytest.mark.parametrize(("serves", "done"), [(None, True), ("ab" * 32, False)])
    def test_where_nobody_runs_and_nothing_answers_there_is_nothing_to_prove(
        self, serves: str | None, done: bool
    ) -> None:
        """And nothing is recorded as proven; what answers all the same has to serve it."""
        case = Case("renewal")
        case.world.targets["web"].serves = serves
        case.policy(waves=(("web",),))
        bound = Bound(Idle(case), (case.world.endpoint("web"),), several=True)
        case.world.otherwise["target"] = lambda _name: bound
        report = case.rotate()
        assert isinstance(report.outcome, Finished if done else RolledBack)
        state = case.world.store.look(case.world.policy.name).state.targets.get("web")
        if done:
            assert state is not None
            assert (state.generation, state.fingerprint) == (3, "")

    def test_where_a_target_proves_by_itself_nothing_untrusted_is_put_in_place(self) -> None:
        """It looks after the swap; and what it has proven is recorded as proven."""
        case = Case("renewal")
        case.policy(waves=(("web",),))
        own = Endpoint("each pod", 443, "a.example.test", roots="/r")
        case.world.otherwise["target"] = lambda _name: Bound(Quiet(), (), (own,))

        class Prober(MemoryProber):
            refuses = True

            def check(self, endpoint: Endpoint) -> None:
                pass

            def vouch(self, endpoint: Endpoint, key: bytes, chain: bytes) -> None:
                assert endpoint == own
                if self.refuses:
                    raise ProofFailed("each pod:443 would not be trusted with it")

        prober = case.world.otherwise["prober"] = Prober({}, case.clock)
        report = case.rotate()
        assert isinstance(report.outcome, RolledBack)
        assert "would not be trusted" in report.outcome.because
        assert case.live == 2
        prober.refuses = False
        assert not case.rotate(after=DAY).failed
        proven = case.world.store.look(case.world.policy.name).state.targets["web"]
        assert (proven.generation, bool(proven.fingerprint)) == (3, True)

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
        said = "generation 3 stays in place at memory/site/live: generation 2 cannot be used"
        assert report.outcome.left.startswith(said)
        assert (case.live, report.failed) == (3, True)
        assert isinstance(case.rotate(after=DAY).outcome, Finished)

    @pytest.mark.parametrize("keyless", [True, False])
    def test_nothing_goes_back_to_a_generation_without_the_key_that_is_read_now(
        self, keyless: bool
    ) -> None:
        """Its key was elsewhere until `csr` was taken out: nginx would find no privkey.pem."""
        case = Case("renewal")
        shelf, request = case.world.store.shelf(scenarios.NAME), "digest" if keyless else ""
        asked = tuple((n, pair, replace(m, request=request)) for n, pair, m in shelf.generations)
        case.world.store.shelves[scenarios.NAME] = replace(shelf, generations=asked)
        case.trouble.refuse = {"prober: prove at web": 1}
        report = case.rotate()
        assert isinstance(report.outcome, RolledBack)
        assert case.live == (3 if keyless else 2)
        assert ("generation 2 has no key" in report.outcome.left) is keyless
        assert isinstance(case.rotate(after=DAY).outcome, Finished)

    def test_copies_that_are_half_there_are_restored_whole_even_then(self) -> None:
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
        assert "the copies changed" in report.decision.why
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
