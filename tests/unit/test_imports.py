"""What a command must not load: libraries that only other commands need cost every start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HEAVY = (
    "acme",
    "apscheduler",
    "cryptography",
    "dns",
    "jinja2",
    "josepy",
    "requests",
    "rich",
    "urllib3",
)


def _loaded(*arguments: str) -> set[str]:
    """The modules in memory after ``certrotd`` with these arguments has ended well.

    Of other packages it has the names of these alone.
    """
    program = (
        "import sys; from certrotd.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "def named(name):\n"
        "    package = name.partition('.')[0]\n"
        "    return name if package == 'certrotd' else package\n"
        "print(*map(named, sys.modules), file=sys.stderr)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return set(run.stderr.splitlines()[-1].split())


def _configured(tmp_path: Path) -> Path:
    config = tmp_path / "config.yaml"
    config.write_text(
        f"state_dir: {tmp_path}/state\n"
        "issuers: {ca: {type: internal}}\n"
        "certificates: [{name: web, names: [www.example.test]}]\n"
    )
    return config


def test_the_version_is_reported_without_loading_anything() -> None:
    """Scripts ask it at every turn; not even the command line is needed to answer."""
    loaded = _loaded("--version")
    assert not loaded & {*HEAVY, "pydantic", "pydantic_core", "typer", "typing", "yaml"}


def test_a_listing_loads_no_library_that_only_rotating_needs(tmp_path: Path) -> None:
    """A status is a matter of files: X.509, ACME, DNS and terminals are somebody else's."""
    config = str(_configured(tmp_path))
    _loaded("-c", config, "rotate", "--all")
    for listing in (["status"], ["status", "--json"], ["history"]):
        assert not _loaded("-c", config, *listing) & set(HEAVY), listing


def test_a_host_without_data_keys_loads_nothing_of_them(tmp_path: Path) -> None:
    """Their part of the schema is the larger one, and would cost every start."""
    config, keys = _configured(tmp_path), "certrotd.config.keyrings"
    assert keys not in _loaded("-c", str(config), "status")
    with config.open("a") as file:
        file.write("keyrings: {shop: {}}\n")
    assert keys in _loaded("-c", str(config), "status", "certificate/web")


def test_a_rotation_does_load_what_it_needs(tmp_path: Path) -> None:
    """The control: the libraries that are looked for do show when they are loaded."""
    assert "cryptography" in _loaded("-c", str(_configured(tmp_path)), "rotate", "--all")
