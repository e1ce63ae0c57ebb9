"""Outputs as the file says them: what cannot be is one line with what would be right."""
# ruff: noqa: E501  # a line as it is written and what is said of it, side by side

from pathlib import Path

import pytest

from tests.unit.config.written import config, refused, said

OUTPUT = (
    "keks: {main: {type: file, path: /etc/certrotd/kek}}\n"
    "keyrings:\n  shop:\n    outputs:\n    - %s"
)
DOTENV = "{type: dotenv, path: /e/x, %s}"


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("{type: tnik, path: /e/x}", '.type: unknown type "tnik", did you mean "tink"?'),
        ("{path: /e/x}", ".type: is required: age-identities, dotenv, fernet-list, json-key, json-keystore, key-list, keyring, kubernetes-encryption-configuration, template, tink, toml, yaml-ciphers"),
        ("{type: tink}", ": needs either path (a file) or secret (an entry of a Secret)"),
        ("{type: tink, path: /e/x, secret: {name: a, key: b}}", ": needs either path (a file) or secret (an entry of a Secret)"),
        ("{type: tink, secret: {name: a, key: b}, mode: 0640}", ": mode belongs to path: an entry of a Secret has none"),
        ("{type: tink, secret: {name: a}}", ".secret.key: is required: The entry of the Secret that the application reads, such as keys.json"),
        ("{type: tink, secret: {name: a, key: a/b}}", ".secret.key: must be the name of an entry: letters, digits, '-', '_' and dots, such as keys.json, got \"a/b\""),
        ("{type: tink, secret: {name: a, key: ..}}", ".secret.key: must be the name of an entry: letters, digits, '-', '_' and dots, such as keys.json, got \"..\""),
        ("{type: tink, secret: {name: A, key: b}}", ".secret.name: must be the name of a Secret: lower-case letters, digits and '-' and dots, such as web-tls, got \"A\""),
        ("{type: tink, path: /e/x, slots: {}}", ".slots: unknown key, known: path, secret, owner, group, mode, in_place, type"),
        ('{type: tink, path: /e/x, mode: "0604"}', '.mode: lets everybody access a private key: use "0640" at most, got "0604"'),
        (DOTENV % "key: A, encoding: octal", '.encoding: must be one of hex, base64, base64url, text; got "octal"'),
        (DOTENV % "key: a b", ".key: must be the name of an environment variable: letters, digits and '_', got \"a b\""),
        (DOTENV % "key: A, prefix: 'a b'", '.prefix: must be plain characters such as base64:, got "a b"'),
        (DOTENV % "slots: {v1: A}, version: B", ".slots: must have at least 2 entries"),
        (DOTENV % "slots: {v1: A, v 2: B}, version: C", '.slots.v 2: must be a name of letters, digits and . _ -, such as v1, got "v 2"'),
        (DOTENV % "in_place: true", ": needs either slots and version, or key"),
        (DOTENV % "slots: {a: A, b: B}, version: C, key: D", ": needs either slots and version, or key"),
        (DOTENV % "slots: {a: A, b: B}", ": slots and version belong together"),
        (DOTENV % "key: A, version: B", ": slots and version belong together"),
        (DOTENV % "key: A, capacity: 2", ": capacity is given, but previous is not"),
        (DOTENV % "key: A, previous: B, capacity: 1", ".capacity: must be a whole number from 2 to 1000, got 1"),
        (DOTENV % "slots: {a: A, b: B}, version: C, previous: D", ": previous belongs to key, not to slots"),
        (DOTENV % "slots: {a: A, b: A}, version: C", ": two of its variables have the same name: each needs its own"),
        ("{type: toml, path: /e/x, table: 'a b'}", '.table: must be a table such as encryption or a.b, got "a b"'),
        ("{type: toml, path: /e/x, key: a, previous: a}", ": key and previous have the same name: each needs its own"),
        ("{type: yaml-ciphers, path: /e/x, stem: a, key_directory: /e/x}", ": path and key_directory are the same: path is a file"),
        ("{type: yaml-ciphers, path: /e/x, stem: a, key_directory: /k, mode: 0640}", '.mode: must be for its owner alone: "0600" or "0400", got "0640"'),
        ("{type: fernet-list, path: /e/x, variable: A, separator: newline}", ": a variable has its keys on one line: leave separator out"),
        ("{type: key-list, path: /e/x, at: []}", ".at: must not be empty"),
        ("{type: kubernetes-encryption-configuration, path: /e/x, resources: [Secrets]}", '.resources[0]: must be a resource such as secrets or widgets.example.com, got "Secrets"'),
        ("{type: template, path: /e/x, template: /t, capacity: 0}", ".capacity: must be a whole number from 1 to 1000, got 0"),
    ],
)  # fmt: skip
def test_an_output_that_cannot_be_is_one_line(tmp_path: Path, output: str, expected: str) -> None:
    """The keys of one type are not suggested for another."""
    assert said(refused(tmp_path, OUTPUT % output)) == [f"5: keyrings.shop.outputs[0]{expected}"]


@pytest.mark.parametrize(
    "output",
    [
        "{type: tink, path: /e/x}",
        "{type: tink, secret: {name: shop-keys, key: keys.json}}",
        "{type: tink, secret: {name: shop-keys, key: .env, namespace: shop}}",
        "{type: json-keystore, path: /e/x, owner: app, group: 33, mode: 0640}",
        DOTENV % "slots: {v1: A, v2: B}, version: C",
        DOTENV % "key: A, previous: B, capacity: 2, separator: ':'",
        "{type: toml, path: /e/x, table: a.b, previous: null}",
        "{type: yaml-ciphers, path: /e/x, stem: a, key_directory: /k, mode: 0400}",
        "{type: fernet-list, path: /e/x, variable: A}",
        "{type: fernet-list, path: /e/x, separator: newline}",
        "{type: key-list, path: /e/x, at: [a, b, c], encrypts: first}",
        "{type: kubernetes-encryption-configuration, path: /e/x, resources: ['*.*', pods.a.b]}",
        "{type: template, path: /e/x, template: /t, capacity: 1, reads_secondary: false}",
    ],
)
def test_an_output_of_each_type_is_taken(tmp_path: Path, output: str) -> None:
    """The control: each with options near those that are refused."""
    fits = {"fernet-list": "fernet", "kubernetes": "xsalsa20-poly1305"}
    of = next((fits[each] for each in fits if each in output), "aes-256-gcm")
    roomy = (
        f"\n    algorithm: {of}"
        "\n    drains: {cookies: 1d}\n    backup: {directory: /b, passphrase: {file: /p}}"
    )
    assert len(config(tmp_path, OUTPUT % output + roomy).keys.keyrings["shop"].outputs) == 1


@pytest.mark.parametrize(
    ("output", "algorithm", "held"),
    [
        ("{type: fernet-list, path: /e/x}", "aes-256-gcm", "fernet"),
        ("{type: tink, path: /e/x}", "fernet", "aes-128-gcm or"),
        ("{type: json-keystore, path: /e/x}", "aes-128-gcm", "aes-256-gcm"),
        (
            "{type: kubernetes-encryption-configuration, path: /e/x, provider: aescbc}",
            "aes-256-gcm",
            "aes-128-cbc or",
        ),
    ],
)
def test_an_output_of_another_algorithm_is_refused(
    tmp_path: Path, output: str, algorithm: str, held: str
) -> None:
    """With what would be right: else it is found out at the first rotation."""
    text = OUTPUT % output + f"\n    algorithm: {algorithm}"
    [line] = said(refused(tmp_path, text))
    of = output.split()[1].rstrip(",")
    begin = f"5: keyrings.shop.outputs[0]: {of} holds no {algorithm} keys: set algorithm to {held}"
    assert line.startswith(begin)


def test_two_outputs_of_one_entry_are_refused(tmp_path: Path) -> None:
    """By another name of the same file they are not noticed, but two entries are no collision."""
    text = (
        OUTPUT
        % "{type: tink, secret: {name: a, key: %s}}\n    - {type: tink, secret: {name: a, key: b}}"
    )
    config(tmp_path, text % "c")
    [line] = said(refused(tmp_path, text % "b"))
    assert "secrets/a/b is also written by" in line


@pytest.mark.parametrize(
    ("one", "other", "said_of_it"),
    [
        ("", "namespace: shop, ", "may be the entry of"),
        ("namespace: shop, ", "namespace: web, ", ""),
        ("kubeconfig: /a/x, ", "kubeconfig: /b/x, ", ""),
        ("kubeconfig: /a/x, ", "kubeconfig: /a/x, context: c, ", "may be the entry of"),
        ("kubeconfig: /a/x, context: b, ", "kubeconfig: /a/x, context: c, ", ""),
        ("kubeconfig: /a/x, context: b, ", "kubeconfig: /b/x, context: b, ", ""),
    ],
)
def test_entries_of_secrets_are_told_apart_as_far_as_they_are_written_out(
    tmp_path: Path, one: str, other: str, said_of_it: str
) -> None:
    """The namespace of certrotd's account may be the one that another output names."""
    each = "{type: tink, secret: {%sname: a, key: b}}"
    text = OUTPUT % f"{each % one}\n    - {each % other}"
    if not said_of_it:
        assert config(tmp_path, text).keys.keyrings
        return
    [line] = said(refused(tmp_path, text))
    assert said_of_it in line
    assert "write namespace and context out in both" in line
