"""What an adapter is built with, where nothing else is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from certrotd.clock import SystemClock
from certrotd.config.context import Context
from certrotd.config.probes import PodProbeEntry
from certrotd.errors import ProofFailed
from certrotd.pki.generation import LiveCertificate


def test_what_nobody_looks_at_is_not_proven() -> None:
    """A target that was built without a prober must not be taken for one that has looked."""
    context = Context("shop", Path("/nowhere"), SystemClock())
    live = LiveCertificate("web", ("example.org",), "/live")
    with pytest.raises(ProofFailed, match=r"10\.0\.0\.1:443 serves web"):
        context.prove(PodProbeEntry(port=443), "10.0.0.1", 443, live)
