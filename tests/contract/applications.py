"""Applications that hold one key, as their databases and keys are, read by code of their own kind.

None of what reads and writes here is certrotd's: it is what the applications do, in a few lines.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from certrotd.codecs.cfb import cfb

VECTORS = Path(__file__).parent.parent / "vectors"
Execute = Callable[..., list[Any]]
Sealed = Callable[[str, bytes], bytes]


def vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def _aes(secret: bytes, mode: Any, data: bytes, *, seals: bool) -> bytes:
    cipher = Cipher(algorithms.AES(secret), mode)
    context = cipher.encryptor() if seals else cipher.decryptor()
    return context.update(data) + context.finalize()


def _padded(data: bytes) -> bytes:
    count = 16 - len(data) % 16
    return data + bytes([count]) * count


def _unpadded(data: bytes) -> bytes:
    count = data[-1]
    assert data.endswith(bytes([count]) * count)
    assert 1 <= count <= 16
    return data[:-count]


@dataclass(frozen=True)
class Column:
    """Where values are: ``seal`` and ``unseal`` are by the text of the key."""

    table: str
    key: str
    column: str
    seal: Sealed
    unseal: Sealed


@dataclass(frozen=True)
class Application:
    """What of it matters.

    ``file`` has its key in the place of ¶; ``rows``, and what is ``not_expected``, are SQL
    with its parameters. Some values are known answers, and some are not under the key.
    """

    profile: str
    file: str
    secret: str
    schema: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, tuple[Any, ...]], ...]
    not_expected: tuple[str, Any]

    def read(self, execute: Execute, secret: str) -> Mapping[tuple[str, ...], bytes]:
        """Every plaintext that opens with the key, by its place."""
        return dict(self._read(execute, secret))

    def _read(self, execute: Execute, secret: str) -> Iterator[tuple[tuple[str, ...], bytes]]:
        for each in self.columns:
            names = f'{each.key}, "{each.column}"'
            for key, value in execute(f'select {names} from "{each.table}"'):
                for n, (opens, one) in enumerate(parts(bytes_of(value))):
                    if opens:
                        place = each.table, each.column, str(key), str(n)
                        yield place, each.unseal(secret, one)


def bytes_of(value: Any) -> bytes:
    if value is None:
        return b""
    return value.encode() if isinstance(value, str) else bytes(value)


def parts(value: bytes) -> Iterator[tuple[bool, bytes]]:
    """The values in one column, and whether they are under the key itself."""
    if value.startswith(b"{"):
        for each in re.findall(rb'"([A-Za-z0-9+/]{40,}=*)"', value):
            yield not re.match(b"I[yz0-3]", each), each
    elif value:
        for each in value.split(b",") if value.startswith(b"U2Fs") else [value]:
            yield not each.startswith((b"#", b"key-1:", b"plain")), each


# n8n: CryptoJS, which is openssl enc -aes-256-cbc -md md5, and AES-GCM for keys.


def n8n_key(secret: str, salt: bytes) -> tuple[bytes, bytes]:
    made = block = b""
    while len(made) < 48:
        block = hashlib.md5(block + secret.encode() + salt, usedforsecurity=False).digest()
        made += block
    return made[:32], made[32:48]


def n8n_seal(secret: str, plaintext: bytes) -> bytes:
    salt = os.urandom(8)
    key, iv = n8n_key(secret, salt)
    sealed = _aes(key, modes.CBC(iv), _padded(plaintext), seals=True)
    return base64.b64encode(b"Salted__" + salt + sealed)


def n8n_unseal(secret: str, value: bytes) -> bytes:
    data = base64.b64decode(value)
    if data[:1] == b"\x01":
        return n8n_unwrap(secret, value)
    key, iv = n8n_key(secret, data[8:16])
    return _unpadded(_aes(key, modes.CBC(iv), data[16:], seals=False))


def _n8n_wrapping(secret: str, salt: bytes) -> tuple[bytes, bytes]:
    digest = hashlib.sha256(secret.encode()).digest()
    made = HKDF(hashes.SHA256(), 44, salt, b"n8n-encryption-v1").derive(digest)
    return made[:32], made[32:]


def n8n_wrap(secret: str, plaintext: bytes) -> bytes:
    salt = os.urandom(32)
    key, iv = _n8n_wrapping(secret, salt)
    sealed = AESGCM(key).encrypt(iv, plaintext, None)
    return base64.b64encode(b"\x01" + salt + sealed[-16:] + sealed[:-16])


def n8n_unwrap(secret: str, value: bytes) -> bytes:
    data = base64.b64decode(value)
    key, iv = _n8n_wrapping(secret, data[1:33])
    return AESGCM(key).decrypt(iv, data[49:] + data[33:49], None)


def n8n() -> Application:
    told = vectors("node/libs.json")["cryptojs"]
    secret = told["passphrase"]
    seal = partial(n8n_seal, secret)
    [known] = [v["ciphertext"] for v in told["values"] if v["plaintext"].startswith("{")]
    recovery = b",".join(seal(b"0f8fad5b-d9cb-469f-a165-70867728950%d" % n) for n in range(2))
    ldap = json.dumps({"bindingAdminPassword": seal(b"hunter2").decode(), "baseDn": "dc=example"})
    jwe = n8n_seal(secret, b'{"kty":"RSA"}').decode()
    column = partial(Column, seal=n8n_seal, unseal=n8n_unseal)
    credential = "insert into credentials_entity (id, name, data, type) values (?, 'c', ?, 't')"
    deployment = (
        "insert into deployment_key (id, type, value, algorithm, status)"
        " values (?, ?, ?, ?, 'active')"
    )
    return Application(
        "n8n",
        '{\n\t"encryptionKey": "¶",\n\t"fsStorageMigrated": true\n}',
        secret,
        """
        create table credentials_entity (id varchar(36) primary key not null,
          name varchar(128) not null, data text not null, type varchar(128) not null);
        create table "user" (id varchar primary key not null, email varchar(255),
          "mfaEnabled" boolean not null default false, "mfaSecret" text, "mfaRecoveryCodes" text);
        create table settings ("key" text not null primary key, value text not null,
          "loadOnStartup" boolean not null default false);
        create table deployment_key (id varchar(36) primary key not null, type varchar(64) not null,
          value text not null, algorithm varchar(20), status varchar(20) not null);
        """,
        (
            column("credentials_entity", "id", "data"),
            column("user", "id", "mfaSecret"),
            column("user", "id", "mfaRecoveryCodes"),
            column("settings", '"key"', "value"),
            column("deployment_key", "id", "value"),
        ),
        (
            (credential, ("1", known)),
            (credential, ("2", seal(b'{"token":"' + b"x" * 300 + b'"}').decode())),
            (credential, ("3", "key-1:AQIDBA==")),
            (
                'insert into "user" (id, "mfaSecret", "mfaRecoveryCodes") values (?, ?, ?)',
                ("7", seal(b"JBSWY3DPEHPK3PXP").decode(), recovery.decode()),
            ),
            ('insert into "user" (id, "mfaRecoveryCodes") values (?, ?)', ("8", "")),
            ("insert into settings values (?, ?, true)", ("features.ldap", ldap)),
            ("insert into settings values (?, ?, true)", ("ui.banners", "plain")),
            (
                deployment,
                ("k1", "data_encryption", n8n_wrap(secret, b"ab" * 32).decode(), "aes-256-gcm"),
            ),
            (deployment, ("k2", "jwe.private", jwe, "RSA-OAEP-256")),
            (deployment, ("k3", "signing.hmac", "plain", None)),
            (deployment, ("k4", "jwe.public", '{"kty":"RSA"}', "RSA-OAEP-256")),
        ),
        (credential, ("9", seal(b"no JSON at all").decode())),
    )


# Grafana: AES-CFB or AES-GCM by PBKDF2.


def _grafana_key(secret: str, salt: bytes) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", secret.encode(), salt, 10_000, 32)


def grafana_seal(secret: str, plaintext: bytes, name: str = "aes-cfb") -> bytes:
    salt = base64.b64encode(os.urandom(6))
    key = _grafana_key(secret, salt)
    head = b"*" + base64.b64encode(name.encode()).rstrip(b"=") + b"*" if name else b""
    if name == "aes-gcm":
        nonce = os.urandom(12)
        return head + salt + nonce + AESGCM(key).encrypt(nonce, plaintext, None)
    iv = os.urandom(16)
    return head + salt + iv + _aes(key, cfb(iv), plaintext, seals=True)


def grafana_unseal(secret: str, value: bytes) -> bytes:
    _, name, data = value.split(b"*", 2) if value.startswith(b"*") else (b"", b"", value)
    key = _grafana_key(secret, data[:8])
    if name == b"YWVzLWdjbQ":
        return AESGCM(key).decrypt(data[8:20], data[20:], None)
    return _aes(key, cfb(data[8:24]), data[24:], seals=False)


def grafana_text(secret: str, value: bytes) -> bytes:
    return grafana_unseal(secret, base64.b64decode(value + b"=" * (-len(value) % 4)))


def grafana() -> Application:
    secret = "SW2YcwTIb9zpOOhoPsMm"

    def text(plaintext: bytes, name: str = "") -> str:
        return base64.b64encode(grafana_seal(secret, plaintext, name)).decode()

    envelope = base64.b64encode(b"#YWJj#*YWVzLWNmYg*abcdefgh" + bytes(24)).decode()
    secrets = {"password": text(b"hunter2"), "token": envelope, "gcm": text(b"x", "aes-gcm")}
    receivers = [
        {"grafana_managed_receiver_configs": [{"secureSettings": {"url": text(b"a" * 9)}}]}
    ]
    alerts = json.dumps({"alertmanager_config": {"receivers": receivers}})
    key = "insert into data_keys values (?, true, 'root', ?, ?, '2026', '2026', '')"
    column = partial(Column, seal=grafana_seal, unseal=grafana_unseal)
    encoded = partial(Column, seal=grafana_seal, unseal=grafana_text)
    return Application(
        "grafana",
        "GF_PATHS_DATA=/var/lib/grafana\nGF_SECURITY_SECRET_KEY=¶\n",
        secret,
        """
        create table data_keys (name varchar(100) primary key not null, active boolean not null,
          scope varchar(30) not null, provider varchar(50) not null, encrypted_data blob not null,
          created datetime not null, updated datetime not null, label varchar(100) not null);
        create table data_source (id integer primary key, name varchar(190), secure_json_data text);
        create table alert_configuration (id integer primary key, alertmanager_configuration text);
        create table secrets (id integer primary key, namespace varchar(255), value text);
        create table dashboard_snapshot (id integer primary key, dashboard_encrypted blob);
        """,
        (
            column("data_keys", "name", "encrypted_data"),
            encoded("data_source", "id", "secure_json_data"),
            encoded("alert_configuration", "id", "alertmanager_configuration"),
            encoded("secrets", "id", "value"),
            column("dashboard_snapshot", "id", "dashboard_encrypted"),
        ),
        (
            (key, ("dek1", "secretKey.v1", grafana_seal(secret, bytes(range(16))))),
            (key, ("dek2", "secretKey", grafana_seal(secret, b"\xff" * 16, "aes-gcm"))),
            (key, ("dek3", "secretKey.v1", grafana_seal(secret, b"\x80" * 16, ""))),
            ("insert into data_source values (1, 'pg', ?)", (json.dumps(secrets),)),
            ("insert into data_source values (2, 'none', ?)", ("{}",)),
            ("insert into alert_configuration values (1, ?)", (alerts,)),
            ("insert into secrets values (1, 'x', ?)", (text(b"plugin secret").rstrip("="),)),
            (
                "insert into dashboard_snapshot values (1, ?)",
                (grafana_seal(secret, b'{"panels":[]}', ""),),
            ),
            ("insert into dashboard_snapshot values (2, ?)", (b"#YWJj#*YWVzLWNmYg*" + bytes(40),)),
        ),
        (key, ("dek9", "secretKey.v1", grafana_seal(secret, b"seventeen bytes!!"))),
    )


# Superset: sqlalchemy-utils' two engines.


def _superset_key(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def cbc_seal(secret: str, plaintext: bytes) -> bytes:
    key = _superset_key(secret)
    padded = plaintext + b"*" * (16 - len(plaintext) % 16)
    return base64.b64encode(_aes(key, modes.CBC(key[:16]), padded, seals=True))


def cbc_unseal(secret: str, value: bytes) -> bytes:
    key = _superset_key(secret)
    return _aes(key, modes.CBC(key[:16]), base64.b64decode(value), seals=False).rstrip(b"*")


def gcm_seal(secret: str, plaintext: bytes) -> bytes:
    iv = os.urandom(12)
    sealed = AESGCM(_superset_key(secret)).encrypt(iv, plaintext, None)
    return base64.b64encode(iv + sealed[-16:] + sealed[:-16])


def gcm_unseal(secret: str, value: bytes) -> bytes:
    data = base64.b64decode(value)
    return AESGCM(_superset_key(secret)).decrypt(data[:12], data[28:] + data[12:28], None)


def superset(engine: str = "AesEngine") -> Application:
    told = vectors("python.json")["sqlalchemy_utils"]
    secret = told["key"]
    seal, unseal = (cbc_seal, cbc_unseal) if engine == "AesEngine" else (gcm_seal, gcm_unseal)
    known = [
        each["stored"].encode()
        for each in told["values"]
        if each["engine"] == engine and each["padding"] in ("naive", None)
    ]
    database = (
        "insert into dbs"
        " (id, database_name, sqlalchemy_uri, password, encrypted_extra, server_cert)"
        " values (?, 'a', 'b', ?, ?, ?)"
    )
    column = partial(Column, seal=seal, unseal=unseal)
    wrong = cbc_seal("another key", b"hunter2 and more than a block")
    return Application(
        "superset" if engine == "AesEngine" else "superset-gcm",
        "SUPERSET_SECRET_KEY=¶\n",
        secret,
        """
        create table dbs (id integer primary key, database_name varchar(250) not null,
          sqlalchemy_uri varchar(1024) not null, password bytea, encrypted_extra bytea,
          server_cert bytea);
        create table ssh_tunnels (id integer primary key, server_address varchar(256),
          username bytea, password bytea, private_key bytea, private_key_password bytea);
        create table semantic_layers (uuid bytea primary key, configuration bytea);
        """,
        (
            *(column("dbs", "id", name) for name in ("password", "encrypted_extra", "server_cert")),
            *(column("ssh_tunnels", "id", name) for name in ("username", "private_key")),
            column("semantic_layers", "uuid", "configuration"),
        ),
        (
            (database, (1, known[0], known[1], None)),
            (database, (2, seal(secret, b"sixteen bytes!!!"), None, seal(secret, b"---" * 400))),
            (
                "insert into ssh_tunnels (id, username, private_key) values (?, ?, ?)",
                (1, seal(secret, b"tunnel"), seal(secret, b"-----BEGIN")),
            ),
            (
                "insert into semantic_layers values (?, ?)",
                (b"\x00\xffkey", seal(secret, b'{"a":1}')),
            ),
        ),
        (database, (9, wrong, None, None)),
    )
