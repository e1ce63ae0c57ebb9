"""The program called from within this process."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from certrotd.cli.app import run
from certrotd.state.records import encode

Certrotd = Callable[..., int]
NAMES = {"web": "web.example.test", "mail": "mail.example.test"}
GROUPS = ("config", "audit", "notify", "internal", "account", "dns", "keys")
COMMANDS = (
    *("run", "rotate", "plan", "status", "watch", "inspect", "history", "rollback", "cancel"),
    *("wake", "import", "init", "revoke", "delete", "certificates"),
    *(
        "config check",
        "config schema",
        "audit show",
        "audit verify",
        "audit export",
        "notify test",
        "internal init",
        "dns persist-record",
    ),
    *(f"account {name}" for name in ("show", "rollover", "deactivate", "new", "import")),
    *(
        f"keys {name}"
        for name in (
            *("list", "show", "plan", "rotate", "activate", "deliver", "rollback", "cancel"),
            *(
                "compromise",
                "enable",
                "hold",
                "release",
                "confirm",
                "prove",
                "scan",
                "exposure",
                "reencrypt",
                "encrypt",
                "decrypt",
                "rewrap",
                "adopt",
                "backup",
                "drill",
                "rehearse",
                "restore",
                "report",
                "shares",
            ),
        )
    ),
)
BEGUN = "2026-06-01T12:00:00+00:00"


def fly(state: Path, name: str) -> None:
    """A rotation of that name is in flight, and failed twice at its first step."""
    records: list[dict[str, Any]] = [
        {
            "t": "begin",
            "id": "r1",
            "subject": f"certificate/{name}",
            "at": BEGUN,
            "plan": [{"kind": "obtain", "intent": {}}],
        },
        *({"t": "paused", "i": 0, "at": BEGUN, "why": "obtain: no answer"} for _ in range(2)),
    ]
    path = state / "journal/certificate" / f"{name}.jsonl"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_bytes(b"".join(map(encode, records)))


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    """The last listing, by name."""
    return {row["name"]: row for row in json.loads(capsys.readouterr().out)}


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
