"""What every codec promises, whatever the form of its ciphertext."""

import json
import sqlite3
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.codecs.errors import CodecError, TooLarge, UnknownKey, Unsupported, WrongKey
from certrotd.codecs.port import MAX_BYTES, KeyIds
from certrotd.codecs.selection import decrypt
from certrotd.keyring.material import Algorithm, KeySet
from tests.contract.codec_cases import CASES, PLAINTEXT, Case, key_of, reencrypt, refused

LENGTHS = [0, 1, 15, 16, 17, 31, 32, 33, 64, 1000, 4096]


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    """Each codec, with its keys."""
    return CASES[request.param]()


def plaintexts(case: Case) -> list[bytes]:
    """What the codec can hold: bytes of any kind, else JSON of about the same lengths."""
    if case.codec.traits.authenticated:
        lengths = LENGTHS if case.holds_nothing else LENGTHS[1:]
        return [bytes(range(256)) * 16 if n == 4096 else b"\0" * n for n in lengths]
    return [b'"' + b"a" * n + b'"' for n in LENGTHS]


def test_what_is_encrypted_decrypts_to_the_same(case: Case) -> None:
    """From nothing to some kilobytes, around the sizes of blocks."""
    for plaintext in plaintexts(case):
        sealed = case.codec.encrypt(plaintext, case.old, case.bound)
        assert case.codec.decrypt(sealed, case.old, case.bound) == plaintext
        assert not case.codec.traits.text or sealed.isascii()


def test_every_ciphertext_begins_as_declared_and_nothing_else_is_read(case: Case) -> None:
    """By that a value is told that was meant to be ciphertext, or holds some."""
    begins = case.codec.traits.beginning
    for key in (case.old, case.new):
        for plaintext in plaintexts(case):
            assert case.codec.encrypt(plaintext, key, case.bound).startswith(begins)
    for at in range(len(begins)):
        altered = bytearray(case.sample())
        altered[at] ^= 1
        with refused(case):
            case.codec.key_id_of(bytes(altered))


def test_the_same_plaintext_is_the_same_ciphertext_only_where_that_is_declared(case: Case) -> None:
    """A nonce is never used twice."""
    written = {case.sample() for _ in range(20)}
    assert len(written) == (1 if case.codec.traits.deterministic else 20)


def test_another_key_of_the_same_id_does_not_open_it(case: Case) -> None:
    """One typed error, that says no more than that."""
    with refused(case, WrongKey):
        case.codec.decrypt(case.sample(), case.impostor, case.bound)


def test_another_version_does_not_open_it(case: Case) -> None:
    """Whether the ciphertext names its key or not."""
    with refused(case, WrongKey):
        case.codec.decrypt(case.sample(), case.new, case.bound)


def test_other_associated_data_does_not_open_it(case: Case) -> None:
    """A value that was moved to another row; a format that binds nothing says so."""
    sealed = case.sample()
    wrong = WrongKey if case.codec.traits.associated_data else Unsupported
    with refused(case, wrong):
        case.codec.decrypt(sealed, case.old, b"table/column/8")
    if not case.codec.traits.associated_data:
        with refused(case, Unsupported):
            case.codec.encrypt(PLAINTEXT, case.old, b"table/column/8")


def test_a_ciphertext_cut_anywhere_is_refused(case: Case) -> None:
    """At its end or its beginning."""
    sealed = case.sample()
    for at in range(1, len(sealed)):
        with refused(case):
            case.codec.decrypt(sealed[:at], case.old, case.bound)
        with refused(case):
            case.codec.decrypt(sealed[at:], case.old, case.bound)


def test_nothing_is_not_a_ciphertext(case: Case) -> None:
    """An empty column is not an encrypted one."""
    with refused(case):
        case.codec.key_id_of(b"")
    with refused(case):
        case.codec.decrypt(b"", case.old, case.bound)


def test_a_flipped_bit_anywhere_is_refused(case: Case) -> None:
    """Where the form is authenticated; elsewhere it is refused, or the plaintext is as expected."""
    sealed = case.sample()
    for at in range(len(sealed) * 8):
        altered = bytearray(sealed)
        altered[at // 8] ^= 1 << at % 8
        if case.codec.traits.authenticated:
            with refused(case):
                case.codec.decrypt(bytes(altered), case.old, case.bound)
            continue
        try:
            found = case.codec.decrypt(bytes(altered), case.old, case.bound)
        except CodecError:
            continue
        json.loads(found)


def test_appended_bytes_are_refused(case: Case) -> None:
    """Also a newline, which lenient readers pass over."""
    for more in (b"\n", b" ", b"\0", b"=", b"A"):
        with refused(case):
            case.codec.decrypt(case.sample() + more, case.old, case.bound)


@pytest.mark.parametrize("name", sorted(CASES))
@given(data=st.binary(max_size=300))
def test_bytes_of_any_kind_are_refused(name: str, data: bytes) -> None:
    """By a CodecError and nothing else, whatever hostile hands write into a column."""
    case = CASES[name]()
    with refused(case):
        case.codec.decrypt(data, case.old, case.bound)


def test_a_huge_ciphertext_or_plaintext_is_refused_unread(case: Case) -> None:
    """A column that holds a film exhausts no memory."""
    huge = bytes(MAX_BYTES + 1)
    with refused(case, TooLarge):
        case.codec.key_id_of(huge)
    with refused(case, TooLarge):
        case.codec.decrypt(huge, case.old, case.bound)
    with refused(case, TooLarge):
        case.codec.encrypt(huge, case.old, case.bound)


def test_a_key_of_another_algorithm_is_refused(case: Case) -> None:
    """By encryption and decryption alike."""
    foreign = next(a for a in Algorithm if a not in case.codec.traits.algorithms)
    with refused(case, Unsupported):
        case.codec.decrypt(case.sample(), key_of(foreign, 1), case.bound)
    with refused(case, Unsupported):
        case.codec.encrypt(PLAINTEXT, key_of(foreign, 1), case.bound)


def test_a_ciphertext_names_its_key_before_it_is_decrypted(case: Case) -> None:
    """As a census asks it; where the form names none, it says so."""
    named = [case.codec.key_id_of(case.sample(key)) for key in (case.old, case.new)]
    if case.codec.traits.key_id is KeyIds.NONE:
        assert named == [None, None]
    else:
        assert None not in named
        assert named == [case.codec.key_id_for(key) for key in (case.old, case.new)]
        assert len(set(named)) == 2


def test_a_database_counts_the_values_of_a_key_by_their_beginning(case: Case) -> None:
    """By SQLite: what begins so names that key, and all that names it begins so."""
    database = sqlite3.connect(":memory:")
    database.execute("create table t (key int, v blob)")
    for key in [case.old] * 3 + [case.new] * 5 + [key_of(case.old.algorithm, 12)]:
        sealed = case.codec.encrypt(PLAINTEXT, key, case.bound)
        database.execute("insert into t values (?, ?)", (key.version, sealed))
    counted: Counter[int] = Counter()
    prefixes = {
        key: case.codec.sql_prefixes(case.codec.key_id_for(key) or "")
        for key in (case.old, case.new)
    }
    for key, beginnings in prefixes.items():
        for prefix in beginnings:
            query = "select key, count(*) from t where substr(v, 1, ?) = ? group by key"
            for version, number in database.execute(query, (len(prefix), prefix)):
                assert version == key.version
                counted[version] += number
    database.close()
    assert counted == ({1: 3, 2: 5} if any(prefixes.values()) else {})


def test_re_encryption_moves_a_value_to_the_new_key(case: Case) -> None:
    """Unless nothing tells which key it is under; a second pass finds it under the new one."""
    keys = KeySet.of([case.old, case.new], active=2)
    sealed = case.sample()
    if case.codec.key_id_of(sealed) is None and not case.codec.traits.authenticated:
        with refused(case, Unsupported):
            reencrypt(case.codec, sealed, keys, case.bound)
        return
    moved = reencrypt(case.codec, sealed, keys, case.bound)
    assert moved != sealed
    assert decrypt(case.codec, moved, keys, case.bound) == (PLAINTEXT, case.new)


def test_a_key_that_is_not_at_hand_is_named(case: Case) -> None:
    """Where the form names it; else no key opens it."""
    wrong = UnknownKey if case.codec.traits.key_id is not KeyIds.NONE else WrongKey
    with refused(case, wrong):
        decrypt(case.codec, case.sample(), KeySet.of([case.new], active=2), case.bound)


def test_an_opened_value_shows_no_plaintext(case: Case) -> None:
    """A traceback with locals prints it."""
    opened = decrypt(case.codec, case.sample(), KeySet.of([case.old], active=1), case.bound)
    assert opened.plaintext == PLAINTEXT
    assert "canary" not in repr(opened)
