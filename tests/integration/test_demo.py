"""The demo is what a stranger sees first: all four acts happen, with real parts and without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.parts import locate

ROOT = Path(__file__).parents[2]


def _demo(*arguments: str, directory: Path | None = None) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "demo", *arguments],
        cwd=ROOT,
        env={**os.environ, **({"TMPDIR": str(directory)} if directory else {})},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_the_demo_shows_every_act_on_pebble_and_nginx() -> None:
    """Issuance, rotation, rollback and recovery, each checked on the wire by the demo itself."""
    locate.require("pebble")
    locate.require("nginx")
    shown = _demo()
    assert "stands in" not in shown
    assert "All four acts were seen on the wire" in shown


@pytest.mark.parametrize("kept", [False, True])
def test_the_demo_shows_every_act_without_any_server(tmp_path: Path, *, kept: bool) -> None:
    """Where neither can be had, it says so and shows the same; only what is asked for stays."""
    shown = _demo("--embedded", *["--keep"] * kept, directory=tmp_path)
    left = list(tmp_path.iterdir())
    assert [f"to remove it: rm -r {each}" in shown for each in left] == [True] * kept
    assert shown.count("stands in") == 2
    assert "All four acts were seen on the wire" in shown


def test_an_act_that_does_not_happen_is_a_failure() -> None:
    """The control: a demo that cannot fail shows nothing."""
    from demo.__main__ import NotSeen, expect

    expect(True, "the sun")
    with pytest.raises(NotSeen):
        expect(False, "the moon")
