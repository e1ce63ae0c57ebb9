"""Authorizations and challenges that go wrong in ways a real CA cannot be asked to."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from certrotd.acme.order import MAX_ANSWERS
from certrotd.clock import Deadline
from certrotd.errors import NeedsOperator, Transient
from certrotd.pki.order import OrderGone, ValidationFailed
from tests.builders import soon
from tests.unit.acme.scripted import NAME, NXDOMAIN, Reply, ScriptedCA, Skipping, problem


def test_an_authorization_that_becomes_invalid_says_the_cas_words(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """Which name, and what the CA saw."""
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    order.challenges()
    failed = ca.challenge_body(status="invalid", error=NXDOMAIN)
    ca.on("/authz", Reply(body=ca.authorization_body(status="invalid", challenges=[failed])))
    with pytest.raises(ValidationFailed, match=f"{NAME}: dns: NXDOMAIN"):
        order.validate()


@pytest.mark.parametrize("status", ["expired", "deactivated", "revoked"])
def test_an_authorization_that_is_over_ends_the_order(
    ca: ScriptedCA, tmp_path: Path, status: str
) -> None:
    """Nothing failed: a new order gets new authorizations."""
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    ca.on("/authz", Reply(body=ca.authorization_body(status=status)))
    with pytest.raises(OrderGone, match=f"{NAME} is {status}"):
        order.challenges()


def test_a_challenge_left_open_is_answered_again_and_then_given_up(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """step-ca keeps a failed challenge pending until it is asked again (RFC 8555 §8.2)."""
    clock = Skipping()
    order = ca.issuer(tmp_path, clock, timeout=60.0).order([NAME], deadline=Deadline(clock, 60))
    order.challenges()
    still = ca.authorization_body(challenges=[ca.challenge_body(error=NXDOMAIN)])
    ca.on("/challenge", *[Reply(body=ca.challenge_body())] * 9)
    ca.on("/authz", *[Reply(body=still)] * 9)
    with pytest.raises(ValidationFailed, match=f"{NAME}: dns: NXDOMAIN"):
        order.validate()
    assert ca.asked("/challenge") == MAX_ANSWERS
    assert clock.skipped > 4.0


def test_a_challenge_left_open_may_still_succeed(ca: ScriptedCA, tmp_path: Path) -> None:
    """A resolver between us and the CA had cached the record's absence."""
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    order.challenges()
    ca.on("/challenge", Reply(body=ca.challenge_body()))
    still = ca.authorization_body(challenges=[ca.challenge_body(error=NXDOMAIN)])
    ca.on("/authz", Reply(body=still))
    order.validate()
    assert ca.asked("/challenge") == 2


def test_a_challenge_answered_before_is_looked_at_not_refused(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """The first answer's reply was lost, or it was given before a crash."""
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    order.challenges()
    ca.on("/challenge", Reply(400, problem("malformed", "Cannot update challenge")))
    ca.challenge["status"] = "processing"
    ca.on("/authz", Reply(body=ca.authorization_body()))
    ca.challenge["status"] = ca.authorization["status"] = "valid"
    order.validate()


def test_a_challenge_refused_for_good_is_reported(ca: ScriptedCA, tmp_path: Path) -> None:
    """The negative control."""
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    ca.on("/challenge", Reply(400, problem("malformed", "no such challenge type")))
    with pytest.raises(NeedsOperator, match="no such challenge type"):
        order.validate()


def test_a_ca_that_never_decides_is_given_up_for_now(ca: ScriptedCA, tmp_path: Path) -> None:
    """Without an opinion of the CA's this is not a failed validation."""
    clock = Skipping()
    order = ca.issuer(tmp_path, clock, timeout=30.0).order([NAME], deadline=Deadline(clock, 60))
    ca.on("/challenge", Reply(body=ca.challenge_body(status="processing")))
    with pytest.raises(Transient, match=f"did not decide in time on {NAME}"):
        order.validate()
    assert clock.skipped <= 31.0


def test_an_authorization_for_another_name_is_refused(ca: ScriptedCA, tmp_path: Path) -> None:
    """The same one step later."""
    ca.authorization["identifier"] = {"type": "dns", "value": "victim.example.test"}
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    with pytest.raises(NeedsOperator, match=r"victim\.example.test, which was not ordered"):
        order.challenges()


def test_an_account_lost_in_the_middle_of_an_order_ends_the_order(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """The order was the account's."""
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    ca.on("/authz", Reply(400, problem("accountDoesNotExist", "who?")))
    with pytest.raises(OrderGone, match="no longer knows the order"):
        order.challenges()


def test_a_caa_refusal_is_not_blamed_on_the_record(ca: ScriptedCA, tmp_path: Path) -> None:
    """The hint has to lead to what is wrong."""
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    failed = ca.challenge_body(status="invalid", error=problem("caa", "forbidden"))
    ca.on("/authz", Reply(body=ca.authorization_body(status="invalid", challenges=[failed])))
    with pytest.raises(ValidationFailed) as failure:
        order.validate()
    assert "CAA records" in failure.value.hint


def test_the_rate_limit_of_failed_validations_is_not_run_into(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """A failure that a scheduler would repeat soon must not be what a refused proof raises."""
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    ca.on("/authz", Reply(body=ca.authorization_body(status="invalid")))
    with pytest.raises(ValidationFailed) as failure:
        order.challenges()
    assert not isinstance(failure.value, Transient)


def test_rate_limits_say_when_to_come_back(ca: ScriptedCA, tmp_path: Path) -> None:
    """In the middle of an order too."""
    order = ca.issuer(tmp_path).order([NAME], deadline=soon())
    ca.on("/authz", Reply(429, problem("rateLimited", "slow down"), {"Retry-After": "3600"}))
    with pytest.raises(Transient, match="rateLimited: slow down") as failure:
        order.challenges()
    assert failure.value.retry_after == timedelta(hours=1)
