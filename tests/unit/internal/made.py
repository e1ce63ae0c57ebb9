"""An internal issuer, as the configuration has it."""

from datetime import timedelta
from pathlib import Path

from certrotd.clock import Clock, SystemClock
from certrotd.config.context import Context, Surroundings
from certrotd.config.issuers import InternalEntry

ENTRY = InternalEntry(
    type="internal",
    common_name="certrotd test CA",
    lifetime=timedelta(days=7),
    backdate=timedelta(minutes=5),
)


def context(
    state_dir: Path, clock: Clock | None = None, site: Surroundings | None = None
) -> Context:
    """What an issuer called "inside" is built with."""
    return Context("inside", state_dir, clock or SystemClock(), site or Surroundings())
