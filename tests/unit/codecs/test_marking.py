"""What certrotd writes without a MAC proves its key; what anybody else writes does not."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.codecs.derivation import Kdf, KdfName
from certrotd.codecs.errors import CodecError, Unsupported
from certrotd.codecs.expectation import Anything
from certrotd.codecs.layout import IvFrom, Layout, LayoutCipher, Padding
from certrotd.codecs.layouts import Layouts
from certrotd.codecs.marking import is_marked, marked_noise
from certrotd.codecs.selection import by_construction
from certrotd.codecs.wso2 import Wso2
from certrotd.errors import InvalidInput
from certrotd.keyring.material import Algorithm, DataKey, KeySet, Material

SHA256, MD5 = Kdf(KdfName.SHA256), Kdf(KdfName.EVP_BYTES_TO_KEY, "md5")
CBC, CFB = LayoutCipher.AES_256_CBC, LayoutCipher.AES_256_CFB
BARE = Layout("{iv:hex}:{ct:hex}", CBC, SHA256, plaintext=Anything())
STREAM = Layout(
    "raw({salt}{iv}{ct})",
    CFB,
    Kdf(KdfName.PBKDF2, iterations=2),
    salt_bytes=8,
    plaintext=Anything(),
)
SALTED = Layout(
    "base64(Salted__{salt}{ct})", CBC, MD5, IvFrom.KDF, salt_bytes=8, plaintext=Anything()
)
FIXED = Layout(
    "{ct:base64}", CBC, SHA256, IvFrom.KEY, padding=Padding.ASTERISK, plaintext=Anything()
)
EACH = pytest.mark.parametrize(
    "plain", [BARE, STREAM, SALTED, FIXED], ids=["iv", "salt and iv", "salt", "padding"]
)
OLD, NEW = (DataKey(n, Algorithm.PASSPHRASE, Material(b"secret %d" % n)) for n in (1, 2))
KEYS = KeySet.of([OLD, NEW], active=2, held=1)
TEXTS = st.binary(max_size=70).filter(lambda text: not text.endswith(b"*") and len(text) % 16 != 0)


@EACH
@given(text=TEXTS)
def test_a_mark_tells_the_key_and_an_application_makes_none(plain: Layout, text: bytes) -> None:
    """It reads what is marked as it reads all else."""
    ours = replace(plain, marks=True)
    marked = ours.encrypt(text, NEW)
    assert plain.decrypt(marked, NEW) == text
    assert ours.marked(marked, NEW)
    assert not ours.marked(marked, OLD)
    assert not ours.marked(plain.encrypt(text, NEW), NEW)
    if plain is not FIXED:
        assert len(marked) == len(plain.encrypt(text, NEW))
        assert ours.encrypt(text, NEW) != marked


@EACH
@given(text=TEXTS)
def test_without_a_mark_it_is_under_the_key_that_the_application_has(
    plain: Layout, text: bytes
) -> None:
    """Whatever another one would make of it."""
    ours = replace(plain, marks=True)
    for key in (OLD, NEW):
        opened = by_construction(ours, ours.encrypt(text, key), KEYS, b"")
        assert (opened.plaintext, opened.key) == (text, key)
    assert by_construction(ours, plain.encrypt(text, OLD), KEYS, b"").key == OLD
    foreign = plain.encrypt(text, NEW)
    with suppress(CodecError):  # AES-CBC mostly does not open
        assert by_construction(ours, foreign, KEYS, b"").key == OLD


def test_what_marks_nothing_needs_one_key() -> None:
    """Otherwise it would be a guess."""
    codec = Wso2(Anything(), key_ids=False)
    keys = [DataKey(n, Algorithm.AES_256_GCM, Material(bytes([n]) * 32)) for n in (1, 2)]
    sealed = codec.encrypt(b"text", keys[0])
    alone = KeySet.of(keys[:1], active=1)
    assert by_construction(codec, sealed, alone, b"").plaintext == b"text"
    with pytest.raises(Unsupported):
        by_construction(codec, sealed, KeySet.of(keys, active=2, held=1), b"")


@given(text=st.binary(max_size=40), length=st.sampled_from([8, 12, 16]))
def test_a_mark_is_of_its_secret_and_its_plaintext(text: bytes, length: int) -> None:
    """And never the same twice."""
    noise = marked_noise(b"secret", text, length)
    assert len(noise) == length
    assert is_marked(b"secret", text, noise)
    assert not is_marked(b"other", text, noise)
    assert not is_marked(b"secret", text + b"x", noise)
    assert marked_noise(b"secret", text, length) != noise


def test_a_form_in_which_nothing_can_be_marked_is_refused() -> None:
    """A cut-over that was killed could not tell what is done."""
    with pytest.raises(InvalidInput, match="nothing in it can tell"):
        replace(FIXED, padding=Padding.PKCS7, marks=True)


def test_several_layouts_are_told_apart_by_how_they_begin() -> None:
    """Each value stays in its form, and what is new has the first one."""
    newer = replace(BARE, layout="v2:{iv:hex}:{ct:hex}", marks=True)
    both = Layouts((newer, replace(BARE, marks=True)))
    old = BARE.encrypt(b"text", OLD)
    assert both.decrypt(old, OLD) == b"text"
    assert both.encrypt(b"text", NEW).startswith(b"v2:")
    again = both.encrypt(b"text", NEW, replacing=old)
    assert not again.startswith(b"v2:")
    assert both.marked(again, NEW)
    for wrong in (
        (newer,),
        (BARE, newer),
        (newer, replace(newer, layout="v2:{ct:hex}:{iv:hex}")),
        (newer, STREAM),
        (newer, replace(BARE, layout="{key}:{iv:hex}:{ct:hex}")),
    ):
        with pytest.raises(InvalidInput):
            Layouts(wrong)


@pytest.mark.parametrize("marks", [False, True])
def test_no_salt_begins_with_an_asterisk(*, marks: bool) -> None:
    """Grafana would take what follows for the name of a cipher, and could not read the value."""
    layout = replace(STREAM, marks=marks)
    assert not any(layout.encrypt(b"token", NEW).startswith(b"*") for _ in range(2500))
