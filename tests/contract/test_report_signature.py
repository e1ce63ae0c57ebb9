"""A signed report is verified without certrotd: by openssl, and by a few lines of Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from certrotd.assessment.rendering import Format, rendered
from certrotd.audit import signing
from tests.parts import locate
from tests.parts.pages import blocks, commands
from tests.unit.assessment.samples import facts, made


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    """A directory with a report, its signature and the public key, named as in the page."""
    key = signing.make(tmp_path / "private")
    report = rendered(made(facts()), Format.MD)
    signing.write_signed(tmp_path / "report.md", report, key)
    return tmp_path


def verified(command: list[str], directory: Path) -> bool:
    ran = subprocess.run(command, cwd=directory, capture_output=True, check=False, timeout=60)
    return ran.returncode == 0


def test_openssl_verifies_a_report(signed: Path) -> None:
    """By the command of the page; not when a byte of the report was changed."""
    openssl = locate.require("openssl")
    [line] = [each for each in commands("report.md") if each.startswith("openssl pkeyutl")]
    command = [str(openssl), *line.split()[1:]]
    assert verified(command, signed)
    report = signed / "report.md"
    report.write_bytes(report.read_bytes().replace(b"alice", b"mally", 1))
    assert not verified(command, signed)


def test_python_verifies_a_report(signed: Path) -> None:
    """By the program of the page; not with the signature of something else."""
    [program] = blocks("report.md", "python")
    command = [sys.executable, "-c", program]
    assert verified(command, signed)
    (signed / "report.md.sig").write_bytes(bytes(64))
    assert not verified(command, signed)
