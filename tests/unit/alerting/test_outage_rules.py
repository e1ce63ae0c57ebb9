"""A CA that fails several certificates is one alert, which lists them."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from certrotd.alerting.outage_rules import SHOWN, Outages, of_outage
from certrotd.alerting.rotation_rules import of_report
from certrotd.certs.policy import id_of
from certrotd.id import Id
from certrotd.lifecycle.alert import Alert, AlertEvent, Resolved, rotation_key
from certrotd.lifecycle.report import Report
from certrotd.rotation.engine import Finished, Outcome, RolledBack

A, B, C = map(id_of, "abc")
AWAY = RolledBack("", "order", "cannot connect to ca.example.test")


def said(subject: Id, outcome: Outcome = AWAY) -> list[AlertEvent]:
    """What a rotation says by itself."""
    return of_report(Report(subject, outcome=outcome), "id-1", let_go=False)


def fails(outages: Outages, subject: Id, issuer: str = "le") -> list[str]:
    """The keys of what is said when the CA fails a rotation; those of ends in brackets."""
    return keys(outages.fold(subject, issuer, said(subject)))


def keys(found: Iterable[AlertEvent]) -> list[str]:
    """The keys of alerts, and of ends in brackets; the audit log is another matter."""
    shown = (each.key if isinstance(each, Alert) else f"({each.key})" for each in found)
    return [key for key in shown if key != "(audit)"]


def test_one_certificate_that_its_ca_fails_has_an_alert_of_its_own() -> None:
    """The order may be what is wrong."""
    outages = Outages()
    assert fails(outages, A) == ["rotation/certificate/a"]
    assert fails(outages, A) == ["rotation/certificate/a"]


def test_the_second_certificate_turns_both_into_one_alert_and_later_ones_join_it() -> None:
    """Nobody reads two hundred messages about one CA."""
    outages = Outages()
    fails(outages, A)
    one = ["service/le", "(rotation/certificate/a)", "(rotation/certificate/b)"]
    assert fails(outages, B) == one
    assert fails(outages, C) == ["service/le", "(rotation/certificate/c)"]
    assert fails(outages, A) == ["service/le", "(rotation/certificate/a)"]
    assert outages.failing == {"le": (A, B, C)}


def test_two_cas_are_two_matters() -> None:
    """One that fails says nothing of another."""
    outages = Outages()
    fails(outages, A, "le")
    assert fails(outages, B, "other") == ["rotation/certificate/b"]


def test_a_failure_of_the_certificates_own_stays_its_own_during_an_outage() -> None:
    """A broken zone is not mended by the CA; and it counts with the CA's no more."""
    outages = Outages({"le": [A, B]})
    assert keys(outages.fold(C, None, said(C))) == ["rotation/certificate/c"]
    assert keys(outages.fold(B, None, said(B))) == ["rotation/certificate/b"]
    assert outages.failing == {"le": (A,)}


def test_a_deployment_that_fails_is_never_put_down_to_the_ca() -> None:
    """Even where the CA failed before it in the same rotation."""
    outages = Outages({"le": [A, B]})
    undone = RolledBack("issued", "prove", "it serves another certificate")
    assert keys(outages.fold(C, "le", said(C, undone))) == ["rotation/certificate/c"]


def test_the_outage_is_over_when_the_ca_issues_one_certificate() -> None:
    """The others come when it is their turn."""
    outages = Outages({"le": [A, B]})
    assert keys(outages.answered("le")) == ["(service/le)"]
    assert outages.failing == {}
    assert fails(outages, A) == ["rotation/certificate/a"]


def test_the_outage_is_over_when_no_certificate_fails_any_more() -> None:
    """Somebody rotated them by hand, or took them out of the configuration."""
    outages = Outages({"le": [A, B]})
    assert keys(outages.fold(A, None, said(A, Finished({}))))[0] == "(rotation/certificate/a)"
    assert fails(outages, B) == [
        "service/le",
        "(rotation/certificate/b)",
    ]  # the last one is in it still
    assert keys(outages.keep({A})) == ["(service/le)"]


def test_a_certificate_of_another_issuer_leaves_the_outage_of_the_one_before() -> None:
    """The configuration was changed because of it."""
    outages = Outages({"le": [A]})
    assert fails(outages, A, "other") == ["(service/le)", "rotation/certificate/a"]
    assert outages.failing == {"other": (A,)}


def test_the_alert_lists_the_first_certificates_and_counts_the_rest() -> None:
    """A message is read on a phone."""
    many = [id_of(f"n{number}") for number in range(SHOWN + 7)]
    alert = of_outage("le", many, "cannot connect")
    assert alert.title == "le fails the rotations of 12 certificates"
    assert "certificate/n0, certificate/n1" in alert.what
    assert alert.what.endswith("certificate/n4 and 7 more. The last reason: cannot connect.")
    assert "more" not in of_outage("le", many[:SHOWN], "no").what


def test_the_alert_changes_with_the_size_of_the_outage_not_with_every_certificate() -> None:
    """Twelve certificates are told of like eleven, and unlike two."""
    likeness = {n: of_outage("le", [id_of(f"n{i}") for i in range(n)], f"why {n}").likeness
                for n in (2, 3, 11, 12, 100, 1000)}  # fmt: skip
    assert likeness[2] == likeness[3] != likeness[11] == likeness[12]
    assert len(set(likeness.values())) == 4


EVENTS = st.one_of(
    st.tuples(st.just("ca"), st.sampled_from((A, B, C)), st.sampled_from(("le", "other"))),
    st.tuples(st.just("own"), st.sampled_from((A, B, C)), st.just("")),
    st.tuples(st.just("done"), st.sampled_from((A, B, C)), st.just("")),
    st.tuples(st.just("issued"), st.just(A), st.sampled_from(("le", "other"))),
    st.tuples(st.just("restart"), st.just(A), st.just("")),
)


@given(st.lists(EVENTS, max_size=30))
def test_every_failing_certificate_is_told_of_exactly_once(
    events: list[tuple[str, Id, str]],
) -> None:
    """By an alert of its own or by its CA's, whatever happens in whatever order."""
    outages, open_, alone = Outages(), set[str](), set[Id]()
    for what, subject, issuer in events:
        if what == "issued":
            found = outages.answered(issuer)
        elif what == "restart":
            outages, found = Outages(outages.failing), []
        else:
            outcome = Finished({}) if what == "done" else AWAY
            found = outages.fold(subject, issuer or None, said(subject, outcome))
            alone -= {subject}
            alone |= {subject} if what == "own" else set()
        for each in found:
            if isinstance(each, Resolved):
                open_.discard(each.key)
            else:
                open_.add(each.key)
        members = outages.failing
        assert sum(map(len, members.values())) == len({s for ids in members.values() for s in ids})
        for name, ids in members.items():
            own = [each for each in ids if rotation_key(each) in open_]
            if f"service/{name}" in open_:
                assert len(own) <= (1 if len(ids) == 1 else 0)
            else:
                assert own == list(ids)
                assert len(ids) == 1
        assert {f"service/{name}" for name in members} >= {
            key for key in open_ if key.startswith("service/")
        }
        assert all(rotation_key(each) in open_ for each in alone)
