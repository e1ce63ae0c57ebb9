"""The rotation of one delivery: what is due of it, and by which steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from certrotd.clock import Clock
from certrotd.deliveries.decision import Deliver
from certrotd.deliveries.policy import Policy, Standing, folder_of
from certrotd.deliveries.rules import decide
from certrotd.deliveries.steps import World, plan, rebuild
from certrotd.lifecycle import managed
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.runner import RotationOf, Run
from certrotd.rotation.engine import Outcome
from certrotd.rotation.step import JSON, Plan, Step
from certrotd.ssh.session import Session


class Managed(managed.Managed, Protocol):
    """One delivery of the configuration with what it needs."""

    @property
    def policy(self) -> Policy: ...

    @property
    def clock(self) -> Clock: ...

    def session(self) -> Session:
        """A connection to its host, not made yet; whoever has it closes it."""
        ...

    def world(self, session: Session) -> World:
        """What one delivery acts upon."""
        ...

    def look(self, *, thorough: bool = False) -> Standing:
        """What is known of it; the host is not asked. Raises Failure and OSError."""
        ...


@dataclass(frozen=True)
class DeliveryRotation(RotationOf[Managed, World]):
    """Rotatable, of a delivery; all of it goes over one ``session``."""

    session: Session

    def world(self, check: Callable[[], None]) -> World:
        return replace(self.managed.world(self.session), fence=check)

    def rebuild(self, kind: str, intent: Mapping[str, JSON]) -> Step[World]:
        return rebuild(kind, intent)

    def act(self, run: Run[World], recovered: Outcome | None) -> Report:
        """Whatever is due, once."""
        policy, now = self.managed.policy, run.runner.clock.now()
        standing = self.managed.look(thorough=True)
        decision = decide(policy, standing, run.asked, now=now)
        if not isinstance(decision, Deliver):
            return Report(self.id, decision, None, recovered)
        return run.once(decision, partial(self._plan, decision, standing), recovered)

    def _plan(self, decision: Deliver, standing: Standing, _rotation: str) -> Plan[World]:
        policy, live = self.managed.policy, standing.live
        assert live is not None, "else nothing is delivered"
        assert live.facts is not None, "else it cannot be used"
        over, known = decision.over, standing.delivered
        folder = folder_of(policy, decision.generation, live.facts.fingerprint, over)
        return plan(policy, decision.generation, folder, known)
