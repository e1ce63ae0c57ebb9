"""The entries of key-encryption keys: what is taken, what is refused, and what a look finds."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from certrotd.config.base import examined
from certrotd.config.explain import explain
from certrotd.config.keks import AwsKmsKekEntry, KekEntry
from certrotd.config.secrets import FileSecret

ENTRIES: TypeAdapter[dict[str, KekEntry]] = TypeAdapter(dict[str, KekEntry])
SECRET = {"file": "/run/secrets/x"}
ARN = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
GCP = "projects/p/locations/global/keyRings/r/cryptoKeys/k"
VAULT = {"type": "vault", "address": "https://vault:8200", "key": "certrotd", "token": SECRET}
AWS = {"type": "aws-kms", "key": ARN}
AZURE = {"type": "azure-keyvault", "vault": "https://v.vault.azure.net", "key": "certrotd"}
GOOGLE = {"type": "gcp-kms", "key": GCP}
HSM = {"type": "pkcs11", "module": "/lib/p.so", "token": "t", "key": "k", "pin": SECRET}


def entry(**given: Any) -> KekEntry:
    return ENTRIES.validate_python({"main": given})["main"]


def refusal(**given: Any) -> str:
    """Why an entry is refused, in the words that the operator reads."""
    with pytest.raises(ValidationError) as refused:
        entry(**given)
    [fault] = explain(refused.value)
    return fault.message


@pytest.mark.parametrize(
    "given",
    [
        {"type": "file", "path": "/etc/certrotd/kek"},
        {"type": "passphrase", "passphrase": SECRET},
        {"type": "credential", "name": "kek"},
        VAULT,
        AWS,
        AZURE,
        GOOGLE,
        HSM,
    ],
    ids=lambda given: given["type"],
)
def test_the_least_that_each_type_needs_is_enough(given: dict[str, Any]) -> None:
    """What is left out has a value that works for most."""
    assert entry(**given).type == given["type"]


def test_an_unknown_type_is_refused() -> None:
    """It may be a type of a newer certrotd."""
    assert 'unknown type "hsm"' in refusal(type="hsm")


def test_defaults_are_those_that_the_page_for_operators_says() -> None:
    """They are part of the interface."""
    made = entry(type="file", path="/k")
    assert made.type == "file"
    assert made.create is True
    vault = entry(**VAULT)
    assert vault.type == "vault"
    assert (vault.mount, vault.timeout) == ("transit", timedelta(seconds=10))


class TestUrls:
    @pytest.mark.parametrize(
        "url", ["https://vault.example.com:8200/", "http://127.0.0.1:8100", "http://localhost:8100"]
    )
    def test_https_anywhere_and_http_here_are_taken(self, url: str) -> None:
        """An agent on this machine needs no TLS."""
        made = entry(**{**VAULT, "address": url})
        assert made.type == "vault"
        assert made.address == url.rstrip("/")

    @pytest.mark.parametrize(
        ("url", "why"),
        [
            ("http://vault.example.com", "must begin with https://"),
            ("vault.example.com:8200", "must be a URL"),
            ("https://", "must be a URL"),
            ("https://v:0", "must be a URL"),
            ("https://v:x", "is not a URL"),
            ("https://[v", "is not a URL"),
            ("https://user:secret@vault", "without a user name"),
            ("https://vault?x=1", "without a user name, a password, a query"),
            ("https://vault/ x", "without a user name"),
        ],
    )
    def test_others_are_refused(self, url: str, why: str) -> None:
        """Keys and tokens pass through it."""
        message = refusal(**{**VAULT, "address": url})
        assert why in message
        assert "secret" not in message


class TestNames:
    @pytest.mark.parametrize("key", [ARN, "alias/certrotd", "mrk-" + "0" * 32, ARN[-36:]])
    def test_a_key_of_aws_has_several_names(self, key: str) -> None:
        """As in all of its tools."""
        assert entry(type="aws-kms", key=key).type == "aws-kms"

    @pytest.mark.parametrize(
        ("given", "field", "value", "why"),
        [
            (AWS, "key", "certrotd", "must be a key id, an alias"),
            (AWS, "region", "Frankfurt", "must be a region"),
            (AZURE, "key", "certrotd/1234", "without its version"),
            (GOOGLE, "key", f"{GCP}/cryptoKeyVersions/1", "without a version"),
            (GOOGLE, "key", "certrotd", "must be projects/"),
            (VAULT, "key", "a/b", "must be the name of a key"),
            (VAULT, "key", "..", "must be the name of a key"),
            (VAULT, "mount", "/transit", "must be the path of a mount"),
            (VAULT, "mount", "a/../b", "must be the path of a mount"),
        ],
    )
    def test_a_name_of_another_form_is_refused(
        self, given: dict[str, Any], field: str, value: str, why: str
    ) -> None:
        """Before it is part of a request."""
        assert why in refusal(**{**given, field: value})


class TestAws:
    def test_the_region_is_the_arns(self) -> None:
        """Writing it twice would be one chance more to be wrong."""
        assert AwsKmsKekEntry(type="aws-kms", key=ARN).effective_region == "eu-central-1"
        named = AwsKmsKekEntry(type="aws-kms", key="alias/x", region="us-east-1")
        assert named.effective_region == "us-east-1"
        assert AwsKmsKekEntry(type="aws-kms", key="alias/x").effective_region is None

    def test_two_regions_are_refused(self) -> None:
        """The key is in one."""
        assert "the key is in eu-central-1" in refusal(**AWS, region="us-east-1")


class TestAzure:
    def test_a_service_principal_is_whole(self) -> None:
        """Half of one would be taken for another kind of login."""
        whole = {"tenant": "t", "client_id": "c", "client_secret": SECRET}
        assert entry(**AZURE, **whole).type == "azure-keyvault"
        assert entry(**AZURE, client_id="c").type == "azure-keyvault"
        assert "needs tenant and client_id" in refusal(**AZURE, client_secret=SECRET)
        assert "needs client_id and client_secret" in refusal(**AZURE, tenant="t", client_id="c")


class TestLooks:
    def test_a_file_that_is_to_be_made_needs_a_place(self, tmp_path: Path) -> None:
        """certrotd makes the directories, too."""
        assert not list(examined(entry(type="file", path=str(tmp_path / "a" / "b"))))
        (tmp_path / "plain").write_text("")
        [(loc, finding)] = examined(entry(type="file", path=str(tmp_path / "plain" / "kek")))
        assert loc == ("path",)
        assert "is not a directory" in finding.message

    def test_a_file_that_is_not_made_has_to_be_there(self, tmp_path: Path) -> None:
        """Somebody else provides it."""
        given = {"type": "file", "path": str(tmp_path / "kek"), "create": False}
        [(loc, finding)] = examined(entry(**given))
        assert (loc, finding.fatal) == (("path",), True)
        (tmp_path / "kek").write_bytes(bytes(32))
        assert not list(examined(entry(**given)))

    def test_a_credential_is_looked_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Within the service; outside of it nobody can tell."""
        given = {"type": "credential", "name": "kek"}
        monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
        [(loc, finding)] = examined(entry(**given))
        assert (loc, finding.fatal) == (("name",), False)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        [(_, finding)] = examined(entry(**given))
        assert finding.fatal
        (tmp_path / "kek").write_bytes(bytes(range(32)))
        assert not list(examined(entry(**given)))

    def test_files_that_an_entry_names_are_looked_at(self, tmp_path: Path) -> None:
        """Each with its place in the entry."""
        missing = str(tmp_path / "missing")
        secret = FileSecret(file=tmp_path / "secret")
        secret.file.write_text("a secret")
        secret.file.chmod(0o600)
        found = {
            field: [loc for loc, _ in examined(entry(**{**given, field: missing}))]
            for given, field in (
                ({**VAULT, "token": secret}, "ca_bundle"),
                (GOOGLE, "credentials"),
                ({**HSM, "pin": secret}, "module"),
            )
        }
        assert found == {field: [(field,)] for field in found}

    def test_a_library_that_is_missing_is_reported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With the extra that brings it, also where nothing of the vendor's is installed."""
        import importlib.util

        def nothing(name: str) -> None:
            if "." in name:
                raise ModuleNotFoundError(name)

        monkeypatch.setattr(importlib.util, "find_spec", nothing)
        for given, extra in ((AWS, "aws"), (AZURE, "azure"), (GOOGLE, "gcp")):
            findings = [finding for _, finding in examined(entry(**given))]
            assert all(f"'.[{extra}]'" in each.message for each in findings)
            assert findings
            assert not any(each.fatal for each in findings)

    def test_a_library_that_is_there_is_no_finding(self) -> None:
        """The control."""
        for given in (AWS, AZURE, GOOGLE):
            assert not list(examined(entry(**given)))
