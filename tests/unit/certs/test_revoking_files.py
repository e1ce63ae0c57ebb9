"""Whether a certificate in a file is a generation of a certificate that certrotd manages."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from certrotd.certs.revoking_files import generation_with, revoke_file
from certrotd.errors import Transient
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.generation import Standing
from certrotd.pki.keys import key_digest, load
from certrotd.pki.revocation import Revocation
from tests.builders import DAY
from tests.model import scenarios
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
    its = key_digest(load(key).public_key())
    assert list(known) == ([its] if reason == "keyCompromise" else [])
    assert all("example.test" in of and "from a file" in of for of in known.values())
