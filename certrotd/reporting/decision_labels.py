"""The label of each decision, for listings, metrics and JSON."""

from __future__ import annotations

from certrotd.certs.decision import Adopt, Bootstrap, Decision, Deploy, Postpone, Renew, Sweep, Wait


def kind_of(decision: Decision) -> str:
    """One word for what is decided."""
    match decision:
        case Wait():
            return "wait"
        case Renew():
            return "renew"
        case Deploy():
            return "deploy"
        case Adopt():
            return "adopt"
        case Bootstrap():
            return "placeholder"
        case Sweep():
            return "sweep"
        case Postpone():
            return "postponed"
