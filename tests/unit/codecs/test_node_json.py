"""JSON that no application wrote, or that re-encryption would lose something of."""

import json
from typing import Any

import pytest

from certrotd.codecs.errors import CodecError, Damaged, Unsupported
from certrotd.codecs.node_json import NodeJson
from certrotd.codecs.port import MAX_BYTES
from tests.contract.codec_cases import CASES

CASE = CASES["node_json"]()
WRITTEN: dict[str, Any] = json.loads(CASE.sample())


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ({"authTag": WRITTEN["authTag"][:8]}, Damaged, "authTag has not 16 bytes"),
        ({"authTag": WRITTEN["authTag"] + "00"}, Damaged, "authTag has not 16 bytes"),
        ({"authTag": WRITTEN["authTag"].upper() + "AB"}, Damaged, "hexadecimal"),
        ({"iv": "00" * 13}, Damaged, "neither 12 nor 16"),
        ({"iv": "0"}, Damaged, "hexadecimal"),
        ({"iv": "00" * 16 + "\n"}, Damaged, "hexadecimal"),
        ({"iv": "é" * 16}, Damaged, "no text iv"),
        ({"iv": 16}, Damaged, "no text iv"),
        ({"keyVersion": 0}, Damaged, "no version"),
        ({"keyVersion": 2**53}, Damaged, "no version"),
        ({"keyVersion": True}, Damaged, "no version"),
        ({"keyVersion": 1.0}, Damaged, "no version"),
        ({"keyVersion": "1"}, Damaged, "no version"),
        ({"keyVersion": None}, Damaged, "no version"),
        ({"keyVersion": float("nan")}, Damaged, "not JSON"),
        ({"algorithm": "aes-256-gcm"}, Unsupported, "would lose"),
        ({"iv": [1]}, Damaged, "few members"),
        ({"iv": {}}, Damaged, "few members"),
    ],
)
def test_a_member_that_is_not_as_node_writes_it_is_refused(
    change: dict[str, object], kind: type[CodecError], says: str
) -> None:
    """A tag cut to four bytes is what Node itself would take."""
    with pytest.raises(kind, match=says):
        NodeJson().decrypt(json.dumps(WRITTEN | change).encode(), CASE.old)


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_a_missing_member_is_refused(name: str) -> None:
    """Each of the four."""
    with pytest.raises(Damaged, match="lacks"):
        NodeJson().key_id_of(json.dumps({k: v for k, v in WRITTEN.items() if k != name}).encode())


@pytest.mark.parametrize(
    "text",
    [
        CASE.sample()[:-1] + b',"iv":"00"}',
        b"null",
        b"[]",
        b"\xff",
        b'{"keyVersion":' + b"9" * 5000 + b"}",
        b"{" + b'"a":1,' * 17 + b'"b":1}',
        b"[" * 100_000,
        b"{}," * (MAX_BYTES // 3),
    ],
    ids=["twice", "null", "list", "bytes", "digits", "members", "depth", "objects"],
)
def test_json_of_another_kind_is_refused_at_once(text: bytes) -> None:
    """However deep or long: it is counted before it is parsed."""
    with pytest.raises(Damaged):
        NodeJson().key_id_of(text)


def test_an_initialization_vector_of_12_bytes_is_read_too() -> None:
    """Node takes either."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    sealed = AESGCM(CASE.old.material.reveal()).encrypt(bytes(12), b"short iv", None)
    value = {
        "keyVersion": 1,
        "iv": bytes(12).hex(),
        "authTag": sealed[-16:].hex(),
        "ciphertext": sealed[:-16].hex(),
    }
    assert NodeJson().decrypt(json.dumps(value).encode(), CASE.old) == b"short iv"
