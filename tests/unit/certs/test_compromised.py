"""A key that others know is remembered for all certificates, and none of them is to have it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from certrotd.certs.compromised_keys import CompromisedKeys
from certrotd.certs.findings import FindingKind
from certrotd.pki.keys import KeyType, PrivateKey, generate, key_digest, load, signing_request
from certrotd.pki.request import digest, read_request, to_pem
from certrotd.rotation.engine import Finished, Parked, RolledBack
from certrotd.state.ports import Conflict
from tests.builders import DAY, NOW
from tests.fakes.state import MemoryState
from tests.model import scenarios
from tests.unit.certs.rotating import Case
from tests.unit.certs.watched import WatchedCertificate

OTHER = "generation 3 of other"
HAS_IT = f"that of {OTHER}"


def compromise(case: Case, key: PrivateKey) -> None:
    """Another certificate with that key is revoked."""
    case.world.compromised[key_digest(key.public_key())] = OTHER


def live_key(case: Case) -> PrivateKey:
    return load(case.world.store.read(scenarios.NAME, case.live or 0)[0])


def test_a_revocation_tells_what_all_certificates_ask() -> None:
    """Before the CA is asked; only a key that is compromised is remembered."""
    case = Case("rollback")
    key = key_digest(live_key(case).public_key())
    case.trouble.refuse = {"issuer: revoke": 9}
    case.rotator().revoke(case.world.managed(), 2, "superseded", now=True)
    assert case.world.compromised == {}
    case.rotator().revoke(case.world.managed(), 2, "keyCompromise", now=True)
    assert case.world.compromised == {key: f"generation 2 of {scenarios.NAME}"}


def test_a_key_that_another_certificate_was_revoked_for_is_not_kept() -> None:
    """A copy of a pair that was adopted twice, and rotates with reuse_key."""
    case = Case("rollback")
    case.policy(reuse_key=True)
    old = live_key(case)
    assert isinstance(case.rotate(forced=True).outcome, Finished)
    assert live_key(case).public_key() == old.public_key(), "the negative control"
    compromise(case, old)
    assert isinstance(case.rotate(forced=True).outcome, Finished)
    assert live_key(case).public_key() != old.public_key()


def test_a_request_of_such_a_key_is_not_ordered() -> None:
    """The appliances share one."""
    case, key = Case("renewal"), generate(KeyType.ECDSA_P256)
    csr = to_pem(read_request(signing_request(key, case.world.policy.names), what="csr"))
    case.policy(elsewhere=True, request=digest(csr))
    case.world.otherwise["request"] = lambda: csr
    compromise(case, key)
    refused = case.rotate().outcome
    assert isinstance(refused, RolledBack)
    assert HAS_IT in refused.because
    assert case.world.issuer.orders == []
    case.world.compromised.clear()
    assert isinstance(case.rotate(by_hand=True).outcome, Finished), "the negative control"


def test_a_pair_with_such_a_key_is_not_adopted() -> None:
    """A certificate with a key of its own is ordered instead."""
    for known in (False, True):
        case = Case("adoption")
        assert case.world.adoptable is not None
        there = load(case.world.adoptable[0])
        if known:
            compromise(case, there)
        assert isinstance(case.rotate().outcome, Finished)
        assert (live_key(case).public_key() != there.public_key()) is known
        assert len(case.world.issuer.orders) == known


def test_nothing_goes_back_to_such_a_key() -> None:
    """It was another certificate's that was revoked, so the generation has no mark."""
    case = Case("rollback")
    compromise(case, load(case.world.store.read(scenarios.NAME, 1)[0]))
    refused = case.rollback().outcome
    assert isinstance(refused, RolledBack)
    assert HAS_IT in refused.because
    assert case.live == 2


def test_a_renewal_that_waits_does_not_put_such_a_key_in_place() -> None:
    """It has staged the key that it keeps, before anybody knew that others have it."""
    case = Case("rollback")
    case.policy(reuse_key=True)
    case.trouble.refuse = {"store: seal": 1}
    assert isinstance(case.rotate(forced=True).outcome, Parked)
    compromise(case, live_key(case))
    given_up = case.rotate(after=DAY, by_hand=True).recovered
    assert isinstance(given_up, RolledBack)
    assert HAS_IT in given_up.because


def test_what_is_live_with_such_a_key_is_a_finding() -> None:
    """Whoever revoked the other certificate need not know of this one."""
    bench = WatchedCertificate()
    assert bench.found()["files"] == []
    key, _ = bench.world.store.read("web", bench.world.store.live("web") or 0)
    bench.world.compromised[key_digest(load(key).public_key())] = OTHER
    [finding] = bench.looks()["files"].watched.findings
    assert finding.kind == FindingKind.KEY_EXPOSED
    assert HAS_IT in finding.words
    assert "certrotd rotate web --force" in finding.todo
    bench.rotate()
    bench.serve()
    assert bench.found()["files"] == []


class TestMemory:
    """The document."""

    def test_it_outlives_the_process_and_the_certificate(self) -> None:
        """Two processes write to it, and neither forgets what the other one knows."""
        document, said = MemoryState().document("compromised"), list[str]()
        one, two = (CompromisedKeys(document, said.append) for _ in range(2))
        assert one.of("a") is None
        one.add("a", "generation 1 of web", now=NOW)
        two.add("b", "generation 2 of web", now=NOW)
        one.add("a", "generation 9 of web", now=NOW + timedelta(days=1))
        for each in (one, two, CompromisedKeys(document, said.append)):
            found = [each.of(key) for key in "abc"]
            assert found == ["generation 1 of web", "generation 2 of web", None]
        assert said == []

    @pytest.mark.parametrize(
        "text", [b"", b"[]", b'{"version": 2}', b'{"version": 1, "keys": [1]}']
    )
    def test_one_that_is_damaged_is_kept_aside_and_reported(self, text: bytes) -> None:
        """A person has to restore it."""
        document, said = MemoryState().document("compromised"), list[str]()
        document.write(text)
        keys = CompromisedKeys(document, said.append)
        assert keys.of("a") is None
        assert "restore it" in said[0]
        keys.add("a", "generation 1 of web", now=NOW)
        assert keys.of("a") == "generation 1 of web"

    def test_whoever_is_never_first_is_told(self) -> None:
        """Then nothing is revoked yet, and it is tried again."""
        state = MemoryState()
        state.conflicts = 1000
        keys = CompromisedKeys(state.document("compromised"), lambda _: None)
        with pytest.raises(Conflict):
            keys.add("a", "generation 1 of web", now=NOW)
