"""What an output cannot read or rewrite: one typed error each, which shows no key."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from certrotd.keyring.delivery import Delivered, Delivery
from certrotd.keyring.material import Algorithm, DataKey, Material
from certrotd.keyring.states import State
from certrotd.outputs.dotenv import DotenvKeys, DotenvSlots
from certrotd.outputs.encodings import KeyEncoding, printable_material
from certrotd.outputs.errors import NotDeliverable, NotExpressible
from certrotd.outputs.fernet_list import FernetList
from certrotd.outputs.json_keystore import JsonKeystore
from certrotd.outputs.key_list import KeyList
from certrotd.outputs.key_text import KeyText
from certrotd.outputs.kubernetes_encryption import KubernetesEncryption
from certrotd.outputs.port import Encrypts, Output, difference
from certrotd.outputs.reading import json_of
from certrotd.outputs.tink import TinkKeyset
from certrotd.outputs.toml import TomlKeys
from certrotd.outputs.yaml_ciphers import YamlCiphers

FILE = Path("/etc/app/keys")
KEYS = Path("/etc/app/enc")
SECRET = bytes(range(200, 232))
HEX, B64 = SECRET.hex(), base64.b64encode(SECRET).decode()
OTHER = bytes(range(100, 132))
GCM = frozenset({Algorithm.AES_256_GCM})
BOX = frozenset({Algorithm.XSALSA20_POLY1305})
WSO2 = KeyText(frozenset({Algorithm.AES_128_GCM, Algorithm.AES_256_GCM}), KeyEncoding.WSO2)

TINK = TinkKeyset(FILE, lambda most: most // 2)
NODE = JsonKeystore(FILE)
SLOTS = DotenvSlots(FILE, {"v1": "K1", "v2": "K2"}, "V", KeyText(BOX, KeyEncoding.BASE64))
LIST = DotenvKeys(FILE, "KEY", "OLD", KeyText(GCM, KeyEncoding.HEX, "hex:"))
FERNET = FernetList(FILE)
TOML = TomlKeys(FILE, "a.encryption", "key", "old_key", WSO2, secondary=True)
RAILS = KeyList(FILE, ("x", "keys"), KeyText(GCM, KeyEncoding.HEX))
KUBE = KubernetesEncryption(FILE, "secretbox", ("secrets",))
GEM = YamlCiphers(FILE, "production", KEYS, "app", lambda count: b"\1" * count)


def shows_nothing(text: str) -> None:
    """No form of the key."""
    for form in (HEX, B64, B64[:20], HEX[:20], SECRET.decode("latin-1")):
        assert form not in text


def refused(output: Output, text: str, words: str, **files: bytes) -> None:
    """The file is refused with these words, by whatever reads it."""
    present: dict[Path, bytes | None] = {FILE: text.encode()}
    present |= {KEYS / name: data for name, data in files.items()}
    with pytest.raises(NotExpressible, match=words) as failure:
        output.check(present)
    shows_nothing(str(failure.value))
    with pytest.raises(NotExpressible, match=words):
        output.render(delivery(output), present)


def delivery(output: Output, *ids: str, algorithm: Algorithm | None = None) -> Delivery:
    """Keys of these ids, the last of which encrypts."""
    kind = algorithm or min(output.traits.algorithms, key=lambda each: -each.key_bytes)
    first = {"dotenv": "v1", "yaml-ciphers": "1", "tink": "1"}.get(output.traits.type, "")
    keys = [
        Delivered(
            DataKey(
                n,
                kind,
                Material(bytes([n + 64]) * kind.key_bytes),
                key_id,
                bytes(output.traits.iv_bytes),
            ),
            State.ACTIVE if n == len(ids or (1,)) else State.DECRYPT_ONLY,
            datetime(2026, 1, n, tzinfo=UTC),
        )
        for n, key_id in enumerate(ids or (first,), 1)
    ]
    return Delivery("app", keys, len(keys))


def tink(**changes: Any) -> str:
    """A keyset of one key, changed."""
    data: dict[str, Any] = {
        "typeUrl": "type.googleapis.com/google.crypto.tink.AesGcmKey",
        "value": base64.b64encode(b"\x1a\x20" + SECRET).decode(),
        "keyMaterialType": "SYMMETRIC",
    } | changes.pop("data", {})
    key = {"keyData": data, "status": "ENABLED", "keyId": 7, "outputPrefixType": "TINK"}
    keyset = {"primaryKeyId": 7, "key": [key | changes.pop("key", {})]} | changes
    return json.dumps(keyset)


def node(**changes: Any) -> str:
    """A keystore of one key, changed."""
    entry = {"key": HEX, "createdAt": "2026-01-01T00:00:00.000Z", "status": "active"}
    store = {"currentVersion": 1, "keys": {"1": entry | changes.pop("entry", {})}} | changes
    return json.dumps(store)


def kube(keys: str, provider: str = "secretbox", resources: str = "[secrets]") -> str:
    """A configuration with these keys."""
    return (
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
        f"- resources: {resources}\n  providers:\n  - {provider}: {{keys: {keys}}}\n"
    )


def gem(entry: str, before: str = "") -> str:
    """A configuration with this cipher."""
    return f"{before}production:\n  ciphers:\n  - {{{entry}}}\n"


IV = "iv: !binary AAAAAAAAAAAAAAAAAAAAAA=="
PLAIN = f"version: 1, key: !binary '{B64}', {IV}"
FILED = f"version: 1, key_filename: {KEYS}/a.encrypted_key, {IV}"


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
    ("text", "words"),
    [
        ("x: 1\n", "x is not a mapping"),
        ("x: {}\n", "x has no keys"),
        ("x: {keys: {a: b}}\n", "x.keys is not a list"),
        ("x: {keys: [1234]}\n", "a key of x.keys is not text"),
        (f"x: {{keys: ['{HEX}', '{HEX}']}}\n", "one key is there twice"),
        (f"x: {{keys: [{', '.join(['a'] * 1001)}]}}\n", "x.keys has over 1000 keys"),
        (f"x: &a {{keys: ['{HEX}']}}\n", "line 1: anchors and aliases"),
        (f"x:\n  keys: ['{HEX}']\ny: *x\n", "line 3: anchors and aliases"),
        (f"x: {{keys: [!!str '{HEX}']}}\n", "its tag is not one"),
        (f"x: {{keys: ['{HEX}']}}\nx: 1\n", "line 2: a name is there twice"),
        (f"x: {{keys: ['{HEX}']}}\n<<: {{}}\n", "merges another mapping"),
        ("? [a]\n: 1\n", "a mapping or a list stands as a name"),
        (f"x: {{keys: ['{HEX}']}}\n--- 2\n", "it is not one YAML document"),
        ("x: {keys: ['<%= ENV[1] %>']}\n", "is an ERB template"),
        ("x: [\x07]\n", "is not YAML"),
        ("\tx: 1\n", "line 1: it is not one YAML document"),
        ("- 1\n", "the file is not a mapping"),
        (f"a: {'[' * 30}{']' * 30}\n", "it is nested too deeply"),
    ],
)
def test_a_yaml_file_that_is_not_plain_is_refused(text: str, words: str) -> None:
    """Instead of a file that means something else afterwards."""
    refused(RAILS, text, words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"x:\n  keys:\n  - '{HEX}' # old\n  - '{OTHER.hex()}'\n", "comments between the keys"),
        (f"x: {{keys: ['{HEX}', # old\n'{OTHER.hex()}']}}\n", "comments between the keys"),
        (f"x:\n  keys: >-\n    {HEX}\n  y: 1\n", "cannot be changed without changing the rest"),
        ("a: 1\n...\n", "x cannot be added at its end"),
        ("{a: 1}\n", "x cannot be added at its end"),
        ("a: |+\n  text\n\n  ", "x cannot be added at its end"),
    ],
)
def test_keys_that_cannot_be_changed_alone_are_refused(text: str, words: str) -> None:
    """They are read, and not rewritten."""
    RAILS.check({FILE: text.encode()})
    with pytest.raises(NotExpressible, match=words) as failure:
        RAILS.render(delivery(RAILS), {FILE: text.encode()})
    shows_nothing(str(failure.value))


def test_a_comment_behind_the_last_key_stays() -> None:
    """It is not between keys."""
    text = f"x:\n  keys:\n  - '{HEX}'  # the last\n\n# end\n"
    written = RAILS.render(delivery(RAILS), {FILE: text.encode()})[FILE]
    assert written == f'x:\n  keys:\n  - "{"41" * 32}"  # the last\n\n# end\n'.encode()


SECRETBOX = f"[{{name: a, secret: '{B64}'}}]"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: Pod\n", "is not of the kind EncryptionConfiguration"),
        ("a: 1\n", "kind is not text"),
        (kube("[]").replace("/v1", "/v2"), "is not of the version"),
        (kube("[]", resources="[secrets, pods]"), "no rule for exactly secrets"),
        (kube("[]", provider="aescbc"), "secretbox is not the first provider of secrets"),
        (kube("[]").replace("- secretbox: {keys: []}", "  []"), "secretbox is not the first"),
        (kube("[], size: 1"), "has something else than keys"),
        (kube("1"), "keys is not a list"),
        (kube("[1]"), "key 1 is not a mapping"),
        (kube("[{name: a}]"), "key 1 has not exactly a name and a secret"),
        (kube(SECRETBOX.replace("name: a", "name: 'a:b'")), "the name of key 1 is not a plain"),
        (kube(SECRETBOX.replace("name: a", "name: 1")), "the name of key 1 is not text"),
        (kube("[{name: a, secret: '*'}]"), "the key is not base64"),
        (
            kube(f"[{{name: a, secret: '{B64}'}}, {{name: b, secret: '{B64}'}}]"),
            "one key is there twice",
        ),
        (
            kube(
                f"[{{name: a, secret: '{B64}'}}, "
                f"{{name: a, secret: '{base64.b64encode(OTHER).decode()}'}}]"
            ),
            "two keys have one name",
        ),
        (kube(f"[{', '.join(['a'] * 1001)}]"), "over 1000 keys"),
    ],
)
def test_a_configuration_of_an_api_server_that_is_another_is_refused(text: str, words: str) -> None:
    """Or one in which the provider does not encrypt."""
    refused(KUBE, text, words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (gem(PLAIN, "development: {}\n"), "another environment than production"),
        ("production: {}\n", "has something else than ciphers"),
        ("production: {ciphers: [], x: 1}\n", "has something else than ciphers"),
        (f"production: {{ciphers: [{', '.join(['a'] * 1001)}]}}\n", "over 1000 ciphers"),
        ("production: {ciphers: []}\n:production: {}\n", "as text and as symbol"),
        (gem(f"keystore: ':aws', {PLAIN}"), "another keystore than files"),
        (gem(PLAIN.replace("version: 1, ", "")), "has no version"),
        (gem(PLAIN.replace("version: 1", "version: '1'")), "has no version"),
        (gem(PLAIN.replace("version: 1", "version: 256")), "none from 1 to 255"),
        (gem(PLAIN.replace("version: 1", "version: 0")), "none from 1 to 255"),
        (gem(f"cipher_name: des, {PLAIN}"), "a cipher that certrotd does not know"),
        (gem(f"cipher_name: aes-128-cbc, {PLAIN}"), "its key has 32 bytes"),
        (gem(f"{PLAIN}, encoding: base64"), "has settings that would be lost"),
        (gem(f"version: 1, {IV}"), "has not exactly one key"),
        (gem(f"version: 1, encrypted_key: !binary AAAA, {IV}"), "nothing that decrypts it"),
        (gem(f"{PLAIN}, key_filename: /a"), "has not exactly one key"),
        (gem(PLAIN.replace(B64, "*")), "is not base64"),
        (gem("version: 1, key: !binary '*'"), "is not base64"),
        (gem("version: 1, key: ä"), "is no ASCII"),
        (gem("version: 1, key_filename: a.key"), "without its whole path"),
        (gem(f"version: 1, key_filename: {KEYS}/../x.key"), "without its whole path"),
        (gem("version: 1, key_filename: /etc/shadow"), "no key file in /etc/app/enc"),
        (gem(f"version: 1, key_filename: {KEYS}/x.pem"), "no key file in /etc/app/enc"),
        (gem(FILED), "is named in /etc/app/keys, and is not there"),
        (f"production:\n  ciphers:\n  - {{{PLAIN}}}\n  - {{{PLAIN}}}\n", "have one version"),
        (
            gem(
                "version: 1, key_encrypting_key: " * 1 + "{key_encrypting_key: " * 6 + "1" + "}" * 6
            ),
            "over 4 levels of keys",
        ),
    ],
)
def test_a_configuration_of_the_gem_that_would_lose_something_is_refused(
    text: str, words: str
) -> None:
    """Or that leads to files of others."""
    refused(GEM, text, words)


@pytest.mark.parametrize(
    ("iv", "data", "words"),
    [
        ("AAAAAAAAAAAAAAAAAAAAAA==", b"\0" * 32, "does not decrypt it"),
        ("AAAAAAAAAAAAAAAAAAAAAA==", b"\0" * 31, "has a wrong length"),
        ("AAAA", b"\0" * 32, "has a wrong length"),
        ("AAAAAAAAAAAAAAAAAAAAAA==", b"", "has a wrong length"),
    ],
)
def test_a_key_file_that_its_kek_does_not_decrypt_is_refused(
    iv: str, data: bytes, words: str
) -> None:
    """There is no MAC: padding and length tell."""
    kek = f"{{key: !binary '{B64}', iv: !binary {iv}}}"
    text = gem(f"{FILED}, key_encrypting_key: {kek}")
    refused(GEM, text, words, **{"a.encrypted_key": data})


def test_a_cipher_of_another_form_is_adopted_and_written_with_two_levels() -> None:
    """The key stays; what wraps it is new."""
    present: dict[Path, bytes | None] = {FILE: gem(PLAIN).encode()}
    read = GEM.parse(present)
    assert read is not None
    (found,) = read.keys
    key = DataKey(1, found.algorithm, found.material, found.id, found.iv)
    given = Delivery("app", [Delivered(key, State.ACTIVE, datetime(2026, 1, 1, tzinfo=UTC))], 1)
    written = GEM.render(given, present)
    again = GEM.parse(written)
    assert again is not None
    assert again.keys == read.keys
    assert difference(GEM, given, present) is None, "the application has the same key"
    assert difference(GEM, given, written) is None
    assert difference(GEM, given, {FILE: gem(PLAIN.replace("version: 1", "version: 2")).encode()})


def test_another_environment_is_left_out_when_keys_are_adopted() -> None:
    """The application's own file has several; certrotd rewrites only one of its own."""
    present = {FILE: gem(PLAIN, "development: {ciphers: []}\n").encode()}
    read = GEM.parse(present)
    assert read is not None
    assert len(read.keys) == 1
    assert GEM.parse({FILE: b"development: {ciphers: []}\n"}) is None


def test_a_key_of_characters_is_adopted() -> None:
    """As the gem's configuration for development has it."""
    text = gem("key: 1234567890ABCDEF, iv: 1234567890ABCDEF, cipher_name: aes-128-cbc, version: 1")
    read = GEM.parse({FILE: text.encode()})
    assert read is not None
    (found,) = read.keys
    assert (found.material.reveal(), found.iv) == (b"1234567890ABCDEF",) * 2
    assert found.algorithm is Algorithm.AES_128_CBC


def test_another_key_under_the_same_version_is_written_anew() -> None:
    """Also where it was wrapped in another way, with both of its keys in files."""
    first, second = delivery(GEM, "1"), delivery(GEM, "7", "1")
    second = Delivery("app", second.keys[1:], 2)
    there = GEM.render(first, {})
    anew = GEM.render(second, there)
    assert anew[KEYS / "app_v1.encrypted_key"] != there[KEYS / "app_v1.encrypted_key"]
    text = (there[FILE] or b"").decode()
    wrapped = text.split("encrypted_key: !binary |-\n")[1].split("\n")[0].strip()
    form = f"encrypted_key: !binary |-\n        {wrapped}"
    assert form in text
    filed: dict[Path, bytes | None] = {
        **there,
        FILE: text.replace(form, f"key_filename: {KEYS}/kek.key").encode(),
        KEYS / "kek.key": base64.b64decode(wrapped),
    }
    assert GEM.parse(filed) == GEM.parse(there)
    written = GEM.render(first, filed)
    assert written[FILE] == there[FILE]
    assert written[KEYS / "kek.key"] is None


def test_ciphers_that_would_share_a_key_file_are_refused() -> None:
    """The new key would take the place of the old one's file."""
    first = delivery(GEM, "1")
    other = YamlCiphers(FILE, "production", KEYS, "app", lambda count: b"\2" * count)
    there = {path: data for path, data in GEM.render(first, {}).items() if path != FILE}
    text = (GEM.render(first, {})[FILE] or b"").decode().replace("app_v1", "app_v2")
    moved = {Path(str(path).replace("app_v1", "app_v2")): data for path, data in there.items()}
    both = delivery(GEM, "1", "2")
    with pytest.raises(NotExpressible, match=r"app_v2\..* would hold what two ciphers need"):
        other.render(both, {FILE: text.encode(), **moved})


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


def test_the_first_key_of_a_list_encrypts_where_the_application_takes_it_so() -> None:
    """The control of Rails' order."""
    output = KeyList(FILE, ("keys",), KeyText(GCM, KeyEncoding.HEX), Encrypts.FIRST)
    written = output.render(delivery(output, "", ""), {})[FILE] or b""
    assert written.index(b"4242") < written.index(b"4141")
    written = RAILS.render(delivery(RAILS, "", ""), {})[FILE] or b""
    assert written.index(b"4141") < written.index(b"4242")


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
