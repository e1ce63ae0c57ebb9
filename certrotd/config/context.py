"""What an adapter is built with besides its entry in the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from certrotd.clock import Clock


@dataclass(frozen=True)
class Context:
    """``name`` is the entry's; ``state_dir`` is certrotd's own directory, 0700."""

    name: str
    state_dir: Path
    clock: Clock
