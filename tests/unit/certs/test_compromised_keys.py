"""A key that others may know: it and all that has it is revoked, and never used again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from certrotd.certs.revoking_by_hand import foreseen
from certrotd.errors import Transient
from certrotd.pki.facts import facts_of
from certrotd.pki.keys import PrivateKey, key_digest, load, signing_request
from certrotd.pki.request import digest, read_request, to_pem
from certrotd.pki.revocation import RevocationRefused
from certrotd.rotation.engine import Finished, Parked, RolledBack
from tests.builders import DAY, NOW
from tests.fakes.chance import Refused
from tests.model import scenarios
from tests.unit.certs.revoked import ENTRY, KEY, case, known
from tests.unit.certs.rotating import Case


def test_every_generation_with_a_compromised_key_is_revoked() -> None:
    """A key is not known to others in one certificate alone."""
    found = case(reuse_key=True)
    found.rotate(forced=True)
    assert found.live == 3
    report = found.rotator().revoke(found.world.managed(), 2, "keyCompromise")
    assert isinstance(report.outcome, Finished)
    assert (found.live, sorted(known(found))) == (4, [2, 3])
    assert len(found.world.issuer.revoked) == 2


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("trouble", [Transient("no answer"), OSError(5, "Input/output error")])
def test_a_generation_that_cannot_be_read_may_have_the_compromised_key(
    at_once: bool, trouble: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not revoked without being known, and whoever asks hears of it before and after."""
    found = case(reuse_key=True)
    found.rotate(forced=True)
    store = found.world.store
    read = store.read

    def unreadable(name: str, number: int) -> tuple[bytes, bytes]:
        if number == 2:
            raise trouble
        return read(name, number)

    monkeypatch.setattr(store, "read", unreadable)
    managed, now = found.world.managed(), found.clock.now()
    effects = foreseen(managed, 3, "keyCompromise", at_once=at_once, now=now).effects
    assert "whether generation 2 has the same key is not known" in " ".join(effects)
    report = found.rotator().revoke(managed, 3, "keyCompromise", now=at_once)
    assert isinstance(report.outcome, Finished)
    assert (found.live, sorted(known(found))) == (4, [3])
    assert report.failure is not None
    assert "whether generation 2 has the same key is not known" in str(report.failure)
    assert "--generation N --reason keyCompromise" in (report.failure.hint or "")


@pytest.mark.parametrize(
    "answer", [RevocationRefused("unknown"), Transient("away")], ids=["refused", "away"]
)
def test_another_with_the_same_key_keeps_no_revocation_away(answer: Exception) -> None:
    """Of one that is in doubt the CA says no, or nothing: the one that was named is revoked."""
    found = case(reuse_key=True)
    found.rotate(forced=True)
    older, asked = found.world.managed().generation(2).facts, []
    assert older is not None

    def ask(certificate: Any, *_how: object) -> bool:
        asked.append(certificate)
        if facts_of(certificate).fingerprint == older.fingerprint:
            raise answer
        return found.world.issuer.revoke(certificate)

    found.world.otherwise["revoker"] = lambda _meta: ask
    report = found.rotator().revoke(found.world.managed(), 3, "keyCompromise", now=True)
    assert not report.failed
    assert (found.live, len(asked)) == (4, 2)
    assert known(found)[3].done
    assert known(found)[2].why == str(answer)


def test_it_says_before_that_the_live_one_has_the_same_key() -> None:
    """Whoever names an earlier generation must know what happens to what is served."""
    found = case(reuse_key=True)
    found.rotate(forced=True)
    managed, now = found.world.managed(), found.clock.now()
    for at_once, words in ((False, "is live: it is replaced first"), (True, "revoked BEFORE")):
        effects = foreseen(managed, 2, "keyCompromise", at_once=at_once, now=now).effects
        assert effects[2] == "generation 3 with the same key: revoked as well"
        assert effects[3].startswith("generation 3 is live")
        assert words in effects[3]
    effects = foreseen(managed, 2, "superseded", at_once=False, now=now).effects
    assert effects[2:] == ("generation 3 is live and stays; whoever has a copy of 2 fails",)


def request_of(key: PrivateKey, *names: str) -> bytes:
    return to_pem(read_request(signing_request(key, names), what="csr"))


@pytest.fixture
def keyless() -> tuple[Case, list[bytes]]:
    """Generation 2 has the request of a key that is elsewhere; the last of the list is in the file.

    That one is another request of the same key.
    """
    found = case(elsewhere=True, names=("example.test", "*.example.test"))
    shelf, names = found.world.store.shelves[scenarios.NAME], found.world.policy.names
    key = load(found.world.store.read(scenarios.NAME, 2)[0])
    its = request_of(key, *names)
    asked = tuple(
        (n, replace(pair, key=its) if n == 2 else pair, replace(meta, request=digest(its)))
        for n, pair, meta in shelf.generations
    )
    found.world.store.shelves[scenarios.NAME] = replace(shelf, generations=asked)
    csr = [request_of(key, *reversed(names))]
    assert csr != [its]
    found.world.otherwise["request"] = lambda: csr[-1]
    return found, csr


def test_the_request_of_a_compromised_key_is_not_ordered_again(
    keyless: tuple[Case, list[bytes]],
) -> None:
    """Of a key that is elsewhere, certrotd cannot make another."""
    found, csr = keyless
    orders = len(found.world.issuer.orders)
    report = found.rotator().revoke(found.world.managed(), 2, "keyCompromise")
    assert "is still that of the key that is compromised" in str(report.failure)
    assert (found.live, found.world.issuer.revoked) == (2, [])
    assert len(found.world.issuer.orders) == orders
    csr.append(request_of(KEY, *found.world.policy.names))
    assert found.rotator().revoke(found.world.managed(), 2, "keyCompromise").failed is False
    assert (found.live, known(found)[2].done) == (3, found.clock.now())


def test_a_request_of_a_compromised_key_is_not_ordered_after_it_was_revoked_at_once(
    keyless: tuple[Case, list[bytes]],
) -> None:
    """Nor by itself later: the new certificate would be for the key that others know."""
    found, csr = keyless
    orders = len(found.world.issuer.orders)
    told = found.rotator().revoke(found.world.managed(), 2, "keyCompromise", now=True)
    assert known(found)[2].done is not None
    assert isinstance(told.outcome, RolledBack)
    assert "is still that of the key that is compromised" in told.outcome.because
    again = found.rotate(after=DAY).outcome
    assert isinstance(again, RolledBack)
    assert len(found.world.issuer.orders) == orders
    csr.append(request_of(KEY, *found.world.policy.names))
    assert isinstance(found.rotate(after=DAY).outcome, Finished)
    assert found.live == 3


def test_a_compromised_key_is_known_when_its_generations_are_gone(
    keyless: tuple[Case, list[bytes]],
) -> None:
    """Its certificate has ended, and another one was revoked since: others have the key still."""
    found, csr = keyless
    csr.append(request_of(KEY, *found.world.policy.names))
    assert found.rotator().revoke(found.world.managed(), 2, "keyCompromise").failed is False
    assert isinstance(found.rotate(after=100 * DAY).outcome, Finished)
    assert found.rotator().revoke(found.world.managed(), 4, "superseded").failed is False
    assert set(known(found)) == {2, 4}
    numbers = [number for number, *_ in found.world.store.shelf(scenarios.NAME).generations]
    assert 2 not in numbers
    csr.pop()
    refused = found.rotate(forced=True).outcome
    assert isinstance(refused, RolledBack)
    assert "is still that of the key that is compromised" in refused.because


@pytest.mark.parametrize("waits_for", ["issuer: finalize", "store: seal"])
def test_a_renewal_that_waits_does_not_put_a_compromised_key_in_place(waits_for: str) -> None:
    """It has staged the key that it keeps, before anybody knew that others have it."""
    found = case(reuse_key=True)
    found.trouble.refuse[waits_for] = 2
    assert isinstance(found.rotate(forced=True).outcome, Parked)
    told = found.rotator().revoke(found.world.managed(), 2, "keyCompromise", now=True)
    assert isinstance(told.recovered, Parked)
    assert known(found)[2].done
    given_up = found.rotate(after=DAY, by_hand=True).recovered
    assert isinstance(given_up, RolledBack)
    assert "its key is that of generation 2" in given_up.because
    found.rotate(after=DAY, by_hand=True)
    assert found.live == 3
    store = found.world.store
    assert store.read(scenarios.NAME, 2)[0] != store.read(scenarios.NAME, 3)[0]


def test_a_compromised_key_is_not_kept_for_another_certificate() -> None:
    """Also where the live generation with that key could not be told to have it."""
    found = case(reuse_key=True)
    found.rotate(forced=True)
    store = found.world.store
    old = store.read(scenarios.NAME, 3)[0]
    assert old == store.read(scenarios.NAME, 2)[0]
    entry = replace(ENTRY, reason="keyCompromise", key=key_digest(load(old).public_key()))
    state = store.look(scenarios.NAME).state
    store.record(scenarios.NAME, replace(state, revoked={2: replace(entry, done=NOW)}))
    assert isinstance(found.rotate(forced=True).outcome, Finished)
    assert store.read(scenarios.NAME, 4)[0] != old


@pytest.mark.parametrize("nth", range(1, 7))
def test_a_store_that_does_not_say_whether_the_key_is_known_costs_no_certificate(nth: int) -> None:
    """The CA has issued it, and it counts: the rotation waits, and goes on with the same order."""
    found = case(reuse_key=True)
    found.trouble.refuse["issuer: finalize"] = 1
    assert isinstance(found.rotate(forced=True).outcome, Parked)
    orders, looks = len(found.world.issuer.orders), []

    def look_once(what: str) -> None:
        found.trouble.log.append(what)
        looks.extend([what] if what == "store: look at the store" else [])
        if len(looks) == nth and what == "store: look at the store":
            raise Refused(what)

    found.trouble._ask = look_once  # type: ignore[method-assign]
    found.rotate(after=DAY, by_hand=True)
    assert len(looks) >= nth
    for _ in range(2):
        found.rotate(after=DAY, by_hand=True)
    assert (found.live, len(found.world.issuer.orders)) == (3, orders)
