"""Managed keys are configured by an entry of keks, and the page for operators shows how."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from certrotd.config.keks import (
    AwsKmsKekEntry,
    AzureKeyVaultKekEntry,
    FileKekEntry,
    VaultKekEntry,
)
from certrotd.config.keyrings import PERIODS
from certrotd.config.load import load
from certrotd.config.managed_keys import SERVICE_DAYS, SERVICES, ManagedKeyEntry, identity_of
from tests.unit.config.written import loaded, refused, said, write

PAGE = (Path(__file__).parents[3] / "docs" / "keys" / "managed.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
KEKS = """keks:
  main: {type: aws-kms, key: alias/main}
  lab: {type: file, path: /var/lib/lab/kek}
  vault: {type: vault, address: "https://v.example", key: k, token: {env: TOKEN}}
  azure: {type: azure-keyvault, vault: "https://v.vault.azure.net", key: k}
managed_keys:
"""


def problems(folder: Path, text: str) -> list[str]:
    return said(refused(folder, KEKS + text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  a: {kek: mian}\n", 'a.kek: there is no kek "mian", did you mean "main"?'),
        (
            "  a: {kek: lab}\n",
            'a.kek: "lab" is of type file: a managed key is of type aws-kms, vault or '
            "azure-keyvault",
        ),
        (
            "  a: {kek: main, rotated_by: service, classification: restricted}\n",
            "a.rotated_by: AWS KMS rotates a key by itself every 90 to 2,560 whole days, and the "
            "cryptoperiod is 7 days: set another cryptoperiod, or rotated_by: certrotd",
        ),
        (
            "  a: {kek: vault, rotated_by: service, cryptoperiod: 36h}\n",
            "a.rotated_by: Vault rotates a key by itself every 1 to 36,500 whole days, and the "
            "cryptoperiod is 1.5 days: set another cryptoperiod, or rotated_by: certrotd",
        ),
        (
            "  a: {kek: main, keep_versions: 2, retire_after: 90d}\n",
            "a.keep_versions: AWS KMS has no min_decryption_version, by which versions are "
            "retired: only a kek of type vault has",
        ),
        (
            "  a: {kek: azure, keep_versions: 2, retire_after: 90d}\n",
            "a.keep_versions: Azure Key Vault has no min_decryption_version, by which versions are "
            "retired: only a kek of type vault has",
        ),
        (
            "  a: {kek: vault, keep_versions: 2}\n",
            "a: keep_versions and retire_after go together: set both, or none",
        ),
        (
            "  a: {kek: vault, retire_after: 90d}\n",
            "a: keep_versions and retire_after go together: set both, or none",
        ),
        ("  a: {kek: vault, keep_versions: 0, retire_after: 90d}\n", "a.keep_versions: "),
        ("  a: {kek: vault, keep_versions: 1, retire_after: 0d}\n", "a.retire_after: "),
        ("  a: {}\n", "a.kek: is required"),
        ("  a: {kek: main, window: noon}\n", "a.window: "),
    ],
)
def test_an_entry_that_cannot_work_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    """Before anything is asked of a service."""
    [found] = problems(tmp_path, text)
    assert found.partition(": managed_keys.")[2].startswith(expected)


def test_two_entries_of_one_key_are_refused(tmp_path: Path) -> None:
    """Each would rotate it."""
    [found] = problems(tmp_path, "  a: {kek: main}\n  b: {kek: main}\n")
    assert '"main" is also the key in' in found
    assert "config.yaml:7" in found


RING = "keyrings:\n  ring: {outputs: [{type: tink, path: /etc/app/keys.json}]%s}\n"
SEALED = (
    "keyrings:\n  ring:\n    keks: [main]\n"
    "    outputs: [{type: keyring, path: /etc/app/keyring, keks: [vault]}]\n"
)


@pytest.mark.parametrize(
    "ring", [RING % "", RING % ", keks: [vault, lab]", SEALED], ids=["every", "named", "sealed"]
)
def test_versions_that_keyrings_may_need_are_not_retired(tmp_path: Path, ring: str) -> None:
    """A keyring that is wrapped by a retired version cannot be read."""
    [found] = problems(tmp_path, "  a: {kek: vault, keep_versions: 1, retire_after: 1d}\n" + ring)
    assert found.partition(": managed_keys.")[2].startswith(
        'a.keep_versions: "vault" also wraps the keyring "ring" in '
    )
    assert "config.yaml:9, which may need a retired version: give it other keks" in found


VAULT = '{type: vault, address: "%s", key: k, token: {env: OTHER}%s}'
SAME = [
    ("https://v.example/", ""),
    ("HTTPS://V.Example.", ""),
    ("https://v.example:443", ", mount: transit, timeout: 3s"),
    ("https://v.example", ", namespace: /root/"),
]
OTHERS = [
    ("https://v.example:8200", ""),
    ("https://v.example/proxy", ""),
    ("https://w.example", ""),
    ("https://v.example", ", mount: other"),
    ("https://v.example", ", namespace: team"),
]


def beside(tmp_path: Path, address: str, more: str) -> str:
    """A Vault key that keyrings are wrapped by, beside the managed one of KEKS."""
    write(tmp_path, f"keks: {{b: {VAULT % (address, more)}}}\n", "conf.d/b.yaml")
    return "  a: {kek: vault, keep_versions: 1, retire_after: 1d}\n" + RING % ", keks: [lab, b]"


@pytest.mark.parametrize(("address", "more"), SAME)
def test_a_key_that_wraps_keyrings_under_another_name_is_the_same_key(
    tmp_path: Path, address: str, more: str
) -> None:
    """However its entry is written, and however certrotd logs in by it."""
    [found] = problems(tmp_path, beside(tmp_path, address, more))
    assert found.partition(": managed_keys.")[2].startswith(
        'a.keep_versions: "b" is the same key as "vault", and also wraps the keyring "ring" in '
    )


@pytest.mark.parametrize(("address", "more"), OTHERS)
def test_a_key_elsewhere_is_another_key(tmp_path: Path, address: str, more: str) -> None:
    """The negative control: of another server, engine or namespace."""
    text = beside(tmp_path, address, more)
    assert loaded(tmp_path, KEKS + text).config.keys.managed["a"].keep_versions == 1


def test_a_namespace_is_the_beginning_of_the_path() -> None:
    """Vault takes it either way."""
    of = {"address": "https://v.example", "key": "k", "token": {"env": "T"}, "type": "vault"}
    by_header = VaultKekEntry.model_validate({**of, "namespace": "team/", "mount": "transit"})
    by_path = VaultKekEntry.model_validate({**of, "mount": "team/transit"})
    assert identity_of(by_header) == identity_of(by_path)
    assert identity_of(VaultKekEntry.model_validate(of)) != identity_of(by_path)


ARN = "arn:aws:kms:eu-central-1:111122223333:key/mrk-1234567890abcdef"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"key": "alias/a"}, {"key": "alias/a", "timeout": "3s"}, True),
        ({"key": "alias/a"}, {"key": "alias/b"}, False),
        ({"key": "alias/a"}, {"key": "alias/a", "profile": "p"}, False),
        ({"key": "alias/a"}, {"key": "alias/a", "region": "eu-west-1"}, False),
        ({"key": "alias/a"}, {"key": "alias/a", "endpoint": "https://kms.example"}, False),
        ({"key": ARN}, {"key": ARN, "profile": "p", "region": "eu-central-1"}, True),
    ],
)
def test_a_key_of_aws_is_known_by_its_account_region_and_name(
    one: dict[str, str], other: dict[str, str], same: bool
) -> None:
    """The profile leads to the account of an alias; an ARN says it."""
    found = [
        identity_of(AwsKmsKekEntry.model_validate({"type": "aws-kms", **of})) for of in (one, other)
    ]
    assert (found[0] == found[1]) is same


@pytest.mark.parametrize(
    ("vault", "key", "same"),
    [
        ("https://X.vault.azure.net/", "Mail", True),
        ("https://x.vault.azure.net", "other", False),
        ("https://y.vault.azure.net", "mail", False),
    ],
)
def test_a_key_of_azure_is_known_by_its_vault_and_name(vault: str, key: str, same: bool) -> None:
    """Azure ignores the case of both."""
    of = {"type": "azure-keyvault", "algorithm": "A256KW", "vault": vault, "key": key}
    one = AzureKeyVaultKekEntry(
        type="azure-keyvault", vault="https://x.vault.azure.net", key="mail"
    )
    assert (identity_of(AzureKeyVaultKekEntry.model_validate(of)) == identity_of(one)) is same


def test_a_key_of_no_service_has_no_identity(tmp_path: Path) -> None:
    """Nothing manages it, nor compares it."""
    assert identity_of(FileKekEntry(type="file", path=tmp_path / "kek")) is None


def test_two_names_of_one_key_are_refused(tmp_path: Path) -> None:
    """Each would rotate it, as two entries of one name would."""
    write(tmp_path, f"keks: {{b: {VAULT % ('https://v.example/', '')}}}\n", "conf.d/b.yaml")
    [found] = problems(tmp_path, "  a: {kek: vault}\n  b: {kek: b}\n")
    assert '"b" is also the key in' in found


def test_versions_that_no_keyring_needs_are_retired(tmp_path: Path) -> None:
    """The negative control: the keyring has other keks."""
    text = "  a: {kek: vault, keep_versions: 1, retire_after: 1d}\n" + RING % ", keks: [main]"
    entry = loaded(tmp_path, KEKS + text).config.keys.managed["a"]
    assert (entry.keep_versions, entry.retire_after) == (1, timedelta(days=1))


def test_a_kek_whose_own_entry_is_wrong_is_not_missing(tmp_path: Path) -> None:
    """One mistake is told once."""
    text = "keks: {main: {type: aws}}\nmanaged_keys: {a: {kek: main}}\n"
    assert [each.path for each in refused(tmp_path, text)] == ["keks.main.type"]


def test_an_entry_that_works_has_its_defaults(tmp_path: Path) -> None:
    """The negative control of the above: what certrotd rotates needs no period of the service."""
    found = loaded(tmp_path, KEKS + "  a: {kek: main, classification: restricted}\n")
    entry = found.config.keys.managed["a"]
    assert (entry.period, entry.rotated_by, entry.enabled) == (timedelta(days=7), "certrotd", True)
    assert ManagedKeyEntry(kek="main").period == PERIODS["internal"]


def test_managed_keys_stand_in_several_files(tmp_path: Path) -> None:
    """As the other sections do."""
    write(tmp_path, "managed_keys: {b: {kek: vault}}\n", "conf.d/b.yaml")
    assert list(loaded(tmp_path, KEKS + "  a: {kek: main}\n").config.keys.managed) == ["a", "b"]


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_of_the_page_is_valid(tmp_path: Path, example: str) -> None:
    """Whoever copies it copies what works."""
    found = load(write(tmp_path, example))
    assert found.warnings == ()
    assert found.config.keys.managed


def test_the_page_shows_every_service_and_every_option() -> None:
    """In its examples."""
    shown: list[dict[str, Any]] = [yaml.safe_load(each) for each in EXAMPLES]
    types = {kek["type"] for example in shown for kek in example["keks"].values()}
    assert types == set(SERVICES) == set(SERVICE_DAYS)
    options = {key for each in shown for entry in each["managed_keys"].values() for key in entry}
    assert options == set(ManagedKeyEntry.model_fields)


def test_every_option_has_a_description() -> None:
    """The schema is what editors show."""
    for name, field in ManagedKeyEntry.model_fields.items():
        assert field.description is not None, name
        assert field.description.endswith("."), name
