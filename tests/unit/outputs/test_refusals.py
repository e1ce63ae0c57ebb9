"""What an output cannot read or rewrite: one typed error each, which shows no key."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from certrotd.keyring.delivery import Delivered, Delivery
from certrotd.keyring.material import Algorithm, DataKey, Material
from certrotd.keyring.states import State
from certrotd.outputs.dotenv import DotenvKeys
from certrotd.outputs.encodings import KeyEncoding, printable_material
from certrotd.outputs.errors import NotDeliverable, NotExpressible
from certrotd.outputs.key_text import KeyText
from certrotd.outputs.port import Output, difference
from certrotd.outputs.reading import MAX_KEYS, json_of
from certrotd.outputs.toml import TomlKeys
from tests.unit.outputs.refusing import (
    B64,
    FERNET,
    FILE,
    GCM,
    GEM,
    HEX,
    KUBE,
    LIST,
    NODE,
    PLAIN,
    RAILS,
    SECRET,
    SLOTS,
    TINK,
    TOML,
    WSO2,
    delivery,
    gem,
    kube,
    node,
    refused,
    tink,
)


def test_what_stands_there_rightly_is_accepted() -> None:
    """The control of all that follows."""
    files: list[tuple[Output, str]] = [
        (TINK, tink()),
        (NODE, node()),
        (SLOTS, f"K1={B64}\nV=v1\n"),
        (LIST, f"KEY=hex:{HEX}\n"),
        (FERNET, base64.urlsafe_b64encode(SECRET).decode()),
        (TOML, f'[a.encryption]\nkey = "{HEX}"\n'),
        (RAILS, f"x: {{keys: ['{HEX}']}}\n"),
        (KUBE, kube(f"[{{name: a, secret: '{B64}'}}]")),
        (GEM, gem(PLAIN)),
    ]
    for output, text in files:
        read = output.parse({FILE: text.encode()})
        assert read is not None
        assert [each.material for each in read.keys] == [Material(SECRET)], output
        output.check({FILE: text.encode()})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (tink(more=1), "has 'more', which would be lost"),
        (tink(**{"m" * 30: 1}), "has a name of over 24 characters"),
        (tink(primaryKeyId=8), "no key of the id that primaryKeyId names"),
        (tink(primaryKeyId="7"), "no key of the id that primaryKeyId names"),
        (tink(primaryKeyId=7.0), "is not JSON of the right form"),
        ('{"primaryKeyId": 7, "key": []}', "no list of 1 to 1000 keys"),
        ('{"primaryKeyId": 7, "key": {}}', "no list of 1 to 1000 keys"),
        (tink(key={"status": "DISABLED"}), "not ENABLED with the output prefix TINK"),
        (tink(key={"outputPrefixType": "RAW"}), "not ENABLED with the output prefix TINK"),
        (tink(key={"keyId": 0}), "keyId is no number"),
        (tink(key={"keyId": True}), "keyId is no number"),
        (tink(key={"keyData": []}), "is not a mapping"),
        (tink(data={"value": 1}), "its key data is no text"),
        (tink(data={"value": "*"}), "its value is not base64"),
        (tink(data={"value": ""}), "of a type that certrotd does not write"),
        (tink(data={"value": base64.b64encode(b"\x1a\x10" + SECRET).decode()}), "of a type"),
        (tink(data={"typeUrl": "AesGcmKey"}), "of a type that certrotd does not write"),
        (tink(data={"keyMaterialType": "REMOTE"}), "of a type that certrotd does not write"),
        (tink().replace('"primaryKeyId": 7', '"primaryKeyId": 7, "primaryKeyId": 7'), "twice"),
        (tink().replace("ENABLED", "\\u0000"), "not ENABLED"),
        ('{"encryptedKeyset": "x"}', "has no "),
        (json.dumps({"primaryKeyId": 7, "key": json.loads(tink())["key"] * 2}), "two keys of one"),
    ],
)
def test_a_keyset_that_would_lose_something_is_refused(text: str, words: str) -> None:
    """Or that is none of Tink's."""
    refused(TINK, text, words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (node(keys=[]), "no mapping of 1 to 1000 keys"),
        (node(keys={}), "no mapping of 1 to 1000 keys"),
        (node(keys={"01": 1}), "a key's number is none"),
        (node(keys={"9007199254740992": 1}), "a key's number is none"),
        (node(currentVersion=2), "no key of the number in currentVersion"),
        (node(currentVersion="1"), "no key of the number in currentVersion"),
        (node(entry={"status": "retired"}), "not exactly the key in currentVersion is active"),
        (node(entry={"status": "on"}), "its status is not active"),
        (node(entry={"status": 1}), "not all text"),
        (node(entry={"createdAt": "yesterday"}), "no time in ISO 8601"),
        (node(entry={"createdAt": "2026-01-01T00:00:00"}), "no time zone"),
        (node(entry={"key": HEX[:-1]}), "the key is not hexadecimal"),
        (node(entry={"key": HEX[:-2]}), "has 31 bytes, and aes-256-gcm takes 32"),
        (node(entry={"owner": "me"}), "has 'owner', which would be lost"),
    ],
)
def test_a_keystore_that_would_lose_something_is_refused(text: str, words: str) -> None:
    """Or that the application would refuse itself."""
    refused(NODE, text, words)


@pytest.mark.parametrize(
    ("output", "text", "words"),
    [
        (SLOTS, f"K1={B64}\n", "V does not name a slot that holds a key"),
        (SLOTS, f"K1={B64}\nV=v2\n", "V does not name a slot that holds a key"),
        (SLOTS, f"K1={B64}\nV=v3\n", "its slots are v1, v2"),
        (SLOTS, f"K1={B64}\nK2={B64}\nV=v1\n", "one key is there twice"),
        (SLOTS, f"K1={B64}\nK1=\nV=v1\n", "K1 is set twice"),
        (SLOTS, f"K1: {B64}\nV=v1\n", "K1 is not set by one plain line"),
        (SLOTS, f"K1={B64} x\nV=v1\n", "K1 is not set by one plain line"),
        (SLOTS, f"A='\nK1={B64}\n'\nV=v1\n", "K1 is not set by one plain line"),
        (SLOTS, "K1=${OTHER}\nV=v1\n", "has escapes, variables"),
        (SLOTS, 'K1="a\\nb"\nV=v1\n', "has escapes, variables"),
        (SLOTS, "K1=?\nV=v1\n", "has escapes, variables"),
        (SLOTS, "K1=*\nV=v1\n", "has escapes"),
        (LIST, f"OLD=hex:{HEX}\n", "KEY is empty, and OLD is not"),
        (LIST, f"KEY={HEX}\n", "does not begin with 'hex:'"),
        (LIST, f"KEY=hex:{HEX}\nOLD=hex:{HEX}\n", "one key is there twice"),
        (LIST, f"KEY=hex:{HEX}\nOLD={','.join(['hex:00'] * 1001)}\n", "over 1000 keys"),
        (FERNET, f"# mine\n{B64}\n", "the key is not base64 for URLs"),
        (FERNET, "ä", "the key is not base64 for URLs"),
        (FERNET, B64[:-1], "the key is not base64 for URLs"),
        (FERNET, "AAAA", "has 3 bytes, and fernet takes 32"),
    ],
)
def test_variables_that_are_not_plain_are_refused(output: Output, text: str, words: str) -> None:
    """What a reader makes of them depends on the reader."""
    refused(output, text, words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = 1\n", "a.encryption is not a table"),
        ("[a]\nencryption = 1\n", "a.encryption is not a table"),
        (f'[a.encryption]\nkey = "{HEX}"\nkey = ""\n', "is not TOML"),
        (f'[a]\nencryption = {{ key = "{HEX}" }}\n', "is not a plain text on a line of its own"),
        (f'[a]\nencryption.key = "{HEX}"\n', "is not a plain text on a line of its own"),
        ("[a.encryption]\nkey = 7\n", "is not a plain text on a line of its own"),
        (f'[a.encryption]\nkey = """{HEX}"""\n', "is not a plain text on a line of its own"),
        (f'[a.encryption]\nx = """\nkey = "{HEX}"\n"""\n', "is not a plain text on a line"),
        ('[a.encryption]\nkey = "$secret{key}"\n', "refers to a secret elsewhere"),
        (f'[a.encryption]\nold_key = "{HEX}"\n', "a.encryption.key is missing"),
        (f'[a.encryption]\nkey = "{"z" * 64}"\n', "nor other printable ASCII"),
        ('[a.encryption]\nkey = "short"\n', "has 5 bytes"),
        (f'[a.encryption]\nkey = "{HEX}"\nold_key = "{HEX.upper()}"\n', "one key is there twice"),
        (f"x = {'[' * 5000}\n", "is not TOML"),
        (f"{'a.' * 100_000}c = 1\n", "a line with over 100 dots"),
        ("[[a]]\n[a.encryption]\n", "a.encryption is not a table"),
    ],
)
def test_a_table_that_is_not_plain_is_refused(text: str, words: str) -> None:
    """Instead of a file that says something else afterwards."""
    refused(TOML, text, words)


def test_a_table_that_cannot_be_added_is_refused() -> None:
    """The file ends in the middle of what a new line would belong to."""
    text = "[a]\nencryption = {}\n"
    TOML.check({FILE: text.encode()})
    with pytest.raises(NotExpressible, match="is not TOML"):
        TOML.render(delivery(TOML), {FILE: text.encode()})
    text = f'[a.encryption]\nx = """\n[a.encryption]\n"""\ny = "{HEX}"\n'
    with pytest.raises(NotExpressible, match="without changing the rest"):
        TOML.render(delivery(TOML), {FILE: text.encode()})


@pytest.mark.parametrize(
    ("output", "given", "words"),
    [
        (TINK, delivery(TINK, "0"), "no number up to 4294967295"),
        (TINK, delivery(TINK, "x"), "no number up to 4294967295"),
        (TINK, delivery(TINK, "4294967296"), "no number up to 4294967295"),
        (TINK, delivery(TINK, "5", "5"), "two keys have one id"),
        (NODE, delivery(NODE, "0"), "no number up to 9007199254740991"),
        (NODE, delivery(NODE, "2", ""), "two keys have one number"),
        (SLOTS, delivery(SLOTS, "v3"), "has no slot of its own"),
        (SLOTS, delivery(SLOTS, "v1", "v1"), "has no slot of its own"),
        (KUBE, delivery(KUBE, "a:b"), "is no name of a key"),
        (KUBE, delivery(KUBE, "a", "a"), "two keys have one name"),
        (GEM, delivery(GEM, "x"), "is no number"),
        (GEM, delivery(GEM, "256"), "a number from 1 to 255"),
        (GEM, delivery(GEM, "1", "1"), "two keys have one version"),
    ],
)
def test_keys_that_the_form_cannot_tell_apart_are_refused(
    output: Output, given: Delivery, words: str
) -> None:
    """Two keys of one name would be one for the application."""
    with pytest.raises(NotDeliverable, match=words):
        output.render(given, {})


def test_a_key_without_its_fixed_iv_is_refused() -> None:
    """The gem cannot use it."""
    key = DataKey(1, Algorithm.AES_256_CBC, Material(SECRET), "1")
    given = Delivery("app", [Delivered(key, State.ACTIVE, datetime(2026, 1, 1, tzinfo=UTC))], 1)
    with pytest.raises(NotDeliverable, match="no fixed iv of 16 bytes"):
        GEM.render(given, {})


def test_random_bytes_are_no_text() -> None:
    """They are refused, and letters and digits are drawn for them instead."""
    for encoding in (KeyEncoding.TEXT, KeyEncoding.WSO2):
        with pytest.raises(NotDeliverable, match="16 random bytes is no text"):
            encoding.written(Material(bytes(16)))
    drawn = printable_material(16, lambda most: most - 1)
    assert KeyEncoding.WSO2.written(drawn) == "9" * 16
    assert KeyEncoding.WSO2.read("9" * 16, WSO2.algorithms, where="") == (
        Algorithm.AES_128_GCM,
        drawn,
    )


def test_keys_with_the_separator_or_with_quotes_in_them_are_refused() -> None:
    """The application would read other keys."""
    text = KeyText(GCM, KeyEncoding.TEXT)
    keys = [
        Delivered(
            DataKey(n, Algorithm.AES_256_GCM, Material(character * 32)),
            State.ACTIVE if n == 1 else State.DECRYPT_ONLY,
            datetime(2026, 1, 1, tzinfo=UTC),
        )
        for n, character in enumerate((b"a", b",", b"'"), 1)
    ]
    output = DotenvKeys(FILE, "KEY", "OLD", text)
    with pytest.raises(NotDeliverable, match="the separator ','"):
        output.render(Delivery("app", keys[:2], 1), {})
    with pytest.raises(NotDeliverable, match="characters that need escapes"):
        output.render(Delivery("app", [keys[0], keys[2]], 1), {})
    table = TomlKeys(FILE, "a", "key", "old", text)
    with pytest.raises(NotDeliverable, match="characters that TOML escapes"):
        table.render(Delivery("app", [keys[0], keys[2]], 1), {})


def test_a_list_that_a_space_separates_is_put_in_quotes() -> None:
    """A shell would else run its second word."""
    output = DotenvKeys(FILE, "KEY", "OLD", KeyText(GCM, KeyEncoding.HEX), separator=" ")
    given = delivery(output, "", "", "")
    for there in (b"", b"OLD=\n", b"OLD=''\n"):
        written = output.render(given, {FILE: there})
        read = output.parse(written)
        assert read is not None
        assert len(read.keys) == 3
        assert b'OLD="42' in (written[FILE] or b"") or b"OLD='42" in (written[FILE] or b"")


def test_an_edited_file_is_told_by_what_differs() -> None:
    """Whoever edited it reads why certrotd waits."""
    ours = delivery(NODE, "", "")

    def told(edit: Any) -> str | None:
        data = NODE.render(ours, {})[FILE]
        store = json.loads(data or b"")
        edit(store)
        return difference(NODE, ours, {FILE: json.dumps(store).encode()})

    def other_current(store: Any) -> None:
        store["currentVersion"] = 1
        store["keys"]["1"]["status"], store["keys"]["2"]["status"] = "active", "decrypt-only"

    extra = {"key": HEX, "createdAt": "2026-01-01T00:00:00Z", "status": "decrypt-only"}
    assert told(lambda store: None) is None
    assert told(lambda store: store["keys"].pop("1")) == "version 1 is not there"
    assert told(lambda s: s["keys"]["1"].update(status="retired")) == (
        "version 1 is marked as retired there"
    )
    assert told(lambda store: store["keys"].update({"9": extra})) == (
        "1 keys are there that the keyring does not deliver"
    )
    assert told(other_current) == "another key encrypts there"
    assert told(lambda store: store["keys"].update({"5": store["keys"].pop("1")})) == (
        f"{FILE} is not what certrotd wrote"
    )
    assert difference(NODE, ours, {}) == "no key is there"


@pytest.mark.parametrize(
    ("output", "text", "words"),
    [
        (LIST, f"KEY=hex:{HEX}\nOLD=" + ",".join(["hex:a"] * (MAX_KEYS + 1)), "OLD has over 1000"),
        (RAILS, f"x:\n  keys: [{', '.join(['a'] * (MAX_KEYS + 1))}]\n", r"x\.keys has over 1000"),
        (KUBE, kube(f"[{', '.join(['{name: a}'] * (MAX_KEYS + 1))}]"), "there are over 1000 keys"),
        (GEM, gem(PLAIN) + f"  - {{{PLAIN}}}\n" * MAX_KEYS, "has over 1000 ciphers"),
    ],
    ids=["dotenv", "key-list", "kubernetes", "yaml-ciphers"],
)
def test_more_keys_than_any_keyring_has_are_refused(output: Output, text: str, words: str) -> None:
    """Before any of them is looked at."""
    refused(output, text, words)


@pytest.mark.parametrize("text", ["[1e5]", "[NaN]", "[Infinity]", "[" + "9" * 5000 + "]", "[}"])
def test_json_with_what_is_no_whole_number_is_refused(text: str) -> None:
    """Keys are told by whole numbers and texts."""
    with pytest.raises(NotExpressible, match="is not JSON of the right form"):
        json_of(FILE, text.encode())
    assert json_of(FILE, b"[1]") == [1]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff", "is not UTF-8"),
        (b"\0", "holds NUL bytes"),
        (b"\xef\xbb\xbf{}", "begins with a byte order mark"),
        (b" " * (1024 * 1024 + 1), "is larger than 1048576 bytes"),
    ],
)
def test_a_file_that_is_no_text_is_refused(data: bytes, words: str) -> None:
    """With what is wrong with it."""
    with pytest.raises(NotExpressible, match=words):
        json_of(FILE, data)


@pytest.mark.parametrize(("text", "fits"), [("ab" * 32, "hex"), ("A" * 32, "text")])
def test_a_key_in_another_encoding_says_which(text: str, fits: str) -> None:
    """64 hexadecimal digits are base64 of 48 bytes, too: whoever wrote them did not mean those."""
    with pytest.raises(NotExpressible) as caught:
        KeyEncoding.BASE64.read(text, {Algorithm.AES_256_GCM}, where="K")
    assert caught.value.hint == f"it fits as {fits}: encoding: {fits}"
    assert text not in str(caught.value)
