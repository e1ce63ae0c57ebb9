"""What a daemon is told of changes in a cluster, without asking for them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from certrotd.errors import Transient
from certrotd.files.disktrouble import DiskTrouble
from certrotd.kube.api import SECRETS, Expired
from certrotd.kube.names import object_name
from certrotd.kube.watch import Watched
from tests.integration.cluster_home import BEGIN, RULES, SUBJECT, SUMMARY, Home
from tests.parts.kubernetes import ControlPlane
from tests.parts.kubernetes.lossy import LossyWay
from tests.parts.process import wait_until


@pytest.fixture
def home(control_plane: ControlPlane) -> Home:
    """In a server that is not harmed."""
    return Home.made(control_plane)


class TestWatch:
    """What other processes do is told by the API server, without a question each time."""

    def test_nothing_is_asked_while_nothing_happens(self, home: Home) -> None:
        """The daemon looks every second, and the API server has others to answer, too."""
        state = home.state()
        state.journal(SUBJECT).append(BEGIN, sync=True)
        changes = [state.changes(kind) for kind in ("certificate", "key")]
        for each in changes:
            each.subjects()
            each.woken()
        with _calls(home) as calls:
            for _ in range(20):
                for each in changes:
                    assert each.subjects() == each.woken() == frozenset()
                assert state.in_flight() == {SUBJECT}
                assert state.flying(SUBJECT)
        assert calls == []

    def test_a_watch_that_is_over_goes_on(self, home: Home) -> None:
        """The server ends each after a minute; what happened in between is told."""
        objects = home.objects("record")
        watched = Watched(objects, 0, lasts=1)
        assert watched.look() == {}
        for number in range(3):
            time.sleep(1.2)  # the server has ended it by then, or is about to
            home.state().journal(f"certificate/c{number}").append(BEGIN, sync=True)
            wait_until(lambda: len(watched.look()) == number + 1)  # noqa: B023

    def test_one_that_begins_too_long_ago_begins_anew(self, home: Home) -> None:
        """The API server says 410, at once or as an event: all is listed then."""
        home.state().journal(SUBJECT).append(BEGIN, sync=True)
        watched = Watched(home.objects("record"), 0)
        watched.following._since = "1"  # which a server that has just begun still has
        wait_until(lambda: set(watched.look()) == {SUBJECT})
        home.state().journal("certificate/www").append(BEGIN, sync=True)
        watched.following.take(
            b'{"type": "ADDED", "object": {"metadata": {"resourceVersion": "7"}}}'
        )
        with pytest.raises(Expired):
            watched.following.take(
                b'{"type": "ERROR", "object": {"code": 410, "message": "too old"}}'
            )
        wait_until(lambda: len(watched.look()) == 2)

    def test_what_is_removed_is_gone(self, home: Home) -> None:
        """By somebody's hand."""
        home.state().journal(SUBJECT).append(BEGIN, sync=True)
        watched = Watched(home.objects("record"), 0)
        assert set(watched.look()) == {SUBJECT}
        path = SECRETS.path(home.namespace, object_name("certrotd-record", SUBJECT))
        home.plane.api.delete(path)
        wait_until(lambda: not watched.look())

    def test_one_that_hangs_is_begun_anew(self, home: Home) -> None:
        """Nobody cuts the connection, and nothing comes on it any more."""
        with LossyWay(("127.0.0.1", int(home.plane.url.rpartition(":")[2]))) as way:
            api = home.api(server=f"https://127.0.0.1:{way.port}", timeout=2.0)
            objects = replace(home.objects("record"), api=api)
            watched = Watched(objects, 0, lasts=2)
            assert watched.look() == {}
            way.hold_answers()
            home.state().journal(SUBJECT).append(BEGIN, sync=True)
            time.sleep(0.5)
            assert watched.look() == {}, "the control: it hangs"
            watched.following._end = 0.0  # ten seconds later
            with pytest.raises(DiskTrouble):
                watched.look()
            way.pass_answers()
            wait_until(lambda: _told(watched) == {SUBJECT})

    @pytest.mark.parametrize(
        "line",
        [b"{", b"[]", b"null", b'{"type": "ADDED"}', b'{"type": "ADDED", "object": 3}', b"<html>"],
    )
    def test_what_is_no_event_ends_it(self, home: Home, line: bytes) -> None:
        """A proxy's page, or half an answer."""
        with pytest.raises(Transient, match="no event of a watch"):
            Watched(home.objects("record"), 0).following.take(line)

    def test_an_account_that_may_not_watch_is_told_so(self, home: Home) -> None:
        """And is not asked again for a while."""
        home.plane.allow(home.namespace, "certrotd", *RULES[1:])
        watched = Watched(home.objects("record"), 3600)
        with _calls(home) as calls:
            for _ in range(3):
                with pytest.raises(DiskTrouble, match="watch secrets in"):
                    watched.look()
        assert len(calls) == 1


def _told(watched: Watched) -> set[str]:
    try:
        return set(watched.look())
    except DiskTrouble:
        return set()


@contextmanager
def _calls(home: Home) -> Iterator[list[str]]:
    """What the account asks of the API server meanwhile, by the server's own log."""
    who = f"system:serviceaccount:{home.namespace}:certrotd"

    def asked() -> list[str]:
        lines = map(json.loads, home.plane.audit_log.read_text().splitlines())
        return [f"{x['verb']} {x['requestURI']}" for x in lines if x["user"].get("username") == who]

    before, found = len(asked()), list[str]()
    yield found
    found += asked()[before:]


def test_what_another_has_written_meanwhile_is_read(home: Home) -> None:
    """Whoever has the lock again knows what was there, unless somebody has had it since."""
    state, other = home.state(), home.state("pod b")
    for each, number in ((state, 0), (other, 1), (state, 2), (state, 3)):
        with each.lock(SUBJECT, "certificate web"):
            journal = each.journal(SUBJECT)
            assert len(journal.records()) == number
            journal.append({**BEGIN, "n": number}, sync=True)


def test_what_was_changed_by_hand_is_read_once_the_watch_has_told_of_it(home: Home) -> None:
    """A record was restored from a backup, or removed."""
    state = home.state()
    changes = state.changes("certificate")
    changes.subjects()
    with state.lock(SUBJECT, "certificate web"):
        state.journal(SUBJECT).append(BEGIN, sync=True)
    wait_until(lambda: SUBJECT in changes.subjects(), what="the watch tells of it")
    name = object_name("certrotd-record", SUBJECT)
    home.plane.api.delete(SECRETS.path(home.namespace, name))
    wait_until(lambda: SUBJECT in changes.subjects(), what="the watch tells that it is gone")
    with state.lock(SUBJECT, "certificate web"):
        assert state.journal(SUBJECT).records() == []


def test_a_rotation_takes_few_calls(home: Home) -> None:
    """A lock is had in two or one, let go in one, and each durable record is one.

    What a process left when it had the lock last, is so still if it alone has had it since.
    """
    state = home.state()
    with state.lock("warm", "nothing"):  # the server's clock, and the format
        pass
    for had, made in ((("get", "create", "get"), "create"), (("update",), "update")):
        with _calls(home) as calls, state.lock(SUBJECT, "certificate web") as lease:
            journal = state.journal(SUBJECT)
            lease.check()
            assert journal.records() == []
            journal.append(BEGIN, sync=True)
            journal.append({"t": "done", "i": 0}, sync=True)
            journal.close(SUMMARY)
            assert journal.history.last() is not None
        assert state.journal(SUBJECT).history.last() is not None
        assert [each.split("?")[0].split()[0] for each in calls] == [
            *had,
            *(made, "update", "update"),
            "update",
        ]
