"""An internal issuer, as the configuration has it."""

from datetime import timedelta
from pathlib import Path

from certrotd.clock import Clock, SystemClock
from certrotd.config.context import IssuerContext, Surroundings
from certrotd.config.issuers import InternalEntry
from tests.builders import state_folder

ENTRY = InternalEntry(
    type="internal",
    common_name="certrotd test CA",
    lifetime=timedelta(days=7),
    backdate=timedelta(minutes=5),
)


def context(
    state_dir: Path, clock: Clock | None = None, site: Surroundings | None = None
) -> IssuerContext:
    """What an issuer called "inside" is built with."""
    clock = clock or SystemClock()
    folder = state_folder(state_dir, "internal/inside", clock.now)
    site = site or Surroundings()
    return IssuerContext("inside", state_dir, clock, folder=folder, site=site)
