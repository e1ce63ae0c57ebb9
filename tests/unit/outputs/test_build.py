"""From a configuration entry to an output: each entry, what it refuses, and what is loaded."""

import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from certrotd.config.base import EntryFindings, examined
from certrotd.config.outputs import OutputEntry
from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.keyring.material import Algorithm
from certrotd.outputs.build import Chance, files_of, new_iv, new_material, output_of
from certrotd.outputs.errors import NotDeliverable
from certrotd.outputs.port import Output
from tests.contract.output_cases import delivery_of

ENTRY: TypeAdapter[OutputEntry] = TypeAdapter(OutputEntry)
CHANCE = Chance(secrets.randbelow, os.urandom)
GCM = Algorithm.AES_256_GCM


def entry(text: str) -> OutputEntry:
    """An entry of a configuration file."""
    return ENTRY.validate_python({"path": "/etc/app/keys", **yaml.safe_load(f"{{{text}}}")})


def built(text: str, algorithm: Algorithm = GCM) -> Output:
    """Its output."""
    return output_of(entry(text), algorithm=algorithm, chance=CHANCE)


def wrong(text: str) -> str:
    """Why an entry is refused."""
    with pytest.raises(ValidationError) as refused:
        entry(text)
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "algorithm", "capacity"),
    [
        ("type: tink", GCM, None),
        ("type: json-keystore", GCM, None),
        ("type: dotenv, slots: {v1: A, v2: B}, version: C", GCM, 2),
        ("type: dotenv, slots: {a: A, b: B, c: C}, version: D", GCM, 3),
        ("type: dotenv, key: A, previous: B", GCM, None),
        ("type: dotenv, key: A, previous: B, capacity: 2", GCM, 2),
        ("type: dotenv, key: A, encoding: hex", GCM, 1),
        ("type: toml", GCM, 2),
        ("type: toml, previous: null, encoding: hex", GCM, 1),
        (
            "type: yaml-ciphers, key_directory: /etc/app/enc, stem: app, mode: '0400'",
            Algorithm.AES_256_CBC,
            255,
        ),
        ("type: fernet-list", Algorithm.FERNET, None),
        ("type: fernet-list, separator: newline", Algorithm.FERNET, None),
        ("type: fernet-list, variable: KEYS", Algorithm.FERNET, None),
        ("type: key-list", GCM, None),
        ("type: key-list, at: [keys], encrypts: first", GCM, None),
        (
            "type: kubernetes-encryption-configuration",
            Algorithm.XSALSA20_POLY1305,
            None,
        ),
        (
            "type: kubernetes-encryption-configuration, provider: aesgcm, resources: ['*.*']",
            GCM,
            None,
        ),
    ],
)
def test_an_entry_becomes_an_output_that_renders(
    text: str, algorithm: Algorithm, capacity: int | None
) -> None:
    """Each type, as an operator writes it."""
    output = built(text, algorithm)
    assert output.traits.capacity == capacity
    assert output.traits.type in text
    assert output.paths({})[0] == Path("/etc/app/keys")
    given = delivery_of(output, 1, algorithms=[algorithm])
    assert output.render(given, {})[Path("/etc/app/keys")]


def test_a_template_is_read_when_its_output_is_built(tmp_path: Path) -> None:
    """One that is not there, or is no text, is a matter for the operator."""
    source = tmp_path / "keys.j2"
    text = f"type: template, template: {source}, capacity: 1"
    with pytest.raises(NeedsOperator, match=r"keys\.j2 does not exist"):
        built(text)
    source.write_bytes(b"\xff")
    with pytest.raises(NeedsOperator, match=r"keys\.j2 is not UTF-8"):
        built(text)
    source.write_bytes(bytes(70_000))
    with pytest.raises(InvalidInput, match="is larger than"):
        built(text)
    source.write_text("{{ active.hex }}")
    output = built(text)
    assert output.traits.capacity == 1
    assert output.render(delivery_of(output, 1), {})


@pytest.mark.parametrize(
    ("text", "algorithm"),
    [
        ("type: fernet-list", GCM),
        ("type: json-keystore", Algorithm.FERNET),
        ("type: tink", Algorithm.AES_192_GCM),
        ("type: toml", Algorithm.FERNET),
        ("type: kubernetes-encryption-configuration", GCM),
    ],
)
def test_an_output_of_another_algorithm_is_refused(text: str, algorithm: Algorithm) -> None:
    """When the configuration is read, not when the first key is written."""
    with pytest.raises(NotDeliverable, match=f"holds no {algorithm} keys") as refused:
        built(text, algorithm)
    assert refused.value.hint.startswith("it holds ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("type: dotenv", "needs either slots and version, or key"),
        ("type: dotenv, key: A, slots: {v1: B, v2: C}, version: D", "needs either slots"),
        ("type: dotenv, slots: {v1: A, v2: B}", "slots and version belong together"),
        ("type: dotenv, key: A, version: B", "slots and version belong together"),
        ("type: dotenv, key: A, capacity: 2", "capacity is given, but previous is not"),
        (
            "type: dotenv, slots: {v1: A, v2: B}, version: C, previous: D",
            "previous belongs to key, not to slots",
        ),
        ("type: dotenv, slots: {v1: A, v2: A}, version: C", "two of its variables"),
        ("type: dotenv, key: A, previous: A", "two of its variables"),
        ("type: dotenv, slots: {v1: A}, version: C", "at least 2"),
        ("type: dotenv, slots: {'v 1': A, v2: B}, version: C", "must be a name of letters"),
        ("type: dotenv, key: 'A B'", "should match"),
        ("type: dotenv, key: A, prefix: '\"'", "must be plain characters such as base64:"),
        ("type: dotenv, key: A, separator: a", "separator"),
        ("type: dotenv, key: A, encoding: wso2", "encoding"),
        ("type: toml, key: a, previous: a", "key and previous have the same name"),
        ("type: toml, table: '[a]'", "must be a table such as encryption"),
        ("type: toml, key: a.b", "must be a name of letters"),
        (f"type: toml, key: {'a' * 201}", "must be a name of letters"),
        ("type: fernet-list, variable: A, separator: newline", "has its keys on one line"),
        ("type: key-list, at: []", "at least 1"),
        ("type: kubernetes-encryption-configuration, resources: ['a b']", "must be a resource"),
        ("type: yaml-ciphers, stem: app", "key_directory"),
        (
            "type: yaml-ciphers, key_directory: /a, stem: app, mode: '0640'",
            "must be for its owner alone",
        ),
        ("type: tink, mode: '0644'", "lets everybody access a private key"),
        ("type: tink, path: keys", "must be an absolute path"),
        ("type: tink, owner: ''", "must be the name or the number of a user"),
        ("type: tink, algorithm: x", "Extra inputs are not permitted"),
        ("type: nope", "nope"),
    ],
)
def test_an_entry_that_says_two_things_is_refused(text: str, words: str) -> None:
    """At the place where it does."""
    assert words in wrong(text)


def findings(part: Any) -> list[str]:
    """What is wrong with what an entry names."""
    found: EntryFindings = examined(part)
    return [f"{loc}: {finding.message}" for loc, finding in found]


def test_what_an_entry_names_is_looked_at(tmp_path: Path) -> None:
    """Its directories, and the template."""
    kept = f"path: {tmp_path}/keys"
    assert findings(entry(f"type: tink, {kept}")) == []
    (missing,) = findings(entry("type: tink, path: /nowhere/keys"))
    assert missing.startswith("('path',): /nowhere")
    gem = f"type: yaml-ciphers, stem: a, {kept}, key_directory: "
    assert findings(entry(f"{gem}{tmp_path}")) == []
    assert len(findings(entry(f"{gem}/nowhere"))) == 1
    (missing,) = findings(entry(f"type: template, {kept}, template: /nowhere/x"))
    assert "template" in missing
    assert entry(f"{gem}/a").paths == (tmp_path / "keys", Path("/a"))
    assert entry("type: tink").paths == (Path("/etc/app/keys"),)


def test_the_files_of_an_entry_have_its_owner_and_mode(tmp_path: Path) -> None:
    """A number is as good as a name."""
    own = f"owner: {os.geteuid()}, group: {os.getegid()}, mode: '0640'"
    text = entry(f"type: tink, path: {tmp_path}/keys, {own}")
    output = output_of(text, algorithm=GCM, chance=CHANCE)
    files = files_of(text, output)
    files.write(output.render(delivery_of(output, 1), files.present()))
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o640
    plain = entry(f"type: tink, path: {tmp_path}/other")
    files_of(plain, output_of(plain, algorithm=GCM, chance=CHANCE)).write(
        {tmp_path / "other": b"x"}
    )
    assert (tmp_path / "other").stat().st_mode & 0o777 == 0o600


def test_new_keys_are_drawn_as_their_outputs_can_hold_them() -> None:
    """Letters and digits for one that is text, and a fixed iv for the one that needs it."""
    plain, text = built("type: tink"), built("type: key-list, encoding: text")
    gem = built("type: yaml-ciphers, key_directory: /a, stem: a", Algorithm.AES_256_CBC)
    chance = Chance(lambda most: most - 1, lambda count: bytes(count))
    assert new_material([plain], GCM, chance).reveal() == bytes(32)
    assert new_material([plain, text], GCM, chance).reveal() == b"9" * 32
    assert new_material([plain], Algorithm.PASSPHRASE, chance).reveal() == b"9" * 32
    assert new_iv([plain, text], chance) == new_iv([], chance) == b""
    assert new_iv([plain, gem], chance) == bytes(16)


def test_a_type_is_loaded_when_it_is_used() -> None:
    """YAML, templates and ciphers are for those who have them."""
    program = (
        "import sys; from certrotd.outputs.build import *\n"
        "from pathlib import Path; from certrotd.config.outputs import *\n"
        "e = JsonKeystoreEntry(type='json-keystore', path=Path('/x'))\n"
        "output_of(e, algorithm=Algorithm.AES_256_GCM, chance=Chance(int, bytes))\n"
        "print(*sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(run.stdout.split())
    assert "certrotd.outputs.json_keystore" in loaded
    assert not loaded & {"jinja2", "yaml", "certrotd.outputs.template", "certrotd.outputs.toml"}
    assert "cryptography" not in loaded
