"""A certificate in a file: whether it is a generation of certrotd's, and what is written down."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from certrotd.certs.revoking_files import generation_with, revoke_file
from certrotd.certs.wiring.revokers import Revokers
from certrotd.clock import ManualClock
from certrotd.config.load import load
from certrotd.errors import Failure, Transient
from certrotd.files.disktrouble import DiskTrouble
from certrotd.lifecycle.audited import Unrecorded
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.generation import Standing
from certrotd.pki.keys import key_digest
from certrotd.pki.keys import load as load_key
from certrotd.pki.revocation import Revocation
from tests.builders import DAY, NOW
from tests.fakes.audit import MemoryAudit
from tests.fakes.state import MemoryState
from tests.model import scenarios
from tests.parts import pki
from tests.unit.certs.rotating import Case


def case() -> tuple[Case, CertificateFacts, list[str]]:
    """Generation 2 is live, 1 is before it; and what is remarked."""
    found = Case("rollback")
    facts = found.world.managed().generation(1).facts
    assert facts is not None
    return found, facts, []


def test_an_earlier_generation_is_found_although_a_later_one_has_other_names() -> None:
    """Else it is revoked and not marked as that: a rollback would go back to it."""
    found, facts, said = case()
    found.policy(names=("other.example.test",), keep=3)
    found.rotate()
    managed = found.world.managed()
    names = [each and each.names for each in (managed.generation(3).facts, facts)]
    assert names[0] != names[1]
    assert generation_with(facts, [managed], said.append) == (scenarios.NAME, 1)
    other = replace(facts, fingerprint="ab")
    assert generation_with(other, [managed], said.append) is None
    assert said == []


def test_what_is_kept_until_it_is_revoked_is_found_below_those_that_were_pruned() -> None:
    """It is a generation still, and has a mark."""
    found, facts, said = case()
    found.policy(keep=1)
    store = found.world.store
    entry = Revocation("superseded", found.clock.now(), "ab", found.clock.now() + 90 * DAY)
    store.record(scenarios.NAME, replace(store.look(scenarios.NAME).state, revoked={1: entry}))
    for _ in range(3):
        found.rotate(forced=True)
    assert not store.sealed(scenarios.NAME, 2)
    managed = found.world.managed()
    assert generation_with(facts, [managed], said.append) == (scenarios.NAME, 1)


@pytest.mark.parametrize("trouble", [Transient("no answer"), OSError(5, "Input/output error")])
def test_a_store_that_cannot_be_read_is_in_the_way_of_its_own_names_alone(
    trouble: Exception,
) -> None:
    """What is urgent does not wait for an unrelated certificate, but hears of it."""
    found, facts, said = case()

    def look(**_how: object) -> Standing:
        raise trouble

    away = replace(found.world.managed(), look=look)
    unrelated = replace(away, policy=replace(away.policy, name="away", names=("away.test",)))
    managed = found.world.managed()
    assert generation_with(facts, [unrelated, managed], said.append) == (scenarios.NAME, 1)
    [line] = said
    assert line.startswith("away: whether the file is a generation of it is not known: ")
    with pytest.raises(type(trouble)):
        generation_with(facts, [away], said.append)


@dataclass
class Ca:
    """Revoking, which notes what the audit log had when it was asked."""

    audit: MemoryAudit
    answer: Failure | None = None
    seen: list[list[str]] = field(default_factory=list)

    def revoke(self, *_asked: Any, **_how: Any) -> bool:
        """As Revoking.revoke."""
        self.seen.append(self.audit.events)
        if self.answer is not None:
            raise self.answer
        return False


def revoking(folder: Path, ca: Ca) -> str:
    """Has a certificate revoked that is in a file."""
    path = folder / "certrotd.yaml"
    path.write_text(f"""
state_dir: {folder}
issuers: {{ca: {{type: acme, directory: "https://ca.example/dir"}}}}
""")
    revokers = Revokers(load(path).config, lambda _name: ca, ManualClock(NOW), MemoryState())
    pem = pki.make_leaf(pki.make_root(), "www.example.test").fullchain_pem
    reason = "keyCompromise"
    return revoke_file(
        *(pem, None),
        issuer=None,
        reason=reason,
        by="",
        revokers=revokers,
        audit=ca.audit,
        note_compromised=lambda _key, _of: None,
    )


def test_a_revocation_is_written_down_before_the_ca_is_asked(tmp_path: Path) -> None:
    """A kill between the request and its answer leaves a trace; what leaves none is not done."""
    ca = Ca(MemoryAudit())
    assert "is revoked, at ca" in revoking(tmp_path, ca)
    assert ca.seen == [["certificate.revocation_begun"]]
    assert ca.audit.events == ["certificate.revocation_begun", "certificate.revoked"]
    assert ca.audit.happened[0].subject == "issuer:ca"
    assert ca.audit.happened[0].details["reason"] == "keyCompromise"

    ca = Ca(MemoryAudit(), Transient("the CA is away"))
    with pytest.raises(Transient, match="the CA is away"):
        revoking(tmp_path, ca)
    assert ca.audit.events == ["certificate.revocation_begun", "certificate.revocation_failed"]
    assert ca.audit.happened[1].details["why"] == "the CA is away"

    ca = Ca(MemoryAudit())
    ca.audit.full = True
    with pytest.raises(DiskTrouble, match="audit log"):
        revoking(tmp_path, ca)
    assert ca.seen == []


def test_what_became_of_it_is_said_where_it_cannot_be_written_down(tmp_path: Path) -> None:
    """The certificate is revoked, or the CA has said why not."""
    ca = Ca(MemoryAudit())
    ca.audit.refuses = {"certificate.revoked", "certificate.revocation_failed"}
    with pytest.raises(Unrecorded, match="it is revoked, at ca: keyCompromise; but"):
        revoking(tmp_path, ca)
    ca.answer = Transient("the CA is away")
    with pytest.raises(Transient, match="the CA is away"):
        revoking(tmp_path, ca)


@pytest.mark.parametrize("reason", ["superseded", "keyCompromise"])
def test_a_key_that_is_said_to_be_compromised_is_remembered_whatever_the_ca_says(
    reason: str,
) -> None:
    """No certificate of certrotd's own is to have it; before the CA is asked, which may be away."""
    found, _, _ = case()
    key, chain = found.world.store.read(scenarios.NAME, 1)
    known: dict[str, str] = {}

    def away(*_asked: object) -> bool:
        raise Transient("no answer")

    revokers: Any = SimpleNamespace(
        config=SimpleNamespace(issuers={"ca": None}), named=lambda _name: away
    )
    with pytest.raises(Transient):
        revoke_file(
            *(chain, None),
            issuer="ca",
            reason=reason,
            by="",
            revokers=revokers,
            audit=SimpleNamespace(record=lambda *_: None),
            note_compromised=known.__setitem__,
        )
    its = key_digest(load_key(key).public_key())
    assert list(known) == ([its] if reason == "keyCompromise" else [])
    assert all("example.test" in of and "from a file" in of for of in known.values())
