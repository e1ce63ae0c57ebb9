"""What becomes of values: nothing is lost, and nothing is encrypted by mistake."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.codecs import patterns
from certrotd.codecs.expectation import Anything, Matching
from certrotd.codecs.fernet import FernetTokens
from certrotd.codecs.laravel import Laravel
from certrotd.codecs.layout import Layout, LayoutCipher
from certrotd.codecs.patterns import WholePattern
from certrotd.codecs.port import Codec, KeyIds, Traits
from certrotd.codecs.tink import Tink
from certrotd.datasets.documents import ListDocument
from certrotd.datasets.keys import AssociatedData, key_from_json, key_to_json
from certrotd.datasets.port import Row
from certrotd.datasets.row_values import Batch, Seen
from certrotd.datasets.values import Form, Leftover, Values
from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.keyring.material import Algorithm, DataKey, KeySet, Material

TINK, FERNET, LARAVEL = Tink(), FernetTokens(lambda: 1_790_000_000), Laravel()
HEX = Layout("{iv:hex}:{tag:hex}:{ct:hex}", LayoutCipher.AES_256_GCM)
"""Its ciphertext has no beginning of its own."""


def key_of(codec: Codec, version: int, seed: int = 0) -> DataKey:
    algorithm = Algorithm.FERNET if codec is FERNET else Algorithm.AES_256_GCM
    return DataKey(version, algorithm, Material(bytes([version, seed] * 16)))


def keys_of(codec: Codec) -> KeySet:
    return KeySet.of([key_of(codec, 1), key_of(codec, 2)], active=2)


def values_of(codec: Codec, plaintext: Leftover = Leftover.REFUSE) -> Values:
    bound = AssociatedData("{table}/{column}/{pk}", "t", ("a", "b"), ("id",))
    binds = bound.of if codec.traits.associated_data else Form(codec).binds
    return Values(Form(codec, binds, plaintext), keys_of(codec))


def row(*values: bytes | None, key: int = 7) -> Row:
    return Row((key,), values, None)


def bound(codec: Codec, column: str, key: int = 7) -> bytes:
    return f"t/{column}/{key}".encode() if codec.traits.associated_data else b""


BOTH = pytest.mark.parametrize("codec", [TINK, FERNET], ids=["tink", "fernet"])
EACH = pytest.mark.parametrize(
    "codec", [TINK, FERNET, LARAVEL, HEX], ids=["tink", "fernet", "laravel", "layout"]
)


@given(st.sampled_from([TINK, FERNET, LARAVEL, HEX]), st.binary(), st.binary())
def test_every_plaintext_is_the_same_under_the_active_key(
    codec: Codec, one: bytes, other: bytes
) -> None:
    """Also an empty one, in each column; a second time nothing changes."""
    values, old = values_of(codec), key_of(codec, 1)
    asked = row(
        codec.encrypt(one, old, bound(codec, "a")), codec.encrypt(other, old, bound(codec, "b"))
    )
    batch = values.reencrypted([asked])
    [change] = batch.changes
    assert not batch.quarantined
    for value, column, plaintext in zip(change.values, "ab", (one, other), strict=True):
        assert value is not None
        assert codec.decrypt(value, key_of(codec, 2), bound(codec, column)) == plaintext
    again = values.reencrypted([Row((7,), change.values, None)])
    assert (again.changes, again.quarantined) == ((), ())


def test_the_time_of_a_fernet_token_stays() -> None:
    """A token expires by it."""
    old = FernetTokens(lambda: 1_600_000_000).encrypt(b"x", key_of(FERNET, 1))
    [change] = values_of(FERNET).reencrypted([row(old, None)]).changes
    assert change.values[0] is not None
    assert change.values[0][:11] == old[:11]
    assert change.values[1] is None


@EACH
def test_what_is_empty_or_of_the_active_key_is_not_touched(codec: Codec) -> None:
    """NULL and the empty value are no plaintext either."""
    mine = codec.encrypt(b"x", key_of(codec, 2), bound(codec, "a"))
    for asked in (row(None, None), row(b"", b""), row(mine, None)):
        batch = values_of(codec, Leftover.ENCRYPT).reencrypted([asked])
        assert (batch.changes, batch.quarantined) == ((), ())


@EACH
def test_one_value_that_does_not_open_leaves_the_other_of_its_row(codec: Codec) -> None:
    """It is quarantined by row and column, and its bytes are in no message."""
    strange = codec.encrypt(b"canary", key_of(codec, 1, seed=9), bound(codec, "a"))
    good = codec.encrypt(b"y", key_of(codec, 1), bound(codec, "b"))
    batch = values_of(codec).reencrypted([row(strange, good)])
    [change], [left] = batch.changes, batch.quarantined
    assert change.values[0] == strange
    assert change.values[1] not in (good, None)
    assert left.words(("a", "b")).startswith("a of row 7: ")
    assert "canary" not in repr(batch)


def test_a_value_that_was_moved_to_another_row_does_not_open() -> None:
    """Associated data binds it to its place."""
    moved = TINK.encrypt(b"x", key_of(TINK, 1), bound(TINK, "a", key=8))
    batch = values_of(TINK).reencrypted([row(moved, None)])
    assert not batch.changes
    assert "does not open" in batch.quarantined[0].why


@pytest.mark.parametrize("policy", Leftover)
@BOTH
def test_plaintext_is_refused_encrypted_or_left(codec: Codec, policy: Leftover) -> None:
    """As the operator says."""
    batch = values_of(codec, policy).reencrypted([row("Grüße\n".encode(), None)])
    assert bool(batch.quarantined) is (policy is Leftover.REFUSE)
    assert bool(batch.changes) is (policy is Leftover.ENCRYPT)
    for change in batch.changes:
        assert change.values[0] is not None
        opened = codec.decrypt(change.values[0], key_of(codec, 2), bound(codec, "a"))
        assert opened == "Grüße\n".encode()


@pytest.mark.parametrize("policy", Leftover)
def test_text_is_not_taken_for_plaintext_where_ciphertext_begins_with_anything(
    policy: Leftover,
) -> None:
    """It may be what is left of ciphertext."""
    batch = values_of(HEX, policy).reencrypted([row(b"9f3c: cut short by a narrow column", None)])
    assert not batch.changes
    assert len(batch.quarantined) == 1


@EACH
@given(cut=st.integers(1, 60), flip=st.integers(0, 40))
def test_what_is_damaged_is_never_taken_for_plaintext(codec: Codec, cut: int, flip: int) -> None:
    """Cut short or altered, it is quarantined, whatever is done about plaintext."""
    whole = codec.encrypt(b"some plaintext of some length", key_of(codec, 1), bound(codec, "a"))
    altered = bytearray(whole)
    altered[5 + flip % (len(whole) - 5)] ^= 0x81
    for damaged in (whole[:-cut], bytes(altered)):
        for policy in Leftover:
            batch = values_of(codec, policy).reencrypted([row(damaged, None)])
            assert not batch.changes
            assert len(batch.quarantined) == 1


@EACH
def test_what_is_encrypted_twice_is_not_made_to_look_done(codec: Codec) -> None:
    """The inner key would be destroyed with it."""
    old = key_of(codec, 1)
    inner = codec.encrypt(b"x", old, bound(codec, "a"))
    batch = values_of(codec).reencrypted([row(codec.encrypt(inner, old, bound(codec, "a")), None)])
    assert not batch.changes
    assert "encrypted twice" in batch.quarantined[0].why


UNPROVEN = Traits(KeyIds.NONE, frozenset({Algorithm.FERNET}), authenticated=False)


@dataclass(frozen=True)
class NoMac(FernetTokens):
    """Fernet's cipher without its MAC: any key may seem to open it."""

    traits: Traits = UNPROVEN

    def decrypt(self, ciphertext: bytes, key: DataKey, associated_data: bytes = b"") -> bytes:
        return ciphertext[::-1]


def test_a_wrong_key_that_seems_to_decrypt_is_never_tried() -> None:
    """Where a form proves nothing and names no key, several keys tell nothing."""
    codec = NoMac()
    values = Values(Form(codec, plaintext=Leftover.ENCRYPT), keys_of(FERNET))
    batch = values.reencrypted([row(codec.encrypt(b"x", key_of(FERNET, 1)), None)])
    assert not batch.changes
    assert "which of several keys" in batch.quarantined[0].why


@EACH
def test_ciphertext_that_does_not_open_again_is_never_written(
    codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the reason: here a codec that encrypts something else."""
    values, right = values_of(codec), type(codec).encrypt

    def wrong(self: Codec, plaintext: bytes, *rest: bytes, **more: bytes) -> bytes:
        return right(self, plaintext + b"!", *rest, **more)  # type: ignore[arg-type]

    old = codec.encrypt(b"x", key_of(codec, 1), bound(codec, "a"))
    monkeypatch.setattr(type(codec), "encrypt", wrong)
    batch = values.reencrypted([row(old, None)])
    assert not batch.changes
    assert "same plaintext" in batch.quarantined[0].why


def test_a_look_tells_the_version_of_each_value() -> None:
    """Those of the active key are opened, too."""
    mine = TINK.encrypt(b"x", key_of(TINK, 2), bound(TINK, "a"))
    old = TINK.encrypt(b"y", key_of(TINK, 1), bound(TINK, "b"))
    assert list(values_of(TINK).looked_at(row(mine, old))) == [Seen(2, b"x"), Seen(1, b"y")]


_places = st.one_of(
    st.integers(), st.text(), st.binary(), st.uuids(), st.decimals(allow_nan=False),
    st.datetimes(), st.dates(),
)  # fmt: skip


@given(st.lists(_places, min_size=1, max_size=4).map(tuple))
def test_a_key_of_a_row_is_kept_as_it_is(key: tuple[int | str, ...]) -> None:
    """Of every type that key columns have."""
    assert key_from_json(key_to_json(key)) == key


def test_a_key_that_cannot_be_kept_is_refused() -> None:
    """Before anything is written, and a damaged checkpoint is, too."""
    with pytest.raises(NeedsOperator, match="type float"):
        key_to_json((1.5,))  # type: ignore[arg-type]
    damaged: tuple[list[object], ...] = ([None], [{}], [{"uuid": "x"}], [{"other": "x"}], [[1]])
    for told in damaged:
        with pytest.raises(InvalidInput):
            key_from_json(told)


def test_associated_data_names_table_column_and_key() -> None:
    """Each key column by its name; braces are doubled."""
    data = AssociatedData("{{{table}}}/{column}/{pk}/{id}", "t", ("a",), ("tenant", "id"))
    assert data.of(("x", b"\x01\xff"), 0) == b"{t}/a/x/01ff/01ff"


PIN = Matching(WholePattern("[0-9]{4}"))
CBC = Layout("{iv:hex}:{ct:hex}", LayoutCipher.AES_256_CBC, plaintext=Anything(), marks=True)
"""Without a MAC, and without a key's id."""
OF_APP = replace(CBC, marks=False)


def cbc_key(version: int) -> DataKey:
    return DataKey(version, Algorithm.AES_256_CBC, Material(bytes([version]) * 32))


def cut_over(**more: Any) -> Values:
    """Values while version 2 comes in the place of 1, which the application has."""
    keys = KeySet.of([cbc_key(1), cbc_key(2)], active=2, held=1)
    return Values(Form(CBC, **{"expects": {0: PIN}, **more}), keys)


def test_what_opens_to_something_else_than_is_expected_is_left_alone() -> None:
    """Another key wrote it, or nobody that matters."""
    values = cut_over()
    right, wrong = OF_APP.encrypt(b"1234", cbc_key(1)), OF_APP.encrypt(b"letters", cbc_key(1))
    [change] = values.reencrypted([row(right)]).changes
    assert change.values[0] is not None
    assert OF_APP.decrypt(change.values[0], cbc_key(2)) == b"1234"
    batch = values.reencrypted([row(wrong)])
    assert batch.changes == ()
    assert "than what is expected" in batch.quarantined[0].why
    assert [type(each) for each in values.looked_at(row(wrong))] == [type(batch.quarantined[0])]


@pytest.mark.parametrize("name", ["expects", "others"])
def test_a_value_that_takes_a_pattern_for_ever_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Users of the application choose the text; the rows behind it are not held up."""
    monkeypatch.setattr(patterns, "SECONDS", 0.05)
    slow, plain = b"a" * 60 + b"!", b"aa"
    if name == "expects":
        values = cut_over(expects={0: Matching(WholePattern("(a|aa)+"))})
        slow, plain = (OF_APP.encrypt(each, cbc_key(1)) for each in (slow, plain))
    else:
        values = cut_over(others=WholePattern(b"(a|aa)+!?b"))
        plain = OF_APP.encrypt(b"1234", cbc_key(1))
    batch = values.reencrypted([row(slow), row(plain)])
    assert [each.why for each in batch.quarantined] == [
        "a regular expression takes longer than 0.05 s for it"
    ]
    assert [each.row for each in batch.changes] == [row(plain)]
    assert [*values.looked_at(row(slow))] == [*batch.quarantined]


def test_what_certrotd_has_written_already_is_known_by_its_mark() -> None:
    """What the application has under the key that is to come is marked before it loses it."""
    done = CBC.encrypt(b"1234", cbc_key(2))
    values = cut_over()
    assert values.reencrypted([row(done)]) == Batch((), ())
    assert [*values.looked_at(row(done))] == [Seen(2, b"1234")]
    keys = KeySet.of([cbc_key(1), cbc_key(2)], active=2, held=2)
    unmarked = row(OF_APP.encrypt(b"1234", cbc_key(2)))
    assert Values(Form(CBC, expects={0: PIN}), keys).reencrypted([unmarked]) == Batch((), ())
    after = Values(Form(CBC, expects={0: PIN}, marks_all=True), keys)
    [change] = after.reencrypted([unmarked]).changes
    assert change.values[0] is not None
    assert CBC.marked(change.values[0], cbc_key(2))


def test_values_under_other_keys_are_no_concern() -> None:
    """They are neither counted nor touched, wherever they stand."""
    mine = OF_APP.encrypt(b"1234", cbc_key(1))
    values = cut_over(others=WholePattern(b"key-.*"))
    assert values.reencrypted([row(b"key-7:abc")]) == Batch((), ())
    assert [*values.looked_at(row(b"key-7:abc"))] == []
    several = cut_over(others=WholePattern(b"key-.*"), documents={0: ListDocument(b",")})
    text = b",".join([mine, b"key-7:abc", b"", mine])
    assert [*several.looked_at(row(text))] == [Seen(1, b"1234")] * 2
    [change] = several.reencrypted([row(text)]).changes
    first, *others, last = (change.values[0] or b"").split(b",")
    assert others == [b"key-7:abc", b""]
    assert [OF_APP.decrypt(each, cbc_key(2)) for each in (first, last)] == [b"1234"] * 2
    broken = several.reencrypted([row(mine + b",broken,\xff")])
    assert [each.why for each in broken.quarantined] == [
        "at [1], the ciphertext is not of its layout",
        "at [2], it is no text",
    ]
    assert (broken.changes[0].values[0] or b"").endswith(b",broken,\xff")
