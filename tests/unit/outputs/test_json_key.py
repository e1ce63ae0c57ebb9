"""One key in a JSON file: what certrotd would lose or could not find is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from certrotd.keyring.material import Algorithm
from certrotd.outputs.encodings import KeyEncoding
from certrotd.outputs.errors import NotExpressible
from certrotd.outputs.json_key import JsonKey
from certrotd.outputs.key_text import KeyText

FILE = Path("/home/node/.n8n/config")
KEYS = KeyText(frozenset({Algorithm.PASSPHRASE}), KeyEncoding.TEXT)
OUTPUT = JsonKey(FILE, ("a", "encryptionKey"), KEYS)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{}", "has no a.encryptionKey"),
        ('{"a": ["encryptionKey"]}', "has no a.encryptionKey"),
        ('{"a": {"encryptionKey": 7}}', "a.encryptionKey is no text"),
        ('{"a": {"encryptionKey": "x", "encryptionKey": "y"}}', "a name twice"),
        ("encryptionKey: x", "is not JSON"),
    ],
)
def test_a_file_in_which_it_cannot_be_found_is_refused(text: str, why: str) -> None:
    """In words; a key of the application is never lost."""
    with pytest.raises(NotExpressible, match=why):
        OUTPUT.parse({FILE: text.encode()})


@pytest.mark.parametrize("data", [None, b'{"a": {"encryptionKey": ""}}'])
def test_no_file_and_an_empty_text_are_no_key(data: bytes | None) -> None:
    """The first key may be written there."""
    assert OUTPUT.parse({FILE: data}) is None
