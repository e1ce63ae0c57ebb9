"""The page of one certificate."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certrotd.certs.findings import FindingKind
from certrotd.certs.managed import attempts_of
from certrotd.certs.policy import id_of
from certrotd.lifecycle.finding import Finding, Watched
from certrotd.pki.generation import PLACEHOLDER, Generation, TargetState
from certrotd.rotation.flight import Flight
from tests.fakes.subjects import view_of
from tests.unit.daemon.http.page import page
from tests.unit.daemon.http.stand import DAY, NOW, PRINT, Stand, generation


def test_a_certificate_has_its_page(stand: Stand) -> None:
    """What it is, who serves it, what became of its rotations, and what the watcher sees."""
    stand.add(
        "web",
        "a.example.com",
        "b.example.com",
        live=generation("a.example.com", "b.example.com"),
        targets={
            "nginx": TargetState(3, PRINT, NOW - DAY),
            "mail": TargetState(2, "cd" * 32, NOW),
            "ldap": None,
        },
    )
    stand.past("web", "nobody answers")
    stand.past("web")
    stand.look()
    seen = Watched(
        "target", "127.0.0.1:443", NOW, "a.example.com", id_of("web"), "nginx", NOW + DAY
    )
    stand.board.watched(seen)
    other = Finding(FindingKind.EXPIRED, "somebody else's")
    stand.board.watched(Watched("endpoint", "192.0.2.1:443", NOW, findings=(other,)))
    stand.board.watched(
        Watched(
            "files",
            "web",
            NOW,
            about=id_of("web"),
            findings=(Finding(FindingKind.COPIES_DIFFER, "copies differ"),),
        )
    )
    read = page(stand, "/certificate/web")
    for words in (
        "a.example.com b.example.com",
        "ecdsa-p256",
        "c0ffee",
        PRINT,
        "Test CA",
        "2026-08-20 12:00Z",
        "Renewal 2026-07-21 12:00Z two thirds of its lifetime",
        "nginx serves it 3",
        "mail generation 2 2",
        "ldap not deployed yet – – –",
        "cdcdcdcdcdcdcdcd…",
        "60 minutes ago finished 2 minutes its time has come",
        "rolled back to issued 2 minutes its time has come prove: nobody answers",
        "127.0.0.1:443 a.example.com ok in 24 hours",
        "copies differ",
    ):
        assert words in read.text, words
    assert "somebody else's" not in read.text
    assert read.text.index("finished") < read.text.index("rolled back")  # the newest first


def test_a_placeholder_is_not_shown_as_a_certificate(stand: Stand) -> None:
    """Its dates and its fingerprint would be read as those of one."""
    live = generation("a.example.com")
    assert live.meta is not None
    meta = replace(live.meta, origin=PLACEHOLDER, authority="")
    stand.add("web", "a.example.com", live=replace(live, meta=meta))
    stand.look()
    for read in (page(stand, "/certificate/web"), page(stand, "/")):
        assert "placeholder" in read.text
        assert "no certificate" in read.text
        assert PRINT not in read.text
        assert "left" not in read.text


def test_a_certificate_without_anything_has_its_page_too(stand: Stand) -> None:
    """Not yet issued, without targets or history."""
    stand.add("web", "a.example.com")
    stand.look()
    read = page(stand, "/certificate/web")
    assert "no certificate" in read.text
    assert "It has no targets" in read.text
    assert "It was not rotated yet." in read.text
    broken = Generation(3, None, None, "the key is missing")
    stand.add("web", "a.example.com", live=broken)
    stand.look()
    assert "broken" in page(stand, "/certificate/web").text


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"began": "nonsense"}, "60 minutes ago rolled back to issued –"),
        ({"ended": "2026-06-01T11:00:00"}, "– rolled back to issued –"),
        ({"began": (NOW + DAY).isoformat()}, "rolled back to issued –"),
        ({"began": (NOW - timedelta(hours=1)).isoformat()}, "issued under a second"),
    ],
)
def test_a_strange_line_of_history_is_shown_as_far_as_it_goes(
    stand: Stand, more: dict[str, str], words: str
) -> None:
    """Another version wrote it, or a clock that was set back meanwhile."""
    stand.fine("web")
    stand.look()
    stand.past("web", "no", **more)
    assert words in page(stand, "/certificate/web").text


def test_a_rotation_that_rests_is_shown_with_its_step_and_until_when(stand: Stand) -> None:
    """Parked is not forgotten: where, since when, why, how often, and when it goes on."""
    managed = stand.fine("web")
    stand.look()
    standing, attempts = managed.look(), attempts_of(managed)
    flight = Flight("obtain", NOW - DAY, "the CA is busy", NOW + DAY, tries=2)
    for rests, words in (
        (flight, "In flight obtain since 24 hours ago ; 2 attempts failed; continues in 24 hours"),
        (
            replace(flight, until=None, undoing=True, tries=1),
            "undoing obtain since 24 hours ago ; 1 attempt failed; continues with the next check",
        ),
    ):
        stand.board.looked(view_of(managed, standing, attempts, now=NOW, flight=rests))
        read = page(stand, "/certificate/web").text
        assert words in read
        assert "the CA is busy" in read


def test_the_rule_behind_the_state_is_on_the_page(stand: Stand) -> None:
    """By the code that `certrotd plan --explain` lists."""
    stand.fine("web")
    stand.look()
    assert "Rule not_due" in page(stand, "/certificate/web").text
