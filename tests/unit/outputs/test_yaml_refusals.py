"""What a YAML file of an application may hold: whatever is not understood is refused, unchanged."""

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certrotd.keyring.delivery import Delivered, Delivery
from certrotd.keyring.material import Algorithm, DataKey
from certrotd.keyring.states import State
from certrotd.outputs.encodings import KeyEncoding
from certrotd.outputs.errors import NotExpressible
from certrotd.outputs.key_list import KeyList
from certrotd.outputs.key_text import KeyText
from certrotd.outputs.port import difference
from certrotd.outputs.yaml_ciphers import YamlCiphers
from tests.unit.outputs.refusing import (
    B64,
    FILE,
    FILED,
    GCM,
    GEM,
    HEX,
    IV,
    KEYS,
    KUBE,
    OTHER,
    PLAIN,
    RAILS,
    delivery,
    gem,
    kube,
    refused,
    shows_nothing,
)


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


def test_the_first_key_of_a_list_encrypts_where_the_application_takes_it_so() -> None:
    """The control of Rails' order."""
    output = KeyList(FILE, ("keys",), KeyText(GCM, KeyEncoding.HEX), first=True)
    written = output.render(delivery(output, "", ""), {})[FILE] or b""
    assert written.index(b"4242") < written.index(b"4141")
    written = RAILS.render(delivery(RAILS, "", ""), {})[FILE] or b""
    assert written.index(b"4141") < written.index(b"4242")
