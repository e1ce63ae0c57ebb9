"""Orders that are kept, ended and begun anew, and the TXT records they leave."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from errno import EIO
from typing import NoReturn

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose

from certrotd.certs.decision import Deploy, Sweep
from certrotd.clock import Deadline
from certrotd.errors import InvalidInput, LockHeld, NeedsOperator, Transient
from certrotd.lifecycle.decision import Postpone, Wait
from certrotd.pki.keys import KeyType, generate, signing_request
from certrotd.pki.order import IssuanceRefused, OrderGone, ValidationFailed
from certrotd.pki.request import digest, read_request, to_pem
from certrotd.rotation.engine import Finished, Parked, RolledBack, Stopped
from tests.fakes.issuer import MemoryOrder
from tests.fakes.store import Pair
from tests.model import scenarios
from tests.unit.certs.rotating import Case

DAY = timedelta(days=1)


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

    def test_a_certificate_that_clients_refuse_is_never_swapped_in(self) -> None:
        """Not for TLS servers, says the CA: the old one stays."""
        case = Case("renewal")
        before = case.live
        case.world.issuer.other_extensions = (x509.ExtendedKeyUsage([Purpose.CLIENT_AUTH]),)
        refused = case.rotate().outcome
        assert isinstance(refused, RolledBack)
        assert "is not for servers (its extended key usage)" in refused.because
        assert case.live == before

    def test_a_certificate_that_some_clients_refuse_is_swapped_in_and_remarked_upon(self) -> None:
        """Nobody would find out why those fail."""
        case = Case("renewal")
        before = case.live
        case.world.issuer.other_extensions = ()
        assert isinstance(case.rotate().outcome, Finished)
        assert case.live != before
        [said] = case.world.remarks
        assert said.startswith(f"{scenarios.NAME}: some clients refuse the chain of ")

    def test_a_kept_order_that_is_not_wanted_any_more_is_given_up(self) -> None:
        """Its CA is down for a week, and somebody has configured another one because of that."""
        case = Case("renewal")
        case.trouble.refuse = {"issuer: finalize": 3}
        wanted = [True]
        case.world.otherwise["wants"] = lambda _issuer, _names: wanted[0]
        assert isinstance(case.rotate().outcome, Parked)
        assert isinstance(case.rotate().recovered, Parked), "the negative control"
        wanted[0] = False
        given_up = case.rotate().recovered
        assert isinstance(given_up, RolledBack)
        assert "changed, so certrotd gives the order up" in given_up.because
        assert isinstance(case.rotate(by_hand=True).outcome, Finished)
        assert len(case.world.issuer.orders) == 2

    @pytest.mark.parametrize("forced", [True, False])
    def test_a_kept_order_can_be_given_up_by_removing_its_journal(self, forced: bool) -> None:
        """The way out of whoever cannot wait for it, as the documentation says."""
        case = Case("renewal")
        case.trouble.refuse = {"issuer: finalize": 2}
        case.rotate()
        assert isinstance(case.rotate(forced=forced, by_hand=True).recovered, Parked), (
            "not by asking for another one"
        )
        case.world.disk.journal = b""
        assert isinstance(case.rotate(forced=forced, by_hand=True).outcome, Finished)
        assert len(case.world.issuer.orders) == 2
        shelf = case.world.store.shelf(scenarios.NAME)
        assert (case.live, shelf.staging) == (3, ())

    def test_the_dns_is_waited_for_as_long_as_it_may_take(self) -> None:
        """Which has nothing to do with how long the CA may."""
        case, left = Case("renewal"), []

        class Slow:
            def locate(self, name: str, *, deadline: Deadline) -> str:
                return name

            def wait(self, records: object, *, solver: str, deadline: Deadline) -> str:
                left.append(deadline.remaining)
                return ""

        case.world.otherwise = {"dns": Slow, "wait_time": 900.0, "order_time": 60.0}
        assert isinstance(case.rotate().outcome, Finished)
        assert left == [900.0]

    def test_a_ca_that_asks_to_wait_puts_the_rotation_off(self) -> None:
        """Its Retry-After stands, also for a person who does not insist; the order is kept."""
        case = Case("renewal")
        busy = Transient("too many requests", retry_after=timedelta(hours=3))
        case.world.issuer.faults["issued"] = busy
        report = case.rotate()
        until = scenarios.NOW + timedelta(hours=3)
        assert isinstance(report.outcome, Parked)
        assert (report.outcome.until, report.failed) == (until, True)
        case.trouble.log.clear()
        asked = case.rotate(by_hand=True)
        assert isinstance(asked.recovered, Parked)
        assert (asked.recovered.until, asked.outcome) == (until, None)
        assert not [what for what in case.trouble.log if what.startswith("issuer")]
        assert isinstance(case.rotate(after=timedelta(hours=3)).recovered, Finished)
        assert len(case.world.issuer.orders) == 1

    def test_force_does_not_wait_for_what_the_ca_asked(self) -> None:
        """A person insists: the kept order is asked for at once, and then a new one placed."""
        case = Case("renewal")
        busy = Transient("too many requests", retry_after=timedelta(hours=3))
        case.world.issuer.faults["issued"] = busy
        assert isinstance(case.rotate().outcome, Parked)
        asked = case.rotate(by_hand=True, forced=True)
        assert isinstance(asked.recovered, Finished)
        assert isinstance(asked.outcome, Finished)
        assert len(case.world.issuer.orders) == 2

    def test_a_kept_order_is_asked_for_three_times_at_least_before_the_end(self) -> None:
        """A CA that says a week would let a certificate of a day expire."""
        case = Case("renewal")
        live = case.world.store.look(scenarios.NAME).live
        assert live is not None
        assert live.facts is not None
        left = live.facts.not_after - scenarios.NOW
        busy = Transient("too many requests", retry_after=timedelta(days=1000))
        case.world.issuer.faults["issued"] = busy
        outcome = case.rotate().outcome
        assert isinstance(outcome, Parked)
        assert outcome.until <= scenarios.NOW + left / 4

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
    def test_a_failure_that_needs_a_person_does_not_cost_the_order(
        self, trouble: Exception
    ) -> None:
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
    def test_a_definite_answer_of_the_ca_ends_the_order(self, word: Exception) -> None:
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
        assert "since 2026-06-01 00:00Z, so certrotd gives the order up" in report.recovered.because
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

    def test_an_issuer_that_the_configuration_lost_ends_its_order(self) -> None:
        """There is nobody left to fetch the certificate from, and nobody wants it."""
        case = Case("renewal")
        case.trouble.refuse = {"issuer: finalize": 1}
        case.rotate()

        def lost(name: str) -> NoReturn:
            raise NeedsOperator(f"the configuration no longer has {name!r}")

        case.world.otherwise["issuer"] = lost
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

    def test_a_key_that_is_elsewhere_is_not_kept(self) -> None:
        """Its request stands in its place: ordered again, each order would be followed by one."""
        case = Case("renewal")
        shelf = case.world.store.shelves[scenarios.NAME]
        asked = tuple((n, pair, replace(meta, request="r")) for n, pair, meta in shelf.generations)
        case.world.store.shelves[scenarios.NAME] = replace(shelf, generations=asked)
        case.policy(reuse_key=True)
        old = case.world.store.read(scenarios.NAME, 2)
        assert isinstance(case.rotate().outcome, Finished)
        assert old[0] != case.world.store.read(scenarios.NAME, 3)[0]

    @pytest.mark.parametrize("at", ["issuer: finalize", "store: seal"])
    def test_an_order_for_a_request_that_was_replaced_is_given_up(self, at: str) -> None:
        """The appliance has its new key by then, and could not serve a certificate for the old."""
        case = Case("renewal")
        case.policy(elsewhere=True)
        names, keys = case.world.policy.names, [generate(KeyType.ECDSA_P256) for _ in range(2)]
        csrs = [to_pem(read_request(signing_request(key, names), what="csr")) for key in keys]
        case.world.otherwise["request"] = lambda: csrs[0]
        case.trouble.refuse = {at: 2}
        before = case.live
        assert isinstance(case.rotate().outcome, Parked)
        assert isinstance(case.rotate().recovered, Parked), "the negative control"
        csrs.pop(0)
        given_up = case.rotate().recovered
        assert isinstance(given_up, RolledBack)
        assert "is another one than was ordered for" in given_up.because
        assert case.live == before
        assert isinstance(case.rotate(by_hand=True).outcome, Finished)
        assert case.world.store.read(scenarios.NAME, case.live or 0)[0] == csrs[0]

    def test_what_was_issued_for_a_request_that_was_replaced_is_not_put_in_place(self) -> None:
        """Also where it is replaced once the certificate is sealed: the next run orders anew."""
        case = Case("renewal")
        names, keys = case.world.policy.names, [generate(KeyType.ECDSA_P256) for _ in range(2)]
        csrs = [to_pem(read_request(signing_request(key, names), what="csr")) for key in keys]
        case.policy(elsewhere=True, request=digest(csrs[0]))
        case.world.otherwise["request"] = lambda: csrs[0]
        case.trouble.then = {"store: seal": lambda: csrs.pop(0)}
        before = case.live
        refused = case.rotate().outcome
        assert isinstance(refused, RolledBack)
        assert "another one than was ordered for, so generation 3 is not put in" in refused.because
        assert (case.live, "store: switch" in case.trouble.log) == (before, False)
        case.policy(request=digest(csrs[0]))
        assert isinstance(case.rotate(by_hand=True).outcome, Finished)
        assert case.world.store.read(scenarios.NAME, case.live or 0)[0] == csrs[0]

    @pytest.mark.parametrize(
        ("lost", "words"),
        [
            ("key", "the staged key of generation 3 is missing"),
            ("chain", "the key or the chain is missing"),
            ("damaged", "the staged key of generation 3 is damaged: private key is "),
        ],
    )
    def test_staging_that_somebody_removed_fails_and_is_begun_again(
        self, lost: str, words: str
    ) -> None:
        """It says what is gone, and the next rotation makes a new one."""
        case = Case("renewal")

        def remove() -> None:
            shelf = case.world.store.shelf(scenarios.NAME)
            [(number, pair)] = shelf.staging
            key = {"key": None, "damaged": b"no key"}.get(lost, pair.key)
            rest = Pair(key, None if lost == "chain" else pair.chain)
            changed = replace(shelf, staging=((number, rest),))
            case.world.store.shelves[scenarios.NAME] = changed

        at = "store: stage chain" if lost == "chain" else "issuer: validate"
        case.trouble.then = {at: remove}
        report = case.rotate()
        assert isinstance(report.outcome, RolledBack)
        assert words in report.outcome.because
        assert isinstance(case.rotate(after=DAY).outcome, Finished)

    def test_a_store_that_is_away_costs_no_order(self) -> None:
        """The CA may have issued for that order before a crash."""
        case = Case("renewal")
        case.trouble.then = {
            "issuer: validate": lambda: case.trouble.refuse.update(
                {"store: read the staged key": 1}
            )
        }
        waits = case.rotate().outcome
        assert isinstance(waits, Parked)
        assert "the order is placed, but " in waits.why
        assert isinstance(case.rotate(after=DAY).recovered, Finished)
        assert len(case.world.issuer.orders) == 1

    def test_nothing_is_published_once_told_to_stop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A hook would be started that nobody waits for; the next start goes on with the order."""
        case = Case("first_issuance")
        told: list[bool] = []
        case.trouble.then = {"issuer: order": lambda: told.append(True)}
        monkeypatch.setattr(case.clock, "stopping", lambda: bool(told))
        waits = case.rotate().outcome
        assert isinstance(waits, Parked)
        assert (waits.failed, waits.why) == (False, "the process was told to stop")
        assert "solver: present" not in case.trouble.log
        told.clear()
        assert isinstance(case.rotate().recovered, Finished)
        assert len(case.world.issuer.orders) == 1
        assert "solver: present" in case.trouble.log, "the negative control"


class TestRecordsLeftBehind:
    def test_records_left_behind_do_not_fail_the_rotation_and_are_swept_by_the_next(self) -> None:
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

    def test_a_sweep_that_fails_is_reported_and_backs_off(self) -> None:
        """A dead name server is not asked at every tick."""
        case = Case("renewal")
        case.trouble.refuse = {"solver: withdraw": 4}
        case.rotate()
        failed = case.rotate()
        assert isinstance(failed.outcome, RolledBack)
        assert "not withdrawn" in failed.outcome.because
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

    def test_those_of_a_solver_that_is_gone_are_given_up(self) -> None:
        """Nobody could withdraw them any more."""
        case = Case("renewal")
        case.trouble.refuse = {"solver: withdraw": 1}
        case.rotate()
        case.world.otherwise["solver"] = lambda _name: None
        assert isinstance(case.rotate().outcome, Finished)
        assert isinstance(case.rotate().decision, Wait)

    def test_a_solver_that_the_configuration_lost_is_reported(self) -> None:
        """The order fails before anything is published."""
        case = Case("renewal")
        case.world.otherwise["solver"] = lambda _name: None
        report = case.rotate()
        assert isinstance(report.outcome, RolledBack)
        assert "no solver 'memory'" in report.outcome.because
