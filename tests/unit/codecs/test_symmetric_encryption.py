"""Symmetric-encryption: what no gem wrote, what has no MAC, chunks, bombs, forms that stay."""

import zlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from certrotd.codecs.encoding import Encoding
from certrotd.codecs.errors import CodecError, Damaged, TooLarge, Unsupported, WrongKey
from certrotd.codecs.expectation import Expectation, Json, Length, Utf8
from certrotd.codecs.port import MAX_BYTES
from certrotd.codecs.symmetric_encryption import SymmetricEncryption
from certrotd.codecs.symmetric_header import read_header, with_tag, write_header
from certrotd.keyring.material import Algorithm, DataKey
from tests.contract.codec_cases import PLAINTEXT, key_of

GCM = key_of(Algorithm.AES_256_GCM, 1)
GCM_2 = key_of(Algorithm.AES_256_GCM, 2)
CBC = key_of(Algorithm.AES_256_CBC, 1)
CBC_2 = key_of(Algorithm.AES_256_CBC, 2)
CHUNK = 64 * 1024
FRAME = CHUNK + 16
BIG = bytes(range(256)) * 600  # two whole chunks and a part


def raw(plaintext: Expectation | None = None, *, file: bool = False) -> SymmetricEncryption:
    """Without an encoding."""
    return SymmetricEncryption(plaintext, encoding=Encoding.NONE, file=file)


def header(*fields: bytes, version: int = 1, flags: int) -> bytes:
    """A header, spelled out."""
    return b"@EnC" + bytes([version, flags]) + b"".join(fields)


def field(data: bytes) -> bytes:
    """``data`` after its length."""
    return len(data).to_bytes(2, "little") + data


@pytest.mark.parametrize(
    ("data", "kind", "says"),
    [
        (b"@EnD" + bytes(30), Damaged, "no header"),
        (b"@EnC", Damaged, "ends within"),
        (b"@EnC\1", Damaged, "ends within"),
        (header(flags=0x01) + bytes(16), Unsupported, "no known version"),
        (header(flags=0x0C) + bytes(16), Unsupported, "no known version"),
        (header(flags=0x00), Damaged, "ends after"),
        (header(flags=0x00) + bytes(15), Damaged, "whole blocks"),
        (header(field(bytes(15)), flags=0x40) + bytes(16), Damaged, "initialization vector"),
        (header(field(b""), flags=0x40) + bytes(16), Damaged, "initialization vector"),
        (header(b"\xff\xff", flags=0x40) + bytes(99), Damaged, "ends within"),
        (header(field(b""), flags=0x20) + bytes(16), Damaged, "encrypted key"),
        (header(field(bytes(257)), flags=0x20) + bytes(16), Damaged, "encrypted key"),
        (header(field(bytes(17)), flags=0x20) + bytes(16), Damaged, "encrypted key"),
        (header(field(b"des-ede3"), flags=0x10) + bytes(16), Unsupported, "unknown cipher"),
        (header(field(b"fernet"), flags=0x10) + bytes(16), Unsupported, "unknown cipher"),
        (header(field(b"\xff"), flags=0x10) + bytes(16), Unsupported, "unknown cipher"),
        (header(field(bytes(12)), field(bytes(4)), flags=0x48) + b"x", Damaged, "not 16 bytes"),
        (header(field(bytes(12)), field(bytes(0)), flags=0x48) + b"x", Damaged, "not 16 bytes"),
        (header(field(bytes(16)), flags=0x08) + bytes(16), Damaged, "initialization vector"),
        (header(field(bytes(7)), b"\x09", flags=0x44) + bytes(16), Damaged, "1 KiB to 16 MiB"),
        (header(field(bytes(7)), b"\x19", flags=0x44) + bytes(16), Damaged, "1 KiB to 16 MiB"),
        (header(field(bytes(12)), b"\x10", flags=0x44) + bytes(16), Damaged, "initialization"),
    ],
)
def test_a_header_that_no_gem_writes_is_refused(
    data: bytes, kind: type[CodecError], says: str
) -> None:
    """Lengths that lie, tags cut short, reserved flags: before any key is used."""
    for key in (CBC, GCM):
        with pytest.raises(kind, match=says):
            raw(Utf8()).decrypt(data, key)


def test_a_value_of_cbc_mode_opens_only_where_its_plaintext_is_told() -> None:
    """It has no MAC."""
    stored = raw(Json()).encrypt(PLAINTEXT, CBC)
    assert raw(Json()).decrypt(stored, CBC) == PLAINTEXT
    with pytest.raises(Unsupported, match="no aes-256-cbc keys"):
        raw().decrypt(stored, CBC)
    with pytest.raises(Unsupported, match="no MAC: it is of CBC mode"):
        raw().decrypt(stored, GCM)
    with pytest.raises(WrongKey):
        raw(Length(0, 5)).decrypt(stored, CBC)


def test_a_wrong_key_is_the_same_error_whatever_failed() -> None:
    """Padding, what was compressed, the plaintext, the kind of the key: no oracle."""
    stored = {
        raw(Json()).encrypt(PLAINTEXT, CBC),
        replace(raw(Json()), compress=True).encrypt(PLAINTEXT, CBC),
        raw().encrypt(PLAINTEXT, GCM),
        raw(Json(), file=True).encrypt(PLAINTEXT, CBC),
    }
    keys = [key_of(a, 1, seed=str(n)) for n in range(64) for a in (CBC.algorithm, GCM.algorithm)]
    messages = set()
    for value in stored:
        for key in keys:
            with pytest.raises(WrongKey) as caught:
                raw(Json()).decrypt(value, replace(key, iv=CBC.iv))
            messages.add(str(caught.value))
    assert len(messages) == 1


def test_a_value_without_a_header_opens_by_a_cbc_key_alone() -> None:
    """GCM always has a header; also where headers are left out otherwise."""
    codec = SymmetricEncryption(Json(), header=False, random_iv=False)
    bare = codec.encrypt(PLAINTEXT, CBC)
    assert codec.key_id_of(bare) is None
    assert codec.sql_prefixes("1") == ()
    with pytest.raises(WrongKey):
        codec.decrypt(bare, GCM)
    named = codec.encrypt(PLAINTEXT, GCM_2, replacing=bare)
    assert codec.key_id_of(named) == "2"
    assert codec.decrypt(named, GCM_2) == PLAINTEXT
    assert codec.encrypt(PLAINTEXT, CBC_2, replacing=bare) == codec.encrypt(PLAINTEXT, CBC_2)
    with pytest.raises(Damaged, match="whole blocks"):
        codec.key_id_of(b"AAAA")


def test_a_random_vector_or_compression_brings_a_header() -> None:
    """As with the gem: neither could be read without."""
    for codec in (
        SymmetricEncryption(Json(), header=False),
        SymmetricEncryption(Json(), header=False, random_iv=False, compress=True),
    ):
        assert codec.key_id_of(codec.encrypt(PLAINTEXT, CBC)) == "1"


def test_a_key_without_a_vector_of_its_own_is_refused_where_one_is_needed() -> None:
    """Deterministic values, and files, whose key it encrypts."""
    key = replace(CBC, iv=b"")
    for codec in (replace(raw(Json()), random_iv=False), raw(Json(), file=True)):
        with pytest.raises(Unsupported, match="no initialization vector of 16 bytes"):
            codec.encrypt(PLAINTEXT, key)
        with pytest.raises(Unsupported, match="no initialization vector of 16 bytes"):
            codec.decrypt(codec.encrypt(PLAINTEXT, CBC), key)
    assert raw(Json()).decrypt(raw(Json()).encrypt(PLAINTEXT, key), key) == PLAINTEXT


def test_an_empty_value_is_not_encrypted() -> None:
    """The gem stores it as it is."""
    with pytest.raises(Unsupported, match="empty value"):
        raw().encrypt(b"", GCM)


@pytest.mark.parametrize("key_id", ["256", "-1", "a", "0001"])
def test_a_version_that_no_header_holds_is_refused(key_id: str) -> None:
    """One byte; after 255 the gem begins again at 1, and the key's id says so."""
    with pytest.raises(Unsupported, match="up to 255"):
        raw().encrypt(b"x", replace(GCM, id=key_id))
    with pytest.raises(Unsupported, match="up to 255"):
        raw().sql_prefixes(key_id)
    again = replace(GCM, version=256, id="1")
    assert raw().key_id_of(raw().encrypt(b"x", again)) == "1"


@pytest.mark.parametrize("key", [GCM, CBC], ids=["gcm", "cbc"])
@pytest.mark.parametrize("wbits", [15, 31], ids=["zlib", "gzip"])
def test_a_decompression_bomb_is_refused(key: DataKey, wbits: int) -> None:
    """Some kilobytes that would be more than is read into memory."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, wbits)
    bomb = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(MAX_BYTES // (1 << 20) + 1))
    bomb += compressor.flush()
    assert len(bomb) < 100_000
    with pytest.raises(TooLarge):
        raw(Utf8()).decrypt(compressed_value(bomb, key), key)


@pytest.mark.parametrize(
    "content",
    [b"not compressed", zlib.compress(b"x" * 99)[:-1], zlib.compress(b"x") + b"more"],
    ids=["noise", "cut", "appended"],
)
def test_what_does_not_decompress_to_its_end_is_refused(content: bytes) -> None:
    """As with a wrong key, for it is what one leaves."""
    for key in (GCM, CBC):
        with pytest.raises(WrongKey):
            raw(Utf8()).decrypt(compressed_value(content, key), key)


def compressed_value(content: bytes, key: DataKey) -> bytes:
    """A value whose header says that ``content`` is compressed."""
    from certrotd.codecs.block import encrypt_cbc

    if key is CBC:
        iv = bytes(16)
        return write_header(1, compressed=True, iv=iv, tag=False) + encrypt_cbc(key, iv, content)
    iv = bytes(12)
    head = write_header(1, compressed=True, iv=iv, tag=True)
    return with_tag(head, AESGCM(key.material.reveal()).encrypt(iv, content, head))


def test_a_big_file_is_written_in_chunks_that_other_code_opens() -> None:
    """By the format's description: nonce of prefix, number and last; the header is bound."""
    stored = raw(file=True).encrypt(BIG, GCM)
    length = 4 + 2 + (2 + 7) + (2 + 70) + 1
    head, body = stored[:length], stored[length:]
    assert head[4:6] == bytes([1, 0x40 | 0x20 | 0x04])
    assert head[-1] == 16
    prefix, wrapped = head[8:15], head[17:-1]
    assert wrapped[:6] == b"@EnC\1\x48"
    nonce, tag, sealed = wrapped[8:20], wrapped[22:38], wrapped[38:]
    secret = AESGCM(GCM.material.reveal()).decrypt(nonce, sealed + tag, wrapped[:20])
    chunks = [
        AESGCM(secret).decrypt(
            prefix + number.to_bytes(4) + bytes([number == 2]),
            body[number * FRAME : (number + 1) * FRAME],
            head,
        )
        for number in range(3)
    ]
    assert [len(c) for c in chunks] == [CHUNK, CHUNK, len(BIG) - 2 * CHUNK]
    assert b"".join(chunks) == BIG


def altered(stored: bytes) -> Iterator[bytes]:
    """What could be done to chunks."""
    start = len(read_header(stored).authenticated)
    frames = [stored[at : at + FRAME] for at in range(start, len(stored), FRAME)]
    head = stored[:start]
    yield head + frames[0] + frames[1]  # cut at a chunk
    yield head + frames[2]
    yield head + frames[1] + frames[0] + frames[2]
    yield head + frames[0] + frames[0] + frames[1] + frames[2]
    yield head + frames[0] + frames[2]
    yield stored + frames[0]
    yield stored[: start + FRAME] + b"\0" + stored[start + FRAME + 1 :]
    yield head[:-1] + b"\x0f" + b"".join(frames)
    yield head + frames[0] + frames[1][:1]


def test_chunks_cannot_be_moved_repeated_or_cut_off() -> None:
    """Every one has its place, and the last says that it is."""
    codec = raw(file=True)
    stored = codec.encrypt(BIG, GCM)
    assert codec.decrypt(stored, GCM) == BIG
    for value in altered(stored):
        with pytest.raises((WrongKey, Damaged)):
            codec.decrypt(value, GCM)


def test_chunks_of_another_file_do_not_fit() -> None:
    """Each is bound to the header of its own."""
    codec = raw(file=True)
    one, two = codec.encrypt(BIG, GCM), codec.encrypt(BIG, GCM)
    start = len(read_header(one).authenticated)
    with pytest.raises(WrongKey):
        codec.decrypt(one[:start] + two[start:], GCM)


@pytest.mark.parametrize("length", [CHUNK, CHUNK + 1, 2 * CHUNK])
def test_what_fits_one_chunk_has_its_tag_in_the_header(length: int) -> None:
    """And whole chunks end without an empty one."""
    stored = raw(file=True).encrypt(bytes(length), GCM)
    found = read_header(stored)
    assert bool(found.tag) == (length <= CHUNK)
    assert found.chunk == (0 if length <= CHUNK else CHUNK)
    assert raw(file=True).decrypt(stored, GCM) == bytes(length)


def test_a_file_keeps_its_form_under_the_next_key() -> None:
    """A key of its own, compression and chunks; from CBC to GCM too."""
    old_codec = replace(raw(Length(1, 10**6), file=True), compress=True)
    old = old_codec.encrypt(BIG, CBC)
    codec = raw(Length(1, 10**6), file=True)
    moved = codec.encrypt(codec.decrypt(old, CBC), GCM_2, replacing=old)
    found = read_header(moved)
    assert found.compressed
    assert found.key
    assert codec.decrypt(moved, GCM_2) == BIG
    chunked = codec.encrypt(BIG, GCM)
    as_value = raw().encrypt(BIG, GCM_2, replacing=chunked)
    assert read_header(as_value).chunk == CHUNK


def test_the_key_in_a_header_is_taken_only_in_the_gems_form() -> None:
    """A headered value of the same version; of the length that its cipher has."""
    codec = raw(file=True)
    stored = codec.encrypt(PLAINTEXT, GCM)
    inner = read_header(stored).key
    for wrong in (
        raw().encrypt(bytes(32), replace(GCM, version=2)),
        replace(raw(), compress=True).encrypt(bytes(32), GCM),
        codec.encrypt(bytes(32), GCM)[:256],
    ):
        value = stored.replace(field(inner), field(wrong))
        with pytest.raises(Unsupported, match="no gem writes"):
            codec.decrypt(value, GCM)
    short = stored.replace(field(inner), field(raw().encrypt(bytes(31), GCM)))
    with pytest.raises(WrongKey):
        codec.decrypt(short, GCM)


def test_a_cipher_name_in_the_header_without_a_key_must_be_the_keys() -> None:
    """It is not the header that chooses what a key is used for."""
    stored = raw(Json()).encrypt(PLAINTEXT, CBC)
    for name, opens in ((b"aes-256-cbc", True), (b"AES-256-CBC", True), (b"aes-128-cbc", False)):
        iv = stored[6:24]
        value = header(iv, field(name), flags=0x50) + stored[24:]
        if opens:
            assert raw(Json()).decrypt(value, CBC) == PLAINTEXT
        else:
            with pytest.raises(WrongKey):
                raw(Json()).decrypt(value, CBC)


@given(data=st.binary(max_size=200))
def test_a_header_of_any_bytes_is_refused_or_read(data: bytes) -> None:
    """And nothing is read past its end."""
    try:
        found = read_header(b"@EnC" + data)
    except (Damaged, Unsupported):
        return
    assert found.body
    assert (b"@EnC" + data).endswith(found.body)
    assert len(found.authenticated) <= 4 + len(data) - len(found.body)
