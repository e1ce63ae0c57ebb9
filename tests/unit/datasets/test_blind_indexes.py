"""What becomes of a blind index: only what a key of the keyring made is made anew."""

from __future__ import annotations

import pytest

from certrotd.codecs.blind_index import BlindIndex, IndexEncoding, Step
from certrotd.datasets.blind_indexes import IndexField
from certrotd.datasets.census import BY_INDEX, tally
from certrotd.datasets.port import Row
from certrotd.datasets.values import Form, Leftover
from tests.fakes.datasets import MemoryDataset
from tests.unit.datasets.test_values import FERNET, key_of, keys_of

INDEX = BlindIndex(encoding=IndexEncoding.HEX, steps=(Step.LOWER,))
KEYS = keys_of(FERNET)


def form(plaintext: Leftover = Leftover.REFUSE, *, fills: bool = False) -> Form:
    """A value, and its blind index behind it."""
    return Form(FERNET, plaintext=plaintext, indexes={1: IndexField(0, INDEX, fills=fills)})


def sealed(data: bytes, version: int) -> bytes:
    return FERNET.encrypt(data, key_of(FERNET, version))


def index(data: bytes, version: int) -> bytes:
    return INDEX.of(data, key_of(FERNET, version).material.reveal())


def renewed(form: Form, value: bytes | None, stored: bytes | None) -> tuple[bytes | None, ...]:
    """What a row becomes; its own values where it stays."""
    row = Row((1,), (value, stored), None)
    batch = form.values(KEYS).reencrypted([row])
    return batch.changes[0].values if batch.changes else row.values


@pytest.mark.parametrize("under", [1, 2])
def test_the_empty_value_has_a_blind_index_of_its_own(under: int) -> None:
    """Some applications do not encrypt it, and search for it nevertheless."""
    assert renewed(form(), b"", index(b"", under)) == (b"", index(b"", 2))
    assert renewed(form(fills=True), b"", None) == (b"", index(b"", 2))
    assert renewed(form(fills=True), None, None) == (None, None)


def test_plaintext_that_is_left_is_found_by_the_new_key() -> None:
    """And what is encrypted, too: the search has one key in the end."""
    left = renewed(form(Leftover.LEAVE), b"Ada", index(b"ada", 1))
    assert left == (b"Ada", index(b"ada", 2))
    value, stored = renewed(form(Leftover.ENCRYPT), b"Ada", index(b"ada", 1))
    assert FERNET.decrypt(value or b"", key_of(FERNET, 2)) == b"Ada"
    assert stored == index(b"ada", 2)


@pytest.mark.parametrize(
    ("value", "stored", "why"),
    [
        (sealed(b"\xff", 1), index(b"ada", 1), "its blind index is of text"),
        (sealed(b"ada", 1), index(b"bob", 1), "no key at hand makes this blind index"),
        (None, index(b"ada", 1), "the blind index of a value that is not there"),
        (sealed(b"ada", 3), index(b"ada", 1), "does not open"),
    ],
    ids=["no text", "another index", "no value", "another key"],  # ciphertext differs each time
)
def test_what_is_not_known_keeps_the_old_key(value: bytes | None, stored: bytes, why: str) -> None:
    """Nothing of the row changes, and the census counts what a pass lists."""
    row = Row((1,), (value, stored), None)
    batch = form().values(KEYS).reencrypted([row])
    assert not batch.changes
    assert why in batch.quarantined[0].why
    dataset = MemoryDataset(content={(1,): (value, stored)})
    counted = tally(dataset, form(), KEYS)
    assert counted.method == BY_INDEX
    assert counted.left(1) == len(batch.quarantined)
    assert stored not in repr(batch).encode()


def test_no_key_is_in_what_is_shown_of_an_index() -> None:
    """Representations end up in logs."""
    field = IndexField(0, INDEX, (key_of(FERNET, 1).material,))
    assert key_of(FERNET, 1).material.reveal().hex() not in repr(field)
    assert "key material" in repr(field)
