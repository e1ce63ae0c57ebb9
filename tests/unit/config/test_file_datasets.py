"""Datasets of type files: what is refused, in words that say what would be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from certrotd.codecs.ansible_vault import AnsibleVault
from certrotd.config.file_datasets import FILE_ALGORITHMS, FilesDatasetEntry
from certrotd.datasets.sops_files import STANZAS
from certrotd.datasets.symmetric_files import HEADERS
from tests.unit.config.test_datasets import problems


def wrong(tmp_path: Path, changes: dict[str, Any], **keyring: Any) -> str:
    """Everything wrong with a file that has such a dataset."""
    state = tmp_path / "state"
    state.mkdir(exist_ok=True)
    told = {"type": "files", "roots": ["/srv/docs"], **changes}
    return problems(state, told, bare=True, **keyring)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"include": ["**/*.crd", "a?/[b]"], "exclude": ["tmp/**"]}, ""),
        ({"roots": []}, "roots"),
        ({"roots": ["docs"]}, "must be an absolute path"),
        ({"roots": ["/srv", "/srv/docs"]}, "lie one in the other"),
        ({"roots": ["/srv/docs", "/srv/docs"]}, "lie one in the other"),
        ({"include": []}, "include"),
        ({"include": ["/srv/docs/*"]}, "must be a path below the root"),
        ({"exclude": ["../*"]}, "must be a path below the root"),
        ({"include": ["a**"]}, '"**" stands alone between slashes'),
        ({"codec": "rot13"}, "codec"),
        ({"codec": "tink", "associated_data": "docs/{path}/{name}/{{"}, ""),
        ({"codec": "tink", "associated_data": "{pk}"}, "associated_data takes {name}, {path}"),
        ({"codec": "tink", "associated_data": "{path!r}"}, "associated_data takes"),
        ({"codec": "tink", "associated_data": "{path"}, "a brace without its other one"),
        ({"associated_data": "{path}"}, "stream has no associated data"),
        ({"codec": "tink", "content_keys": "replace"}, "tink has no content keys"),
        ({"codec": "fernet", "content_cipher": "aes-256-gcm-hkdf"}, "fernet has no content cipher"),
        ({"content": "utf8"}, "stream tells a wrong key by itself"),
        ({"codec": "fernet", "vault_ids": "key"}, "fernet has no vault ids"),
        ({"codec": "ansible-vault", "plaintext": "encrypt"}, "plaintext stays: leave it out"),
        ({"codec": "sops", "plaintext": "encrypt"}, "rules of SOPS say what it encrypts"),
        ({"codec": "tink", "sops": {"program": "sops"}}, "tink needs no program"),
        ({"codec": "sops", "sops": {"timeout": "0s"}}, "sops.timeout"),
        ({"files_per_second": 0}, "files_per_second"),
        ({"columns": ["v"]}, "columns"),
    ],
)
def test_what_is_wrong_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    """At its line, and what would be right."""
    told = wrong(tmp_path, changes)
    assert words in told
    assert bool(told) is bool(words), told


def test_keys_that_cannot_wrap_are_refused(tmp_path: Path) -> None:
    """Before one is made."""
    assert "stream takes no fernet keys" in wrong(tmp_path, {}, algorithm="fernet")
    assert wrong(tmp_path, {}, algorithm="chacha20-poly1305") == ""
    assert wrong(tmp_path, {"codec": "fernet"}, algorithm="fernet") == ""
    assert "fernet takes no aes-256-gcm" in wrong(tmp_path, {"codec": "fernet"})


def test_what_certrotd_writes_itself_is_in_no_dataset(tmp_path: Path) -> None:
    """It would be encrypted by a key that is in it."""
    outputs = [{"type": "tink", "path": "/srv/docs/keys.json"}]
    backup = {"directory": "/srv/docs/b", "passphrase": {"file": "/etc/x"}}
    for changes, keyring in (
        ({"roots": [str(tmp_path)]}, {}),
        ({"roots": [str(tmp_path / "state/keyrings")]}, {}),
        ({}, {"outputs": outputs}),
        ({}, {"backup": backup}),
    ):
        told = wrong(tmp_path, changes, **keyring)
        assert "which certrotd writes, is there: choose directories apart" in told
    assert wrong(tmp_path, {"roots": ["/srv/docs/only"]}, outputs=outputs) == ""


def test_a_root_that_is_not_there_is_a_warning(tmp_path: Path) -> None:
    """It may be mounted later."""
    entry = FilesDatasetEntry.model_validate({"type": "files", "roots": [str(tmp_path / "gone")]})
    [(loc, finding)] = entry.examine()
    assert (loc, finding.fatal) == (("roots", 0), False)
    assert "gone is not there" in finding.message
    vault, files = {"codec": "ansible-vault"}, {"codec": "symmetric-encryption"}
    assert "ansible-vault takes no aes-256-gcm" in wrong(tmp_path, vault)
    assert wrong(tmp_path, {**vault, "vault_ids": "key"}, algorithm="passphrase") == ""
    assert "symmetric-encryption takes no passphrase" in wrong(
        tmp_path, files, algorithm="passphrase"
    )
    assert wrong(tmp_path, {**files, "content": "utf8"}, algorithm="aes-256-cbc") == ""


def test_the_program_of_sops_is_looked_for(tmp_path: Path) -> None:
    """By its path or by its own PATH, without running it; its keys are identities of age."""
    told = {"type": "files", "roots": [str(tmp_path)], "codec": "sops"}
    sops = {"program": "sops", "environment": {"PATH": str(tmp_path)}}
    [(loc, finding)] = FilesDatasetEntry.model_validate({**told, "sops": sops}).examine()
    assert (loc, finding.fatal) == (("sops", "program"), True)
    assert "the program sops is not an executable file" in finding.message
    (tmp_path / "sops").touch(mode=0o755)
    assert list(FilesDatasetEntry.model_validate({**told, "sops": sops}).examine()) == []
    assert "sops takes no aes-256-gcm keys: it takes age-x25519" in wrong(
        tmp_path, {"codec": "sops"}
    )
    assert wrong(tmp_path, {"codec": "sops"}, algorithm="age-x25519") == ""


def test_the_schema_and_the_codecs_of_files_say_the_same() -> None:
    """Which keys they take."""
    assert FILE_ALGORITHMS["symmetric-encryption"] == HEADERS.traits.algorithms
    assert FILE_ALGORITHMS["ansible-vault"] == AnsibleVault().traits.algorithms
    assert FILE_ALGORITHMS["sops"] == STANZAS.traits.algorithms
