"""Findings: each is worth waking up for, says what is wrong, and none is missed."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.certs.findings import FindingKind
from certrotd.certs.fitness import renewal_time
from certrotd.certs.policy import Policy, id_of
from certrotd.certs.watching import (
    Expected,
    OnDisk,
    judge_endpoint,
    judge_files,
    judge_target,
    notice_of,
    settle,
)
from certrotd.id import Id
from certrotd.lifecycle.finding import EarlierLooks, Finding, FindingSeverity, Watched
from certrotd.observe.chain import Presented
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.generation import ForeignChange, Generation, Meta

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NAME = "a.example.test"
POLICY = Policy("web", (NAME,), "ca", "memory", jitter=0.0)
LIFETIMES = st.integers(1, 400 * 24).map(lambda hours: timedelta(hours=hours))
SHARES = st.floats(0.001, 0.999)


def leaf(
    left: timedelta = 60 * DAY,
    *,
    lifetime: timedelta = 90 * DAY,
    names: Sequence[str] = (NAME,),
    subject: str = "leaf",
    fingerprint: str = "1" * 64,
) -> CertificateFacts:
    """A certificate that has so much left of its lifetime."""
    end = NOW + left
    return CertificateFacts(
        tuple(names), "ecdsa-p256", subject, "CA", "1", end - lifetime, end, fingerprint, False
    )


CA = leaf(900 * DAY, lifetime=1800 * DAY, names=(), subject="intermediate", fingerprint="ca")


def generation(
    facts: CertificateFacts | None, broken: str | None = None, *, draw: float = 0.0
) -> Generation:
    """A live generation."""
    meta = Meta(NOW, "issued", "ca", "memory", draw, asked=(NAME,))
    return Generation(1, meta, facts, broken)


def kinds(findings: Sequence[Finding]) -> list[str]:
    """What they are about."""
    return [each.kind for each in findings]


def seen(*chain: CertificateFacts, broken: str = "", trusted: bool = False) -> Presented:
    """What an endpoint showed."""
    return Presented(chain, broken, trusted)


def endpoint(presented: Presented, wanted: Expected | None = None) -> list[Finding]:
    """The findings about an endpoint."""
    return list(judge_endpoint(presented, wanted or Expected((NAME,)), now=NOW))


class TestEndpoint:
    """What an address serves."""

    def test_a_sound_endpoint_has_no_finding(self) -> None:
        """Silence is what makes a finding heard."""
        assert endpoint(seen(leaf(), CA, trusted=True)) == []
        assert endpoint(seen(leaf(), CA)) == []

    def test_an_unreadable_leaf_is_a_mismatch_too(self) -> None:
        """Whoever serves it is not who should be there."""
        odd = Presented((), unreadable="certificate 1 of 1 is garbage", digest="5" * 64)
        unreadable, mismatch = FindingKind.UNREADABLE, FindingKind.SERVED_MISMATCH
        assert kinds(endpoint(odd)) == [unreadable]
        assert kinds(endpoint(odd, Expected((NAME,), id_of("web"), "6" * 64))) == [
            mismatch,
            unreadable,
        ]
        first, _ = endpoint(odd, Expected((NAME,), id_of("web"), "6" * 64))
        assert first.words.startswith("it serves certificate 5555555555555555 (which cannot be")
        assert kinds(endpoint(odd, Expected((NAME,), id_of("web"), "5" * 64))) == [unreadable]

    def test_a_leaf_is_judged_whatever_cannot_be_read_above_it(self) -> None:
        """Of two faults there are two findings."""
        odd = Presented((leaf(-DAY),), unreadable="certificate 2 of 2 is garbage")
        assert kinds(endpoint(odd)) == [FindingKind.EXPIRED, FindingKind.UNREADABLE]

    @pytest.mark.parametrize(
        ("left", "expected"),
        [
            (timedelta(0), [FindingKind.EXPIRED]),
            (-DAY, [FindingKind.EXPIRED]),
            (timedelta(seconds=1), [FindingKind.EXPIRING]),
            (14 * DAY, [FindingKind.EXPIRING]),
            (14 * DAY + timedelta(seconds=1), []),
            (90 * DAY + timedelta(minutes=5), []),
            (90 * DAY + timedelta(minutes=6), [FindingKind.NOT_YET_VALID]),
        ],
    )
    def test_dates(self, left: timedelta, expected: list[str]) -> None:
        """At the very second, and with some skew where a certificate is brand-new."""
        assert kinds(endpoint(seen(leaf(left)))) == expected

    def test_half_of_the_notice_away_from_its_end_it_is_an_error(self) -> None:
        """First in the morning's report, then at night."""
        [early] = endpoint(seen(leaf(8 * DAY)))
        [late] = endpoint(seen(leaf(7 * DAY)))
        assert (early.severity, late.severity) == (FindingSeverity.WARNING, FindingSeverity.ERROR)
        assert late.words == "it expires at 2026-06-08 00:00:00Z"

    @pytest.mark.parametrize(
        ("names", "wanted", "expected"),
        [
            ((NAME,), (NAME,), []),
            (("*.example.test",), (NAME,), []),
            (("*.example.test",), ("example.test",), [FindingKind.WRONG_NAME]),
            (("192.0.2.1",), ("192.0.2.1",), []),
            ((), (NAME,), [FindingKind.WRONG_NAME]),
            ((NAME,), (NAME, "b.example.test"), [FindingKind.WRONG_NAME]),
        ],
    )
    def test_names(
        self, names: tuple[str, ...], wanted: tuple[str, ...], expected: list[str]
    ) -> None:
        """As clients match them."""
        assert kinds(endpoint(seen(leaf(names=names)), Expected(wanted))) == expected

    def test_a_thousand_names_are_not_a_thousand_words(self) -> None:
        """A line of a log is read by people."""
        many = tuple(f"n{number}.example.test" for number in range(1000))
        [finding] = endpoint(seen(leaf(names=many)))
        assert finding.words.startswith("it is for n0.example.test, ")
        assert finding.words.endswith(f"and 995 more, not for {NAME}")
        [none] = endpoint(seen(leaf(names=())))
        assert none.words == f"it is for no name at all, not for {NAME}"

    def test_a_mismatch_names_the_served_and_the_live_certificate(self) -> None:
        """Whoever reads it can tell which one is where."""
        wanted = Expected((NAME,), id_of("web"), live="2" * 64)
        [finding] = endpoint(seen(leaf()), wanted)
        assert finding.kind is FindingKind.SERVED_MISMATCH
        assert finding.words == (
            "it serves certificate 1111111111111111 (until 2026-07-31 00:00:00Z), "
            "not the live generation of web, 2222222222222222"
        )
        assert endpoint(seen(leaf()), replace(wanted, live="1" * 64)) == []

    def test_an_untrusted_chain_is_reported_as_found(self) -> None:
        """OpenSSL's words are what people search for."""
        [finding] = endpoint(seen(leaf(), broken="the chain is not trusted: no issuer"))
        assert finding == Finding(FindingKind.BROKEN_CHAIN, "the chain is not trusted: no issuer")

    def test_a_chain_that_only_some_clients_refuse_is_a_warning(self) -> None:
        """It works for most; whoever it fails for should find out here."""
        doubtful = replace(seen(leaf(), CA), doubtful="some clients refuse it")
        for presented in (doubtful, replace(doubtful, trusted=True)):
            [finding] = endpoint(presented)
            assert finding == Finding(
                FindingKind.BROKEN_CHAIN, "some clients refuse it", FindingSeverity.WARNING
            )
        assert judge_target(doubtful, Expected((NAME,), id_of("web"), "1" * 64), now=NOW) == ()

    def test_an_expired_certificate_above_breaks_the_chain_unless_it_verifies(self) -> None:
        """Clients that find another way up do not mind a cross-signed one of yesteryear."""
        old = leaf(-DAY, lifetime=1800 * DAY, subject="old root")
        [finding] = endpoint(seen(leaf(), CA, old))
        assert finding.words == "old root above the leaf: it expired at 2026-05-31 00:00:00Z"
        assert endpoint(seen(leaf(), CA, old, trusted=True)) == []

    def test_a_leaf_without_those_it_was_issued_with_breaks_the_chain(self) -> None:
        """Configured with cert.pem for fullchain.pem: browsers heal it, programs do not."""
        wanted = Expected((NAME,), id_of("web"), live="1" * 64, chained=True)
        assert kinds(endpoint(seen(leaf()), wanted)) == [FindingKind.BROKEN_CHAIN]
        assert endpoint(seen(leaf(), CA), wanted) == []
        assert endpoint(seen(leaf()), replace(wanted, chained=False)) == []
        assert endpoint(seen(leaf(), trusted=True), wanted) == []

    def test_all_findings_of_an_endpoint_are_reported(self) -> None:
        """Mending one and then learning of the next takes a day."""
        presented = seen(leaf(-DAY, names=("b.test",)), broken="torn")
        wanted = Expected((NAME,), id_of("web"), live="2" * 64)
        assert set(kinds(endpoint(presented, wanted))) == {
            FindingKind.SERVED_MISMATCH,
            FindingKind.EXPIRED,
            FindingKind.WRONG_NAME,
            FindingKind.BROKEN_CHAIN,
        }


class TestTarget:
    """What a target serves of ours."""

    def test_a_targets_live_leaf_does_not_repeat_the_findings_of_the_files(self) -> None:
        """One certificate at its end on ten endpoints is one finding."""
        wanted = Expected((NAME,), id_of("web"), live="1" * 64)
        ending = leaf(DAY, names=("b.test",))
        assert judge_target(seen(ending, CA), wanted, now=NOW) == ()
        assert kinds(judge_target(seen(ending, broken="torn"), wanted, now=NOW)) == [
            FindingKind.BROKEN_CHAIN
        ]

    def test_another_leaf_is_reported_with_all_its_findings(self) -> None:
        """Nobody else looks at it."""
        other = leaf(DAY, fingerprint="3" * 64)
        wanted = Expected((NAME,), id_of("web"), live="1" * 64)
        found = kinds(judge_target(seen(other), wanted, now=NOW))
        assert found == [FindingKind.SERVED_MISMATCH, FindingKind.EXPIRING]
        unproven = judge_target(seen(other), replace(wanted, live=None), now=NOW)
        assert kinds(unproven) == [FindingKind.EXPIRING]


class TestFiles:
    """What is on disk."""

    def judged(self, kept: OnDisk, policy: Policy = POLICY) -> list[Finding]:
        """The findings about files."""
        return list(judge_files(kept, policy, now=NOW))

    def kept(self, facts: CertificateFacts, *above: CertificateFacts, **more: bool) -> OnDisk:
        """A certificate that could be read."""
        return OnDisk(generation(facts), (facts, *above), copies=more.get("copies"))

    def test_sound_files_have_no_finding(self) -> None:
        """With copies that are right, and where there are none."""
        for copies in (True, None):
            assert self.judged(OnDisk(generation(leaf()), (leaf(), CA), copies=copies)) == []

    @pytest.mark.parametrize(
        ("left", "expected"),
        [
            (-DAY, ("expired", "error")),
            (7 * DAY, ("expiring", "error")),
            (15 * DAY, ("expiring", "warning")),
            (16 * DAY, None),
            (30 * DAY, None),
            (91 * DAY, ("not_yet_valid", "error")),
        ],
    )
    def test_a_missing_renewal_is_reported_when_half_of_its_time_is_gone(
        self, left: timedelta, expected: tuple[str, str] | None
    ) -> None:
        """The renewer may be what is broken; at 2/3 of 90 days it has thirty."""
        found = self.judged(self.kept(leaf(left)))
        assert [(each.kind, each.severity) for each in found] == ([expected] if expected else [])

    def test_an_expiry_warning_says_since_when_the_renewal_is_due(self) -> None:
        """So nobody takes it for a certificate that is renewed by hand."""
        [finding] = self.judged(self.kept(leaf(15 * DAY)))
        assert finding.words == (
            "it expires at 2026-06-16 00:00:00Z, its renewal is due since 2026-05-17 00:00:00Z"
        )

    @given(LIFETIMES, st.floats(0, 0.999999), st.floats(0, 0.5))
    def test_a_certificate_is_not_reported_before_its_renewal_is_due(
        self, lifetime: timedelta, draw: float, jitter: float
    ) -> None:
        """Of six days as of a year: else every short-lived one were always warned of."""
        policy = replace(POLICY, jitter=jitter)
        facts = leaf(lifetime, lifetime=lifetime)
        live = generation(facts, draw=draw)
        due, _ = renewal_time(facts, draw, policy)
        assert judge_files(OnDisk(live, (facts,)), policy, now=due) == ()
        almost = facts.not_after - timedelta(seconds=1)
        assert kinds(judge_files(OnDisk(live, (facts,)), policy, now=almost)) == [
            FindingKind.EXPIRING
        ]

    def test_a_generation_without_its_memory_is_judged_too(self) -> None:
        """A meta.json that is gone takes nothing from the dates."""
        facts = leaf(DAY)
        assert kinds(self.judged(OnDisk(Generation(1, None, facts), (facts,)))) == [
            FindingKind.EXPIRING
        ]

    def test_names_must_be_there_as_such(self) -> None:
        """As it was ordered: a wildcard does not stand in for a name."""
        assert kinds(self.judged(self.kept(leaf(names=("*.example.test",))))) == [
            FindingKind.WRONG_NAME
        ]
        assert self.judged(self.kept(leaf(names=(NAME, "more.example.test")))) == []

    def test_an_expired_certificate_above_breaks_the_chain(self) -> None:
        """Every link counts (DST Root X3)."""
        old = leaf(-DAY, lifetime=1800 * DAY, subject="intermediate")
        assert kinds(self.judged(self.kept(leaf(), old))) == [FindingKind.BROKEN_CHAIN]

    def test_copies_that_differ_are_reported(self) -> None:
        """They are what applications read."""
        assert kinds(self.judged(self.kept(leaf(), copies=False))) == [FindingKind.COPIES_DIFFER]

    def test_what_somebody_else_put_there_is_reported(self) -> None:
        """A warning while it can be used, an error once certrotd has given up."""
        found = {}
        for broken in (False, True):
            kept = replace(self.kept(leaf()), foreign=ForeignChange("another pair", broken))
            [finding] = self.judged(kept)
            assert finding.kind is FindingKind.FOREIGN_CHANGE
            found[finding.severity] = finding.words
        assert found == {
            FindingSeverity.WARNING: "another pair; it stays until the next renewal, or "
            f"certrotd rotate {POLICY.name} --force",
            FindingSeverity.ERROR: "another pair",
        }

    def test_a_key_that_others_may_use_is_a_warning(self) -> None:
        """It serves as well as ever: nobody else would notice."""
        kept = replace(self.kept(leaf()), exposed=("a (chmod 600 a)", "b (chmod 600 b)"))
        [finding] = self.judged(kept)
        assert (finding.kind, finding.severity) == (
            FindingKind.KEY_EXPOSED,
            FindingSeverity.WARNING,
        )
        assert finding.words == "a (chmod 600 a); b (chmod 600 b)"

    def test_an_unreadable_generation_is_reported_with_the_other_findings(self) -> None:
        """A generation without facts has no dates."""
        wrong = (Finding(FindingKind.KEY_MISMATCH, "another's key"),)
        assert self.judged(OnDisk(generation(None, "broken"), (leaf(),), wrong)) == list(wrong)

    def test_no_generation_at_all_is_a_warning_unless_nobody_wants_one(self) -> None:
        """One that is disabled may well not be there; why it cannot be read is said in any case."""
        [finding] = self.judged(OnDisk())
        assert (finding.kind, finding.severity) == (FindingKind.MISSING, FindingSeverity.WARNING)
        assert self.judged(OnDisk(), replace(POLICY, enabled=False)) == []
        wrong = (Finding(FindingKind.UNREADABLE, "no right"),)
        assert self.judged(OnDisk(wrong=wrong)) == list(wrong)


class TestNotice:
    """How long before the end to warn."""

    @pytest.mark.parametrize(
        ("days", "notice", "expected"),
        [
            (90, None, 14),
            (40, None, 10),
            (6, None, 1.5),
            (90, 21 * DAY, 21),
            (6, 14 * DAY, 2),
            (6, 0.5, 3),
            (365, 0.1, 36.5),
        ],
    )
    def test_the_notice_fits_the_lifetime(
        self, days: int, notice: timedelta | float | None, expected: float
    ) -> None:
        """Fourteen days are more than all of six."""
        assert notice_of(leaf(lifetime=days * DAY), notice) == expected * DAY

    @given(LIFETIMES, st.one_of(st.none(), LIFETIMES))
    def test_a_certificate_that_is_renewed_in_time_is_never_warned_of(
        self, lifetime: timedelta, notice: timedelta | None
    ) -> None:
        """Renewal comes at two thirds at the latest, whatever span somebody wrote."""
        facts = leaf(lifetime / 3 + timedelta(seconds=1), lifetime=lifetime)
        assert endpoint(seen(facts), Expected((NAME,), notice=notice)) == []

    @given(LIFETIMES, st.one_of(st.none(), LIFETIMES, SHARES))
    def test_a_certificate_about_to_expire_always_has_some_notice(
        self, lifetime: timedelta, notice: timedelta | float | None
    ) -> None:
        """There is always some notice, and the last of it is an error."""
        span = notice_of(leaf(lifetime=lifetime), notice)
        assert timedelta(0) < span < lifetime
        [first] = endpoint(seen(leaf(span, lifetime=lifetime)), Expected((NAME,), notice=notice))
        [last] = endpoint(
            seen(leaf(timedelta(microseconds=1), lifetime=lifetime)),
            Expected((NAME,), notice=notice),
        )
        assert (first.severity, last.severity) == (FindingSeverity.WARNING, FindingSeverity.ERROR)


WEB = id_of("web")
EXPIRED = Finding(FindingKind.EXPIRED, "it expired")
MISMATCH = Finding(FindingKind.SERVED_MISMATCH, "it serves another")
AWAY = Finding(FindingKind.UNREACHABLE, "nobody there")
NAMES = Finding(FindingKind.WRONG_NAME, "it is for another")


def of(*findings: Finding, certificate: Id | None = WEB) -> Watched:
    """A look at an endpoint."""
    return Watched("endpoint", "192.0.2.1:443", NOW, NAME, certificate, findings=findings)


class TestSettle:
    """When a finding is told."""

    def told(
        self, *looks: Sequence[Finding], after: int = 3, moving: Sequence[int] = ()
    ) -> list[list[str]]:
        """What is told after each of the looks, of which those numbered are in a rotation."""
        held, came = EarlierLooks(), []
        for number, findings in enumerate(looks):
            settled = settle(of(*findings), held, after=after, moving=number in moving)
            held = settled.held
            came.append(kinds(settled.watched.findings))
        return came

    def test_a_lasting_finding_is_reported_at_once(self) -> None:
        """An expired certificate will not be younger in a minute."""
        assert self.told([EXPIRED]) == [["expired"]]

    @pytest.mark.parametrize("finding", [MISMATCH, AWAY, NAMES])
    def test_a_passing_finding_is_reported_when_it_stays(self, finding: Finding) -> None:
        """A reload takes a moment, and a network hiccups."""
        kind = finding.kind
        assert self.told([finding], [finding], [finding], [finding]) == [[], [], [kind], [kind]]
        assert self.told([finding], [finding], [], [finding], [finding]) == [[]] * 5
        assert self.told([finding], after=1) == [[kind]]

    def test_a_wrong_name_of_a_foreign_certificate_is_reported_at_once(self) -> None:
        """No rotation of ours explains it."""
        settled = settle(of(NAMES, certificate=None), EarlierLooks(), after=3, moving=False)
        assert settled.watched.findings == (NAMES,)

    def test_the_end_of_a_finding_is_reported_at_once(self) -> None:
        """One good look is enough."""
        assert self.told([AWAY], [], after=1) == [["unreachable"], []]

    def test_a_rotation_in_flight_explains_a_mismatch_and_no_expiry(self) -> None:
        """However long it takes; what it does not explain is told."""
        looks = [[MISMATCH, EXPIRED]] * 5
        assert self.told(*looks, after=1, moving=range(5)) == [["expired"]] * 5

    def test_a_reported_finding_stays_reported_during_a_rotation(self) -> None:
        """Else every retry of a failing deployment would say that all is well."""
        looks = [[MISMATCH], [MISMATCH], [], [MISMATCH], []]
        came = self.told(*looks, after=2, moving=[2])
        assert came == [[], ["served_mismatch"], ["served_mismatch"], ["served_mismatch"], []]

    def test_an_unsure_check_is_repeated_soon(self) -> None:
        """Three times an hour apart would be three hours."""
        for findings, moving, unsure in [
            ((), False, False),
            ((EXPIRED,), False, False),
            ((EXPIRED, AWAY), False, True),
            ((), True, True),
        ]:
            assert (
                settle(of(*findings), EarlierLooks(), after=3, moving=moving).watched.unsure
                is unsure
            )
        sure = EarlierLooks({FindingKind.UNREACHABLE: 2})
        assert not settle(of(AWAY), sure, after=3, moving=False).watched.unsure

    @given(st.lists(st.lists(st.sampled_from([EXPIRED, MISMATCH, AWAY, NAMES]), unique=True)))
    def test_a_finding_is_reported_after_enough_equal_checks(
        self, before: list[list[Finding]]
    ) -> None:
        """Whatever was seen earlier."""
        last = [EXPIRED, MISMATCH, AWAY]
        assert self.told(*before, last, last, last)[-1] == kinds(last)
        assert self.told(*before, [])[-1] == []


@pytest.mark.parametrize(
    ("watched", "key"),
    [
        (Watched("files", "web", NOW, about=id_of("web")), "files of certificate/web"),
        (of(), f"192.0.2.1:443 ({NAME})"),
        (
            Watched("target", "192.0.2.1:443", NOW, NAME, id_of("web"), "nginx"),
            f"web on nginx at 192.0.2.1:443 ({NAME})",
        ),
    ],
)
def test_every_look_has_a_key_that_people_understand(watched: Watched, key: str) -> None:
    """It is in the log, in alerts and in metrics."""
    assert watched.key == key
