"""Whatever one file of an installation is, it is a line of the report, and the rest moves in."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from certrotd.cli.moving_in import Wish, bring_in
from certrotd.importing.acmesh import read_acme_sh
from certrotd.importing.certbot import read_certbot
from certrotd.importing.configuration import plan
from certrotd.importing.found import Fate, FoundCertificate, Installation
from certrotd.importing.lego import read_lego
from tests.unit.importing import trees
from tests.unit.importing.trees import NAME, NOW, put, reader

HOST = "acme-v02.api.letsencrypt.org"


def certbot(root: Path) -> Installation:
    """Of the good lineage and whatever is beside it."""
    return read_certbot(reader(trees.certbot(root)), now=NOW)


def lego(root: Path) -> Installation:
    """The same of lego, with its provider named."""
    put(root / "hetzner.env", "HETZNER_API_TOKEN=token\n")
    env = root / "hetzner.env"
    return read_lego(reader(trees.lego(root)), now=NOW, provider="hetzner", environment=env)


def acme_sh(root: Path) -> Installation:
    """The same of acme.sh."""
    return read_acme_sh(reader(trees.acme_sh(root)), now=NOW)


def binary(path: Path) -> None:
    """Text, and then none."""
    put(path, b"a = b\n\n\xff\xfe\x00")


def of_pipes(path: Path) -> None:
    """Nobody writes into it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path, 0o600)


def loop(path: Path) -> None:
    """A link to itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(path.name)


def folder(path: Path) -> None:
    """A directory."""
    path.mkdir(parents=True)


def file(path: Path) -> None:
    """Where a directory belongs."""
    put(path, "")


def open_to_all(path: Path) -> None:
    """A directory in which everybody may write."""
    path.mkdir(parents=True)
    path.chmod(0o777)


@pytest.mark.parametrize(
    ("read", "odd", "path", "where"),
    [
        (certbot, binary, "renewal/odd.conf", "renewal/odd.conf:3"),
        (certbot, loop, "renewal/odd.conf", "renewal/odd.conf"),
        (certbot, of_pipes, "renewal/odd.conf", "renewal/odd.conf"),
        (certbot, folder, "renewal/odd.conf", "renewal/odd.conf"),
        (certbot, binary, "cli.ini", "cli.ini:3"),
        (certbot, file, "renewal-hooks/post", "renewal-hooks/post"),
        (certbot, open_to_all, "renewal-hooks/deploy", "renewal-hooks/deploy"),
        (lego, binary, "certificates/odd.crt", "certificates/odd.crt"),
        (lego, loop, "certificates/odd.crt", "certificates/odd.crt"),
        (lego, file, "accounts/.DS_Store", "accounts/.DS_Store"),
        (lego, loop, f"accounts/{HOST}/odd", f"accounts/{HOST}/odd"),
        (lego, binary, f"accounts/{HOST}/odd/account.json", f"accounts/{HOST}/odd"),
        (acme_sh, binary, "odd.test_ecc/odd.test.conf", "odd.test_ecc/odd.test.conf:3"),
        (acme_sh, loop, "odd.test_ecc/odd.test.conf", "odd.test_ecc/odd.test.conf"),
        (acme_sh, open_to_all, "odd.test_ecc", "odd.test_ecc"),
        (acme_sh, loop, "odd.test_ecc", "odd.test_ecc"),
    ],
    ids=lambda value: value.__name__ if callable(value) else value,
)
def test_one_odd_file_is_reported_and_the_others_are_taken_over(
    tmp_path: Path,
    read: Callable[[Path], Installation],
    odd: Callable[[Path], None],
    path: str,
    where: str,
) -> None:
    """With the file, and with the line where there is one."""
    odd(tmp_path / path)
    found = read(tmp_path)
    made = plan(found, Path("/etc/certrotd"), now=NOW)
    assert [(each.name, each.why) for each in made.certificates] == [(NAME, "")]
    assert [row.where for row in made.rows if row.fate is Fate.PROBLEM] == [where], made.rows


def test_a_defect_of_the_reader_costs_one_certificate_alone(tmp_path: Path) -> None:
    """It is reported as what it is."""
    found = Installation("certbot", tmp_path)

    def defect() -> FoundCertificate:
        raise KeyError("x")

    found.take("renewal/a.conf", defect)
    [row] = found.rows
    assert (row.where, row.fate) == ("renewal/a.conf", Fate.PROBLEM)
    assert "this is a defect of certrotd" in row.note


def test_the_exit_code_tells_that_something_was_not_mapped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rest is written all the same."""
    root, written = trees.certbot(tmp_path / "letsencrypt"), tmp_path / "written"
    loop(root / "renewal" / "odd.conf")
    wish = Wish("certbot", root, written, state_dir=tmp_path / "state")
    assert bring_in(wish, as_json=False) == 1
    assert f"name: {NAME}" in (written / "config.yaml").read_text()
    assert "renewal/odd.conf" in capsys.readouterr().out
