"""A host of the test's own, on which a runbook of docs/keys is carried out."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from tests.parts.locate import require
from tests.parts.pages import files
from tests.parts.site import PROGRAM

_PLACE = re.compile(r"(?<![\w.])/(?=(?:etc|srv|var|usr/local|root|mnt|media)/)")


class Host:
    """``place`` stands for ``/``; ``instead`` has what else of a page is called otherwise here.

    Programs of the page find ``certrotd`` with a configuration that has the KEK of "Before you
    begin" and nothing else.
    """

    def __init__(self, place: Path, instead: Mapping[str, str]) -> None:
        self.place = place
        self.instead = dict(instead)
        self.variables: dict[str, str] = {}
        self._later: list[str] = []
        shown = yaml.safe_load(self.here(files("README.md")["/etc/certrotd/config.yaml"]))
        config = {"state_dir": str(place / "state"), "keks": shown["keks"]}
        main = self.write("/etc/certrotd/config.yaml", yaml.safe_dump(config))
        self.at("/etc/certrotd/conf.d/x").parent.mkdir()
        self.program("certrotd", f'exec "{PROGRAM}" -c "{main}" "$@"')

    def at(self, path: str) -> Path:
        """Where a path of the page is."""
        return self.place / path.lstrip("/")

    def here(self, text: str) -> str:
        """Text of the page, with what its places and names are here."""
        for word, real in self.instead.items():
            text = text.replace(word, real)
        return _PLACE.sub(lambda _: f"{self.place}/", text)

    def write(self, path: str, text: str, mode: int = 0o600) -> Path:
        """A file of the page; it is here in full at once."""
        file = self.at(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self.here(text))
        file.chmod(mode)
        return file

    def install(self, page: str, *, later: Sequence[str] = ()) -> None:
        """Every file that the page shows, but those that are written ``later`` in it."""
        for path in files(page):
            if path not in later:
                self.put(page, path)

    def put(self, page: str, path: str) -> None:
        """One file that the page shows."""
        text = files(page)[path]
        self.write(path, text, 0o755 if text.startswith("#!") else 0o600)

    def program(self, name: str, script: str) -> None:
        """A program that the page calls by its name alone."""
        path = self.place / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def later(self, days: int) -> None:
        """For whatever is run from now on, it is so many days from now."""
        self._later = [str(require("faketime")), "-f", f"+{days}d"]

    def start(self, script: str) -> subprocess.Popen[str]:
        """A script of the page, begun."""
        variables = {"PATH": f"{self.place}/bin:{os.environ['PATH']}", **self.variables}
        return subprocess.Popen(
            [*self._later, "bash", "-euc", self.here(script)],
            env={**os.environ, **variables},
            cwd=self.place,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def shell(self, script: str, *, code: int = 0, within: float = 400.0) -> str:
        """What a script of the page prints; each of its commands but the last ends with 0."""
        started = self.start(script)
        try:
            out, error = started.communicate(timeout=within)
        except subprocess.TimeoutExpired:
            started.kill()
            raise
        assert started.returncode == code, (script, out, error)
        return out
