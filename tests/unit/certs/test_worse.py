"""A certificate that would serve for less long than the live one does not replace it unasked."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.certs.fitness import LAST_CALL, to_outdo, worse
from certrotd.lifecycle.decision import Postpone
from certrotd.rotation.engine import Finished, RolledBack
from tests.builders import (
    DAY,
    HOUR,
    LIFETIMES,
    NOW,
    POLICY,
    broken,
    facts,
    generation,
    meta,
    standing,
)
from tests.unit.certs.rotating import Case

SECONDS = timedelta(seconds=65)  # the CA in memory backdates by a minute


@pytest.fixture
def case() -> Case:
    """A certificate of 90 days is live and due, with 29 days left."""
    return Case("renewal")


class TestARenewal:
    @pytest.mark.parametrize("lifetime", [SECONDS, 8 * DAY, 28 * DAY])
    def test_a_certificate_that_ends_before_the_live_one_is_refused(
        self, case: Case, lifetime: timedelta
    ) -> None:
        """Five seconds of life replaced 89 days, and every client was refused."""
        case.world.issuer.lifetime = lifetime
        report = case.rotate()
        assert isinstance(report.outcome, RolledBack)
        assert report.failed
        assert "the new certificate is refused: it ends at " in report.outcome.because
        assert "rotate site --force" in report.outcome.because
        assert case.live == 2

    def test_a_refused_certificate_is_ordered_again_later(self, case: Case) -> None:
        """By the backoff; a CA that is well again gives what was wanted."""
        case.world.issuer.lifetime = SECONDS
        case.rotate()
        assert isinstance(case.rotate().decision, Postpone)
        case.world.issuer.lifetime = 90 * DAY
        assert isinstance(case.rotate(after=HOUR).outcome, Finished)
        assert case.live == 3

    def test_a_certificate_of_the_same_kind_is_taken(self, case: Case) -> None:
        """The negative control."""
        assert isinstance(case.rotate().outcome, Finished)

    def test_a_shorter_one_that_outlives_the_live_one_is_taken(self, case: Case) -> None:
        """From 90 days to 47, as all CAs will: the live one ends in 29."""
        case.world.issuer.lifetime = 47 * DAY
        assert isinstance(case.rotate().outcome, Finished)

    def test_force_takes_what_the_ca_gives(self, case: Case) -> None:
        """Somebody wants that."""
        case.world.issuer.lifetime = 8 * DAY
        assert isinstance(case.rotate(forced=True).outcome, Finished)
        assert case.live == 3

    @pytest.mark.parametrize(
        "change", [{"authority": "memory://another"}, {"issuer": "other"}, {"terms": "profile: s"}]
    )
    def test_a_changed_issuer_or_lifetime_is_the_users_wish(
        self, case: Case, change: dict[str, str]
    ) -> None:
        """From 90 days to six, by a change of the configuration."""
        case.policy(**change)
        case.world.issuer.lifetime = 6 * DAY
        assert isinstance(case.rotate().outcome, Finished)

    def test_a_shorter_certificate_by_configuration_is_the_new_standard(self, case: Case) -> None:
        """The wish holds once."""
        case.policy(terms="lifetime: 6d")
        case.world.issuer.lifetime = 6 * DAY
        assert isinstance(case.rotate().outcome, Finished)
        case.world.issuer.lifetime = SECONDS
        assert isinstance(case.rotate(after=3 * DAY + HOUR).outcome, RolledBack)

    def test_after_the_live_one_has_expired_anything_is_better(self) -> None:
        """An outage is not kept up."""
        case = Case("renewal_after_expiry")
        case.world.issuer.lifetime = 6 * DAY
        assert isinstance(case.rotate().outcome, Finished)


def test_a_short_life_is_refused_though_it_ends_later() -> None:
    """A tenth of what the last one lived says that something is wrong, while there is time."""
    new = facts(age=timedelta(0), lifetime=8 * DAY)
    live = NOW - 83 * DAY, NOW + 7 * DAY
    assert worse(new, *live, now=NOW) == "it is valid for 8 days, the live one for 90 days"
    assert worse(facts(age=timedelta(0), lifetime=9 * DAY), *live, now=NOW) is None


def test_in_the_last_days_a_short_life_is_better_than_none() -> None:
    """Who refused it until the live one has ended would make the outage that this is against."""
    new = facts(age=timedelta(0), lifetime=8 * DAY)
    assert worse(new, NOW - 86 * DAY, NOW + 4 * DAY, now=NOW) is None


@given(LIFETIMES, LIFETIMES, st.floats(0.01, 1))
def test_a_refusal_always_leaves_something_to_serve(
    old: timedelta, new: timedelta, share: float
) -> None:
    """The live one has not ended, and in its last days only what ends before it is refused."""
    left = old * share
    found = worse(facts(age=timedelta(0), lifetime=new), NOW + left - old, NOW + left, now=NOW)
    if new >= old:
        assert found is None
    if left <= old / LAST_CALL and new >= left:
        assert found is None
    if new < left:
        assert found is not None


def test_a_changed_configuration_has_nothing_to_outdo() -> None:
    """Or nothing is served that could be kept."""
    live = generation()
    assert to_outdo(POLICY, standing(live), now=NOW) == live.facts
    for policy, found in (
        (POLICY, standing()),
        (POLICY, standing(broken())),
        (POLICY, standing(generation(age=91 * DAY))),
        (replace(POLICY, names=("b.test",)), standing(live)),
        (replace(POLICY, terms="lifetime: 6d"), standing(live)),
        (POLICY, standing(replace(live, meta=meta(issuer="other")))),
        (POLICY, standing(replace(live, meta=None))),
        (POLICY, standing(replace(live, meta=meta(origin="adopted")))),
    ):
        assert to_outdo(policy, found, now=NOW) is None
