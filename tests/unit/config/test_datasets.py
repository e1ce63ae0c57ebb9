"""Datasets of type sql: what is refused, in words that say what would be right."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from certrotd.codecs.expectation import Anything
from certrotd.codecs.jwe import Jwe
from certrotd.codecs.layout import LayoutCipher
from certrotd.codecs.port import Codec
from certrotd.codecs.rails import ActiveRecord
from certrotd.codecs.symmetric_encryption import SymmetricEncryption
from certrotd.codecs.wso2 import Wso2
from certrotd.config.codecs import CODEC_ALGORITHMS, LayoutCodecEntry
from certrotd.config.datasets import SqlDatasetEntry
from certrotd.config.load import load
from certrotd.datasets.configured import CODECS
from certrotd.errors import ConfigInvalid

PG = "postgresql://app@db/shop"
SQL = {"type": "sql", "url": "sqlite:////db", "table": "t", "columns": ["v"]}


def problems(tmp_path: Path, changes: dict[str, Any], *, bare: bool = False, **keyring: Any) -> str:
    """Everything wrong with a file that has such a dataset, or a ``bare`` one of any type."""
    path = tmp_path / "certrotd.yaml"
    dataset = changes if bare else {**SQL, **changes}
    keyrings = {"shop": {"datasets": {"rows": dataset}, **keyring}}
    config = {"state_dir": str(tmp_path), "keyrings": keyrings}
    path.write_text(yaml.safe_dump(config))
    try:
        load(path)
    except ConfigInvalid as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"url": "postgresql://app@db/shop?sslmode=verify-full"}, ""),
        ({"url": "postgresql:///shop?host=/run/postgresql"}, ""),
        ({"url": "postgresql://app:canary@db/shop"}, "has a password in it"),
        ({"url": "postgresql://app@db/shop?password=canary"}, "has a password in it"),
        ({"url": "oracle://app:canary@db/shop"}, "must be an address such as"),
        ({"url": "mariadb://app@db/shop?ssl_ca=/etc/ca.pem"}, ""),
        ({"url": "mysql://app@/shop?unix_socket=/run/mysqld/mysqld.sock"}, ""),
        (
            {"url": "postgresql://app@db/shop?sslpassword=canary"},
            'has a secret in it, "sslpassword"',
        ),
        (
            {"replicas": ["postgresql://db/a?scram_client_key=canary"]},
            'has a secret in it, "scram_client_key"',
        ),
        ({"url": "mariadb://app:canary@db/shop"}, "has a password in it"),
        ({"url": "mariadb://app@db/shop?passwd=canary"}, "has a password in it"),
        ({"url": "mariadb://app@db/shop?local_infile=1"}, 'got "local_infile"'),
        ({"url": "mariadb://app@db/shop?init_command="}, 'got "init_command"'),
        ({"url": "mariadb://app@db"}, "names no database"),
        ({"url": PG, "replica_lag_ms": 500}, ""),
        ({"url": PG, "replica_lag_ms": 500, "replicas": ["postgresql://app@db2/shop"]}, ""),
        ({"url": PG, "replica_lag_ms": 500, "replicas": ["mariadb://a@b/c"]}, 'has "mariadb"'),
        ({"url": PG, "replicas": ["postgresql://app@db2/shop"]}, "how far behind they may be"),
        ({"url": PG, "replica_lag_ms": 5, "replicas": ["postgresql://a:canary@b"]}, "password in"),
        ({"url": "mariadb://app@db/shop", "replica_lag_ms": 500}, "needs replicas"),
        ({"url": "mysql://app@db/shop", "replica_lag_ms": 500}, "PostgreSQL and MariaDB"),
        ({"replica_lag_ms": 500}, "takes databases of PostgreSQL and MariaDB"),
        ({"timeout": "2d"}, "timeout"),
        ({"processes": 65}, "processes"),
        ({"url": "sqlite:///relative.db"}, "must be sqlite:// and an absolute path"),
        ({"url": "sqlite://"}, "must be sqlite:// and an absolute path"),
        ({"password": "canary"}, "must be a reference to the secret"),
        ({"columns": []}, "columns"),
        ({"columns": ["id"]}, '"id" is named twice'),
        ({"associated_data": "{table}/{column}/{pk}/{id}/{{x}}"}, ""),
        ({"associated_data": "{other}"}, "associated_data takes {column}, {id}, {pk}, {table}"),
        ({"associated_data": "{pk!r}"}, "associated_data takes"),
        ({"associated_data": "{pk.real}"}, "associated_data takes"),
        ({"associated_data": "{pk"}, "a brace without its other one"),
        ({"keep": ["at", "lock_version"]}, ""),
        ({"keep": ["v"]}, '"v" is named twice in key, columns, keep and searchable'),
        ({"json_paths": {"w": ["$.a"]}}, 'json_paths has "w", which is none of the columns'),
        ({"json_paths": {"v": ["$.a"]}}, "tink is bytes, which JSON does not hold"),
        ({"json_paths": {"v": ["a.b"]}}, "must be a path such as $.smtp.password"),
        ({"json_paths": {"v": ["$.a..b"]}}, 'got "$.a..b"'),
        ({"json_paths": {"v": ['$["\\x"]']}}, "must be a path such as"),
        ({"json_paths": {"v": []}}, "json_paths"),
        ({"codec": "rot13"}, "codec"),
        ({"type": "mongodb"}, "must have type sql, files or kubernetes, or census"),
        ({"rows_per_second": 0}, "rows_per_second"),
    ],
)
def test_what_is_wrong_is_refused_and_no_password_is_shown(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    """At its line, and what would be right."""
    told = problems(tmp_path, changes)
    assert words in told
    assert bool(told) is bool(words), told
    assert "canary" not in told


def test_fernet_tokens_bind_nothing_and_take_fernet_keys(tmp_path: Path) -> None:
    """What cannot be is said before a key is made."""
    fernet: dict[str, Any] = {"codec": "fernet"}
    assert "fernet takes no aes-256-gcm keys" in problems(tmp_path, fernet)
    assert problems(tmp_path, fernet, algorithm="fernet") == ""
    assert "tink takes no fernet keys" in problems(tmp_path, {}, algorithm="fernet")
    paths = {**fernet, "json_paths": {"v": ["$.a", '$["b c"][0].*']}}
    assert problems(tmp_path, paths, algorithm="fernet") == ""
    bound = {**fernet, "associated_data": "{pk}"}
    assert "fernet has no associated data" in problems(tmp_path, bound, algorithm="fernet")


def test_the_schema_and_the_codecs_say_the_same() -> None:
    """Every codec that can be named is there, with its algorithms and associated data."""
    every: dict[str, tuple[Codec, object]] = {name: (each, name) for name, each in CODECS.items()}
    every["rails"] = ActiveRecord(b"salt"), {"type": "rails", "salt": {"env": "SALT"}}
    every["jwe"] = Jwe(), {"type": "jwe"}
    every["wso2"] = Wso2(), {"type": "wso2"}
    gem = {"type": "symmetric-encryption"}
    every["symmetric-encryption"] = SymmetricEncryption(Anything()), gem
    assert CODEC_ALGORITHMS.keys() == every.keys()
    for name, (codec, form) in every.items():
        assert {each.value for each in codec.traits.algorithms} == CODEC_ALGORITHMS[name]
        told = {**SQL, "codec": form, "associated_data": "{pk}"}
        try:
            bound = bool(SqlDatasetEntry.model_validate(told))
        except ValueError:
            bound = False
        assert bound is codec.traits.associated_data
        told = {**SQL, "codec": form, "plaintext": "leave"}
        try:
            told_apart = bool(SqlDatasetEntry.model_validate(told))
        except ValueError:
            told_apart = False
        assert told_apart is bool(codec.traits.beginning)


def test_every_cipher_can_be_that_of_a_layout() -> None:
    """With a MAC or without."""
    told = get_args(LayoutCodecEntry.model_fields["cipher"].annotation)
    assert set(told) == {each.value for each in LayoutCipher}


LAYOUT = {"type": "layout", "layout": "{iv:hex}:{tag:hex}:{ct:hex}", "cipher": "aes-256-gcm"}
MAC = {**LAYOUT, "layout": "{iv:hex}:{mac:hex}:{ct:hex}", "cipher": "aes-256-cbc-hmac-sha256"}
PBKDF2 = {"name": "pbkdf2", "iterations": 10_000, "salt": {"env": "SALT"}}
CBC = {"type": "layout", "layout": "{iv:hex}:{ct:hex}", "cipher": "aes-256-cbc"}
FIXED = {**CBC, "layout": "{ct:hex}", "iv_from": "key", "kdf": {"name": "sha256"}}
GEM = {"type": "symmetric-encryption"}
FORM = {"layout": "{iv:hex}:{tag:hex}:{ct:hex}", "cipher": "aes-256-gcm"}
FORMS = [{**FORM, "layout": "v2:{iv:hex}:{tag:hex}:{ct:hex}"}, FORM]
BOTH = {"type": "layouts", "forms": FORMS}
CUTOVER = {"units": ["app.service"], "probe": {"command": ["/bin/true"]}}


@pytest.mark.parametrize(
    ("changes", "algorithm", "words"),
    [
        ({"codec": "laravel"}, "aes-256-cbc", ""),
        ({"codec": "laravel"}, "aes-128-gcm", ""),
        ({"codec": "laravel"}, "aes-192-gcm", "laravel takes no aes-192-gcm keys"),
        ({"codec": {"type": "rails", "salt": {"env": "SALT"}}}, "passphrase", ""),
        ({"codec": {"type": "rails", "salt": {"env": "S"}}}, "aes-256-gcm", "rails takes no"),
        ({"codec": {"type": "rails", "salt": "canary"}}, "passphrase", "a reference to the secret"),
        ({"codec": {"type": "rails"}}, "passphrase", "codec.salt: is required"),
        ({"codec": {"type": "jwe"}}, "aes-192-gcm", ""),
        ({"codec": {"type": "jwe", "alg": "A256GCMKW", "enc": "A128GCM"}}, "aes-256-gcm", ""),
        ({"codec": {"type": "jwe", "alg": "A256GCMKW"}}, "aes-128-gcm", "it takes aes-256-gcm"),
        ({"codec": {"type": "jwe", "enc": "A256GCM"}}, "aes-256-gcm", "enc belongs to"),
        (
            {"codec": {"type": "rot13"}},
            "passphrase",
            "must be tink, fernet, laravel, node-json, secretbox, or a",
        ),
        ({"codec": LAYOUT}, "aes-256-gcm", ""),
        ({"codec": LAYOUT}, "aes-128-gcm", "it takes aes-256-gcm"),
        ({"codec": {**LAYOUT, "kdf": PBKDF2}}, "passphrase", ""),
        ({"codec": {**LAYOUT, "kdf": {**PBKDF2, "salt": "salt"}}}, "passphrase", ""),
        ({"codec": {**LAYOUT, "kdf": PBKDF2}}, "aes-256-gcm", "it takes passphrase"),
        ({"codec": {**LAYOUT, "kdf": {"name": "pbkdf2"}}}, "passphrase", "takes from 1 to"),
        ({"codec": {**LAYOUT, "kdf": {"name": "scrypt", "n": 3}}}, "passphrase", "power of two"),
        ({"codec": {**LAYOUT, "layout": "{iv:hex}{ct:hex}"}}, "aes-256-gcm", "side by side"),
        ({"codec": {**LAYOUT, "cipher": "aes-256-cfb"}}, "aes-256-gcm", "has a {tag}"),
        ({"codec": CBC}, "aes-256-cbc", "say under expects what plaintext of v looks like"),
        ({"codec": CBC, "expects": {"v": "json"}}, "aes-256-cbc", "Add cutover to the keyring"),
        (
            {"codec": {**CBC, "layout": "{key}:{iv:hex}:{ct:hex}"}, "expects": {"v": "utf8"}},
            "aes-256-cbc",
            "",
        ),
        ({"codec": FIXED, "expects": {"v": "utf8"}}, "passphrase", "nothing in it can tell"),
        ({"codec": CBC, "expects": {"w": "json"}}, "aes-256-cbc", 'expects has "w", which is none'),
        ({"codec": CBC, "expects": {"v": "xml"}}, "aes-256-cbc", "must be utf8, json, a mapping"),
        ({"codec": CBC, "expects": {"v": {"regex": "("}}}, "aes-256-cbc", "no regular expression"),
        ({"codec": CBC, "expects": {"v": {"least": 2, "most": 1}}}, "aes-256-cbc", "below least"),
        (
            {"codec": CBC, "expects": {"v": {"least": 1, "most": 2}}, "lists": {"v": ","}},
            "aes-256-cbc",
            "the length alone tells too little of the values in v",
        ),
        ({"codec": LAYOUT, "expects": {"v": "json"}}, "aes-256-gcm", "leave expects out"),
        ({"codec": "tink", "expects": {"v": "json"}}, "aes-256-gcm", "leave expects out"),
        ({"codec": GEM}, "aes-256-cbc", "symmetric-encryption has no MAC with aes-256-cbc"),
        ({"codec": GEM}, "aes-256-gcm", ""),
        ({"codec": GEM, "expects": {"v": "utf8"}}, "aes-256-cbc", ""),
        ({"codec": BOTH}, "aes-256-gcm", ""),
        ({"codec": {**BOTH, "forms": FORMS[::-1]}}, "aes-256-gcm", "form 2 of the layouts"),
        (
            {"codec": BOTH, "associated_data": "{pk}"},
            "aes-256-gcm",
            "layouts have no associated data",
        ),
        ({"codec": BOTH, "others": "["}, "aes-256-gcm", "no regular expression"),
        ({"codec": LAYOUT, "lists": {"v": ","}}, "aes-256-gcm", ""),
        ({"codec": LAYOUT, "lists": {"w": ","}}, "aes-256-gcm", 'lists has "w", which is none'),
        ({"lists": {"v": ","}}, "aes-256-gcm", "tink is bytes, which lists do not hold"),
        (
            {"codec": LAYOUT, "lists": {"v": ","}, "json_paths": {"v": ["$.a"]}},
            "aes-256-gcm",
            "it is JSON, or a list",
        ),
        ({"codec": MAC}, "aes-256-cbc", ""),
        ({"codec": MAC, "associated_data": "{pk}"}, "aes-256-cbc", "binds no associated data"),
        ({"codec": LAYOUT, "associated_data": "{table}/{pk}"}, "aes-256-gcm", ""),
        ({"codec": LAYOUT, "json_paths": {"v": ["$.a"]}}, "aes-256-gcm", ""),
        (
            {
                "codec": {**LAYOUT, "layout": "raw({iv}{ct}{tag})"},
                "json_paths": {"v": ["$.a"]},
            },
            "aes-256-gcm",
            "layout is bytes, which JSON does not hold",
        ),
        ({"codec": LAYOUT, "plaintext": "leave"}, "aes-256-gcm", "nothing tells it from damaged"),
        ({"codec": LAYOUT, "plaintext": "encrypt"}, "aes-256-gcm", "nothing tells it from damaged"),
        (
            {
                "codec": {**LAYOUT, "layout": "enc:{iv:hex}:{tag:hex}:{ct:hex}"},
                "plaintext": "encrypt",
            },
            "aes-256-gcm",
            "",
        ),
    ],
)
def test_a_codec_with_options_is_refused_where_they_do_not_fit(
    tmp_path: Path, changes: dict[str, Any], algorithm: str, words: str
) -> None:
    """When the file is read, and in words; not when the first value is met."""
    told = problems(tmp_path, changes, algorithm=algorithm)
    assert words in told
    assert bool(told) is bool(words), told
    assert "canary" not in told


def test_of_ciphertext_that_tells_no_key_certrotd_must_know_which_one_an_application_has(
    tmp_path: Path,
) -> None:
    """Only a cut-over says when it changes, and only a file that can be read says which it is."""
    told: dict[str, Any] = {"codec": CBC, "expects": {"v": "json"}}
    dotenv = {"type": "dotenv", "path": "/srv/app/env", "key": "KEY"}
    template = {"type": "template", "path": "/srv/app/f", "template": "/t", "capacity": 1}
    more: dict[str, Any] = {"algorithm": "aes-256-cbc", "cutover": CUTOVER}
    assert problems(tmp_path, told, **more, outputs=[dotenv]) == ""
    assert "use another type of output" in problems(tmp_path, told, **more, outputs=[template])


def test_a_pattern_needs_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one nothing does."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "regex" else name)

    told = {**SQL, "codec": CBC, "expects": {"v": {"regex": "a+"}}, "others": "b"}
    [(loc, found)] = SqlDatasetEntry.model_validate(told).examine()
    assert (loc, "the Python module regex" in found.message) == (("url",), True)
    plain = SqlDatasetEntry.model_validate({**told, "expects": {"v": "utf8"}, "others": None})
    assert list(plain.examine()) == []
