"""Whether a client would trust a pair, told before any server has it."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certrotd.clock import SystemClock
from certrotd.errors import NeedsOperator, ProofFailed
from certrotd.observe.tls import Endpoint, TlsProber
from certrotd.observe.trial import refusal
from certrotd.observe.trust import checking
from tests.parts import pki

HOST = "a.example.test"
ROOT, OTHER = pki.make_root(), pki.make_root("another")
PAIR = pki.make_leaf(pki.make_intermediate(ROOT), HOST)
ENDPOINT = Endpoint("127.0.0.1", 1, HOST)


def refused(pair: pki.Pair, roots: Path, *, name: str = HOST) -> str | None:
    """Why, by these roots."""
    return refusal(pair.key_pem, pair.fullchain_pem, checking(str(roots)), name=name)


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    """The root above PAIR."""
    return ROOT.write(tmp_path, "root")[0]


def test_a_pair_below_the_roots_is_trusted(roots: Path) -> None:
    """On any curve, by RSA, and for an address."""
    assert refused(PAIR, roots) is None
    assert refused(pki.make_leaf(ROOT, "127.0.0.1"), roots, name="127.0.0.1") is None


def test_a_pair_below_other_roots_is_refused(tmp_path: Path) -> None:
    """In OpenSSL's words."""
    other = OTHER.write(tmp_path, "other")[0]
    assert "unable to get" in str(refused(PAIR, other))


def test_another_name_and_an_end_that_has_passed_are_refused(roots: Path) -> None:
    """As clients do."""
    assert "mismatch" in str(refused(PAIR, roots, name="b.example.test"))
    begun = datetime.now(UTC) - timedelta(hours=3)
    old = pki.make_leaf(ROOT, HOST, lifetime=timedelta(hours=1), not_before=begun)
    assert "expired" in str(refused(old, roots))


def test_a_handshake_that_fails_for_another_reason_is_nothing_against_the_pair(
    roots: Path,
) -> None:
    """A proof tells."""
    client = checking(str(roots))
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers("aRSA:!aNULL")
    assert refusal(PAIR.key_pem, PAIR.fullchain_pem, client, name=HOST) is None
    assert refusal(b"no key", b"no chain", checking(str(roots)), name=HOST) is None


def test_the_prober_vouches_where_roots_are_given(roots: Path, tmp_path: Path) -> None:
    """Without them whatever is served is taken."""
    prober, pair = TlsProber(SystemClock()), (PAIR.key_pem, PAIR.fullchain_pem)
    prober.vouch(ENDPOINT, *pair)
    with_roots = Endpoint("127.0.0.1", 1, HOST, roots=str(roots))
    prober.vouch(with_roots, *pair)
    other = OTHER.write(tmp_path, "other")[0]
    with pytest.raises(ProofFailed, match="would not be trusted with it, by the roots"):
        prober.vouch(Endpoint("127.0.0.1", 1, HOST, roots=str(other)), *pair)
    with pytest.raises(NeedsOperator, match="cannot be read"):
        prober.vouch(Endpoint("127.0.0.1", 1, HOST, roots=str(tmp_path / "none")), *pair)
