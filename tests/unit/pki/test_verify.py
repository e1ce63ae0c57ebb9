"""Each thing that must hold before a certificate is used, and each way in which it may not."""

from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519

from certrotd.errors import InvalidInput
from certrotd.pki.keys import PrivateKey
from certrotd.pki.path import ChainBroken, verify_links
from certrotd.pki.verify import (
    CLOCK_SKEW,
    DatesImplausible,
    KeyMismatch,
    KeyTooWeak,
    NamesMissing,
    verify,
    verify_dates,
    verify_key,
    verify_names,
    verify_strength,
)
from tests.unit.pki.crafted import (
    NOW,
    SigningKey,
    certificate,
    chain_of_three,
    ec_key,
    rsa_key,
)

LEAF, MIDDLE, ROOT = chain_of_three()
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("chain", [[LEAF, MIDDLE], [LEAF, MIDDLE, ROOT], [LEAF]])
def test_a_good_bundle_passes(chain: Sequence[x509.Certificate]) -> None:
    """With or without its root, and alone where a private CA has no intermediate."""
    verify(ec_key(0), chain, ["example.test"], now=NOW)


NAMES = ["example.test"]
WEAK = [certificate("example.test", key=rsa_key(1024))]
WRONG: dict[str, tuple[type[InvalidInput], Callable[[], None]]] = {
    "nothing": (ChainBroken, lambda: verify(ec_key(), [], NAMES, now=NOW)),
    "key": (KeyMismatch, lambda: verify(ec_key(3), [LEAF, MIDDLE], NAMES, now=NOW)),
    "weak": (KeyTooWeak, lambda: verify(rsa_key(1024), WEAK, NAMES, now=NOW)),
    "names": (NamesMissing, lambda: verify(ec_key(), [LEAF, MIDDLE], ["a.test"], now=NOW)),
    "dates": (
        DatesImplausible,
        lambda: verify(ec_key(), [LEAF, MIDDLE], NAMES, now=NOW + timedelta(days=90)),
    ),
    "chain": (ChainBroken, lambda: verify(ec_key(), [LEAF, ROOT], NAMES, now=NOW)),
}


@pytest.mark.parametrize(("kind", "check"), WRONG.values(), ids=WRONG)
def test_every_fault_of_a_bundle_has_its_own_failure(
    kind: type[InvalidInput], check: Callable[[], None]
) -> None:
    """Whoever reads it must know what to put right, and code which it was."""
    with pytest.raises(InvalidInput) as refused:
        check()
    assert type(refused.value) is kind


def test_a_key_of_the_same_type_is_not_the_key() -> None:
    """New key beside old certificate is the classic outage (acme.sh #6621)."""
    verify_key(ec_key(0), LEAF)
    with pytest.raises(KeyMismatch, match="does not belong to certificate"):
        verify_key(ec_key(1), LEAF)
    with pytest.raises(KeyMismatch):
        verify_key(rsa_key(), LEAF)


@pytest.mark.parametrize(
    "key",
    [
        rsa_key(2048),
        ec_key(),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
)
def test_a_key_public_cas_accept_is_strong_enough(key: PrivateKey) -> None:
    """CA/Browser Forum baseline requirements §6.1.5."""
    verify_strength(certificate("a.test", key=key))


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (rsa_key(1024), "RSA key has 1024 bits"),
        (ec.generate_private_key(ec.SECP192R1()), "curve secp192r1 is too small"),
        (ed448.Ed448PrivateKey.generate(), "Ed448PublicKey"),
    ],
)
def test_a_weaker_or_stranger_key_is_refused(key: SigningKey, why: str) -> None:
    """Browsers refuse it, or do not know it."""
    with pytest.raises(KeyTooWeak, match=why):
        verify_strength(certificate("a.test", key=key))


def test_every_name_asked_for_must_be_there() -> None:
    """One that lacks is one site down."""
    both = certificate("a.test", "*.a.test", "extra.test")
    verify_names(both, ["*.a.test", "a.test"])
    with pytest.raises(
        NamesMissing, match=r"is for \*\.a\.test, a\.test, .* lacks b\.test, c\.test"
    ):
        verify_names(both, ["a.test", "b.test", "c.test"])


def test_a_wildcard_does_not_stand_in_for_a_name_that_was_asked_for() -> None:
    """What the configuration asks for is compared literally, or it would drift for ever."""
    with pytest.raises(NamesMissing):
        verify_names(certificate("*.a.test"), ["www.a.test"])
    with pytest.raises(NamesMissing, match="no name at all"):
        verify_names(certificate(subject="www.a.test"), ["www.a.test"])


@pytest.mark.parametrize(
    ("begins", "ends", "good"),
    [
        (-SECOND, SECOND, True),
        (-SECOND, timedelta(), False),
        (-timedelta(days=2), -SECOND, False),
        (CLOCK_SKEW, timedelta(days=1), True),
        (CLOCK_SKEW + SECOND, timedelta(days=1), False),
    ],
)
def test_a_certificate_is_in_date_to_the_second_with_a_little_skew(
    begins: timedelta, ends: timedelta, good: bool
) -> None:
    """Expired is expired; a clock that is behind by less than five minutes costs no order."""
    dated = certificate("a.test", not_before=NOW + begins, not_after=NOW + ends)
    if good:
        verify_dates([dated], now=NOW)
        return
    with pytest.raises(DatesImplausible, match=r"expired at|not valid before") as refused:
        verify_dates([dated], now=NOW)
    assert refused.value.hint == "this machine's clock says 2026-06-01 12:00:00Z"


def test_an_expired_intermediate_counts_as_much_as_the_leaf() -> None:
    """DST Root X3: clients verify every link."""
    old = certificate(
        key=ec_key(1), signer=ec_key(2), subject="middle", issuer="root", is_ca=True, not_after=NOW
    )
    with pytest.raises(DatesImplausible, match="middle: expired"):
        verify_dates([LEAF, old], now=NOW)
    with pytest.raises(DatesImplausible, match="the leaf: expired"):
        verify_dates([certificate("a.test", subject="", issuer="ca", not_after=NOW)], now=NOW)


@pytest.mark.parametrize(
    "chain",
    [
        [MIDDLE, LEAF],
        [LEAF, ROOT, MIDDLE],
        [LEAF, ROOT],
        [LEAF, LEAF, MIDDLE],
        [LEAF, MIDDLE, LEAF],
    ],
    ids=["upside-down", "swapped", "gap", "leaf-twice", "leaf-above"],
)
def test_a_chain_out_of_order_is_no_chain(chain: Sequence[x509.Certificate]) -> None:
    """Servers send it as it is, and clients differ in what they forgive."""
    verify_links([LEAF, MIDDLE, ROOT])
    with pytest.raises(ChainBroken, match="was not issued by"):
        verify_links(chain)


def test_a_link_is_a_signature_and_not_a_name() -> None:
    """Another CA of the same name must not pass for the one that signed."""
    namesake = certificate(key=ec_key(7), subject="middle", is_ca=True)
    with pytest.raises(ChainBroken, match="leaf was not issued by middle"):
        verify_links([LEAF, namesake])


@pytest.mark.parametrize("is_ca", [False, None])
def test_a_certificate_that_is_no_ca_must_not_sign(is_ca: bool | None) -> None:
    """Else any leaf could be a CA (RFC 5280 §6.1.4)."""
    parent = certificate(key=ec_key(1), subject="middle", is_ca=is_ca)
    with pytest.raises(ChainBroken, match="middle signed a certificate but is not a CA"):
        verify_links([LEAF, parent])


def test_a_signature_of_an_unknown_kind_breaks_the_chain() -> None:
    """The library has yet another exception for it."""
    odd = certificate(key=ed448.Ed448PrivateKey.generate(), subject="middle", is_ca=True)
    with pytest.raises(ChainBroken):
        verify_links([LEAF, odd])
