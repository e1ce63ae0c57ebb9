"""What to think of a clock, by the last run, by the certificates, and by monotonic time."""

from datetime import UTC, datetime, timedelta

import pytest

from certrotd.daemon.clockwatch import Trust, Watch, evidence, from_json, jumped, to_json
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.generation import Generation, Meta

NOW = datetime(2026, 6, 1, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
CA = "https://ca.example.com/directory"


def issued(
    not_before: datetime, created: datetime, *, authority: str = CA, origin: str = "issued"
) -> Generation:
    """A generation of that date, put on disk when our clock showed ``created``."""
    facts = CertificateFacts(("a",), "", "", "", "1", not_before, not_before + 90 * DAY, "", False)
    return Generation(1, Meta(created, origin, "ca", authority, 0.5), facts)


@pytest.mark.parametrize(
    ("back", "trust"),
    [(4 * MINUTE, Trust.SOUND), (6 * MINUTE, Trust.WRONG), (365 * DAY, Trust.WRONG)],
)
def test_a_clock_behind_the_last_run_is_wrong(back: timedelta, trust: Trust) -> None:
    """Time does not go back; a few minutes are what time servers correct."""
    judged = Watch(NOW, 0.0).judge(NOW - back, 0.0)
    assert judged.trust is trust
    assert bool(judged.why) is (trust is Trust.WRONG)


@pytest.mark.parametrize(
    ("ahead", "trust"),
    [(timedelta(hours=23), Trust.SOUND), (2 * DAY, Trust.DOUBTED), (365 * DAY, Trust.DOUBTED)],
)
def test_a_clock_far_ahead_of_the_last_run_is_doubted(ahead: timedelta, trust: Trust) -> None:
    """The machine may have rested, or its clock may be wrong: nobody here can tell."""
    assert Watch(NOW, 0.0).judge(NOW + ahead, 0.0).trust is trust


def test_time_that_passed_while_it_ran_is_no_leap() -> None:
    """The control: a tick that comes late after a busy day doubts nothing."""
    assert Watch(NOW, 0.0).judge(NOW + 9 * DAY, 9 * 86400.0).trust is Trust.SOUND


def test_only_a_sound_clock_is_remembered() -> None:
    """Else a clock that was wrong once would stop orders when it is right again."""
    watch = Watch(NOW, 0.0)
    assert watch.passed(NOW + MINUTE, 60.0).trusted == NOW + MINUTE
    assert watch.passed(NOW + 365 * DAY, 60.0) == watch
    assert watch.passed(NOW - DAY, 60.0) == watch
    assert watch.passed(NOW - MINUTE, 60.0).trusted == NOW


def test_the_first_run_believes_the_clock() -> None:
    """There is nothing to compare it with."""
    assert Watch(None, 0.0).judge(NOW, 0.0).trust is Trust.SOUND


def test_a_clock_behind_a_certificate_is_wrong() -> None:
    """The state directory may be lost; what a CA issued is still there."""
    watch = Watch(None, 0.0).seen(issued(NOW, NOW))
    judged = watch.judge(NOW - DAY, 0.0)
    assert judged.trust is Trust.WRONG
    assert "before a certificate that a CA has issued (2026-06-01 00:00Z)" in judged.why
    assert watch.judge(NOW, 0.0).trust is Trust.SOUND


def test_the_date_of_a_new_certificate_ends_the_doubt() -> None:
    """After a month's rest the first renewal says that it was a month."""
    now = NOW + 30 * DAY
    doubted = Watch(NOW, 0.0)
    right = doubted.obtained(issued(now - MINUTE, now), now, 0.0)
    assert right.judge(now, 0.0).trust is Trust.SOUND
    wrong = doubted.obtained(issued(NOW, now), now, 0.0)
    assert wrong.judge(now, 0.0).trust is Trust.WRONG
    assert "a CA has dated a new certificate 30 days before the clock" in wrong.judge(now, 0.0).why
    assert wrong.passed(NOW + MINUTE, 60.0).judge(NOW + MINUTE, 60.0).trust is Trust.SOUND


@pytest.mark.parametrize(
    ("generation", "expected"),
    [
        (None, None),
        (Generation(1, None, None), None),
        (issued(NOW, NOW + MINUTE), NOW + MINUTE),
        (issued(NOW, NOW + 9 * DAY), NOW),  # our clock was ahead when it wrote that down
        (issued(NOW, NOW - 9 * DAY), NOW),
        (issued(NOW, NOW, authority="internal:ca"), None),  # it has our own clock
        (issued(NOW, NOW, origin="adopted"), None),
    ],
)
def test_only_a_ca_elsewhere_knows_the_time(
    generation: Generation | None, expected: datetime | None
) -> None:
    """What our own clock made is no evidence for it."""
    assert evidence(generation) == expected
    watch = Watch(None, 0.0)
    assert watch.seen(generation).earliest == expected
    if expected is None:
        assert watch.obtained(generation, NOW, 0.0) == watch


def test_a_jump_is_what_monotonic_time_does_not_know_of() -> None:
    """Suspend looks the same, and wants the same: to look again."""
    before = (NOW, 0.0)
    assert jumped(before, (NOW + 9 * DAY, 9 * 86400.0)) is None
    assert jumped(before, (NOW + 29 * MINUTE / 60, 0.0)) is None
    assert jumped(before, (NOW + DAY, 60.0)) == DAY - MINUTE
    assert jumped(before, (NOW - DAY, 0.0)) == -DAY


def test_the_last_run_is_read_back_and_nothing_else_is() -> None:
    """What somebody else wrote there is no time."""
    assert from_json(to_json(NOW)) == NOW
    for data in (b"", b"{}", b"[" * 100_000, b'{"version": 2, "last_run": "2026-01-01T00:00:00Z"}'):
        assert from_json(data) is None
    assert from_json(b'{"version": 1, "last_run": "2026-01-01T00:00:00"}') is None
