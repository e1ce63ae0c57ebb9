"""The rotation of one managed key: what is due of it, and by which step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from certrotd.clock import Clock
from certrotd.errors import Failure
from certrotd.lifecycle import managed
from certrotd.lifecycle.decision import Action, Decision
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.runner import RotationOf, Run
from certrotd.managed_keys import decision as due
from certrotd.managed_keys.policy import Policy, Standing
from certrotd.managed_keys.rules import decide
from certrotd.managed_keys.steps import Look, Retire, Rotate, SetPeriod, World, rebuild
from certrotd.rotation.engine import Finished, Outcome
from certrotd.rotation.step import JSON, Step


class Managed(managed.Managed, Protocol):
    """One managed key of the configuration with what its rotation needs."""

    @property
    def policy(self) -> Policy: ...

    @property
    def clock(self) -> Clock: ...

    def world(self) -> World:
        """What one rotation acts upon."""
        ...

    def look(self) -> Standing:
        """What is known of it; nothing is asked. Raises Failure and OSError."""
        ...


@dataclass(frozen=True)
class ManagedKeyRotation(RotationOf[Managed, World]):
    """Rotatable, of a managed key."""

    def world(self, check: Callable[[], None]) -> World:
        return replace(self.managed.world(), fence=check)

    def rebuild(self, kind: str, intent: Mapping[str, JSON]) -> Step[World]:
        return rebuild(kind, intent)

    def act(self, run: Run[World], recovered: Outcome | None) -> Report:
        """Whatever is due, by what the service shows now; after a first look what that shows."""
        decision = self._decide(run)
        if isinstance(decision, due.Look):
            report = self._once(run, decision, recovered)
            then = self._decide(run)
            if not isinstance(report.outcome, Finished) or report.failure or not _acts(then):
                return report
            return self._once(run, then, recovered)
        if isinstance(decision, Action):
            # it may be another since the last look; if it cannot be asked, the step fails by that
            with contextlib.suppress(Failure):
                run.world().look()
            decision = self._decide(run)
        if not isinstance(decision, Action):
            return Report(self.id, decision, None, recovered)
        return self._once(run, decision, recovered)

    def _decide(self, run: Run[World]) -> Decision:
        managed, now = self.managed, run.runner.clock.now()
        return decide(managed.policy, managed.look(), run.asked, now=now)

    def _once(self, run: Run[World], decision: Decision, recovered: Outcome | None) -> Report:
        assert isinstance(decision, Action)
        step = step_of(self.managed.policy, self.managed.look(), decision)
        return run.once(decision, lambda _rotation: (step,), recovered)


def _acts(decision: Decision) -> bool:
    return isinstance(decision, due.Rotate | due.SetPeriod | due.Retire)


def step_of(policy: Policy, standing: Standing, action: Action) -> Step[World]:
    """The one step that carries out an action."""
    seen = standing.of(policy)
    if isinstance(action, due.SetPeriod):
        return SetPeriod(policy.key, int(policy.cryptoperiod.total_seconds()))
    if isinstance(action, due.Rotate | due.Retire):
        assert seen is not None, "what was never seen is looked at first"
        if isinstance(action, due.Retire):
            before = seen.state.oldest_decrypting.id
            return Retire(policy.key, before, action.oldest, seen.retired_before)
        return Rotate(policy.key, seen.state.present.id)
    return Look(policy.key)
