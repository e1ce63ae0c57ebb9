"""The command line on a host with keyrings."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from certrotd.cli.app import run
from certrotd.config.load import load
from certrotd.kek.build import kek_of
from certrotd.keyring.document import opened


class Host:
    """Runs ``certrotd keys``, and checks of everything that it prints that no key is in it."""

    def __init__(
        self,
        place: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.place = place
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.config: dict[str, Any] = {
            "state_dir": str(place / "state"),
            "issuers": {"lab": {"type": "internal"}},
            "certificates": [{"name": "web", "names": ["web.example.test"]}],
            "keks": {"local": {"type": "file", "path": str(place / "kek")}},
            "keyrings": {
                "orders": {"outputs": [{"type": "tink", "path": str(place / "keys.json")}]},
                "users": {"readers": {"users": [os.geteuid()]}},
            },
        }
        self.code = 0
        self.out = ""
        self.err = ""

    @property
    def orders(self) -> dict[str, Any]:
        entry: dict[str, Any] = self.config["keyrings"]["orders"]
        return entry

    def __call__(self, *arguments: str, shows_keys: bool = False) -> str:
        """What it prints; how it ended is in ``code``, and its errors in ``err``."""
        path = self.place / "config.yaml"
        path.write_text(yaml.safe_dump(self.config))
        argv = ["certrotd", "-c", str(path), *arguments]
        self._monkeypatch.setattr(sys, "argv", argv)
        self._monkeypatch.setattr("certrotd.daemon.stopping.Stopping.listen", lambda self: None)
        self._capsys.readouterr()
        self.code = run()
        self.out, self.err = self._capsys.readouterr()
        if not shows_keys:
            for shape in self._shapes():
                assert shape not in self.out + self.err, arguments
        return self.out

    def keys(self, *arguments: str) -> str:
        """``certrotd keys …``, which succeeds."""
        self("keys", *arguments)
        assert self.code == 0, (arguments, self.out, self.err)
        return self.out

    def json(self, *arguments: str) -> Any:
        """``certrotd keys … --json``, which succeeds."""
        return json.loads(self.keys(*arguments, "--json"))

    def refused(self, *arguments: str, code: int = 2) -> str:
        """The one line of an error."""
        self("keys", *arguments)
        assert self.code == code, (arguments, self.out, self.err)
        assert self.out == ""
        [line] = self.err.splitlines()
        assert line.startswith("certrotd: ")
        return line.removeprefix("certrotd: ")

    def failed(self, *arguments: str) -> str:
        """Why the one report says that it was not done."""
        self("keys", *arguments, "--json")
        assert self.code == 1, (arguments, self.out, self.err)
        [row] = json.loads(self.out)
        return str(row["why"])

    def states(self, name: str = "orders") -> dict[int, str]:
        [row] = self.json("list", name)
        return {each["version"]: each["state"] for each in row["versions"]}

    def secrets(self, name: str = "orders") -> dict[int, bytes]:
        """The material of every version that has some."""
        path = self.place / f"state/keyrings/{name}.json"
        if not path.exists():
            return {}
        entry = load(self.place / "config.yaml").config.keys.keks["local"]
        try:
            found = opened(
                path.read_bytes(), {"local": kek_of("local", entry)}, name=name, place=""
            )
        except Exception:  # noqa: BLE001  # a test has damaged it
            return {}
        entries = found.keyring.entries
        return {n: e.secret.material.reveal() for n, e in entries.items() if e.secret}

    def _shapes(self) -> list[str]:
        every = [*self.secrets().values(), *self.secrets("users").values()]
        kek = self.place / "kek"
        every += [kek.read_bytes()] if kek.exists() else []
        encodings: list[Callable[[bytes], str]] = [
            bytes.hex,
            lambda data: data.decode("latin-1"),
            lambda data: base64.b64encode(data).decode().rstrip("="),
            lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="),
        ]
        return [encode(each) for each in every for encode in encodings]


@pytest.fixture
def host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Host:
    """A certificate, a keyring with an output and one without; nothing is made yet."""
    return Host(tmp_path, monkeypatch, capsys)
