"""The example in docs/extending.md is followed to the letter, and works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.fixture
def extended(tmp_path: Path) -> Path:
    """A copy of the tree with the page's file, schema entry and contract line in their places."""
    for part in ("certrotd", "tests"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    solver, schema, rig = _BLOCK.findall((ROOT / "docs/extending.md").read_text())
    (tmp_path / "certrotd/dns/spool.py").write_text(solver)
    entries = tmp_path / "certrotd/config/solvers.py"
    before, listing = entries.read_text().split("\nSolverEntry = Annotated[", 1)
    _, after = listing.split('"""', 1)
    entry = schema.rstrip()
    head = before.replace("import Argv,", "import AbsolutePath, Argv,", 1)
    entries.write_text(f'{head}\n{entry}\n"""{after}')
    with (tmp_path / "tests/contract/test_solvers.py").open("a") as suite:
        suite.write(f"\n\n{rig}")
    return tmp_path


def _run(tree: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    return subprocess.run(
        [sys.executable, *argv],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_example_keeps_the_contract_of_solvers(extended: Path) -> None:
    """One line in the suite is all it takes to hold a new solver to every claim."""
    run = _run(
        extended,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/contract/test_solvers.py",
        "-k",
        "TestSpool",
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout


def test_the_example_can_be_configured(extended: Path) -> None:
    """The schema entry alone makes the type known, with its errors in the project's words."""
    config = extended / "config.yaml"
    text = f"""
state_dir: {extended}/state
issuers: {{ca: {{type: acme, directory: "https://127.0.0.1:1/dir", agree_to_terms: true}}}}
solvers: {{files: {{type: spool, directory: {extended}/records}}}}
certificates: [{{name: web, names: [example.test]}}]
"""
    config.write_text(text)
    good = _run(extended, "-m", "certrotd", "-c", str(config), "config", "check")
    assert good.returncode == 0, good.stderr
    config.write_text(text.replace("directory: " + str(extended), "directroy: " + str(extended)))
    bad = _run(extended, "-m", "certrotd", "-c", str(config), "config", "check")
    assert bad.returncode == 2
    assert 'did you mean "directory"' in bad.stderr


def test_without_the_entry_the_type_is_unknown(tmp_path: Path) -> None:
    """The control: what the page adds is what makes the difference."""
    config = tmp_path / "config.yaml"
    config.write_text(
        "issuers: {lab: {type: internal}}\n"
        "solvers: {files: {type: spool, directory: /tmp}}\n"
        "certificates: [{name: web, names: [example.test]}]\n"
    )
    run = _run(ROOT, "-m", "certrotd", "-c", str(config), "config", "check")
    assert run.returncode == 2
    assert "spool" in run.stderr
