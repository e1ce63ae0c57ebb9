"""The KEKs of the configuration: built without asking anybody, or loading what is not used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from certrotd.config.keks import KekEntry
from certrotd.kek.build import kek_of
from certrotd.kek.credential import CredentialKek
from certrotd.kek.file import FileKek
from certrotd.kek.passphrase import ARGON2ID, SCRYPT, PassphraseKek
from certrotd.kek.port import KekUnavailable, Unfit
from certrotd.kek.service import ServiceKek

ENTRIES: TypeAdapter[KekEntry] = TypeAdapter(KekEntry)
SECRET = {"file": "/run/secrets/x"}
GCP = "projects/p/locations/global/keyRings/r/cryptoKeys/k"
SERVICES: list[dict[str, Any]] = [
    {"type": "vault", "address": "https://vault:8200", "key": "certrotd", "token": SECRET},
    {"type": "aws-kms", "key": "alias/certrotd", "region": "eu-central-1"},
    {"type": "azure-keyvault", "vault": "https://v.vault.azure.net", "key": "certrotd"},
    {"type": "gcp-kms", "key": GCP},
    {"type": "pkcs11", "module": "/lib/p.so", "token": "t", "key": "k", "pin": SECRET},
]


def entry(**given: Any) -> KekEntry:
    return ENTRIES.validate_python(given)


@pytest.mark.parametrize("given", SERVICES, ids=lambda given: given["type"])
def test_a_service_is_built_with_its_timeout(given: dict[str, Any]) -> None:
    """Nothing is asked yet, so that certrotd starts while a service is away."""
    kek = kek_of("main", entry(**given, timeout="3s"))
    assert isinstance(kek, ServiceKek)
    assert (kek.timeout, kek.service.type) == (3.0, given["type"])
    assert str(given["key"]) in kek.service.place


def test_no_library_of_a_vendor_is_loaded_before_it_is_used() -> None:
    """They take a second and tens of megabytes."""
    program = (
        "import sys\nfrom pydantic import TypeAdapter\nfrom certrotd.config.keks import KekEntry\n"
        "from certrotd.kek.build import kek_of\n"
        f"for each in {SERVICES!r}:\n"
        "    kek_of('main', TypeAdapter(KekEntry).validate_python(each))\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    vendors = {"boto3", "botocore", "azure", "google", "grpc", "pkcs11"}
    assert not vendors & set(run.stdout.split())


def test_a_backend_by_itself_loads_no_schema() -> None:
    """The client library starts in the time of an application's request."""
    backends = ("aws_kms", "vault", "pkcs11", "azure_keyvault", "gcp_kms", "managed.build")
    imports = "; ".join(f"import certrotd.kek.{each}" for each in backends)
    program = f"{imports}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "pydantic" not in run.stdout.split()


def test_the_kinds_without_a_service_are_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each wraps, and another of the same entry unwraps."""
    assert kek_of("a", entry(type="file", path="/k")) == FileKek(Path("/k"))
    assert kek_of("a", entry(type="credential", name="kek")) == CredentialKek("kek")
    (tmp_path / "word").write_text("correct horse battery")
    given = {"type": "passphrase", "passphrase": {"file": str(tmp_path / "word")}}
    for function, cost in (("scrypt", SCRYPT), ("argon2id", ARGON2ID)):
        kek = kek_of("main", entry(**given, function=function))
        assert isinstance(kek, PassphraseKek)
        assert (kek.name, kek.cost) == ("main", cost)


def test_a_file_is_made_at_the_first_use_alone(tmp_path: Path) -> None:
    """Later a missing file is one that was lost, and a new one would unwrap nothing."""
    path = tmp_path / "keks" / "main"
    made = entry(type="file", path=str(path))
    with pytest.raises(KekUnavailable, match="is not there"):
        kek_of("main", made).wrap(b"k", {})
    wrapped = kek_of("main", made, first_use=True).wrap(b"k", {})
    assert kek_of("main", made, first_use=True).unwrap(wrapped, {}) == b"k"
    path.unlink()
    with pytest.raises(KekUnavailable):
        kek_of("main", made).unwrap(wrapped, {})


def test_a_file_that_is_not_to_be_made_is_not_made(tmp_path: Path) -> None:
    """Somebody else provides it, and has not yet."""
    path = tmp_path / "kek"
    kek = kek_of("main", entry(type="file", path=str(path), create=False), first_use=True)
    with pytest.raises(KekUnavailable):
        kek.wrap(b"k", {})
    assert not path.exists()


def test_something_else_in_the_place_of_a_file_is_left_alone(tmp_path: Path) -> None:
    """A dangling link may lead to what is not mounted yet."""
    path = tmp_path / "kek"
    path.symlink_to("gone")
    kek = kek_of("main", entry(type="file", path=str(path)), first_use=True)
    with pytest.raises((Unfit, KekUnavailable)):
        kek.wrap(b"k", {})
    assert path.is_symlink()
