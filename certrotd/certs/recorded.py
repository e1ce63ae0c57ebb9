"""What the audit log records of a certificate's rotation once it is closed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from certrotd.audit.record import Happened
from certrotd.certs.policy import AUTHORITY, INSTEAD, Policy
from certrotd.lifecycle.decision import ACT
from certrotd.pki.generation import Generation, Standing
from certrotd.pki.revocation import REVOCATIONS
from certrotd.rotation.step import JSON

REVOCATION_BEGUN = "certificate.revocation_begun"
REVOCATION_FAILED = "certificate.revocation_failed"
"""Of a revocation that is no part of a rotation."""
_DEPLOYS = ("renew", "deploy", "rollback")


def recorded_of(
    policy: Policy, line: Mapping[str, Any], standing: Standing
) -> tuple[Happened, ...]:
    """What was issued and deployed, by the line of history and what is on disk."""
    name, rotation, facts = str(policy.id), str(line["id"]), line["facts"]
    finished = line["outcome"] == "finished"
    happened = []
    if "fingerprint" in facts and (finished or line["to"]):
        details: dict[str, JSON] = {
            "fingerprint": facts["fingerprint"],
            "not_after": facts["not_after"],
            "names": _names(policy, standing, str(facts["fingerprint"])),
            "authority": str(facts.get(AUTHORITY) or ""),
        }
        if INSTEAD in facts:
            details["instead"] = facts[INSTEAD]
        happened.append(Happened("certificate.issued", name, rotation, details))
    happened += revoked_events(name, rotation, facts)
    if finished and facts.get(ACT) in _DEPLOYS and standing.live is not None:
        happened.append(
            Happened("certificate.deployed", name, rotation, _deployed(standing.live, facts))
        )
    return tuple(happened)


def revoked_events(name: str, rotation: str, facts: Mapping[str, Any]) -> list[Happened]:
    """What was revoked, by the facts that its steps have noted."""
    known = facts.get(REVOCATIONS) or {}
    done = {number: each for number, each in known.items() if each["done"]}
    return [
        Happened("certificate.revoked", name, rotation, {"generation": int(number), **each})
        for number, each in done.items()
    ]


def _deployed(live: Generation, facts: Mapping[str, Any]) -> dict[str, JSON]:
    told = facts.get("told")
    details: dict[str, JSON] = {"generation": live.number}
    if live.facts is not None:
        details["fingerprint"] = live.facts.fingerprint
        details["not_after"] = live.facts.not_after.isoformat()
    details["targets"] = list(told) if isinstance(told, list) else []
    return details


def _names(policy: Policy, standing: Standing, fingerprint: str) -> list[JSON]:
    for generation in (standing.newest, standing.live):
        if generation and generation.facts and generation.facts.fingerprint == fingerprint:
            return list(generation.facts.names)
    return list(policy.names)  # it has been removed since
