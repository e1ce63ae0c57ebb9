"""A placeholder stands in until there is a certificate, and is never taken for one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509

from certrotd.certs.decision import Adopt, Bootstrap, Deploy, Renew
from certrotd.certs.findings import FindingKind
from certrotd.certs.fitness import usable
from certrotd.certs.plan import renewal
from certrotd.certs.policy import Attempts
from certrotd.certs.rules import decide
from certrotd.certs.watching import OnDisk, judge_files
from certrotd.errors import NeedsOperator
from certrotd.lifecycle.decision import Asked, Postpone, Wait
from certrotd.lifecycle.finding import FindingSeverity
from certrotd.pki.facts import parse_certificates
from certrotd.pki.generation import PLACEHOLDER, CertificateState, Generation, Standing
from certrotd.pki.keys import KeyType, generate
from certrotd.pki.placeholder import SUBJECT, self_signed
from certrotd.rotation.engine import Finished, RolledBack
from certrotd.rotation.step import Savepoint
from tests.builders import DAY, MINUTE, NOW, POLICY, broken, facts, generation, meta
from tests.unit.certs.rotating import Case

BOOTSTRAPS = replace(POLICY, bootstraps=True)


def placeholder(number: int = 1) -> Generation:
    """A generation that only stands in."""
    return Generation(number, meta(origin=PLACEHOLDER, authority=""), facts(lifetime=3650 * DAY))


class TestDeciding:
    def test_a_certificate_that_has_nothing_gets_a_placeholder_first(self) -> None:
        """Even where somebody forces a renewal: that comes after it."""
        for forced in (False, True):
            decision = decide(BOOTSTRAPS, Standing(), Attempts(), Asked(forced=forced), now=NOW)
            assert decision == Bootstrap("no certificate yet", 1)

    def test_without_the_option_the_first_certificate_is_ordered_at_once(self) -> None:
        """The control."""
        assert isinstance(decide(POLICY, Standing(), Attempts(), now=NOW), Renew)
        adopts = replace(POLICY, adopts=True)
        assert isinstance(decide(adopts, Standing(), Attempts(), now=NOW), Adopt)

    def test_a_placeholder_in_place_is_no_certificate(self) -> None:
        """However long it is valid, a real one is due."""
        decision = decide(BOOTSTRAPS, Standing(placeholder(), placeholder()), Attempts(), now=NOW)
        assert decision == Renew("a placeholder is in place, there is no certificate yet", NOW)

    def test_a_placeholder_that_never_became_live_is_put_in_place(self) -> None:
        """One that is damaged is made anew."""
        found = Standing(None, placeholder(3))
        assert decide(BOOTSTRAPS, found, Attempts(), now=NOW) == Bootstrap("no certificate yet", 3)
        damaged = Generation(3, placeholder(3).meta, None, "privkey.pem is missing")
        decision = decide(BOOTSTRAPS, Standing(None, damaged), Attempts(), now=NOW)
        assert decision == Bootstrap("no certificate yet", 4)

    @pytest.mark.parametrize("number", [1, 4])
    def test_a_placeholder_whose_files_are_gone_is_made_anew(self, number: int) -> None:
        """Else nginx could not start, nor the others' certificates be renewed, without the CA."""
        lost = replace(placeholder(number), facts=None, broken="privkey.pem is missing")
        failed = Attempts(failures=4, at=NOW - MINUTE, why="the CA is away", authority="ca")
        for found in (Standing(lost, lost), Standing(Generation(number, None, None, "gone"))):
            decision = decide(BOOTSTRAPS, found, failed, now=NOW)
            assert decision == Bootstrap("no certificate yet", number + 1)
            assert not isinstance(decide(POLICY, found, failed, now=NOW), Bootstrap)

    def test_a_certificate_goes_before_a_placeholder_made_anew(self) -> None:
        """One that was issued once may be put back."""
        lost = replace(placeholder(4), facts=None, broken="privkey.pem is missing")
        found = Standing(lost, lost, earlier=(generation(3),))
        assert isinstance(decide(BOOTSTRAPS, found, Attempts(), now=NOW), Deploy)

    @pytest.mark.parametrize("newest", [generation(5), broken(5)])
    def test_a_site_that_had_a_certificate_gets_no_placeholder(self, newest: Generation) -> None:
        """Somebody removed the link: the certificate that is there goes back, or one is ordered."""
        decision = decide(BOOTSTRAPS, Standing(None, newest), Attempts(), now=NOW)
        assert isinstance(decision, Deploy | Renew)

    def test_a_kept_certificate_replaces_the_placeholder(self) -> None:
        """It was issued and could not be deployed; no order is needed."""
        found = Standing(placeholder(1), generation(2))
        assert isinstance(decide(BOOTSTRAPS, found, Attempts(), now=NOW), Deploy)

    def test_a_placeholder_does_not_wait_for_a_backoff(self) -> None:
        """What failed may have failed for its want; and its own dates shorten no backoff."""
        failed = Attempts(failures=4, at=NOW - MINUTE, why="nginx -t failed")
        assert isinstance(decide(BOOTSTRAPS, Standing(), failed, now=NOW), Bootstrap)
        decision = decide(BOOTSTRAPS, Standing(placeholder()), failed, now=NOW)
        assert isinstance(decision, Postpone)
        assert decision.until == NOW - MINUTE + timedelta(minutes=100)

    def test_a_disabled_certificate_gets_none(self) -> None:
        """Nothing is done with it."""
        disabled = replace(BOOTSTRAPS, enabled=False)
        assert isinstance(decide(disabled, Standing(), Attempts(), now=NOW), Wait)

    def test_a_placeholder_is_never_as_good_as_a_certificate(self) -> None:
        """Nobody goes back to it by hand."""
        assert usable(placeholder(), now=NOW) == "it is a placeholder, not a certificate"

    def test_the_placeholders_key_and_expiry_do_not_affect_the_first_order(self) -> None:
        """A key that clients pin is the first certificate's, and nobody is served meanwhile."""
        policy = replace(BOOTSTRAPS, reuse_key=True)
        found = Standing(placeholder(1), placeholder(1), CertificateState())
        steps = renewal(policy, found, Attempts(), rotation="r", draw=0.0)
        intents = {step.kind: step.intent for step in steps if not isinstance(step, Savepoint)}
        assert intents["key"]["reuse_from"] is None
        assert intents["obtain"]["served_until"] is None


class TestRotating:
    def test_a_single_run_by_hand_brings_placeholder_and_certificate(self) -> None:
        """Whoever asks for a certificate wants it, not a placeholder."""
        case = Case("bootstrap")
        report = case.rotate(by_hand=True)
        assert isinstance(report.outcome, Finished)
        assert case.live == 2
        history = case.world.managed().journal.history.lines()
        assert [line["facts"]["act"] for line in history] == ["placeholder", "renew"]

    def test_the_daemon_puts_the_placeholder_in_place_before_it_asks_whether_it_may_order(
        self,
    ) -> None:
        """Its budget and its clock hold orders back, not placeholders."""
        case = Case("bootstrap")
        first = case.rotate()
        assert isinstance(first.decision, Bootstrap)
        assert (case.live, len(case.world.issuer.orders)) == (1, 0)
        assert isinstance(case.rotate().decision, Renew)
        assert case.live == 2

    def test_a_first_deployment_that_fails_goes_back_to_the_placeholder(self) -> None:
        """A service can still be started; the certificate is kept and deployed later."""
        case = Case("bootstrap")
        case.rotate()
        case.trouble.refuse = {"target web: apply": 1}
        failed = case.rotate()
        assert isinstance(failed.outcome, RolledBack)
        assert case.live == 1
        again = case.rotate(after=DAY)
        assert isinstance(again.decision, Deploy)
        assert (case.live, len(case.world.issuer.orders)) == (2, 1)

    def test_a_rollback_by_hand_to_a_placeholder_is_refused(self) -> None:
        """It would put an untrusted certificate in front of users."""
        case = Case("bootstrap")
        case.rotate(by_hand=True)
        assert "no earlier generation is usable" in str(case.rollback().failure)
        refused = case.rollback(to=1).failure
        assert isinstance(refused, NeedsOperator)
        assert "it is a placeholder" in refused.message

    def test_copies_that_somebody_put_there_stay(self) -> None:
        """They are better than a placeholder, whatever they are."""
        case = Case("bootstrap")
        theirs = (("key", b"somebody's"),)
        case.world.installer.files = theirs
        case.rotate()
        assert (case.live, case.world.installer.files) == (1, theirs)

    def test_a_placeholder_that_fails_is_reported_and_orders_nothing(self) -> None:
        """Its own rotation says so; the next run tries again."""
        case = Case("bootstrap")
        case.trouble.refuse = {"store: seal": 1}
        failed = case.rotate(by_hand=True)
        assert failed.failed
        assert (case.live, len(case.world.issuer.orders)) == (None, 0)
        assert not case.rotate(by_hand=True).failed
        assert case.live is not None


class TestBefore:
    """Placeholders of all certificates come before any rotation: Rotator.bootstrap."""

    def test_only_a_certificate_that_wants_a_placeholder_and_has_nothing_gets_one(self) -> None:
        """What is there already, or is not asked for, is not touched."""
        case = Case("bootstrap")
        first = case.rotator().bootstrap(case.world.managed())
        assert first is not None
        assert isinstance(first.outcome, Finished)
        assert case.rotator().bootstrap(case.world.managed()) is None
        other = Case("first_issuance")
        assert other.rotator().bootstrap(other.world.managed()) is None
        assert other.live is None

    def test_an_interrupted_placeholder_rotation_is_finished(self) -> None:
        """A journal is there, and it is a placeholder's."""
        case = Case("bootstrap")

        def die() -> None:
            raise KeyboardInterrupt

        case.trouble.then = {"store: seal": die}
        with pytest.raises(KeyboardInterrupt):
            case.rotator().bootstrap(case.world.managed())
        assert case.live is None
        report = case.rotator().bootstrap(case.world.managed())
        assert report is not None
        assert isinstance(report.recovered, Finished)
        assert case.live == 1

    def test_any_other_rotation_in_flight_is_left_alone(self) -> None:
        """It may wait for a CA, and all others would wait for it."""
        case = Case("first_issuance")

        def die() -> None:
            raise KeyboardInterrupt

        case.trouble.then = {"store: seal": die}
        with pytest.raises(KeyboardInterrupt):
            case.rotate()
        case.policy(bootstraps=True)
        assert case.rotator().bootstrap(case.world.managed()) is None

    def test_a_lock_that_somebody_holds_is_a_report(self) -> None:
        """Nobody else's rotation ends for it."""
        case = Case("bootstrap")
        case.world.locked = True
        report = case.rotator().bootstrap(case.world.managed())
        assert report is not None
        assert "another process" in str(report.failure)

    def test_no_placeholder_is_begun_after_the_stop(self) -> None:
        """Nothing is."""
        case = Case("bootstrap")
        case.told_to_stop = True
        assert case.rotator().bootstrap(case.world.managed()) is None


def test_watch_warns_of_a_placeholder_and_judges_nothing_else_of_it() -> None:
    """It is ten years from its end, and for the right names; that means nothing."""
    kept = OnDisk(live=placeholder(), exposed=("privkey.pem",))
    found = judge_files(kept, POLICY, now=NOW)
    assert [(each.kind, each.severity) for each in found] == [
        (FindingKind.KEY_EXPOSED, FindingSeverity.WARNING),
        (FindingKind.PLACEHOLDER, FindingSeverity.WARNING),
    ]


@pytest.mark.parametrize("key_type", [KeyType.ECDSA_P384, KeyType.RSA_2048])
def test_a_placeholder_says_what_it_is(key_type: KeyType) -> None:
    """Whoever meets it in a browser reads its name; it is for the names, and no CA."""
    key = generate(key_type)
    [leaf] = parse_certificates(self_signed(key, ("a.test", "*.a.test", "10.0.0.7"), now=NOW))
    assert leaf.subject == leaf.issuer
    assert leaf.subject.rfc4514_string() == f"CN={SUBJECT}"
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.test", "*.a.test"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.7"]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    leaf.verify_directly_issued_by(leaf)
