"""Which key opens a value: the one it names, what a MAC proves, and never a guess."""

from dataclasses import dataclass, replace

import pytest

from certrotd.codecs.errors import Unsupported, WrongKey
from certrotd.codecs.fernet import FernetTokens
from certrotd.codecs.port import Traits
from certrotd.codecs.selection import candidates, decrypt
from certrotd.keyring.material import KeySet
from tests.contract.codec_cases import CASES, PLAINTEXT

CASE = CASES["fernet"]()
BOTH = KeySet.of([CASE.old, CASE.new], active=2)


UNPROVEN = replace(FernetTokens().traits, authenticated=False)


@dataclass(frozen=True)
class Unauthenticated(FernetTokens):
    """A form that proves nothing."""

    traits: Traits = UNPROVEN


def test_keys_are_tried_from_the_active_one_where_a_mac_proves_which() -> None:
    """The likeliest first."""
    assert candidates(CASE.codec, CASE.sample(), BOTH) == (CASE.new, CASE.old)
    assert decrypt(CASE.codec, CASE.sample(), BOTH) == (PLAINTEXT, CASE.old)


def test_no_key_of_several_is_tried_where_nothing_proves_which() -> None:
    """A wrong one could seem to open it; one that is given alone is taken."""
    with pytest.raises(Unsupported, match="which of several keys"):
        decrypt(Unauthenticated(), CASE.sample(), BOTH)
    alone = KeySet.of([CASE.old], active=1)
    assert decrypt(Unauthenticated(), CASE.sample(), alone) == (PLAINTEXT, CASE.old)


def test_a_value_that_no_key_opens_is_one_error() -> None:
    """However many were tried."""
    with pytest.raises(WrongKey):
        decrypt(CASE.codec, CASE.sample(), KeySet.of([CASE.new, CASE.impostor], active=2))
