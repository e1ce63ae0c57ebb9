"""What is kept beside a keyring: its last counts, drills and rehearsals, and what people said."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from certrotd.escrow.drill import Drilled
from certrotd.keyring.rehearsal import Rehearsed
from certrotd.keys.census import Census, census_in
from certrotd.keys.consent import KeptConsent
from certrotd.keys.drills import drills_in
from certrotd.keys.exposures import Noted, exposures_in
from certrotd.keys.rehearsals import places_in, rehearsals_in
from certrotd.keys.suspicions import Suspicions
from certrotd.state.ports import State
from certrotd.state.typed import TypedDocument

CENSUS, DRILLS, CONSENT = "census", "drills", "consent"
SUSPECTS, REHEARSALS, EXPOSURES = "suspects", "rehearsals", "exposures"
PLACES = "rehearsal-places"
"""Where each is kept, under the name of its keyring."""


class Kept:
    """That of the keyring ``name``, each read when it is asked for."""

    def __init__(self, state: State, name: str) -> None:
        self._state = state
        self._called = name

    @cached_property
    def census(self) -> TypedDocument[Census]:
        """Its last counts."""
        return census_in(self._state.document(f"{CENSUS}/{self._called}"))

    @cached_property
    def consent(self) -> KeptConsent:
        """What people said of destroying its keys."""
        return KeptConsent(self._state.document(f"{CONSENT}/{self._called}"))

    @cached_property
    def suspicions(self) -> Suspicions:
        """Which of its keys others may know, as people said."""
        return Suspicions(self._state.document(f"{SUSPECTS}/{self._called}"))

    @cached_property
    def exposures(self) -> TypedDocument[Mapping[int, Noted]]:
        """What was stored under each compromised version when it became known to be one."""
        return exposures_in(self._state.document(f"{EXPOSURES}/{self._called}"))

    @cached_property
    def drills(self) -> TypedDocument[Drilled]:
        """The last restore drill."""
        return drills_in(self._state.document(f"{DRILLS}/{self._called}"))

    @cached_property
    def rehearsals(self) -> TypedDocument[Rehearsed]:
        """The last rehearsal of a compromise."""
        return rehearsals_in(self._state.document(f"{REHEARSALS}/{self._called}"))

    @cached_property
    def rehearsal_places(self) -> TypedDocument[tuple[Path, ...]]:
        """Where rehearsals have made copies."""
        return places_in(self._state.document(f"{PLACES}/{self._called}"))
