"""What the acts with data keys are played on: three processes of one application, and its keys."""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any

from tests.parts.process import Server, wait_until

NAMES = ("worker", "web-1", "web-2")
CERTROTD = str(Path(sys.executable).parent / "certrotd")


class Process(Server):
    """One process of the application."""

    def __init__(self, name: str, keys: Path, form: str, folder: Path) -> None:
        super().__init__(folder / f"log-{name}")
        self.name = name
        self._argv = ["--name", name, "--keys", str(keys), "--form", form, "--folder", str(folder)]
        self._folder = folder

    def command(self) -> Sequence[str | Path]:
        return [sys.executable, "-m", "demo.consumer", *self._argv]

    def is_ready(self) -> bool:
        return (self._folder / f"{self.name}.pid").exists()

    def deafen(self) -> None:
        """Stop it: it reads nothing, and acknowledges nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run again."""
        os.kill(self.pid, signal.SIGCONT)


class KeyStage:
    """The application in ``directory``, with a key of its own in a file of that ``form``."""

    def __init__(self, directory: Path, stack: ExitStack, *, form: str = "tink") -> None:
        self.directory = directory
        self.form = form
        self.keys = directory / ("keys.json" if form == "tink" else "keys.env")
        write_private(self.keys, own_keys(form))
        self.processes = [Process(name, self.keys, form, directory) for name in NAMES]
        for each in self.processes:
            stack.enter_context(each)
        self.config = directory / "certrotd.yaml"
        self.config.write_text(self._configuration())

    def certrotd(self, *arguments: str, quiet: bool = False) -> subprocess.CompletedProcess[str]:
        """Run the command line, and show what it prints."""
        if not quiet:
            print(f"$ certrotd {' '.join(arguments)}", flush=True)
        argv = [CERTROTD, "-c", str(self.config), *arguments]
        ran = subprocess.run(argv, stdout=PIPE, stderr=STDOUT, text=True, check=False)
        if not quiet:
            print(textwrap.indent(ran.stdout, "  "), end="", flush=True)
        return ran

    def versions(self) -> dict[int, str]:
        """The state of each key version."""
        argv = [CERTROTD, "-c", str(self.config), "keys", "list", "--json"]
        ran = subprocess.run(argv, stdout=PIPE, text=True, check=True)
        [row] = json.loads(ran.stdout)
        return {each["version"]: each["state"] for each in row["versions"]}

    def results(self) -> dict[str, tuple[int, int, str]]:
        """What each process has read: so many good, so many bad, and the last of these."""
        with closing(sqlite3.connect(self.directory / "messages.db", timeout=30)) as database:
            rows: list[Any] = database.execute("select * from result").fetchall()
        return {reader: (good, bad, last) for reader, good, bad, last in rows}

    def failures(self) -> list[str]:
        """What could not be decrypted."""
        return [f"{name}: {bad} ({last})" for name, (_, bad, last) in self.results().items() if bad]

    def read_on(self, *, more: int = 200) -> None:
        """Return when every process has read so many messages more."""
        before = {name: good for name, (good, _, _) in self.results().items()}

        def further() -> bool:
            now = self.results()
            return len(now) == len(NAMES) and all(
                sum(now[name][:2]) >= before.get(name, 0) + more for name in NAMES
            )

        wait_until(further, within=120, what="every process reads on")

    def _configuration(self) -> str:
        folder = self.directory
        output = f"{{type: tink, path: {self.keys}}}"
        if self.form == "dotenv":
            output = (
                f"{{type: dotenv, path: {self.keys}, slots: {{v1: KEY_V1, v2: KEY_V2}}, "
                "version: KEY_VERSION, encoding: base64}"
            )
        targets = "".join(
            f"  {name}: {{type: signal, pid_file: {folder}/{name}.pid}}\n" for name in NAMES
        )
        consumers = "".join(
            f"      {name}:\n        target: {name}\n        wave: {1 if name == 'worker' else 2}\n"
            f"        acknowledge: {{file: {folder}/{name}.ack}}\n"
            for name in NAMES
        )
        return (
            f"state_dir: {folder}/state\n"
            f"keks:\n  local: {{type: file, path: {folder}/kek}}\n"
            f"targets:\n{targets}"
            "keyrings:\n  messages:\n    classification: confidential\n"
            f"    outputs:\n      - {output}\n"
            f"    consumers:\n{consumers}"
        )


def write_private(path: Path, data: bytes) -> None:
    """A file that only its owner reads, from its first byte."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)


def own_keys(form: str) -> bytes:
    """The keys that the application has before anybody rotates them."""
    secret = os.urandom(32)
    if form == "dotenv":
        text = base64.b64encode(secret).decode()
        lines = ("# of the application", "NAME=messages", f"KEY_V1={text}", "KEY_V2=")
        return "\n".join([*lines, "KEY_VERSION=v1", ""]).encode()
    number = secrets.randbelow(2**32 - 1) + 1
    value = base64.b64encode(b"\x1a\x20" + secret).decode()
    data = {"typeUrl": "type.googleapis.com/google.crypto.tink.AesGcmKey", "value": value}
    data["keyMaterialType"] = "SYMMETRIC"
    key = {"keyData": data, "status": "ENABLED", "keyId": number, "outputPrefixType": "TINK"}
    return json.dumps({"primaryKeyId": number, "key": [key]}).encode()
