"""What to think of a clock, by the last run, by the certificates, and by monotonic time."""

from datetime import UTC, datetime, timedelta

import pytest

from certrotd.certs.policy import Attempts, Policy
from certrotd.certs.subject import CertificateFound
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.generation import Generation, Meta, Standing
from certrotd.scheduling.clock_trust import (
    SOUND,
    ClockTrust,
    Watch,
    from_json,
    jumped,
    to_json,
)
from tests.fakes.managed import FakeManaged

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
    [(4 * MINUTE, ClockTrust.SOUND), (6 * MINUTE, ClockTrust.WRONG), (365 * DAY, ClockTrust.WRONG)],
)
def test_a_clock_behind_the_last_run_is_wrong(back: timedelta, trust: ClockTrust) -> None:
    """Time does not go back; a few minutes are what time servers correct."""
    judged = Watch(NOW, 0.0).judge(NOW - back, 0.0)
    assert judged.trust is trust
    assert bool(judged.why) is (trust is ClockTrust.WRONG)


@pytest.mark.parametrize("last_run", ["0001-01-01T00:00+00:00", "0001-01-01T00:00+23:59"])
def test_a_last_run_at_the_beginning_of_all_time_says_nothing(last_run: str) -> None:
    """Somebody wrote it there; nothing can be reckoned back from it."""
    read = from_json(b'{"version": 1, "last_run": "%s"}' % last_run.encode())
    assert read is not None
    assert Watch(read, 0.0).judge(NOW, 0.0) == SOUND
    assert Watch(read, 0.0).told(NOW, NOW, 0.0).trusted == NOW


@pytest.mark.parametrize("ahead", [timedelta(hours=23), 2 * DAY, 365 * DAY])
def test_a_clock_ahead_of_the_last_run_is_sound_until_a_ca_says_otherwise(ahead: timedelta) -> None:
    """The machine may have rested: nobody here can tell, and the CA does before an order."""
    assert Watch(NOW, 0.0).judge(NOW + ahead, 0.0) == SOUND


def test_time_that_passed_while_it_ran_is_no_leap() -> None:
    """The control: a tick that comes late after a busy day doubts nothing."""
    assert Watch(NOW, 0.0).judge(NOW + 9 * DAY, 9 * 86400.0).trust is ClockTrust.SOUND


def test_only_a_sound_clock_is_remembered() -> None:
    """Else a clock that was wrong once would stop orders when it is right again."""
    watch = Watch(NOW, 0.0)
    assert watch.passed(NOW + MINUTE, 60.0).trusted == NOW + MINUTE
    assert watch.passed(NOW + 365 * DAY, 60.0) == watch  # nobody has confirmed that
    assert watch.passed(NOW - DAY, 60.0) == watch
    assert watch.passed(NOW - MINUTE, 60.0).trusted == NOW


def test_the_first_run_believes_the_clock() -> None:
    """There is nothing to compare it with."""
    assert Watch(None, 0.0).judge(NOW, 0.0).trust is ClockTrust.SOUND


def test_a_clock_behind_a_certificate_is_wrong() -> None:
    """The state directory may be lost; what a CA issued is still there."""
    watch = Watch(None, 0.0).seen(NOW)
    judged = watch.judge(NOW - DAY, 0.0)
    assert judged.trust is ClockTrust.WRONG
    assert "before a certificate that a CA has issued (2026-06-01 00:00Z)" in judged.why
    assert watch.judge(NOW, 0.0).trust is ClockTrust.SOUND


def test_a_ca_confirms_a_clock_that_has_leapt() -> None:
    """After a month's rest the first answer says that it was a month."""
    now = NOW + 30 * DAY
    watch = Watch(NOW, 0.0).told(now - MINUTE, now, 0.0)
    assert watch.judge(now, 0.0) == SOUND
    assert watch.passed(now + MINUTE, 60.0).trusted == now + MINUTE


@pytest.mark.parametrize(
    ("off", "words"),
    [
        (30 * DAY, "the clock is 30 days ahead of the CA's"),
        (-30 * DAY, "which is before the CA's time (2026-06-01 00:00Z)"),
    ],
)
@pytest.mark.parametrize("last_run", [None, NOW - 90 * DAY])
def test_a_ca_corrects_a_clock_that_is_days_off(
    off: timedelta, words: str, last_run: datetime | None
) -> None:
    """Also on the first run; and it is over as soon as the clock is right."""
    watch = Watch(last_run, 0.0).told(NOW, NOW + off, 0.0)
    judged = watch.judge(NOW + off, 0.0)
    assert judged.trust is ClockTrust.WRONG
    assert words in judged.why
    assert watch.passed(NOW + off, 60.0) == watch
    right = NOW + MINUTE
    assert watch.judge(right, 60.0) == SOUND
    assert watch.passed(right, 60.0) == Watch(right, 60.0)


def test_a_ca_within_a_day_does_not_clear_a_clock_that_is_behind() -> None:
    """It ran already at a later time."""
    watch = Watch(NOW, 0.0)
    assert watch.told(NOW, NOW - timedelta(hours=20), 0.0) == watch


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
    managed = FakeManaged(Policy("web", ("a.test",), "ca", ""), *[None] * 5)  # type: ignore[arg-type]
    passed = CertificateFound(managed, Standing(generation), Attempts(), None).passed
    assert passed == expected
    assert Watch(None, 0.0).seen(passed).earliest == expected


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
