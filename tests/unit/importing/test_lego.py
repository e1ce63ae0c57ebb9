"""lego's directory, which lacks the DNS provider and the CA's directory."""

import json
from pathlib import Path

import pytest

from certrotd.errors import NeedsOperator
from certrotd.importing.found import Fate, Installation
from certrotd.importing.lego import read_lego
from tests.unit.importing.trees import (
    CA,
    NAME,
    NOW,
    SECRET,
    add_lego_account,
    assignments,
    lego,
    put,
    reader,
)


def read(root: Path, **told: str) -> Installation:
    """With the variables in a file, if a provider is named."""
    file = put(root.parent / "lego.env", assignments({"HETZNER_API_TOKEN": SECRET}))
    provider = told.get("provider", "")
    environment = file if provider else None
    return read_lego(
        reader(root),
        now=NOW,
        provider=provider,
        environment=environment,
        server=told.get("server", ""),
    )


def test_a_provider_that_is_named_makes_the_solver(tmp_path: Path) -> None:
    """And its leaf's files are the paths that stay current."""
    [only] = read(lego(tmp_path / "lego"), provider="hetzner").certificates
    assert (only.stays, only.directory, only.account and only.account.contact) == (
        "",
        CA,
        ("ops@example.test",),
    )
    assert only.solver
    assert only.solver.options == {"type": "lexicon", "provider": "hetzner"}
    assert only.solver.secrets == {"options.auth_token": SECRET.encode()}
    assert {kind: path.name for kind, path in only.pair.read.items()} == {
        "privkey": f"{NAME}.key",
        "fullchain": f"{NAME}.crt",
        "chain": f"{NAME}.issuer.crt",
    }


def test_without_the_provider_it_says_how_to_name_it(tmp_path: Path) -> None:
    """Nothing is guessed from the environment of the one who imports."""
    [only] = read(lego(tmp_path / "lego")).certificates
    assert "--dns" in only.stays
    with pytest.raises(NeedsOperator, match="is not there"):
        read_lego(
            reader(tmp_path / "lego"), now=NOW, provider="pdns", environment=tmp_path / "none"
        )


def test_a_ca_that_nobody_knows_by_its_host_is_named(tmp_path: Path) -> None:
    """lego's record has the account's URL, never the directory's."""
    root = lego(tmp_path / "lego")
    (root / "accounts" / "acme-v02.api.letsencrypt.org").rename(root / "accounts" / "away")
    (root / "accounts").rename(tmp_path / "away")
    add_lego_account(root, "ops@example.test", host="ca.example.test")
    found = read(root, provider="hetzner")
    assert "--server" in found.certificates[0].stays
    assert any("ACME directory of ca.example.test" in row.note for row in found.rows)
    [only] = read(root, provider="hetzner", server="https://ca.example.test/dir").certificates
    assert (only.stays, only.directory) == ("", "https://ca.example.test/dir")


def test_an_account_of_lego_5_tells_its_ca(tmp_path: Path) -> None:
    """By the form in its published source: the directory is kept, the key beside it."""
    root = lego(tmp_path / "lego")
    [folder] = root.glob("accounts/*/*")
    (folder / "keys" / f"{folder.name}.key").rename(folder / f"{folder.name}.key")
    record = {"id": folder.name, "email": "", "server": "https://ca.example.test/dir"}
    put(folder / "account.json", json.dumps(record))
    [only] = read(root, provider="hetzner").certificates
    assert (only.stays, only.directory) == ("", "https://ca.example.test/dir")


def test_damaged_records_and_a_second_account_are_told(tmp_path: Path) -> None:
    """A line each; the certificate is taken over."""
    root = lego(tmp_path / "lego")
    add_lego_account(root, "z@example.test")
    put(root / "certificates" / f"{NAME}.json", "[" * 100_000)
    put(root / "certificates" / "broken.crt", "no certificate")
    put(root / "certificates" / f"{NAME}.pfx", b"\0")
    put(root / "accounts" / "ca.example.test" / "x" / "account.json", "{}")
    found = read(root, provider="hetzner")
    assert len(found.certificates) == 1
    told = {(row.what, row.fate) for row in found.rows}
    assert told >= {
        ("record", Fate.PROBLEM),
        ("certificate", Fate.PROBLEM),
        ("PKCS#12", Fate.BY_HAND),
        ("account", Fate.BY_HAND),
        ("account", Fate.PROBLEM),
    }
