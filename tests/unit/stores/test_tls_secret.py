"""What a Secret holds is told apart: the generation's pair, a good one of others, a broken one."""

from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from certrotd.stores.tls_secret import CA, KEYSTORE, Shapes, Verdict, digests_of, judge
from tests import builders
from tests.builders import OTHER_PAIR, PAIR
from tests.parts import pki

NOW = PAIR.certificate.not_valid_before_utc + timedelta(hours=1)
DATA = {"tls.key": PAIR.key_pem, "tls.crt": PAIR.fullchain_pem}
OTHER = {"tls.key": OTHER_PAIR.key_pem, "tls.crt": OTHER_PAIR.fullchain_pem}
PLAIN = Shapes("web")


def judged(data: dict[str, bytes], shapes: Shapes = PLAIN, *, now: datetime = NOW) -> Verdict:
    """Against PAIR."""
    return judge(data, digests_of(DATA), shapes, now=now)


def test_its_own_pair_is_neither_foreign_nor_broken() -> None:
    """Even once it has expired: only a new one helps then."""
    assert judged(DATA) == Verdict()
    assert judged(DATA, now=PAIR.certificate.not_valid_after_utc) == Verdict()


def test_a_pair_of_others_is_foreign_until_it_expires() -> None:
    """Then nobody can use it."""
    found = judged(OTHER)
    assert found.broken is None
    assert "somebody else put certificate" in str(found.foreign)
    late = judged(OTHER, now=OTHER_PAIR.certificate.not_valid_after_utc)
    assert late.foreign is None
    assert "expired" in str(late.broken)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tls.key": PAIR.key_pem}, "does not belong"),
        ({"tls.key": b""}, "tls.key is missing"),
        ({"tls.crt": b""}, "tls.crt is missing"),
        ({"tls.crt": b"nothing"}, "tls.crt"),
        ({"tls.key": b"nothing"}, "tls.key"),
        (
            {
                "tls.key": OTHER_PAIR.key.private_bytes(
                    Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")
                )
            },
            "tls.key",
        ),
    ],
)
def test_what_is_no_pair_is_broken(change: dict[str, bytes], words: str) -> None:
    """It says which part; the control is the pair without the change."""
    found = judged({**OTHER, **change})
    assert found.foreign is None
    assert words in str(found.broken)


def test_each_shape_must_fit_the_pair_beside_it() -> None:
    """A keystore by what is in it: its bytes are never the same twice."""
    shapes = Shapes("web", (CA, KEYSTORE), lambda: b"word")
    data = shapes.data(PAIR.key_pem, PAIR.fullchain_pem)
    assert judged(data, shapes) == Verdict()
    again = shapes.data(PAIR.key_pem, PAIR.fullchain_pem)
    assert again[KEYSTORE] != data[KEYSTORE]
    other = shapes.data(OTHER_PAIR.key_pem, OTHER_PAIR.fullchain_pem)
    assert judged({**data, KEYSTORE: other[KEYSTORE]}, shapes).broken is not None
    assert judged({**data, CA: b"x"}, shapes) == Verdict(broken="ca.crt is not of this pair")
    assert judged(DATA, shapes) == Verdict(broken="ca.crt is missing")
    assert judged(other, shapes).foreign is not None


def test_the_ca_is_the_top_of_the_chain() -> None:
    """Of a leaf alone there is none, unless it signed itself."""
    shapes = Shapes("web", (CA,))
    assert PAIR.fullchain_pem.endswith(shapes.data(PAIR.key_pem, PAIR.fullchain_pem)[CA])
    alone = PAIR.certificate.public_bytes(Encoding.PEM)
    assert CA not in shapes.data(PAIR.key_pem, alone)
    root = pki.make_root()
    itself = root.certificate.public_bytes(Encoding.PEM)
    assert shapes.data(root.key_pem, itself)[CA] == itself
    assert (
        judge(
            {"tls.key": PAIR.key_pem, "tls.crt": alone},
            digests_of({"tls.key": PAIR.key_pem, "tls.crt": alone}),
            shapes,
            now=builders.NOW,
        )
        == Verdict()
    )
