"""What every issuer must do, tried on the fake and on the built-in one; ACME CAs join in
tests/integration/test_acme.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certrotd.certs.ports import Issuer
from certrotd.clock import Clock, Deadline, ManualClock, SystemClock
from certrotd.errors import Failure, Transient
from certrotd.internal.issuer import InternalIssuer
from certrotd.pki import keys
from certrotd.pki.facts import parse_certificates
from certrotd.pki.order import Challenge, OrderGone, ValidationFailed
from certrotd.pki.path import doubts
from certrotd.pki.verify import NamesMissing, verify
from tests.fakes.issuer import MemoryIssuer, Point
from tests.unit.internal.made import ENTRY, context

_KEY = keys.generate(keys.KeyType.ECDSA_P256)
NAMES = ("contract.example.test", "*.contract.example.test")


@dataclass
class Subject:
    """An issuer under contract, and how its challenges become visible to it."""

    issuer: Issuer
    clock: Clock = field(default_factory=SystemClock)
    publish: Callable[[Sequence[Challenge]], None] = lambda challenges: None
    keeps_orders: bool = True
    checks_proofs: bool = True

    def deadline(self) -> Deadline:
        return Deadline(self.clock, 100)

    def obtain(self, names: Sequence[str], key: keys.PrivateKey) -> bytes:
        """From the order to the chain."""
        order = self.issuer.order(names, deadline=self.deadline())
        self.publish(order.challenges())
        order.validate()
        return order.finalize(keys.signing_request(key, names))


class IssuerContract:
    """The contract; a subclass gives the fixture ``subject``."""

    def test_what_is_issued_passes_the_checks_before_a_swap(self, subject: Subject) -> None:
        """The rotation verifies every bundle; an issuer whose output fails that is useless."""
        key = keys.generate(keys.KeyType.ECDSA_P256)
        chain = parse_certificates(subject.obtain(NAMES, key))
        verify(key, chain, NAMES, now=subject.clock.now())
        assert doubts(chain, now=subject.clock.now()) == ""
        with pytest.raises(Failure):
            verify(key, chain, ("other.example.test",), now=subject.clock.now())

    def test_an_rsa_key_is_certified_too(self, subject: Subject) -> None:
        """Some clients still need RSA."""
        key = keys.generate(keys.KeyType.RSA_2048)
        chain = parse_certificates(subject.obtain(NAMES[:1], key))
        verify(key, chain, NAMES[:1], now=subject.clock.now())
        assert doubts(chain, now=subject.clock.now()) == ""

    def test_the_chain_is_pem_alone_with_something_after_the_leaf(self, subject: Subject) -> None:
        """Files are cut from it: foreign text would land in them, and an empty chain.pem breaks
        servers."""
        pem = subject.obtain(NAMES[:1], keys.generate(keys.KeyType.ECDSA_P256))
        block = rb"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----\n"
        assert re.fullmatch(rb"(" + block + rb"){2,}", pem)

    def test_challenges_are_for_the_names_ordered_and_one_each(self, subject: Subject) -> None:
        """A record for a name nobody ordered would prove something to somebody else."""
        order = subject.issuer.order(NAMES, deadline=subject.deadline())
        challenges = order.challenges()
        if subject.checks_proofs:
            assert [each.name for each in challenges] == [
                "_acme-challenge.contract.example.test"
            ] * 2
            assert len({each.value for each in challenges}) == 2
            assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", each.value) for each in challenges)
            assert order.challenges() == challenges
        else:
            assert challenges == ()

    def test_nothing_is_left_to_prove_after_the_validation(self, subject: Subject) -> None:
        """A rotation resumed after it must not publish records again."""
        order = subject.issuer.order(NAMES[:1], deadline=subject.deadline())
        subject.publish(order.challenges())
        order.validate()
        assert order.challenges() == ()
        order.validate()
        if subject.keeps_orders:
            again = subject.issuer.resume(order.url, deadline=subject.deadline())
            assert again.challenges() == ()

    def test_an_order_resumed_after_issuance_gives_the_same_certificate(
        self, subject: Subject
    ) -> None:
        """A crash after finalization fetches what was issued instead of ordering again."""
        if not subject.keeps_orders:
            pytest.skip("this issuer keeps no orders")
        key = keys.generate(keys.KeyType.ECDSA_P256)
        order = subject.issuer.order(NAMES, deadline=subject.deadline())
        subject.publish(order.challenges())
        order.validate()
        request = keys.signing_request(key, NAMES)
        first = order.finalize(request)
        again = subject.issuer.resume(order.url, deadline=subject.deadline())
        assert again.url == order.url
        assert again.challenges() == ()
        assert parse_certificates(again.finalize(request))[0] == parse_certificates(first)[0]

    def test_a_pending_order_is_resumed_with_the_same_challenges(self, subject: Subject) -> None:
        """The records of before the crash are still the right ones."""
        if not subject.keeps_orders:
            pytest.skip("this issuer keeps no orders")
        order = subject.issuer.order(NAMES, deadline=subject.deadline())
        again = subject.issuer.resume(order.url, deadline=subject.deadline())
        assert set(again.challenges()) == set(order.challenges())

    @pytest.mark.parametrize("url", ["", "unknown"])
    def test_an_unknown_order_is_gone(self, subject: Subject, url: str) -> None:
        """Then the rotation orders anew; any other failure would stop it for good."""
        known = subject.issuer.order(NAMES[:1], deadline=subject.deadline()).url
        url = f"{known}0123" if url else url
        with pytest.raises(OrderGone):
            subject.issuer.resume(url, deadline=subject.deadline())

    def test_a_csr_for_other_names_is_refused(self, subject: Subject) -> None:
        """What was proven is what is certified."""
        order = subject.issuer.order(NAMES[:1], deadline=subject.deadline())
        subject.publish(order.challenges())
        order.validate()
        key = keys.generate(keys.KeyType.ECDSA_P256)
        with pytest.raises(Failure):
            order.finalize(keys.signing_request(key, ["other.example.test"]))

    def test_several_orders_go_on_at_once(self, subject: Subject) -> None:
        """A start with many certificates due uses one issuer from many threads."""

        def obtain(number: int) -> bytes:
            names = [f"n{number}.example.test"]
            key = keys.generate(keys.KeyType.ECDSA_P256)
            chain = parse_certificates(subject.obtain(names, key))
            verify(key, chain, names, now=subject.clock.now())
            return chain[0].public_bytes(Encoding.DER)

        with ThreadPoolExecutor(6) as pool:
            assert len(set(pool.map(obtain, range(12)))) == 12


class TestMemoryIssuer(IssuerContract):
    """The fake is held to the contract, so that what is tested with it holds for real ones."""

    @pytest.fixture
    def subject(self) -> Subject:
        seen: dict[str, set[str]] = {}

        def publish(challenges: Sequence[Challenge]) -> None:
            for each in challenges:
                seen.setdefault(each.name, set()).add(each.value)

        clock = ManualClock(datetime(2030, 1, 1, tzinfo=UTC))
        issuer = MemoryIssuer(clock.now, lookup=lambda name: seen.get(name, set()))
        return Subject(issuer, clock, publish)


class TestSwitches:
    """The fake's failures strike where they say."""

    def obtain(self, issuer: MemoryIssuer) -> bytes:
        clock = ManualClock(datetime(2030, 1, 1, tzinfo=UTC))
        return Subject(issuer, clock).obtain(NAMES, _KEY)

    @pytest.mark.parametrize("point", get_args(Point))
    def test_a_fault_strikes_once_and_the_next_try_goes_on(self, point: Point) -> None:
        """Crash tests switch one on, start over, and expect one certificate."""
        issuer = MemoryIssuer(SystemClock().now)
        issuer.faults[point] = Transient("struck")
        with pytest.raises(Transient, match="struck"):
            self.obtain(issuer)
        done = point in ("ordered", "validate", "validated", "finalize", "issued")
        assert len(issuer.orders) == int(done)
        assert len(issuer.issued) == int(point == "issued")
        assert self.obtain(issuer)

    def test_a_missing_record_makes_the_order_invalid(self) -> None:
        """The negative control of every test that publishes."""
        issuer = MemoryIssuer(SystemClock().now, lookup=lambda name: ())
        with pytest.raises(ValidationFailed):
            self.obtain(issuer)
        with pytest.raises(OrderGone):
            issuer.resume(issuer.orders[0].url, deadline=Deadline(SystemClock(), 1))

    def test_an_issuance_can_be_refused_and_orders_forgotten(self) -> None:
        """Both end in an order that is gone."""
        issuer = MemoryIssuer(SystemClock().now)
        issuer.refuse_issuance = True
        with pytest.raises(ValidationFailed):
            self.obtain(issuer)
        issuer.refuse_issuance = False
        self.obtain(issuer)
        issuer.forget()
        with pytest.raises(OrderGone):
            issuer.resume(issuer.orders[1].url, deadline=Deadline(SystemClock(), 1))

    def test_authorized_names_need_no_proof_and_others_can_be_certified(self) -> None:
        """A CA that reuses authorizations, and one that errs."""
        issuer = MemoryIssuer(SystemClock().now, lookup=lambda name: ())
        issuer.authorized = set(NAMES)
        issuer.other_names = ("other.example.test",)
        chain = parse_certificates(self.obtain(issuer))
        with pytest.raises(NamesMissing):
            verify(_KEY, chain, NAMES, now=SystemClock().now())


class TestInternalIssuer(IssuerContract):
    """The built-in CA."""

    @pytest.fixture
    def subject(self, tmp_path: Path) -> Subject:
        issuer = InternalIssuer(ENTRY, context(tmp_path))
        return Subject(issuer, keeps_orders=False, checks_proofs=False)
