"""Which of the configured solvers publishes for a name: a decision without any I/O."""

from __future__ import annotations

from collections.abc import Mapping

from certrotd.config.nearest import suggestion
from certrotd.dns.names import longest_zone
from certrotd.dns.words import shown
from certrotd.errors import NeedsOperator


def choose(name: str, solvers: Mapping[str, tuple[str, ...]], explicit: str | None) -> str:
    """The name of the solver that publishes the record ``name``.

    ``solvers`` maps each configured solver to the zones it serves; none means any. ``explicit``
    wins; else the solver with the longest matching zone; else the only one without zones.
    Raises NeedsOperator, saying what to configure, where that leaves none or several.
    """
    if explicit is not None:
        if explicit not in solvers:
            raise NeedsOperator(
                f"DNS solver {shown(explicit)} is not configured",
                hint=suggestion(explicit, sorted(solvers)),
            )
        return explicit
    matches = {solver: longest_zone(name, zones) for solver, zones in solvers.items()}
    longest = max((zone for zone in matches.values() if zone), key=len, default=None)
    if longest is not None:
        best = [solver for solver, zone in matches.items() if zone == longest]
        return _only(best, f"serve the zone {longest}", name)
    general = [solver for solver, zones in solvers.items() if not zones]
    if not general:
        raise NeedsOperator(
            f"no DNS solver serves {name}",
            hint="configure one, add the name's zone to one, or name the solver to use",
        )
    return _only(general, "have no zones", name)


def _only(candidates: list[str], why: str, name: str) -> str:
    if len(candidates) > 1:
        raise NeedsOperator(
            f"DNS solvers {', '.join(sorted(candidates))} all {why}: unclear which one {name} uses",
            hint="give each its own zones, or name the solver to use",
        )
    return candidates[0]
