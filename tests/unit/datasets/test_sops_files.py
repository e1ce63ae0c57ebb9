"""What files of SOPS say of themselves, and a program that is not there or does not end."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from certrotd.clock import SystemClock
from certrotd.codecs.errors import CodecError, Damaged, TooLarge, Unsupported
from certrotd.config.file_datasets import FilesDatasetEntry
from certrotd.datasets.configured import opened
from certrotd.datasets.reencryption import Pass
from certrotd.datasets.sops_files import opened_of
from certrotd.datasets.sops_metadata import metadata_of
from certrotd.errors import NeedsOperator, Transient
from certrotd.keyring.age_keys import recipient_of
from certrotd.keyring.material import Algorithm, KeySet
from tests.contract.codec_cases import key_of

VECTORS = Path(__file__).parents[2] / "vectors" / "sops"
OLD, NEW, COLLEAGUE = (key_of(Algorithm.AGE_X25519, each) for each in (1, 2, 9))
KEYS = KeySet.of([OLD, NEW], active=2)
YAML = (VECTORS / "all.yaml").read_text()
ENV = (VECTORS / "app.env").read_text()


def dataset(root: Path, **sops: Any) -> Any:
    """The files below a directory."""
    told = {"type": "files", "roots": [str(root)], "codec": "sops", "sops": sops}
    return opened("secrets", FilesDatasetEntry.model_validate(told))


def run(root: Path, **sops: Any) -> None:
    """A pass that is to re-encrypt all of it."""
    with dataset(root, **sops) as found:
        Pass(found.dataset, found.form, KEYS, SystemClock(), found.pace).run()


@pytest.mark.parametrize(
    ("name", "kind", "indent"),
    [
        ("all.yaml", "yaml", 4),
        ("two.yml", "yaml", 4),
        ("app.json", "json", None),
        ("app.env", "dotenv", None),
        ("app.ini", "ini", None),
        ("logo.png", "json", None),
    ],
)
def test_every_format_says_for_whom_it_is(name: str, kind: str, indent: int | None) -> None:
    """A file that SOPS wrote, for a key of the keyring and mostly a colleague."""
    found = metadata_of((VECTORS / name).read_bytes())
    assert found is not None
    assert (found.kind, found.indent, found.others) == (kind, indent, frozenset())
    whom = [recipient_of(OLD), recipient_of(COLLEAGUE)][: 1 if name == "logo.png" else 2]
    assert [each.recipient for each in found.stanzas] == whom
    assert found.settings == {"unencrypted_suffix": "_unencrypted"}
    assert [key for _, key in opened_of(found, KEYS).by] == [OLD]


def test_the_census_opens_every_data_key(tmp_path: Path) -> None:
    """No program is needed for it."""
    shutil.copytree(VECTORS, tmp_path / "f")
    with dataset(tmp_path / "f", program="/nowhere/sops") as found:
        assert found.tally(KEYS).by_version == {1: 6, 2: 0}


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (YAML.replace("    mac:", "    mic:"), Damaged, "under sops is not whole"),
        (YAML.replace("    mac:", "  mac:"), Damaged, "under sops is not whole"),
        (YAML.replace("recipient:", "r:"), Damaged, "recipient of age under sops is not whole"),
        (f"{YAML}---\n{YAML.replace('3.', '4.')}", Damaged, "say different things"),
        (YAML.replace("    mac:", "    key_groups: [{}]\n    mac:"), Unsupported, "key groups"),
        (YAML.replace("    mac:", "    pgp: [x]\n    mac:"), Damaged, "are not recipients"),
        (YAML.replace("    mac:", "    x: &x {}\n    y: *x\n    mac:"), Damaged, "is not whole"),
        (f"{ENV}sops_key_groups__list_0__map_age=x\n", Unsupported, "key groups"),
        ("sops_on=true\n", Damaged, "under sops is not whole"),
        ("[sops]\non = true\n", Damaged, "under sops is not whole"),
        ('{"sops": {"mac": "x"', Damaged, "not whole as JSON"),
    ],
)
def test_what_is_not_whole_is_refused(text: str, kind: type[CodecError], words: str) -> None:
    """It was meant to be a file of SOPS."""
    with pytest.raises(kind, match=words):
        metadata_of(text.encode())


def test_many_documents_are_read_once_and_long_metadata_is_not_read() -> None:
    """Every document repeats it; what somebody has made of 16 MiB would take a minute."""
    assert metadata_of(f"{YAML}---\n".encode() * 1000) == metadata_of(YAML.encode())
    stanza = "        - recipient: age1x\n          enc: x\n"
    long = YAML.replace("    age:\n", f"    age:\n{stanza * 10_000}")
    with pytest.raises(TooLarge, match="takes more than 262,144 bytes"):
        metadata_of(long.encode())


@pytest.mark.parametrize(
    "text", ["a: sops\n", "  sops:\n    mac: x\n", '{"a": 1}', "{{ x }}", "SOPS_X=1\n", "\x00", ""]
)
def test_other_files_are_none_of_sops(text: str) -> None:
    """Whatever they have in them."""
    assert metadata_of(text.encode()) is None


@given(before=st.binary(max_size=50), after=st.binary(max_size=200))
@example(before=b"", after=b"\n    a: &a [*a]\n")
@example(before=b"", after=b"\n    a: !!python/object:os.x\n")
@example(before=b"", after=b"\n    a: 2026-99-99\n    ? {}\n")
@example(before=b"", after=b"\n    mac: x\n    pgp: [{1: a, b: c, 2026-01-01: d}]\n")
@example(before=b"", after=b"\n    mac: x\n    a: 0x" + b"f" * 5000 + b"\n")
@example(before=b"", after=b"\n    a: &a {b: *a}\n---\nsops:\n    a: &a {b: *a}\n")
@example(before=b"sops_age__list_" + b"9" * 5000 + b"__map_enc=x", after=b"")
def test_bytes_of_any_kind_raise_nothing_else(before: bytes, after: bytes) -> None:
    """Whatever somebody writes into a file."""
    for begins in (b"sops:", b'{"sops": {', b"sops_mac=", b"[sops]\n", b""):
        try:
            metadata_of(before + b"\n" + begins + after)
        except CodecError:
            continue


def test_a_program_that_is_missing_is_said_once(tmp_path: Path) -> None:
    """Before anything is written, and not for every file."""
    shutil.copytree(VECTORS, tmp_path / "f")
    with dataset(tmp_path / "f", program="/nowhere/sops") as found:
        [finding] = found.findings(staged=True)
    assert finding.fatal
    assert "the program /nowhere/sops is not an executable file" in finding.words
    with pytest.raises(NeedsOperator, match="/nowhere/sops decrypt could not be started"):
        run(tmp_path / "f", program="/nowhere/sops")
    assert {each.name for each in (tmp_path / "f").iterdir()} == set(os.listdir(VECTORS))


def test_a_program_that_does_not_end_is_killed_and_tried_later(tmp_path: Path) -> None:
    """With all that it started; the files are as they were."""
    shutil.copytree(VECTORS, tmp_path / "f")
    program, begun = tmp_path / "sops", tmp_path / "begun"
    program.write_text(f"#!/bin/sh\necho waiting for a passphrase\n: >{begun}\nsleep 1000\n")
    program.chmod(0o755)
    with pytest.raises(Transient, match=r"sops decrypt did not end in time .*for a passphrase"):
        run(tmp_path / "f", program=str(program), timeout="5s")
    assert begun.exists()
    assert {each.name: each.read_bytes() for each in (tmp_path / "f").iterdir()} == {
        each.name: each.read_bytes() for each in VECTORS.iterdir()
    }
