"""The key of a dynamic update opens a whole zone; it is shown to nobody."""

import base64
import pickle
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.config.secrets import Secret
from certrotd.config.solvers import TsigEntry, tsig_key
from certrotd.dns.rfc2136 import TsigKey
from certrotd.errors import NeedsOperator

OCTETS = b"thirty-two octets of pure secret"
TEXT = base64.b64encode(OCTETS).decode()
KEY = TsigKey("key.example", "hmac-sha256", Secret(OCTETS))


def key_of(folder: Path, secret: str) -> TsigKey:
    """The key of an entry whose secret is in a file."""
    (folder / "key").write_text(secret)
    (folder / "key").chmod(0o600)
    entry = {"name": "Key.Example.", "secret": {"file": str(folder / "key")}}
    return TsigKey.of(TsigEntry.model_validate(entry))


def test_a_key_is_read(tmp_path: Path) -> None:
    """Spaces come from zone-file habits, the trailing dot and capitals from RFC 8945."""
    key = key_of(tmp_path, f" {TEXT[:20]} {TEXT[20:]}\n")
    assert (key.name, key.algorithm) == (KEY.name, KEY.algorithm)
    assert key.secret.reveal() == OCTETS


def test_the_secret_is_in_no_repr() -> None:
    """acme.sh #6267: a key printed in a debug log."""
    for shown in (repr(KEY), str(KEY), repr(KEY.secret), str(KEY.secret), f"{KEY.secret}"):
        assert TEXT not in shown
        assert "secret of" not in shown
        assert "thirty" not in shown
    assert "key.example" in repr(KEY)


def test_the_secret_is_not_pickled() -> None:
    """A secret must not travel to another process by accident."""
    with pytest.raises(TypeError):
        pickle.dumps(KEY.secret)


@given(st.text(max_size=40).map(lambda text: f"!{text}"))
def test_a_bad_secret_is_not_quoted(text: str) -> None:
    """Half a secret in an error message is half a leak."""
    with pytest.raises(NeedsOperator) as caught:
        tsig_key(text.encode())
    printed = "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None
    assert len(text.strip()) < 9 or text not in printed


@pytest.mark.parametrize("secret", [" ", "not base64!", "abc", "ä"])
def test_a_bad_secret_is_refused(tmp_path: Path, secret: str) -> None:
    """An empty secret would sign with nothing."""
    with pytest.raises(NeedsOperator, match=r"secret of TSIG key key\.example is not base64"):
        key_of(tmp_path, secret)
