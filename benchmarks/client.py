"""What certrotd.client costs an application: each message, beside other libraries, and its start.

All libraries take turns, a few thousand calls each, and the least time of each counts: what the
machine does besides only ever adds to it. Each library encrypts under the newer of two keys, with
a fresh nonce, and decrypts what it has encrypted.
"""

import base64
import itertools
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.measure import Cost, ProgramFailed, median
from certrotd.client import Keyring
from certrotd.files.writing import write_file
from certrotd.kek import file as kek_file
from certrotd.keyring.document import sealed
from certrotd.keyring.keyring import empty
from certrotd.keyring.material import Algorithm, DataKey, Material

SIZES = (64, 1024)
ROUNDS = 60
CALLS = 2000
AAD = b"orders,note,7"
OURS, TINK, MULTI, BARE = "certrotd.client", "tink-py", "MultiFernet", "bare AESGCM"
BUDGETS = {TINK: 1.0, MULTI: 4.0, BARE: 0.7}
"""How many messages certrotd.client must encrypt while the other one encrypts one."""
START_BUDGET = 0.060
"""Seconds that importing certrotd.client may add to the start of Python."""


@dataclass(frozen=True)
class Speed:
    """Microseconds of processor for one message of so many bytes."""

    library: str
    size: int
    encrypt: float
    decrypt: float


@dataclass(frozen=True)
class Start:
    """Cold processes: Python alone, with the library imported, with a keyring open, and tink-py."""

    python: Cost
    imported: Cost
    opened: Cost
    tink: Cost


@dataclass(frozen=True)
class Client:
    """Every figure of the client library."""

    speeds: list[Speed]
    start: Start

    def ratio(self, other: str, size: int, what: str) -> float:
        """How many messages certrotd.client does while ``other`` does one."""
        by = {(each.library, each.size): getattr(each, what) for each in self.speeds}
        return float(by[other, size] / by[OURS, size])


Pair = tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]


def measure(directory: Path) -> Client:
    """Measures with a keyring of its own below ``directory``."""
    directory.mkdir(parents=True)
    secrets = [os.urandom(32), os.urandom(32)]
    path = _written(directory, secrets)
    kek = directory / "kek"
    with Keyring.open(path, kek=kek) as keyring:
        libraries = {
            OURS: _ours(keyring),
            TINK: _tink(secrets),
            MULTI: _multi_fernet(secrets),
            BARE: _bare(secrets),
        }
        speeds = [speed for size in SIZES for speed in _speeds(libraries, size)]
    return Client(speeds, _started(path, kek, directory / "start.log"))


def _speeds(libraries: Mapping[str, Pair], size: int) -> list[Speed]:
    text = os.urandom(size)
    work: dict[tuple[str, str], Callable[[], bytes]] = {}
    for name, (encrypt, decrypt) in libraries.items():
        ciphertext = encrypt(text)
        if decrypt(ciphertext) != text:
            raise ProgramFailed(f"{name} does not decrypt what it encrypts")
        work[name, "encrypt"] = _bound(encrypt, text)
        work[name, "decrypt"] = _bound(decrypt, ciphertext)
    least = dict.fromkeys(work, float("inf"))
    for _ in range(ROUNDS):
        for key, act in work.items():
            least[key] = min(least[key], _spent(act))
    return [
        Speed(name, size, least[name, "encrypt"] * 1e6, least[name, "decrypt"] * 1e6)
        for name in libraries
    ]


def _bound(act: Callable[[bytes], bytes], data: bytes) -> Callable[[], bytes]:
    return lambda: act(data)


def _spent(act: Callable[[], object]) -> float:
    began = time.thread_time()
    for _ in itertools.repeat(None, CALLS):
        act()
    return (time.thread_time() - began) / CALLS


def _ours(keyring: Keyring) -> Pair:
    return (
        lambda data: keyring.encrypt(data, associated_data=AAD),
        lambda data: keyring.decrypt(data, associated_data=AAD),
    )


def _bare(secrets: list[bytes]) -> Pair:
    cipher = AESGCM(secrets[-1])

    def encrypt(data: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + cipher.encrypt(nonce, data, AAD)

    return encrypt, lambda data: cipher.decrypt(data[:12], data[12:], AAD)


def _multi_fernet(secrets: list[bytes]) -> Pair:
    fernet = MultiFernet([Fernet(base64.urlsafe_b64encode(each)) for each in reversed(secrets)])
    return fernet.encrypt, fernet.decrypt


def _tink(secrets: list[bytes]) -> Pair:
    import json

    import tink
    from tink import aead, secret_key_access

    aead.register()
    keys = [
        {
            "keyData": {
                "typeUrl": "type.googleapis.com/google.crypto.tink.AesGcmKey",
                "value": base64.b64encode(b"\x1a\x20" + each).decode(),
                "keyMaterialType": "SYMMETRIC",
            },
            "status": "ENABLED",
            "keyId": number,
            "outputPrefixType": "TINK",
        }
        for number, each in enumerate(secrets, 1)
    ]
    keyset = json.dumps({"primaryKeyId": len(secrets), "key": keys})
    handle = tink.json_proto_keyset_format.parse(keyset, secret_key_access.TOKEN)
    primitive: Any = handle.primitive(aead.Aead)
    return lambda data: primitive.encrypt(data, AAD), lambda data: primitive.decrypt(data, AAD)


def _started(path: Path, kek: Path, log: Path) -> Start:
    opening = f"from certrotd.client import Keyring; Keyring.open({str(path)!r}, kek={str(kek)!r})"

    def started(program: str) -> Cost:
        return median([sys.executable, "-c", program], log=log)

    return Start(
        python=started("pass"),
        imported=started("import certrotd.client"),
        opened=started(opening),
        tink=started("from tink import aead; aead.register()"),
    )


def _written(directory: Path, secrets: list[bytes]) -> Path:
    """A sealed keyring of these keys, the last of which encrypts."""
    now = datetime.now(UTC)
    kek = kek_file.make(directory / "kek")
    keyring = empty("bench", Material(os.urandom(32)))
    for number, secret in enumerate(secrets, 1):
        key = DataKey(number, Algorithm.AES_256_GCM, Material(secret), str(number))
        keyring = keyring.added(key, keyring.versions.generate(at=now, why="bench"))
        distributed = keyring.versions.distribute(number, at=now, why="bench")
        keyring = keyring.moved(distributed.activate(number, at=now, why="bench"))
    path = directory / "bench.keyring"
    write_file(path, sealed(keyring, {"local": kek})[0], mode=0o600)
    return path
