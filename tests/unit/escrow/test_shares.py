"""Shares of custodians: any so many make the identity, and whatever is mistyped is named."""

from __future__ import annotations

import itertools
import sys

import pyrage  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shamir_mnemonic import combine_mnemonics, generate_mnemonics  # type: ignore[import-untyped]

from certrotd import bech32
from certrotd.config.secrets import Secret
from certrotd.errors import InvalidInput
from certrotd.escrow.errors import LibraryMissing, NotOpened
from certrotd.escrow.shares import MAX_TEXT, joined, split

MADE = split(3, 5)
WORDS = [each.reveal().decode() for each in MADE.shares]
OTHERS = [each.reveal().decode() for each in split(3, 5).shares]


def recipient(text: str) -> str:
    """That of the identity which shares make."""
    return str(pyrage.x25519.Identity.from_str(joined(Secret(text.encode()))).to_public())


def test_any_three_of_five_make_the_identity() -> None:
    """In any order; the recipient that was printed at the ceremony is its own."""
    for some in itertools.permutations(WORDS, 3):
        assert recipient("\n".join(some)) == MADE.recipient
    assert recipient("\n".join(OTHERS[:3])) != MADE.recipient


def test_a_share_is_a_line_of_33_words_of_slip_39() -> None:
    """Other programs that know SLIP-39 put them together, too."""
    assert {len(each.split()) for each in WORDS} == {33}
    secret = combine_mnemonics(WORDS[:3])
    assert bech32.encoded("age-secret-key-", secret).upper() == joined(
        Secret("\n".join(WORDS[2:]).encode())
    )


def test_shares_may_be_written_as_people_write_them() -> None:
    """In capitals, with comments, with empty lines, and more of them than are needed."""
    text = f"# the treasurer\n{WORDS[0].upper()}\n\n  {WORDS[4]}  # safe\r\n" + "\n".join(WORDS)
    assert recipient(text) == MADE.recipient


@pytest.mark.parametrize(
    ("share", "secret"),
    [
        (
            "duckling enlarge academic academic agency result length solution fridge kidney coal "
            "piece deal husband erode duke ajar critical decision keyboard",
            "bb54aac4b89dc868ba37d9cc21b2cece",
        ),
        (
            "theory painting academic academic armed sweater year military elder discuss acne "
            "wildlife boring employer fused large satoshi bundle carbon diagnose anatomy hamster "
            "leaves tracks paces beyond phantom capital marvel lips brave detect luck",
            "989baf9dcaad5b10ca33dfd8cc75e42477025dce88ae83e75a230086a0e00e92",
        ),
    ],
)
def test_the_installed_library_knows_vectors_of_the_standard(share: str, secret: str) -> None:
    """One of 128 and one of 256 bits, without sharing, whose passphrase is TREZOR."""
    assert combine_mnemonics([share], b"TREZOR").hex() == secret


def wallet(size: int, groups: int) -> str:
    """A share of something else."""
    made = generate_mnemonics(groups, [(2, 3)] * groups, bytes(size))
    return str(made[0][0])


def mistyped(word: str) -> str:
    return " ".join([word, *WORDS[0].split()[1:]])


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([], "no share is given"),
        (["# none"], "no share is given"),
        (WORDS[:2], "2 different shares are given, and 3 are needed"),
        ([WORDS[0]] * 3, "1 different shares are given, and 3 are needed"),
        ([mistyped("certrotd")], "share 1 is mistyped"),
        ([WORDS[1], mistyped("zero")], "share 2 is mistyped"),
        ([" ".join(WORDS[0].split()[:-1])], "share 1 is mistyped"),
        (["academic"], "share 1 is mistyped"),
        ([*WORDS[:2], OTHERS[2]], "share 3 is of another set than the first"),
        ([wallet(16, 1)], "no share of a backup identity"),
        ([wallet(32, 2)], "no share of a backup identity"),
        (WORDS * 4, "more than 16 shares are given"),
        (["x" * (MAX_TEXT + 1)], "longer than"),
        (["é"], "not plain words"),
    ],
)
def test_wrong_shares_are_reported(lines: list[str], why: str) -> None:
    """In one line that shows no word of any."""
    with pytest.raises(NotOpened, match=why) as refused:
        joined(Secret("\n".join(lines).encode()))
    shown = set(str(refused.value).replace(",", "").replace(":", "").split())
    unusual = {word for word in WORDS[0].split() if len(word) > 6}
    assert not shown & unusual


def test_shares_of_one_number_that_differ_are_reported() -> None:
    """Two ceremonies may draw the same first words, once in 32,768 times."""
    from shamir_mnemonic.shamir import (  # type: ignore[import-untyped]
        EncryptedMasterSecret,
        split_ems,
    )

    both = [
        split_ems(1, [(2, 2)], EncryptedMasterSecret(7, True, 1, secret))[0]
        for secret in (bytes(32), b"\x01" * 32)
    ]
    (one, two), (_, other) = both
    with pytest.raises(NotOpened, match="two shares with one number differ"):
        joined(Secret("\n".join(each.mnemonic() for each in (one, two, other)).encode()))
    with pytest.raises(NotOpened, match="they do not fit together"):
        joined(Secret("\n".join(each.mnemonic() for each in (one, other)).encode()))


@pytest.mark.parametrize(("threshold", "of"), [(0, 3), (1, 3), (1, 1), (3, 2), (2, 17)])
def test_numbers_that_cannot_be_are_refused(threshold: int, of: int) -> None:
    """One share that opens everything is an identity on paper."""
    with pytest.raises(InvalidInput, match="cannot be"):
        split(threshold, of)


def test_a_missing_library_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what installs it."""
    monkeypatch.setitem(sys.modules, "shamir_mnemonic", None)
    with pytest.raises(LibraryMissing, match=r"which are not installed.*\[escrow\]"):
        joined(Secret(WORDS[0].encode()))


@given(st.binary(min_size=1, max_size=64))
def test_bech32_reads_what_it_wrote(data: bytes) -> None:
    """In capitals, too."""
    text = bech32.encoded("age-secret-key-", data)
    assert bech32.decoded("age-secret-key-", text) == data
    assert bech32.decoded("age-secret-key-", text.upper()) == data


@given(st.binary(min_size=32, max_size=32), st.integers(16, 70), st.sampled_from("qpz0"))
def test_bech32_notices_one_wrong_character(data: bytes, at: int, wrong: str) -> None:
    """That is what its checksum is for."""
    text = bech32.encoded("age-secret-key-", data)
    changed = text[:at] + wrong + text[at + 1 :]
    if changed != text:
        with pytest.raises(ValueError, match="checksum"):
            bech32.decoded("age-secret-key-", changed)


@pytest.mark.parametrize(
    "text",
    ["", "age1", "age-secret-key-1", "age-secret-key-1qqq", "Age-Secret-Key-1qqqqqqq",
     "age-secret-key-1bbbbbbb", "other1qqqqqqq"],
)  # fmt: skip
def test_what_is_no_bech32_is_refused(text: str) -> None:
    """Cut short, of another prefix, or of mixed case."""
    with pytest.raises(ValueError, match=r"checksum|begins with"):
        bech32.decoded("age-secret-key-", text)


def test_bech32_agrees_with_its_own_specification() -> None:
    """A valid string of BIP 173, and one whose padding is not of zeros."""
    assert bech32.decoded("a", "a12uel5l") == b""
    full = bech32.encoded("a", b"\xff")
    values = bech32._regrouped(b"\xff", 8, 5, pad=True)
    assert bech32._regrouped(values, 5, 8, pad=False) == [0xFF]
    assert full.startswith("a1l")
    with pytest.raises(ValueError, match="its length is wrong"):
        bech32._regrouped([31, 29], 5, 8, pad=False)
    with pytest.raises(ValueError, match="its length is wrong"):
        bech32._regrouped([0], 5, 8, pad=False)
