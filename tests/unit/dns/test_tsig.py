"""The key of a dynamic update opens a whole zone; it is shown to nobody."""

import base64
import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.config.secrets import Secret
from certrotd.dns.tsig import ALGORITHMS, TsigKey
from certrotd.errors import InvalidInput, NeedsOperator

OCTETS = b"thirty-two octets of pure secret"
TEXT = base64.b64encode(OCTETS).decode()


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, "HMAC-SHA256."])
def test_a_key_is_read(algorithm: str) -> None:
    """Spaces come from zone-file habits, the trailing dot and capitals from RFC 8945."""
    key = TsigKey.parse("Key.Example.", algorithm, f" {TEXT[:20]} {TEXT[20:]}\n")
    assert key.name == "key.example"
    assert key.algorithm == algorithm.lower().rstrip(".")
    assert key.secret.reveal() == OCTETS


def test_the_secret_is_in_no_repr() -> None:
    """acme.sh #6267: a key printed in a debug log."""
    key = TsigKey.parse("key.example", "hmac-sha256", TEXT)
    for shown in (repr(key), str(key), repr(key.secret), str(key.secret), f"{key.secret}"):
        assert TEXT not in shown
        assert "secret of" not in shown
        assert "thirty" not in shown
    assert "key.example" in repr(key)


def test_the_secret_is_not_pickled() -> None:
    """A secret must not travel to another process by accident."""
    with pytest.raises(TypeError):
        pickle.dumps(Secret(OCTETS))


@given(st.text(max_size=40).map(lambda text: f"!{text}"))
def test_a_bad_secret_is_not_quoted(text: str) -> None:
    """Half a secret in an error message is half a leak."""
    with pytest.raises(NeedsOperator) as caught:
        TsigKey.parse("key.example", "hmac-sha256", text)
    printed = "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None
    assert len(text.strip()) < 9 or text not in printed


@pytest.mark.parametrize("secret", ["", "not base64!", "abc", "ä"])
def test_a_bad_secret_is_refused(secret: str) -> None:
    """An empty secret would sign with nothing."""
    with pytest.raises(NeedsOperator, match=r"secret of TSIG key key\.example is not base64"):
        TsigKey.parse("key.example", "hmac-sha256", secret)


@pytest.mark.parametrize("algorithm", ["hmac-md5", "sha256", "", "gss-tsig"])
def test_an_unknown_algorithm_names_the_known_ones(algorithm: str) -> None:
    """The operator picks from the list instead of searching for one."""
    with pytest.raises(NeedsOperator) as caught:
        TsigKey.parse("key.example", algorithm, TEXT)
    assert "hmac-sha256" in caught.value.hint


def test_a_bad_key_name_is_refused() -> None:
    """Key names are domain names on the wire."""
    with pytest.raises(InvalidInput):
        TsigKey.parse("my key", "hmac-sha256", TEXT)
