"""SOPS itself, with the keys of keyrings and nobody's home."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from certrotd.keyring.age_keys import identity_of, recipient_of
from certrotd.keyring.material import DataKey
from tests.parts import locate


class Sops:
    """Runs the program with some identities."""

    def __init__(self, *keys: DataKey) -> None:
        self._program = self.program()
        self._identities = "\n".join(map(identity_of, keys))

    @staticmethod
    def program() -> str:
        """Where it is."""
        return str(locate.require("sops"))

    def ran(self, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
        """How it ended."""
        variables = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
        return subprocess.run(
            [self._program, *arguments],
            env={**variables, "SOPS_AGE_KEY": self._identities},
            capture_output=True,
            check=False,
        )

    def __call__(self, *arguments: str | Path) -> bytes:
        """What it prints; it ends with 0."""
        ran = self.ran(*arguments)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def encrypt(self, path: Path, to: Sequence[DataKey | str], *options: str) -> None:
        """Encrypt a file in place."""
        recipients = (each if isinstance(each, str) else recipient_of(each) for each in to)
        self(*options, "encrypt", "--age", ",".join(recipients), "-i", path)

    def opens(self, path: Path) -> bool:
        """Whether the keys decrypt a file."""
        return self.ran("decrypt", path).returncode == 0
