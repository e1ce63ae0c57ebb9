"""The wing of managed keys, as the daemon and the command line build it from a configuration."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from certrotd.clock import ManualClock
from certrotd.errors import Failure
from certrotd.kek.managed.port import KeyVersion, ManagedState
from certrotd.lifecycle.decision import Asked
from certrotd.lifecycle.runner import Runner
from certrotd.lifecycle.wing import Premises
from certrotd.managed_keys import configured
from certrotd.managed_keys.policy import Seen
from certrotd.managed_keys.retention import Retention
from certrotd.managed_keys.rules import decide
from certrotd.managed_keys.wing import ManagedKeys, build
from certrotd.rotation.engine import Finished
from certrotd.state.ports import Lease
from tests.fakes.audit import MemoryAudit
from tests.fakes.managed_keys import BEGIN, MemoryManagedKey
from tests.fakes.state import MemoryState
from tests.unit.config.written import config as read

DAY = timedelta(days=1)
TEXT = """
watch_every: 13h
keks:
  aws: {type: aws-kms, key: alias/a, region: eu-central-1}
  vpc: {type: aws-kms, key: alias/b, endpoint: "https://kms.example"}
  bare: {type: aws-kms, key: alias/c}
  vault: {type: vault, address: "https://v.example", key: k, token: {env: TOKEN}}
  azure: {type: azure-keyvault, vault: "https://v.vault.azure.net", key: k}
managed_keys:
  a: {kek: aws, purpose: orders, owner: ops, classification: restricted}
  b: {kek: vpc}
  c: {kek: bare, rotated_by: service, enabled: false}
  d: {kek: vault, window: "01:00-05:00 UTC", keep_versions: 2, retire_after: 90d}
  e: {kek: azure, cryptoperiod: 60d}
"""


class Around:
    """What a wing is given, and what it asked for."""

    def __init__(self) -> None:
        self.state, self.clock, self.audit = MemoryState(), ManualClock(BEGIN), MemoryAudit()
        self.heard: list[tuple[str, str, Failure | None]] = []
        self.premises = Premises(
            self.state,
            self.clock,
            self._lock,
            lambda subject: self.state.flying(str(subject)),
            lambda: self.audit,
            asked_service=lambda *each: self.heard.append((str(each[0]), each[1], each[2])),
        )

    def _lock(
        self, name: str, what: str, wait: float | None, *, shared: bool = False
    ) -> AbstractContextManager[Lease]:
        del wait
        return self.state.lock(name, what, shared=shared)

    def runner(self) -> Runner:
        return Runner(self.clock, lambda: 0.5, lambda: "one", audit=self.audit)


@pytest.fixture
def around() -> Around:
    return Around()


def wing_of(around: Around, tmp_path: Path, text: str = TEXT) -> ManagedKeys:
    return build(read(tmp_path, text), around.premises)


def test_a_configuration_without_managed_keys_has_an_empty_wing(
    around: Around, tmp_path: Path
) -> None:
    """Most have none."""
    wing = wing_of(around, tmp_path, "{}")
    assert (list(wing.subjects), list(wing.checks())) == ([], [])
    assert list(wing.covering("web")) == []
    wing.prepare(around.runner())
    wing.serve(print)
    wing.close()


def test_every_entry_is_a_subject_with_a_check(around: Around, tmp_path: Path) -> None:
    """Under the same id; nothing is asked, and nothing built."""
    wing = wing_of(around, tmp_path)
    assert [str(each.id) for each in wing.subjects] == [f"managed-key/{name}" for name in "abcde"]
    assert [each.about for each in wing.checks()] == [each.id for each in wing.subjects]
    assert {each.every for each in wing.checks()} == {13 * 3600}
    assert set(wing.terms.acts) == {"look", "rotate", "set_period", "retire"}


def test_an_entry_becomes_a_policy(around: Around, tmp_path: Path) -> None:
    """With the cryptoperiod of its class, and the service that it hangs with."""
    a, b, c, d, e = (each.policy for each in wing_of(around, tmp_path).keys)
    assert (a.cryptoperiod, a.purpose, a.owner) == (7 * DAY, "orders", "ops")
    assert a.fresh == timedelta(hours=26)
    assert [each.place for each in (a, b, c, d, e)] == [
        "AWS KMS eu-central-1",
        "AWS KMS https://kms.example",
        "AWS KMS",
        "Vault https://v.example",
        "Azure Key Vault https://v.vault.azure.net",
    ]
    assert (b.cryptoperiod, e.cryptoperiod) == (91 * DAY, 60 * DAY)
    assert (c.by_service, c.enabled, d.by_service, d.enabled) == (True, False, False, True)
    assert d.window is not None
    assert (a.retention, d.retention) == (None, Retention(2, 90 * DAY))
    assert len({each.key for each in (a, b, c, d, e)}) == 5


def test_another_login_or_key_is_another_configuration(around: Around, tmp_path: Path) -> None:
    """What failed by the old one is tried at once; what is the same stays the same."""

    def known(text: str) -> list[tuple[str, str]]:
        keys = wing_of(around, tmp_path, text).keys
        return [(each.policy.key, each.configuration()) for each in keys[:2]]

    first, second = known(TEXT)
    other, same = known(TEXT.replace("alias/a,", "alias/z,"))
    assert same == second
    assert other[0] != first[0]
    assert other[1] != first[1]
    longer, _ = known(TEXT.replace("classification: restricted", "classification: public"))
    assert longer[0] == first[0]
    assert longer[1] != first[1]


SPELLINGS = [
    ("token: {env: TOKEN}", "token: {env: OTHER}, timeout: 3s, ca_bundle: /etc/ssl/ca.pem"),
    ("https://v.example", "https://V.example:443/"),
    ("alias/a,", "alias/a, timeout: 3s,"),
    ('endpoint: "https://kms.example"', 'endpoint: "https://kms.example/", timeout: 3s'),
    ("vault.azure.net", "vault.azure.net/"),
    ('azure.net", key: k', 'azure.net", key: k, client_id: app, algorithm: A256KW'),
]
RENAMED = [
    ("key: k, token", "key: other, token"),
    ("key: k, token", "key: k, mount: other, token"),
    ("https://v.example", "https://w.example"),
    ("region: eu-central-1", "region: eu-west-1"),
    ("https://kms.example", "https://kms2.example"),
    ('azure.net", key: k', 'azure.net", key: other'),
]


def digests(around: Around, tmp_path: Path, text: str) -> list[str]:
    return [each.policy.key for each in wing_of(around, tmp_path, text).keys]


@pytest.mark.parametrize(("old", "new"), SPELLINGS)
def test_another_login_or_spelling_leads_to_the_same_key(
    around: Around, tmp_path: Path, old: str, new: str
) -> None:
    """What is known of it stays, above all that a person lowered what certrotd raised."""
    assert TEXT.count(old) == 1
    found = digests(around, tmp_path, TEXT.replace(old, new))
    assert found == digests(around, tmp_path, TEXT)


@pytest.mark.parametrize(("old", "new"), RENAMED)
def test_another_place_or_name_is_another_key(
    around: Around, tmp_path: Path, old: str, new: str
) -> None:
    """The negative control: what is known of the former one says nothing of it."""
    assert TEXT.count(old) == 1
    found, before = (
        digests(around, tmp_path, TEXT.replace(old, new)),
        digests(around, tmp_path, TEXT),
    )
    assert sum(one != other for one, other in zip(found, before, strict=True)) == 1


def test_what_a_person_lowered_stays_lowered_under_another_token(
    around: Around, tmp_path: Path
) -> None:
    """The daemon waits for that person, whatever else of the entry of keks is edited."""
    versions = tuple(KeyVersion(str(n), BEGIN + n * DAY) for n in range(1, 4))
    at = around.clock.now() + 99 * DAY

    def codes(text: str) -> str:
        key = wing_of(around, tmp_path, text).keys[3]
        return decide(replace(key.policy, cryptoperiod=999 * DAY), key.look(), now=at).code

    key = wing_of(around, tmp_path).keys[3]
    state = ManagedState("vault", "the key", versions)
    key.document().write(Seen(state, at, BEGIN, key.policy.key, retired_before="2"))
    assert codes(TEXT) == "lowered"
    assert codes(TEXT.replace("{env: TOKEN}", "{env: OTHER}, timeout: 3s")) == "lowered"
    assert codes(TEXT.replace("key: k, token", "key: other, token")) == "unknown"


def test_a_key_is_built_when_it_is_used_and_rotated_in_its_state(
    around: Around, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its document, its lock, its wake and its outages are under its own name."""
    state = ManagedState("aws-kms", "the key", (KeyVersion("1", BEGIN),))
    key = MemoryManagedKey(around.clock, state)
    built: list[str] = []

    def build_one(name: str, entry: object) -> MemoryManagedKey:
        del entry
        built.append(name)
        return key

    monkeypatch.setattr(configured, "managed_key_of", build_one)
    wing = wing_of(around, tmp_path)
    [subject, *_] = wing.subjects
    [check, *_] = wing.checks()
    assert built == []
    report = subject.rotate(around.runner(), Asked(forced=True, by_hand=True))
    assert isinstance(report.outcome, Finished)
    assert (built, key.rotated) == (["aws"], 1)
    assert list(around.state.documents) == ["managed-keys/a"]
    assert ("managed-key/a", "AWS KMS eu-central-1", None) in around.heard
    key.appear()
    assert len(check.look()) == 1
    assert around.state.wakes == {"managed-key/a"}
    assert subject.look(now=around.clock.now(), thorough=True).validity is not None
    assert subject.history.last() is not None
