"""Generations that are revoked: what they are replaced by, and that nothing goes back to them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from certrotd.certs.decision import Deploy, Renew, Revoke
from certrotd.certs.managed import relearnt
from certrotd.certs.policy import Attempts
from certrotd.certs.revoking import revoked_by
from certrotd.certs.revoking_by_hand import foreseen
from certrotd.certs.rules import decide
from certrotd.certs.world import WhoRevokes
from certrotd.errors import InvalidInput, NeedsOperator, Transient
from certrotd.lifecycle.decision import Postpone, Wait
from certrotd.pki.generation import CertificateState, Standing
from certrotd.pki.revocation import (
    ACCOUNT,
    CERTIFICATE_KEY,
    REASONS,
    NotEntitled,
    Revocation,
    RevocationRefused,
    reason_named,
)
from certrotd.rotation.engine import Finished, RolledBack, Stuck
from tests.builders import DAY, NOW, POLICY, generation, standing
from tests.model import scenarios
from tests.unit.certs.revoked import ENTRY, KEY, case, known
from tests.unit.certs.rotating import Case


@pytest.mark.parametrize("said", ["keyCompromise", "keycompromise", "key-compromise"])
def test_a_reason_may_be_spelt_as_other_programs_do(said: str) -> None:
    """certbot has lower case."""
    assert reason_named(said) == "keyCompromise"
    assert reason_named("cessation_of_operation") == "cessationOfOperation"
    with pytest.raises(InvalidInput, match="no reason 'cACompromise'"):
        reason_named("cACompromise")
    assert set(REASONS.values()) == {0, 1, 3, 4, 5}


def test_it_is_kept_as_json() -> None:
    """Within the state of a certificate; one of before had none."""
    done = replace(ENTRY, by=ACCOUNT, done=NOW, why="no", refused=True, key="cd")
    state = CertificateState(revoked={1: ENTRY, 2: done})
    assert CertificateState.from_json(state.to_json()) == state
    older = {k: v for k, v in CertificateState().to_json().items() if k != "revoked"}
    assert CertificateState.from_json(older) == CertificateState()


@pytest.mark.parametrize(
    ("entry", "open_", "words"),
    [
        (ENTRY, True, "still to be revoked: generation 3 (superseded)"),
        (replace(ENTRY, why="no"), True, "still to be revoked: generation 3 (superseded): no"),
        (replace(ENTRY, done=NOW), False, "generation 3 is revoked (superseded)"),
        (
            replace(ENTRY, refused=True, why="no"),
            False,
            "the CA refuses to revoke generation 3 (superseded): no",
        ),
        (replace(ENTRY, not_after=NOW), False, "still to be revoked: generation 3 (superseded)"),
    ],
    ids=["open", "failed", "done", "refused", "expired"],
)
def test_it_is_asked_for_until_it_is_settled(entry: Revocation, open_: bool, words: str) -> None:
    """Or the certificate has ended by itself."""
    assert (entry.is_open(NOW), entry.words(3)) == (open_, words)


@pytest.mark.parametrize(
    ("by", "account", "key", "signed"),
    [
        ("", True, True, ACCOUNT),
        ("", False, True, CERTIFICATE_KEY),
        (ACCOUNT, True, True, ACCOUNT),
        (CERTIFICATE_KEY, True, True, CERTIFICATE_KEY),
        (ACCOUNT, False, True, None),
        ("", False, False, None),
        (CERTIFICATE_KEY, True, False, None),
    ],
    ids=["account", "fallback", "account alone", "key alone", *("no account", "none", "no key")],
)
def test_the_account_signs_else_the_certificates_key(
    by: str, account: bool, key: bool, signed: str | None
) -> None:
    """The account of a certificate from elsewhere is not ours (RFC 8555 §7.6)."""

    def ask(signer: object) -> bool:
        if not (account if signer is None else key):
            raise NotEntitled("unauthorized")
        return False

    if signed is None:
        with pytest.raises(RevocationRefused, match="unauthorized"):
            revoked_by(ask, lambda: KEY, by)
    else:
        assert revoked_by(ask, lambda: KEY, by) == signed


def test_what_is_live_is_replaced_by_another_key_and_then_revoked() -> None:
    """Whatever `reuse` says; a rollback says why it does not go back."""
    found = case(reuse_key=True, keep=3)
    assert found.rotator().revoke(found.world.managed(), 2, "keyCompromise").failed is False
    assert (found.live, known(found)[2].done) == (3, found.clock.now())
    store = found.world.store
    old, new = (store.read(scenarios.NAME, number)[0] for number in (2, 3))
    assert old != new
    assert len(found.world.issuer.revoked) == 1
    refused = found.rollback(2)
    assert "generation 2 is revoked (keyCompromise)" in str(refused.failure)
    assert isinstance(found.rollback().outcome, Finished)  # to 1, which has another key
    assert found.live == 1
    events = [each.event for each in found.world.audit.happened]
    assert events.count("certificate.revoked") == 1


def test_of_several_that_are_open_each_is_asked_for() -> None:
    """Also where the CA of the first is not in the configuration any more."""
    found = case(reuse_key=True)
    found.rotate(forced=True)
    found.trouble.refuse["issuer: revoke"] = 3
    found.rotator().revoke(found.world.managed(), 3, "keyCompromise")
    assert sorted(known(found)) == [2, 3]
    assert isinstance(found.rotate().outcome, Finished)
    assert (known(found)[2].done, bool(known(found)[3].done)) == (None, True)
    assert isinstance(found.rotate().outcome, Finished)
    assert known(found)[2].done


def test_what_is_not_replaced_is_not_revoked() -> None:
    """The order fails, or a target: the old one is in use, and valid."""
    found = case()
    found.world.issuer.faults["order"] = Transient("no")
    report = found.rotator().revoke(found.world.managed(), 2)
    assert isinstance(report.outcome, RolledBack)
    found.trouble.refuse["target web: apply"] = 1
    report = found.rotator().revoke(found.world.managed(), 2)
    assert isinstance(report.outcome, RolledBack)
    assert (found.live, known(found), found.world.issuer.revoked) == (2, {}, [])
    orders = len(found.world.issuer.orders)
    report = found.rotator().revoke(found.world.managed(), 2)
    assert isinstance(report.decision, Deploy)
    assert (found.live, len(found.world.issuer.orders)) == (3, orders), "it was issued before"
    assert known(found)[2].done


def test_a_ca_that_does_not_answer_is_asked_again() -> None:
    """By the next run; meanwhile nothing goes back to it, and it is not pruned."""
    found = case(keep=1)
    found.trouble.refuse["issuer: revoke"] = 2
    report = found.rotator().revoke(found.world.managed(), 2)
    assert isinstance(report.outcome, Finished)
    assert (found.live, known(found)[2].is_open(found.clock.now())) == (3, True)
    assert "still to be revoked: generation 2" in str(found.rollback(2).failure)
    found.rotate(forced=True)
    again = found.rotate()
    assert isinstance(again.decision, Revoke)
    assert isinstance(again.outcome, RolledBack)
    assert isinstance(found.rotate().decision, Postpone)
    done = found.rotate(after=timedelta(minutes=1))
    assert isinstance(done.outcome, Finished)
    assert isinstance(found.rotate().decision, Wait)
    assert len(found.world.issuer.revoked) == 1


def test_a_target_that_fails_for_ever_keeps_no_revocation_away() -> None:
    """Nor a CA that is away the target: they take turns, with the backoff of any failure."""
    found = case()
    found.trouble.refuse["issuer: revoke"] = 2
    found.rotator().revoke(found.world.managed(), 2)
    found.trouble.refuse["target web: apply"] = 100
    found.rotate(forced=True)
    tried = [found.rotate(after=DAY) for _ in range(4)]
    assert [type(each.decision) for each in tried] == [Revoke, Deploy, Revoke, Deploy]
    assert isinstance(tried[0].outcome, RolledBack)
    assert known(found)[2].done
    assert isinstance(found.rotate().decision, Postpone)


def test_whoever_asks_once_has_the_rotation_after_the_revocation_too() -> None:
    """And is told of the revocation where that failed."""
    found = case()
    found.trouble.refuse |= {"issuer: revoke": 2, "target web: apply": 0}
    found.rotator().revoke(found.world.managed(), 2)
    found.trouble.refuse["target web: apply"] = 1
    found.rotate(forced=True)
    report = found.rotate(by_hand=True)
    assert isinstance(report.decision, Deploy)
    assert isinstance(report.outcome, Finished)
    assert "revoke: no answer" in str(report.failure)
    assert "still to be revoked: generation 2" in report.mended
    assert known(found)[2].done is None


def test_a_ca_that_refuses_is_not_asked_again() -> None:
    """Unless somebody asks: for another reason, or by another signer."""
    found = case()
    answers: list[Exception] = [RevocationRefused("badRevocationReason")] * 2

    def ask(*_asked: object) -> bool:
        if answers:
            raise answers.pop()
        return True

    found.world.otherwise["revoker"] = lambda _meta: ask
    report = found.rotator().revoke(found.world.managed(), 2)
    assert isinstance(report.outcome, Finished)
    assert (known(found)[2].refused, known(found)[2].why) == (True, "badRevocationReason")
    assert isinstance(found.rotate().decision, Wait)
    report = found.rotator().revoke(found.world.managed(), 2)
    assert report.failed
    report = found.rotator().revoke(found.world.managed(), 2, "unspecified")
    assert not report.failed
    assert (known(found)[2].done, known(found)[2].reason) == (found.clock.now(), "unspecified")
    again = found.rotator().revoke(found.world.managed(), 2)
    assert "it is revoked since" in str(again.failure)


def test_a_ca_that_was_only_guessed_is_named_before_and_where_it_refuses() -> None:
    """It may be that another one has issued what was adopted."""

    def ask(*_asked: object) -> bool:
        raise NotEntitled("unauthorized")

    found = case()
    guess = "ca is asked, the first of the configuration"
    who = WhoRevokes(guess, guessed=True)
    found.world.otherwise |= {"revoker": lambda _meta: ask, "who_revokes": lambda _meta: who}
    managed, now = found.world.managed(), found.clock.now()
    seen = foreseen(managed, 2, "superseded", at_once=True, now=now)
    assert (seen.asks, guess in seen.effects) == (guess, True)
    report = found.rotator().revoke(managed, 2, now=True)
    assert known(found)[2].refused
    assert known(found)[2].why.endswith(f"by its own key: unauthorized; {guess}")
    assert guess in str(report.failure)


def test_at_once_is_before_the_replacement() -> None:
    """Then the new one stays even if a target refuses it: there is nothing to go back to."""
    found = case()
    found.trouble.refuse["target web: apply"] = 1
    report = found.rotator().revoke(found.world.managed(), 2, now=True)
    assert isinstance(report.decision, Renew)
    assert isinstance(report.outcome, RolledBack)
    assert "generation 2 is revoked" in report.outcome.left
    assert (found.live, len(found.world.issuer.revoked)) == (3, 1)
    assert not found.rotate(by_hand=True).failed


def test_what_is_urgent_does_not_wait_for_a_rotation_that_is_stuck() -> None:
    """And the undo of that goes back to nothing that was revoked meanwhile."""
    found = case()
    found.trouble.refuse |= {"target web: apply": 1, "installer: restore the key": 3}
    assert isinstance(found.rotate(forced=True).outcome, Stuck)
    assert isinstance(found.rotator().revoke(found.world.managed(), 2).recovered, Stuck)
    assert not found.world.issuer.revoked
    report = found.rotator().revoke(found.world.managed(), 2, now=True)
    assert (report.failed, len(found.world.issuer.revoked)) == (True, 1)
    said = ["certificate.revocation_begun", "certificate.revoked"]
    assert found.world.audit.events[-2:] == said
    found.rotate(by_hand=True)
    assert not found.rotate(by_hand=True).failed
    assert (found.live, known(found)[2].done) == (3, found.clock.now())


def test_other_hosts_have_the_new_one_before() -> None:
    """They are told after the rotation here has ended; --now does not wait."""
    found = case()
    hosts = ["mail"]
    found.world.otherwise["delivered_to"] = lambda number: hosts if number == 2 else ()
    report = found.rotator().revoke(found.world.managed(), 2)
    assert isinstance(report.outcome, Finished)
    assert known(found)[2].why == "not asked for yet: mail still has generation 2"
    hosts.clear()
    assert isinstance(found.rotate().outcome, Finished)
    assert known(found)[2].done
    hosts.append("mail")
    seen = foreseen(found.world.managed(), 3, "superseded", at_once=False, now=NOW)
    assert "is to be revoked: superseded" in seen.effects[0]
    assert "revoked once these hosts" not in " ".join(seen.effects), "they have another one"


@pytest.mark.parametrize(
    ("number", "why"),
    [(7, "there is none"), (None, "no generation is live")],
    ids=["unknown", "nothing live"],
)
def test_what_is_not_there_is_not_revoked(number: int | None, why: str) -> None:
    """With the reason."""
    found = case() if number else Case("first_issuance")
    with pytest.raises(NeedsOperator, match=why):
        foreseen(found.world.managed(), number, "superseded", at_once=False, now=scenarios.NOW)


def test_a_disabled_certificate_is_not_replaced() -> None:
    """Whoever disabled it wants nothing to happen to its services; its CA is asked again."""
    found = case(enabled=False)
    report = found.rotator().revoke(found.world.managed(), 2)
    assert "is disabled" in str(report.failure)
    assert not found.world.issuer.revoked
    found.trouble.refuse["issuer: revoke"] = 1
    assert found.rotator().revoke(found.world.managed(), 2, now=True).failed
    assert isinstance(found.rotate(after=timedelta(minutes=1)).decision, Revoke)
    assert (len(found.world.issuer.revoked), found.live) == (1, 2)
    assert isinstance(found.rotate().decision, Wait)


def test_a_revoked_one_is_not_deployed_by_itself() -> None:
    """Neither as what was issued last, nor in the place of a live one that is damaged."""
    barred = CertificateState(revoked={6: replace(ENTRY, done=NOW)})
    newer: Standing = replace(standing(generation(), generation(6)), state=barred)
    assert isinstance(decide(POLICY, newer, Attempts(), now=NOW), Wait)
    live = CertificateState(revoked={5: replace(ENTRY, done=NOW)})
    decision = decide(POLICY, replace(standing(generation()), state=live), Attempts(), now=NOW)
    assert decision.code == "revoked"


def test_a_state_that_is_lost_is_known_from_the_history() -> None:
    """Else a rollback would go back to what nobody trusts."""
    lines = [
        {"outcome": "finished", "to": "", "facts": {"revocations": {"1": ENTRY.to_json()}}},
        {
            "outcome": "finished",
            "to": "",
            "facts": {"revocations": {"1": replace(ENTRY, done=NOW).to_json()}},
        },
    ]
    assert relearnt(lines, standing(generation())).revoked == {1: replace(ENTRY, done=NOW)}
