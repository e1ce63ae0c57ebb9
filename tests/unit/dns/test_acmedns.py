"""acme-dns has two places for a name and deletes nothing: what is sent there, and what is kept."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.clock import SystemClock
from certrotd.dns import acmedns
from certrotd.dns.acmedns import BLANK, AcmeDns, updates
from certrotd.dns.api import Reach
from certrotd.dns.records import TxtRecord, Unpublished
from certrotd.errors import Failure, NeedsOperator, Transient
from tests.builders import soon, state_folder
from tests.fakes.acme_dns import AcmeDnsServer
from tests.fakes.provider_api import Asked, PlayedApi, Reply, played
from tests.unit.notify.made import secret

CHALLENGE = "_acme-challenge.www.example.test"
A, B, C = (letter * 43 for letter in "abc")

values = st.sampled_from([A, B, C, BLANK])


@given(st.tuples(values, values), st.lists(st.sampled_from([A, B, C]), max_size=2, unique=True))
def test_a_wanted_value_is_there_after_every_update(
    places: tuple[str, str], wanted: list[str]
) -> None:
    """The CA may be looking at it; and in the end nothing else is there."""
    held = [*places]
    kept = set(wanted) & set(places)
    for value in updates(places, wanted):
        held = [held[1], value]
        assert kept <= set(held)
    assert set(held) - {BLANK} == set(wanted)


def test_places_that_nobody_knows_are_both_overwritten() -> None:
    """After a crash in the middle, or where another program used the account before."""
    assert updates(None, [A]) == (A, BLANK)
    assert updates(None, []) == (BLANK, BLANK)
    assert updates((BLANK, A), [A]) == ()  # the control: what is right costs no request


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> AcmeDnsServer:
    """Its seconds are short ones."""
    monkeypatch.setattr(acmedns, "SECOND", 0.1)
    return AcmeDnsServer("auth.test", second=0.1)


@pytest.fixture
def api(server: AcmeDnsServer) -> Iterator[PlayedApi]:
    with played(server.answer) as started:
        yield started


def solver(api: PlayedApi, directory: Path) -> AcmeDns:
    """One that registers accounts; each call is another process."""
    folder = state_folder(directory / "state", "solvers/own", SystemClock().now)
    return AcmeDns(Reach("the acme-dns server"), api.url, folder=folder)


def registered(api: PlayedApi, directory: Path, server: AcmeDnsServer) -> str:
    """Where the CNAME of CHALLENGE has to lead."""
    with pytest.raises(NeedsOperator):
        solver(api, directory).covers(CHALLENGE, deadline=soon())
    [account] = server.accounts.values()
    return str(account["fulldomain"])


def test_a_third_value_waits_for_the_first_two(
    api: PlayedApi, server: AcmeDnsServer, tmp_path: Path
) -> None:
    """A third one would overwrite what the CA is about to look at."""
    name = registered(api, tmp_path, server)
    for value in (A, B):
        solver(api, tmp_path).present(TxtRecord(name, value), deadline=soon())
    with pytest.raises(Transient, match="in use by other orders") as caught:
        solver(api, tmp_path).present(TxtRecord(name, C), deadline=soon())
    assert server.txt(name) == {A, B}
    [kept] = (tmp_path / "state/solvers/own").glob("places-*")
    assert str(kept) in caught.value.hint, "a state that was restored may know of orders long over"
    solver(api, tmp_path).withdraw(TxtRecord(name, A), deadline=soon())
    solver(api, tmp_path).present(TxtRecord(name, C), deadline=soon())
    assert server.txt(name) == {B, C}


def test_a_value_that_nobody_withdraws_does_not_keep_its_place_for_ever(
    api: PlayedApi, server: AcmeDnsServer, tmp_path: Path
) -> None:
    """A state that was restored knows of an order long over: a wildcard would never be issued."""
    name = registered(api, tmp_path, server)
    for value in (A, B):
        solver(api, tmp_path).present(TxtRecord(name, value), deadline=soon())
    [places] = (tmp_path / "state/solvers/own").glob("places-*")
    for days in (6, 8):
        kept = json.loads(places.read_text())
        kept["wanted"][A] = time.time() - days * 86400
        places.write_text(json.dumps(kept))
        if days == 6:
            with pytest.raises(Transient, match="in use by other orders"):
                solver(api, tmp_path).present(TxtRecord(name, C), deadline=soon())
    solver(api, tmp_path).present(TxtRecord(name, C), deadline=soon())
    assert server.txt(name) == {B, C}
    solver(api, tmp_path).withdraw(TxtRecord(name, A), deadline=soon())
    assert server.txt(name) == {B, C}


def test_two_values_of_one_second_are_both_there(
    api: PlayedApi, server: AcmeDnsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wildcard and its parent, at an account that is new: the first one would be overwritten."""
    name = registered(api, tmp_path, server)
    for value in (A, B):
        solver(api, tmp_path).present(TxtRecord(name, value), deadline=soon())
    assert server.txt(name) == {A, B}
    for value in (A, B):
        solver(api, tmp_path).withdraw(TxtRecord(name, value), deadline=soon())
    assert server.txt(name) == set()
    asked = len(api.asked)
    solver(api, tmp_path).present(TxtRecord(name, C), deadline=soon())
    assert len(api.asked) == asked + 1
    began = time.monotonic()
    monkeypatch.setattr(acmedns, "SECOND", 30.0)
    solver(api, tmp_path).withdraw(TxtRecord(name, C), deadline=soon())
    assert time.monotonic() - began < 25, "where nothing is wanted, any order will do"


def test_an_update_that_was_cut_off_is_made_good(
    api: PlayedApi, server: AcmeDnsServer, tmp_path: Path
) -> None:
    """The server took it, and its answer was lost: the next act does not trust what it knew."""
    name = registered(api, tmp_path, server)
    solver(api, tmp_path).present(TxtRecord(name, A), deadline=soon())

    def lost(asked: Asked) -> Reply:
        server.answer(asked)
        return Reply(502, b"<html>bad gateway")

    api.instead = lost
    with pytest.raises(Transient):
        solver(api, tmp_path).present(TxtRecord(name, B), deadline=soon())
    api.instead = None
    solver(api, tmp_path).present(TxtRecord(name, B), deadline=soon())
    assert server.txt(name) == {A, B}
    [places] = (tmp_path / "state/solvers/own").glob("places-*")
    places.write_text("{")  # and a damaged memory is like none
    solver(api, tmp_path).present(TxtRecord(name, A), deadline=soon())
    assert server.txt(name) == {A}


def test_a_value_that_the_server_refuses_takes_no_place(
    api: PlayedApi, server: AcmeDnsServer, tmp_path: Path
) -> None:
    """Nobody withdraws it: two of them would keep every later order waiting, for ever."""
    name = registered(api, tmp_path, server)
    api.instead = lambda _: Reply(401, {"error": "forbidden"})
    for value in (A, B):
        with pytest.raises(Unpublished):
            solver(api, tmp_path).present(TxtRecord(name, value), deadline=soon())
    api.instead = None
    solver(api, tmp_path).present(TxtRecord(name, C), deadline=soon())
    assert server.txt(name) == {C}
    api.instead = lambda _: Reply(401, {"error": "forbidden"})
    with pytest.raises(Unpublished):
        solver(api, tmp_path).withdraw(TxtRecord(name, C), deadline=soon())
    api.instead = None
    solver(api, tmp_path).withdraw(TxtRecord(name, C), deadline=soon())
    assert server.txt(name) == set()


def test_a_memory_of_more_values_than_places_is_damaged(
    api: PlayedApi, server: AcmeDnsServer, tmp_path: Path
) -> None:
    """No number of updates brings three values into two places."""
    name = registered(api, tmp_path, server)
    solver(api, tmp_path).present(TxtRecord(name, A), deadline=soon())
    [kept] = (tmp_path / "state/solvers/own").glob("places-*")
    kept.write_text(json.dumps({"places": [BLANK, A], "wanted": {A: 0, B: 0, C: 0}}))
    solver(api, tmp_path).withdraw(TxtRecord(name, A), deadline=soon())
    assert server.txt(name) == set()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("subdomain", "../../etc/cron.d/x"),
        ("subdomain", "other"),
        ("fulldomain", "x\x1b[2J.auth.test"),
        ("username", "a\r\nX-Api-Key: b"),
        ("password", ""),
    ],
    ids=["path", "other", "escape", "header", "empty"],
)
def test_a_hostile_registration_is_refused(
    key: str, value: str, api: PlayedApi, server: AcmeDnsServer, tmp_path: Path
) -> None:
    """It becomes the name of a file, a header, and a line in a terminal."""

    def hostile(asked: Asked) -> Reply:
        reply = server.answer(asked)
        return Reply(reply.status, {**reply.body, key: value})

    api.instead = hostile
    with pytest.raises(Transient, match="cannot be read"):
        solver(api, tmp_path).covers(CHALLENGE, deadline=soon())
    assert not list((tmp_path / "state").rglob("account-*"))


def test_an_account_that_is_damaged_is_reported(
    api: PlayedApi, server: AcmeDnsServer, tmp_path: Path
) -> None:
    """A new one in its place would need another CNAME, of which nobody knew."""
    name = registered(api, tmp_path, server)
    [kept] = (tmp_path / "state/solvers/own").glob("account-*")
    kept.write_text("[]")
    with pytest.raises(NeedsOperator, match="is not an account of acme-dns"):
        solver(api, tmp_path).covers(name, deadline=soon())
    with pytest.raises(NeedsOperator, match="is not an account of acme-dns"):
        solver(api, tmp_path).covers(CHALLENGE, deadline=soon())
    assert len(server.accounts) == 1


def test_accounts_of_others_are_used_and_none_is_registered(
    api: PlayedApi, server: AcmeDnsServer, tmp_path: Path
) -> None:
    """lego's file, by the domain; what is wrong in it is told without it."""
    name = registered(api, tmp_path, server)
    [account] = server.accounts.values()
    folder = state_folder(tmp_path / "new", "solvers/own", SystemClock().now)

    def given(text: str) -> AcmeDns:
        reference = secret(tmp_path / "accounts", text)
        return AcmeDns(Reach("the acme-dns server"), api.url, folder=folder, given=reference)

    lego = given(json.dumps({"www.example.test": {**account, "server_url": api.url}}))
    lego.covers(name, deadline=soon())
    lego.present(TxtRecord(name, A), deadline=soon())
    assert server.txt(name) == {A}
    with pytest.raises(NeedsOperator, match="is not delegated"):
        lego.covers("_acme-challenge.other.test", deadline=soon())
    assert len(server.accounts) == 1
    for text in ("[]", "{", json.dumps({"a.test": {**account, "password": 5, "username": "x y"}})):
        with pytest.raises(Failure) as caught:
            given(text).covers(name, deadline=soon())
        assert "accounts is not JSON of accounts" in caught.value.message
        assert str(account["password"]) not in str(caught.value)
