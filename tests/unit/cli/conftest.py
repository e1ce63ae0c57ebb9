"""The program called from within this process."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from certrotd.cli.app import run

Certrotd = Callable[..., int]
NAMES = {"web": "web.example.test", "mail": "mail.example.test"}


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """Two certificates of a private CA; written before every run."""
    return {
        "state_dir": str(tmp_path / "state"),
        "issuers": {"lab": {"type": "internal"}},
        "certificates": [{"name": name, "names": [dns]} for name, dns in NAMES.items()],
    }


@pytest.fixture
def certrotd(tmp_path: Path, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Certrotd:
    """Runs it with arguments; the exit code."""

    def call(*arguments: str) -> int:
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(config))
        monkeypatch.setattr(sys, "argv", ["certrotd", "-c", str(path), *arguments])
        monkeypatch.setattr("certrotd.daemon.stopping.Stopping.listen", lambda self: None)
        return run()

    return call
