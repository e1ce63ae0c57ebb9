"""Blind indexes are what the libraries make, to the byte: else nothing that they wrote is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from certrotd.codecs.blind_index import BlindIndex, IndexEncoding, IndexFunction, IndexNames, Step
from certrotd.codecs.derivation import Kdf, KdfName
from certrotd.codecs.errors import Unsupported
from certrotd.config.searchable import BlindIndexEntry
from certrotd.errors import InvalidInput

TOLD: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "blind_index.json").read_text(encoding="utf-8")
)
KEY = b"0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize("answer", TOLD["ciphersweet"]["answers"], ids=lambda a: a["value"])
def test_an_index_is_what_ciphersweet_makes(answer: dict[str, Any]) -> None:
    """By both of its backends, fast and slow, with the key that it derives for the index."""
    told = TOLD["ciphersweet"]
    names = {"table": told["table"], "field": told["field"], "index": answer.pop("index")}
    plaintext, value = answer.pop("plaintext").encode(), answer.pop("value").encode()
    entry = BlindIndexEntry.model_validate(
        {"blind_index": "i", "encoding": "hex", "derive": names, **answer}
    )
    index = entry.index()
    key = index.key(bytes.fromhex(told["key"]))
    assert index.of(plaintext, key) == value
    assert index.of(plaintext + b"0", key) != value


def test_the_key_of_an_index_is_what_blind_index_derives() -> None:
    """Of the master key, by table and column."""
    told = TOLD["blind_index"]
    names = IndexNames(told["table"], told["column"], told["column"])
    assert names.key(bytes.fromhex(told["master_key"])).hex() == told["key"]
    entry = {"blind_index": "i", "derive": {"table": "users", "field": "email_bidx"}}
    assert BlindIndexEntry.model_validate(entry).index().derives == names


def test_the_functions_of_blind_index_are_those_of_argon2_and_openssl() -> None:
    """With its cost and its base64 unless told otherwise; another cost is another index."""
    index = BlindIndex(IndexFunction.ARGON2ID, encoding=IndexEncoding.HEX)
    assert index.of(TOLD["argon2"]["plaintext"].encode(), KEY).decode() == TOLD["argon2"]["value"]
    dear = BlindIndex(IndexFunction.ARGON2ID, iterations=4, memory_kib=8, size=16)
    assert len(dear.of(b"x", KEY)) == 24
    index = BlindIndex(IndexFunction.PBKDF2_SHA256)
    assert index.of(TOLD["openssl"]["plaintext"].encode(), KEY).decode() == TOLD["openssl"]["value"]
    assert BlindIndex(IndexFunction.PBKDF2_SHA256, iterations=9).of(b"x", KEY) != index.of(
        b"x", KEY
    )


def test_a_plain_hmac_is_that_of_rfc_4231() -> None:
    """Its second test case; also cut, as bytes, and with a key that HKDF makes (RFC 5869)."""
    told = b"what do ya want for nothing?"
    whole = bytes.fromhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    assert BlindIndex(encoding=IndexEncoding.RAW).of(told, b"Jefe") == whole
    assert BlindIndex(encoding=IndexEncoding.HEX, size=8).of(told, b"Jefe") == b"5bdcc146bf60754e"
    ikm, salt, info = bytes([0x0B] * 22), bytes(range(13)), bytes(range(0xF0, 0xFA))
    derived = BlindIndex(derives=Kdf(KdfName.HKDF, salt=salt, info=info)).key(ikm)
    assert derived.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"


@pytest.mark.parametrize(
    ("steps", "text", "same"),
    [
        ("strip lower", " Ada@Example.ORG\r\n", "ada@example.org"),
        ("upper", "straße", "STRASSE"),
        ("nfc", "u\u0308", "ü"),
        ("nfkc lower", "\uff21DA", "ada"),
        ("digits", "+49 (30) 123", "4930123"),
        ("last-four-digits", "1-2", "0012"),
    ],
)
def test_a_text_is_normalised_before_it_is_hashed(steps: str, text: str, same: str) -> None:
    """In the order that is given."""
    index = BlindIndex(steps=tuple(map(Step, steps.split())))
    assert index.of(text.encode(), KEY) == BlindIndex().of(same.encode(), KEY)
    with pytest.raises(Unsupported, match="is of text"):
        index.of(b"\xff", KEY)


@pytest.mark.parametrize(
    ("function", "more", "words"),
    [
        ("hmac-sha256", {"size": 33}, "from 1 to 32 bytes"),
        ("hmac-sha256", {"iterations": 2}, "takes no iterations"),
        ("pbkdf2-sha256", {"memory_kib": 64}, "takes no memory_kib"),
        ("argon2id", {"memory_kib": 4}, "memory_kib is from 8"),
        ("argon2id", {"size": 3}, "from 4 to 64 bytes"),
    ],
)
def test_an_index_that_nothing_makes_is_refused(
    function: str, more: dict[str, Any], words: str
) -> None:
    """Before a value is read."""
    with pytest.raises(InvalidInput, match=words):
        BlindIndex(IndexFunction(function), **more)


@pytest.mark.parametrize(("function", "length"), [("blake2b", 65), ("argon2id", 7)])
def test_a_key_that_the_function_does_not_take_is_said(function: str, length: int) -> None:
    """Before a value is read; a derived one always fits."""
    index = BlindIndex(IndexFunction(function))
    with pytest.raises(InvalidInput, match=f"{function} takes no key of {length} bytes"):
        index.key(bytes(length))
    names = BlindIndex(IndexFunction(function), derives=IndexNames("t", "f", "i"))
    assert names.of(b"x", names.key(bytes(length)))
