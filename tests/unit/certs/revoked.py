"""Certificates of which generations are revoked."""

from __future__ import annotations

from typing import Any

from certrotd.pki.keys import KeyType, generate
from certrotd.pki.revocation import Revocation
from tests.builders import DAY, NOW
from tests.model import scenarios
from tests.unit.certs.rotating import Case

KEY = generate(KeyType.ECDSA_P256)
ENTRY = Revocation("superseded", NOW, "ab", NOW + DAY)
"""Of one that the CA is still to be asked about."""


def case(**changes: Any) -> Case:
    """Generation 2 is live and not due; 1 is before it."""
    found = Case("rollback")
    found.policy(**changes)
    return found


def known(of: Case) -> dict[int, Revocation]:
    """The revocations by generation, as the state has them."""
    return dict(of.world.store.look(scenarios.NAME).state.revoked)
