"""Encrypted files: what they hold comes back whole, and nothing else is taken for one."""

from __future__ import annotations

import io
import random
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from certrotd.codecs import segments
from certrotd.codecs.errors import CodecError, Damaged, UnknownKey, Unsupported, WrongKey
from certrotd.codecs.stream import CHUNK, decrypt, encrypt, reencrypt
from certrotd.codecs.stream_header import (
    HEADER,
    MAGIC,
    SLOT,
    Cipher,
    is_marked,
    new_header,
    read_header,
)
from certrotd.keyring.material import Algorithm, DataKey, KeySet
from tests.contract.codec_cases import key_of

FIRST, SECOND, THIRD = (key_of(Algorithm.AES_256_GCM, each) for each in (1, 2, 3))
ALL = KeySet.of([FIRST, SECOND, THIRD], active=3)
PIECE = 16 * 1024 + 16
"""A chunk of Cobblestone as it is stored; 56 bytes come before the first."""


def of(*keys: DataKey) -> KeySet:
    return KeySet.of(keys, active=keys[-1].version)


def sealed(plaintext: bytes, key: DataKey = FIRST) -> bytes:
    """An encrypted file."""
    header, out = new_header(key), io.BytesIO()
    encrypt(header, io.BytesIO(plaintext).readinto, out.write)
    return header.data + out.getvalue()


def opened(data: bytes, keys: KeySet = ALL) -> bytes:
    """What it holds."""
    header, out = read_header(data, keys), io.BytesIO()
    decrypt(header, io.BytesIO(data[HEADER:]).readinto, out.write)
    return out.getvalue()


@pytest.mark.parametrize(
    "size", [0, 1, PIECE - 17, PIECE - 16, PIECE, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7]
)
def test_a_file_of_any_size_comes_back_whole(size: int) -> None:
    """Also where it ends with a chunk; then an empty one follows."""
    plaintext = random.Random(size).randbytes(size)
    data = sealed(plaintext)
    assert opened(data) == plaintext
    chunks = size // (16 * 1024) + 1
    assert len(data) == HEADER + 56 + size + 16 * chunks


def test_reads_may_give_as_little_as_they_like() -> None:
    """A pipe does."""
    plaintext = random.Random(1).randbytes(100_000)
    data = sealed(plaintext)
    source, out = io.BytesIO(data[HEADER:]), io.BytesIO()
    decrypt(read_header(data, ALL), lambda into: source.readinto(into[:777]), out.write)
    assert out.getvalue() == plaintext


def test_the_format_is_as_it_is_documented() -> None:
    """By another reading of the documentation: Tink's ciphertext, then Cobblestone-256."""
    from cryptography.cobblestone import Cobblestone256Decryptor
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key = replace(FIRST, id="3735928559")
    data = sealed(b"documented", key)
    fixed, wrapped = data[:32], data[32:97]
    assert fixed[:16] == b"\x8eCRDFILE\x01\x01\x00\x00\xde\xad\xbe\xef"
    assert not any(data[97:512])
    assert data[512:544] == fixed
    assert not any(data[544:1024])
    assert wrapped[:5] == b"\x01\xde\xad\xbe\xef"
    bound = b"certrotd file slot\0" + fixed + b"\0"
    content = AESGCM(key.material.reveal()).decrypt(wrapped[5:17], wrapped[17:], bound)
    body = Cobblestone256Decryptor(content, b"certrotd file\0" + fixed)
    assert body.update(data[1024:]) + body.finalize() == b"documented"


def test_a_file_of_an_earlier_certrotd_opens() -> None:
    """This one was written once and for all."""
    data = (Path(__file__).parents[2] / "vectors/stream.crd").read_bytes()
    assert opened(data) == b"written by the first certrotd that had this format\n"


def test_no_two_files_have_a_content_key_or_a_header_in_common() -> None:
    """Although they hold the same."""
    one, other = sealed(b"same"), sealed(b"same")
    headers = read_header(one, ALL), read_header(other, ALL)
    assert headers[0].content != headers[1].content
    assert headers[0].fixed != headers[1].fixed
    assert one[HEADER:] != other[HEADER:]
    assert "content" not in repr(headers[0]).replace("content=<key material>", "")


def test_a_header_is_wrapped_anew_without_touching_the_content() -> None:
    """The old slot is emptied; the next time the slots change their roles."""
    data = sealed(b"content")
    filled = []
    for key in (SECOND, THIRD, FIRST):
        header = read_header(data, ALL)
        assert not header.is_under(key.version)
        new, slot = header.rewrapped(key)
        filled.append(slot)
        data = new + data[HEADER:]
        assert opened(data, of(key)) == b"content"
        assert read_header(data, ALL).is_under(key.version)
        assert read_header(data, ALL).origin == "1"
        for other in ALL:
            if other.version != key.version:
                with pytest.raises(UnknownKey):
                    read_header(data, of(other))
    assert filled == [1, 0, 1]


def test_killed_between_any_two_bytes_of_wrapping_anew_a_file_opens() -> None:
    """The new slot comes first and the old one is emptied after it, however far each was written.

    And the next time finishes it.
    """
    before = sealed(b"content")
    after, slot = read_header(before, ALL).rewrapped(SECOND)
    assert slot == 1
    seen = [before[:SLOT] + after[SLOT : SLOT + n] + before[SLOT + n :] for n in range(SLOT + 1)]
    full = before[:SLOT] + after[SLOT:] + before[HEADER:]
    seen += [after[:n] + full[n:] for n in range(SLOT + 1)]
    for data in dict.fromkeys(seen):
        assert opened(data) == b"content"
        header = read_header(data, ALL)
        again, _ = header.rewrapped(SECOND)
        done = again + data[HEADER:]
        assert read_header(done, ALL).is_under(2)
        assert opened(done, of(SECOND)) == b"content"
    assert read_header(full, ALL).opened == (1, 2)
    assert not read_header(full, ALL).is_under(2)


def test_of_two_keys_the_newer_one_stays_until_the_newest_is_there() -> None:
    """A file whose re-wrapping was killed twice."""
    data = sealed(b"content")
    after, _ = read_header(data, ALL).rewrapped(SECOND)
    both = data[:SLOT] + after[SLOT:] + data[HEADER:]
    new, slot = read_header(both, ALL).rewrapped(THIRD)
    assert slot == 0
    assert new[SLOT:] != both[SLOT:HEADER], "it is emptied afterwards"


def test_all_of_the_content_gets_another_key() -> None:
    """The old header and its content key open nothing of the new file."""
    plaintext = random.Random(2).randbytes(2 * CHUNK + 3)
    data = sealed(plaintext)
    old, new, out = read_header(data, ALL), new_header(SECOND), io.BytesIO()
    reencrypt(old, new, io.BytesIO(data[HEADER:]).readinto, out.write)
    renewed = new.data + out.getvalue()
    assert opened(renewed, of(SECOND)) == plaintext
    with pytest.raises(Damaged):
        opened(data[:HEADER] + renewed[HEADER:])


def test_another_key_does_not_open_a_file() -> None:
    """One that it does not name is missing; one that claims its name is the wrong one."""
    data = sealed(b"content")
    with pytest.raises(UnknownKey, match="key 1"):
        read_header(data, of(SECOND))
    with pytest.raises(WrongKey):
        read_header(data, of(replace(SECOND, version=1)))


@pytest.mark.parametrize("at", [8, 9, 10, 12, 15, 16, 31, 32, 36, 37, 48, 49, 96, 97, 511])
def test_a_header_that_was_altered_is_refused(at: int) -> None:
    """In every field of it."""
    data = bytearray(sealed(b"content"))
    data[at] ^= 1
    with pytest.raises(CodecError):
        opened(bytes(data))


def test_a_later_form_is_said_to_be_one() -> None:
    """And is not taken for damage."""
    data = sealed(b"content").replace(MAGIC + b"\x01", MAGIC + b"\x02")
    with pytest.raises(Unsupported, match="does not know"):
        read_header(data, ALL)


def two_slots() -> bytes:
    """A file that both the first and the second key open."""
    data = sealed(b"content")
    after, _ = read_header(data, ALL).rewrapped(SECOND)
    return data[:SLOT] + after[SLOT:] + data[HEADER:]


HOSTILE: dict[str, Callable[[bytes, bytes], bytes]] = {
    "nothing": lambda _data, _other: b"",
    "cut within the first slot": lambda data, _other: data[:100],
    "cut within the second slot": lambda data, _other: data[: SLOT + 100],
    "cut after the header": lambda data, _other: data[:HEADER],
    "cut within the commitment": lambda data, _other: data[: HEADER + 40],
    "the slots of each other": lambda data, _o: data[SLOT:HEADER] + data[:SLOT] + data[HEADER:],
    "the header of another file": lambda data, other: other[:HEADER] + data[HEADER:],
    "a slot of another file": lambda data, other: other[:SLOT] + data[SLOT:],
    "both slots empty": lambda data, _o: (data[:32] + bytes(480)) * 2 + data[HEADER:],
    "a byte in front": lambda data, _other: b"\0" + data,
    "zeros in front": lambda data, _other: bytes(HEADER) + data,
    "zeros instead of the header": lambda data, _other: bytes(HEADER) + data[HEADER:],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_opens_nothing(name: str) -> None:
    """Every one is refused as an error of its own kind, and is never taken for plaintext."""
    data = HOSTILE[name](sealed(b"content"), sealed(b"another"))
    with pytest.raises(CodecError):
        opened(data)
    assert is_marked(data) or not data or data.startswith(b"\0" + MAGIC)


def test_a_slot_of_another_file_under_another_key_is_refused() -> None:
    """Each slot is right by itself."""
    mixed = sealed(b"one")[:SLOT] + two_slots()[SLOT:]
    with pytest.raises(Damaged, match="different files"):
        read_header(mixed, ALL)


BODY = HEADER + 56
PLAINTEXT = random.Random(3).randbytes(5 * 16 * 1024 + 99)


def pieces(data: bytes) -> list[bytes]:
    """The chunks of a file."""
    return [data[at : at + PIECE] for at in range(BODY, len(data), PIECE)]


CONTENT: dict[str, Callable[[bytes], bytes]] = {
    "its last byte missing": lambda data: data[:-1],
    "its last chunk missing": lambda data: data[:BODY] + b"".join(pieces(data)[:-1]),
    "its first chunk missing": lambda data: data[:BODY] + b"".join(pieces(data)[1:]),
    "a chunk twice": lambda data: data[:BODY] + b"".join([*pieces(data)[:2], *pieces(data)[1:]]),
    "chunks in another order": lambda data: data[:BODY] + b"".join(reversed(pieces(data))),
    "two chunks of each other": lambda data: (
        data[:BODY] + b"".join([pieces(data)[1], pieces(data)[0], *pieces(data)[2:]])
    ),
    "its end twice": lambda data: data + pieces(data)[-1],
    "a byte more": lambda data: data + b"\0",
    "another file behind it": lambda data: data + data,
    "another salt": lambda data: data[:HEADER] + bytes(24) + data[HEADER + 24 :],
    "another commitment": lambda data: data[: HEADER + 24] + bytes(32) + data[BODY:],
    "another bit in its middle": lambda data: (
        data[: BODY + 40_000] + bytes([data[BODY + 40_000] ^ 1]) + data[BODY + 40_001 :]
    ),
}


@pytest.mark.parametrize("name", CONTENT)
def test_content_that_was_altered_is_refused(name: str) -> None:
    """Cut, reordered, doubled, or lengthened; and all of it with the same words."""
    data = sealed(PLAINTEXT)
    assert opened(data) == PLAINTEXT
    with pytest.raises(Damaged, match="altered or cut short"):
        opened(CONTENT[name](data))


@pytest.mark.parametrize("seed", range(8))
def test_random_bytes_never_raise_anything_else(seed: int) -> None:
    """Whatever a file begins with."""
    chance = random.Random(seed)
    for _ in range(200):
        data = bytearray(two_slots())
        for _ in range(chance.randrange(1, 40)):
            data[chance.randrange(HEADER)] = chance.randrange(256)
        data = data[: chance.choice([len(data), chance.randrange(len(data))])]
        with suppress(CodecError):
            assert opened(bytes(data)) == b"content"


@pytest.mark.parametrize("data", [b"", b"a text", b"FILE", b"\xff\xd8\xff\xe0" * 500, b"CRD" * 400])
def test_other_files_are_not_marked(data: bytes) -> None:
    """Texts, and pictures."""
    assert not is_marked(data)


def test_keys_that_cannot_wrap_are_refused() -> None:
    """Those of other ciphers, and ids that are no number of 32 bits."""
    with pytest.raises(Unsupported):
        new_header(key_of(Algorithm.FERNET, 1))
    with pytest.raises(Unsupported):
        new_header(replace(FIRST, id="v1"))
    with pytest.raises(Unsupported):
        new_header(replace(FIRST, id=str(2**32)))


def test_memory_does_not_grow_with_the_file() -> None:
    """64 MiB go through a few."""
    size = 64 * CHUNK
    left = size

    def read(into: memoryview) -> int:
        nonlocal left
        given = min(len(into), left)
        left -= given
        return given

    written = 0

    def write(data: memoryview) -> None:
        nonlocal written
        written += len(data)

    tracemalloc.start()
    try:
        encrypt(new_header(FIRST), read, write)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert written > size
    assert peak < 4 * CHUNK


EDGE = segments.SEGMENT - segments.TAG - segments.HEADER
"""So many bytes fill the first segment."""


def by_segments(plaintext: bytes, key: DataKey = FIRST) -> bytes:
    header, out = new_header(key, Cipher.AES_256_GCM_HKDF), io.BytesIO()
    encrypt(header, io.BytesIO(plaintext).readinto, out.write)
    return header.data + out.getvalue()


@pytest.mark.parametrize(
    "size",
    [
        *(0, 1, EDGE - 1, EDGE, EDGE + 1),
        *(EDGE + segments.SEGMENT - segments.TAG + more for more in (-1, 0, 1)),
        3 * segments.SEGMENT,
    ],
)
def test_the_second_cipher_is_what_tink_reads_and_writes(size: int) -> None:
    """AES256_GCM_HKDF_1MB, whichever segments are full; both directions."""
    plaintext = random.Random(size).randbytes(size)
    data = by_segments(plaintext)
    assert opened(data) == plaintext
    header = read_header(data, ALL)
    peer, bound = tinks(header.content.reveal()), b"certrotd file\0" + header.fixed
    with peer.new_decrypting_stream(io.BytesIO(data[HEADER:]), bound) as theirs:
        assert theirs.read() == plaintext
    kept = io.BytesIO()
    kept.close = lambda: None  # type: ignore[method-assign]
    with peer.new_encrypting_stream(kept, bound) as into:
        into.write(plaintext)
    assert opened(header.data + kept.getvalue()) == plaintext


def tinks(key: bytes) -> Any:
    """Tink's own primitive over a key."""
    import tink
    from tink import secret_key_access, streaming_aead
    from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2

    streaming_aead.register()
    params = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingParams(
        ciphertext_segment_size=segments.SEGMENT,
        derived_key_size=32,
        hkdf_hash_type=common_pb2.SHA256,
    )
    made = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(
        version=0, params=params, key_value=key
    )
    data = tink_pb2.KeyData(
        type_url="type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey",
        value=made.SerializeToString(),
        key_material_type=tink_pb2.KeyData.SYMMETRIC,
    )
    keyset = tink_pb2.Keyset(primary_key_id=1)
    keyset.key.add(
        key_data=data, status=tink_pb2.ENABLED, key_id=1, output_prefix_type=tink_pb2.RAW
    )
    data = keyset.SerializeToString()
    handle = tink.proto_keyset_format.parse(data, secret_key_access.TOKEN)
    return handle.primitive(streaming_aead.StreamingAead)


def test_whatever_is_altered_of_segments_does_not_open() -> None:
    """A byte anywhere, a cut at any segment, segments in another order, another file's header."""
    plaintext = random.Random(3).randbytes(2 * segments.SEGMENT)
    data = by_segments(plaintext)
    body = data[HEADER:]
    spoilt = [
        body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        for at in (0, 1, 33, 40, segments.SEGMENT, len(body) - 1)
    ]
    first, second = segments.SEGMENT, 2 * segments.SEGMENT
    spoilt += [body[:first], body[:second], body[:0], body[:39], body[:-1], body + b"x"]
    spoilt.append(body[:first] + body[second:] + body[first:second])
    for each in spoilt:
        with pytest.raises(Damaged):
            opened(data[:HEADER] + each)
    with pytest.raises(Damaged):
        opened(by_segments(plaintext)[:HEADER] + body)


def test_content_goes_from_one_cipher_to_the_other() -> None:
    """In one pass, by constant memory."""
    plaintext = random.Random(4).randbytes(segments.SEGMENT + 5)
    data, new, out = sealed(plaintext), new_header(SECOND, Cipher.AES_256_GCM_HKDF), io.BytesIO()
    reencrypt(read_header(data, ALL), new, io.BytesIO(data[HEADER:]).readinto, out.write)
    assert opened(new.data + out.getvalue()) == plaintext
