"""How one certificate is shaped for people and programs."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certrotd.certs.details import target_words
from certrotd.errors import Failure
from certrotd.lifecycle.inventory import look_at_all
from certrotd.lifecycle.view import STATES, View
from certrotd.pki.generation import Generation, TargetState
from tests.fakes.subjects import subject_of
from tests.unit.daemon.http.stand import DAY, NOW, PRINT, Stand, generation

HOST = "web.example.com"


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """An empty one."""
    return Stand(tmp_path)


def status_of(stand: Stand, *, flying: bool = False) -> dict[str, Any]:
    """The only certificate as a listing shows it."""
    [view] = views(stand, flying=flying)
    return view.to_json()


def views(stand: Stand, *, flying: bool = False) -> list[View]:
    """All certificates as a listing looks at them."""
    subjects = [subject_of(each) for each in stand.certificates.values()]
    return list(look_at_all(subjects, now=NOW, in_flight=lambda _name: flying))


def test_a_certificate_is_listed_with_all_its_keys(stand: Stand) -> None:
    """Scripts read these keys from the command line and from the daemon alike."""
    proven = {"nginx": TargetState(3, PRINT, NOW), "mail": TargetState(2, "", NOW), "ldap": None}
    stand.add("web", HOST, live=generation(HOST), targets=proven)
    found = status_of(stand)
    targets = found.pop("targets")
    assert found == {
        "kind": "certificate",
        "name": "web",
        "names": [HOST],
        "revocations": {},
        "state": "due",
        "decision": "deploy",
        "reason": "in place, not yet proven on mail, ldap",
        "reason_code": "behind",
        "planned": NOW,
        "next_check": NOW,
        "generation": 3,
        "newest_generation": 3,
        "not_before": NOW - 10 * DAY,
        "not_after": NOW + 80 * DAY,
        "issuer": "Test CA",
        "issuers": ["ca"],
        "issued_by": "ca",
        "issued_instead": None,
        "key_type": "ecdsa-p256",
        "fingerprint": PRINT,
        "in_flight": None,
        "held": None,
        "failures": 0,
        "last_failure": None,
        "remark": None,
    }
    assert [(each["name"], each["current"], target_words(each)) for each in targets] == [
        ("nginx", True, "ok"),
        ("mail", False, "generation 2, no probe"),
        ("ldap", False, "not deployed yet"),
    ]
    assert (targets[0]["proven"], targets[1]["proven"]) == (NOW, None)


def test_a_missing_value_is_null(stand: Stand) -> None:
    """A script must not mistake an empty text for a date."""
    stand.add("web", HOST)
    found = status_of(stand)
    for key in ("generation", "not_before", "not_after", "issuer", "key_type", "fingerprint"):
        assert found[key] is None, key
    assert (found["state"], found["names"]) == ("missing", [HOST])


def test_a_failure_to_look_is_a_state(stand: Stand) -> None:
    """One unreadable certificate must not end the listing."""
    stand.add("web", HOST, live=Failure("the disk is gone"))
    found = status_of(stand)
    assert (found["state"], found["reason"]) == ("unreadable", "the disk is gone")
    assert (found["decision"], found["next_check"]) == (None, None)


def test_a_rotation_in_flight_outranks_what_it_works_on(stand: Stand) -> None:
    """What is being mended is not called broken."""
    stand.add("web", HOST)
    found = status_of(stand, flying=True)
    assert found["state"] == "in flight"
    assert found["in_flight"] is not None
    assert found["reason"].startswith("in flight: it is running")


def test_a_rotation_that_rests_says_at_which_step_since_when_and_why(stand: Stand) -> None:
    """Intercepted TLS, say: somebody is to mend it, and looks here first."""
    stand.add("web", HOST, live=generation(HOST, age=70 * DAY))
    fly(stand)
    found = status_of(stand, flying=True)
    assert found["in_flight"] == {
        "step": "obtain",
        "undoing": False,
        "since": NOW - DAY,
        "why": "it is not trusted",
        "until": None,
        "tries": 2,
    }
    assert (found["state"], found["failures"]) == ("in flight", 2)
    assert found["last_failure"] == "it is not trusted"
    assert found["reason"] == (
        "obtain: it is not trusted (in flight since 2026-05-31 12:00Z, failed 2 times)"
    )
    assert (found["not_after"], found["decision"]) == (NOW + 20 * DAY, "renew")


def test_a_rotation_in_flight_does_not_hide_that_what_is_served_has_expired(stand: Stand) -> None:
    """While it is tried for the 46th time, visitors are turned away."""
    stand.add("web", HOST, live=generation(HOST, age=91 * DAY))
    fly(stand)
    found = status_of(stand, flying=True)
    assert (found["state"], found["in_flight"]["step"]) == ("expired", "obtain")
    assert found["reason"].startswith("obtain: it is not trusted (in flight")


def fly(stand: Stand) -> None:
    """A rotation of the certificate that began a day ago, and failed twice at its first step."""
    journal = stand.certificates["web"].journal
    at = (NOW - DAY).isoformat()
    begin = {"t": "begin", "id": "r1", "at": at, "plan": [{"kind": "obtain", "intent": {}}]}
    journal.append(begin, sync=True)
    for _ in range(2):
        journal.append({"t": "try", "i": 0, "at": at}, sync=True)
        paused = {"t": "paused", "i": 0, "at": at, "why": "obtain: it is not trusted"}
        journal.append(paused, sync=True)


def test_every_other_state_has_its_word(stand: Stand) -> None:
    """All of them are in the list that says which one is the worst."""
    stand.add("a", HOST, live=Generation(3, None, None, "the key is missing"))
    stand.add("b", HOST, live=generation(HOST, age=91 * DAY))
    stand.add("c", HOST, live=generation(HOST), enabled=False)
    stand.add("d", HOST, live=generation(HOST))
    stand.add("e", HOST, live=generation(HOST, age=70 * DAY))
    stand.past("e", "no", ended=(NOW - timedelta(seconds=1)).isoformat())
    stand.add("f", HOST, live=generation(HOST, age=-DAY))
    stand.add("g", HOST, live=generation(HOST, age=timedelta(minutes=-4)))
    states = [view.state for view in views(stand)]
    assert states[:5] == ["broken", "expired", "disabled", "ok", "postponed"]
    assert states[5:] == ["not yet valid", "ok"], "after a clock that was ahead for a while"
    assert set(states) < set(STATES)


def test_a_target_with_another_generation_says_which() -> None:
    """Behind by one, or serving what nobody knows: the words differ."""
    target = {"name": "nginx", "current": False, "generation": 2, "serves": PRINT}
    assert target_words(target) == "generation 2"
    seen = {"endpoint": "127.0.0.1:443", "serves": "ab" * 32, "problem": None}
    assert target_words({**target, "endpoints": [seen]}) == "SERVES ANOTHER CERTIFICATE"


def test_an_endpoint_that_does_not_answer_serves_nothing_else() -> None:
    """Somebody would look for a wrong certificate where a service is down."""
    target = {"name": "nginx", "current": False, "generation": 2, "serves": PRINT}
    down = {"endpoint": "127.0.0.1:443", "serves": None, "problem": "Connection refused"}
    words = target_words({**target, "endpoints": [down]})
    assert words == "NOT SEEN: Connection refused"


def test_asking_a_target_without_endpoints_raises_no_alarm() -> None:
    """Nobody was asked: what is known of it stays what is said."""
    target = {"name": "mail", "current": False, "generation": 2, "serves": None, "endpoints": []}
    assert target_words(target) == "generation 2, no probe"
