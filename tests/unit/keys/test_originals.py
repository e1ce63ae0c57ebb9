"""What cannot be told from gibberish is kept until the application reads; there is little room."""

from __future__ import annotations

import pytest

from certrotd.codecs.expectation import Length, Utf8
from certrotd.datasets.configured import Opened
from certrotd.datasets.reencryption import Pace
from certrotd.datasets.values import Form
from certrotd.errors import NeedsOperator
from certrotd.keys.originals import MOST_BYTES, read
from tests.fakes.datasets import MemoryDataset
from tests.fakes.one_key import CFB, TINK


def opened(form: Form, rows: int, size: int) -> Opened:
    dataset = MemoryDataset()
    for number in range(rows):
        dataset.content[(number,)] = (b"x" * size,)
    return Opened(dataset, form, Pace(), False)


def test_only_what_a_wrong_key_would_open_is_kept() -> None:
    """Its ciphertext, by row."""
    weak = Form(CFB, expects={0: Length(1, 9)})
    told = read("rows", opened(weak, 2, 3))
    assert told == {"[0]": ["eHh4"], "[1]": ["eHh4"]}
    for form in (Form(CFB, expects={0: Utf8()}), Form(TINK)):
        assert read("rows", opened(form, 2, 3)) is None


def test_a_cut_over_does_not_begin_with_more_than_can_be_kept() -> None:
    """An undo would lose it."""
    weak = Form(CFB, expects={0: Length(1, 9)})
    with pytest.raises(NeedsOperator, match="rows has too much whose plaintext is told by its len"):
        read("rows", opened(weak, 600, MOST_BYTES // 600))
