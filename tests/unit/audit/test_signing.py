"""The key that signs reports: its file, its signatures, and who may have it."""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from certrotd.audit import signing
from certrotd.audit.signing import SigningKeyUnfit, load, make, verify
from certrotd.errors import InvalidInput, ProofFailed
from certrotd.files.disktrouble import DiskTrouble
from certrotd.files.reading import read_status

DATA = b"# Key management report\n"


def test_a_key_is_made_and_loaded(tmp_path: Path) -> None:
    """For its owner alone; what it signs is the same."""
    path = tmp_path / "audit" / "report.key"
    key = make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = load(path)
    assert again.id == key.id
    assert again.sign(DATA) == key.sign(DATA)
    assert len(key.sign(DATA)) == 64
    verify(again.public_pem, DATA, key.sign(DATA))


def test_what_was_changed_is_not_verified(tmp_path: Path) -> None:
    """Neither the file, nor the signature, nor by another key."""
    key, other = make(tmp_path / "key"), make(tmp_path / "other")
    signature = key.sign(DATA)
    for pem, data, by in (
        (key.public_pem, DATA + b"\n", signature),
        (key.public_pem, DATA, signature[:-1]),
        (key.public_pem, DATA, bytes(64)),
        (other.public_pem, DATA, signature),
    ):
        with pytest.raises(ProofFailed, match="the signature is not that of the key"):
            verify(pem, data, by)


def test_a_key_is_never_made_over_anything(tmp_path: Path) -> None:
    """Reports that it signed would be nobody's."""
    path = tmp_path / "key"
    key = make(path)
    with pytest.raises(SigningKeyUnfit, match="something at"):
        make(path)
    assert load(path).id == key.id


def test_a_disk_that_refuses_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As what it is."""

    def refuse(*_args: object, **_more: object) -> None:
        raise DiskTrouble("write", OSError(28, "No space left on device"))

    monkeypatch.setattr(signing, "create_file", refuse)
    with pytest.raises(DiskTrouble, match="No space left"):
        make(tmp_path / "key")


def test_a_key_that_is_not_there_is_reported(tmp_path: Path) -> None:
    """None is made in its place."""
    with pytest.raises(SigningKeyUnfit, match="is not there"):
        load(tmp_path / "key")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o602])
def test_a_key_that_others_reach_is_refused(tmp_path: Path, mode: int) -> None:
    """They could sign a report of their own."""
    make(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(SigningKeyUnfit, match="by others than its owner"):
        load(tmp_path / "key")


def test_a_key_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who owns a file can write it."""
    make(tmp_path / "key")

    def foreign(path: Path, *, limit: int, follow: bool) -> tuple[bytes, os.stat_result]:
        data, status = read_status(path, limit=limit, follow=follow)
        return data, os.stat_result((*status[:4], 4711, *status[5:10]))

    monkeypatch.setattr(signing, "read_status", foreign)
    with pytest.raises(SigningKeyUnfit, match="belongs to user 4711"):
        load(tmp_path / "key")


def private(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey, password: bytes) -> bytes:
    encryption = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    return bytes(pem)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"junk",
        b"x" * 5000,
        private(ec.generate_private_key(ec.SECP256R1()), b""),
        private(ed25519.Ed25519PrivateKey.generate(), b"secret"),
    ],
)
def test_what_is_no_signing_key_is_refused(tmp_path: Path, content: bytes) -> None:
    """In one line, of the type that an operator is told by."""
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SigningKeyUnfit, match=r"no Ed25519 private key|larger than"):
        load(path)


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"junk",
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
    ],
)
def test_what_is_no_public_key_is_refused(pem: bytes) -> None:
    """It is not a wrong signature."""
    with pytest.raises(InvalidInput, match="no Ed25519 public key"):
        verify(pem, DATA, bytes(64))


def test_nothing_of_the_key_is_shown(tmp_path: Path) -> None:
    """In no form."""
    key = make(tmp_path / "key")
    secret = (tmp_path / "key").read_bytes().split(b"\n")[1]
    raw = base64.b64decode(secret)[-32:]
    for shown in (repr(key), str(key), key.public_pem.decode()):
        assert secret.decode() not in shown
        assert raw.hex() not in shown
    assert key.id in repr(key)
