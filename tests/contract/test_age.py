"""Backups and the age program: each opens what the other made."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from certrotd.config.secrets import Secret
from certrotd.errors import InvalidInput
from certrotd.escrow.age import Identities, PublicKeys, Shared, Shares, decrypted
from certrotd.escrow.backup import opened_backup, sealed_backup
from certrotd.escrow.errors import BackupUnreadable, NotOpened
from certrotd.escrow.shares import joined, split
from certrotd.keyring.version_json import version_json
from tests.parts import locate
from tests.parts.pages import commands
from tests.unit.escrow.samples import AT, payments

TEXT = b"what age encrypted"


def run(program: str, *arguments: str | Path, stdin: bytes = b"") -> bytes:
    """What a program printed; it must succeed."""
    argv = [str(locate.require(program)), *map(str, arguments)]
    return subprocess.run(argv, input=stdin, capture_output=True, check=True, timeout=60).stdout


def age_key(tmp_path: Path) -> tuple[str, Path]:
    """A recipient and its identity file, as age-keygen makes them."""
    identity = tmp_path / "identity"
    run("age-keygen", "-o", identity)
    return run("age-keygen", "-y", identity).decode().strip(), identity


def ssh_key(kind: str, tmp_path: Path) -> tuple[str, Path]:
    """A public key of OpenSSH and its private key."""
    private = tmp_path / kind
    run("ssh-keygen", "-q", "-t", kind, "-N", "", "-f", private)
    return private.with_suffix(".pub").read_text().strip(), private


def opened(file: Path, identity: Path) -> Any:
    """What the command of docs/keys/backup.md makes of a backup."""
    [line] = [each for each in commands("backup.md") if "age -d" in each]
    script = line.replace("FILE", '"$1"').replace("IDENTITY", '"$2"').removesuffix("> keyring.json")
    return json.loads(run("bash", "-c", script, "bash", file, identity))


def key(kind: str, tmp_path: Path) -> tuple[str, Path]:
    return age_key(tmp_path) if kind == "age" else ssh_key(kind, tmp_path)


KINDS = pytest.mark.parametrize("kind", ["age", "ed25519", "rsa"])


@KINDS
def test_age_opens_a_backup(kind: str, tmp_path: Path) -> None:
    """As docs/keys/backup.md says it is done where there is no certrotd."""
    locate.require("age")
    recipient, identity = key(kind, tmp_path)
    file = tmp_path / "payments.backup"
    file.write_bytes(sealed_backup(payments(), PublicKeys((recipient,)), at=AT))
    told = opened(file, identity)
    versions = [{k: v for k, v in each.items() if k != "material"} for each in told["versions"]]
    assert versions == [
        version_json(each, payments().entries[each.number]) for each in payments().versions.all
    ]


@KINDS
def test_certrotd_opens_it_by_what_age_uses(kind: str, tmp_path: Path) -> None:
    """The identity file as it is, with its comments, or OpenSSH's private key."""
    recipient, identity = key(kind, tmp_path)
    by = Identities(Secret(identity.read_bytes()))
    data = sealed_backup(payments(), PublicKeys((recipient,)), at=AT)
    assert opened_backup(data, by).key_set() == payments().key_set()


@KINDS
def test_what_age_encrypted_is_opened(kind: str, tmp_path: Path) -> None:
    """Bytes of its own; with a flipped bit they are not."""
    recipient, identity = key(kind, tmp_path)
    made = run("age", "-r", recipient, stdin=TEXT)
    by = Identities(Secret(identity.read_bytes()))
    assert decrypted(made, by) == TEXT
    with pytest.raises(BackupUnreadable, match="is damaged"):
        decrypted(made[:-1] + bytes([made[-1] ^ 1]), by)


def test_age_opens_a_backup_with_the_identity_of_shares(tmp_path: Path) -> None:
    """Custodians need no certrotd, once something put their shares together."""
    locate.require("age")
    made = split(2, 3)
    file, identity = tmp_path / "payments.backup", tmp_path / "identity"
    file.write_bytes(sealed_backup(payments(), Shared(made.recipient, 2, 3), at=AT))
    words = Secret(b"\n".join(each.reveal() for each in made.shares[1:]))
    identity.write_text(joined(words))
    assert run("age-keygen", "-y", identity).decode().strip() == made.recipient
    assert opened(file, identity)["keyring"] == "payments"
    assert opened_backup(file.read_bytes(), Shares(words)).name == "payments"


def test_a_private_key_with_a_passphrase_is_refused(tmp_path: Path) -> None:
    """And other types of SSH keys are no recipients: by one line each."""
    private = tmp_path / "locked"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "correct horse", "-f", private)
    public = private.with_suffix(".pub").read_text().strip()
    data = sealed_backup(payments(), PublicKeys((public,)), at=AT)
    with pytest.raises(NotOpened):
        opened_backup(data, Identities(Secret(private.read_bytes())))
    ecdsa, _ = ssh_key("ecdsa", tmp_path)
    with pytest.raises(InvalidInput, match="is no recipient of age"):
        sealed_backup(payments(), PublicKeys((ecdsa,)), at=AT)
