"""Files of SOPS come under another key, as SOPS itself reads them; what does not open stays."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from certrotd.clock import SystemClock
from certrotd.config.file_datasets import FilesDatasetEntry
from certrotd.datasets.census import BY_TRIAL
from certrotd.datasets.configured import opened
from certrotd.datasets.reencryption import Pass
from certrotd.datasets.sops_files import STANZAS
from certrotd.datasets.sops_metadata import Metadata, metadata_of
from certrotd.keyring.age_keys import recipient_of
from certrotd.keyring.material import Algorithm, DataKey, KeySet
from tests.contract.codec_cases import key_of
from tests.parts import locate
from tests.parts.sops import Sops

pytestmark = pytest.mark.contract
OLD, NEW, COLLEAGUE = (key_of(Algorithm.AGE_X25519, each) for each in (1, 2, 9))
KEYS = KeySet.of([OLD, NEW], active=2)
YAML = """\
# who reads this
database:
  # the password of the shop
  password: "pä55: word"
  ports: [5432, 5433]
  empty: ""
motd: |
  two
  lines
"""
PLAIN: Mapping[str, bytes] = {
    "all.yaml": YAML.encode(),
    "two.yml": b"a: 1\n---\nb: two\n",
    "deep/app.json": b'{"a": {"b": [1, true, null, "x"]}, "z": "last"}\n',
    "app.env": b"# a comment\nTOKEN=abc=def\nLINES=one\\ntwo\n",
    "app.ini": b"[db]\n; a comment\npassword = s3cret;#x\n\n[web]\nport = 80\n",
    "logo.png": bytes(range(256)) * 8,
}


class Tree:
    """Files below a directory, with the dataset that they are."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()

    def add(self, name: str, data: bytes, *to: DataKey, options: tuple[str, ...] = ()) -> Path:
        """A file that SOPS encrypts to some keys."""
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        Sops().encrypt(path, to or [OLD], *options)
        return path

    def run(self, **options: Any) -> dict[str, str]:
        """A pass; what was not re-encrypted, and why."""
        with self._opened(options) as found:
            passed = Pass(found.dataset, found.form, KEYS, SystemClock(), found.pace).run()
        return {str(each.key[1]): each.why for each in passed.quarantined}

    def census(self, **options: Any) -> dict[int, int]:
        """How many files are under each version, are plaintext (0), or do not open (-1)."""
        with self._opened(options) as found:
            tally = found.tally(KEYS)
        assert tally.method == BY_TRIAL
        return {**tally.by_version, 0: tally.plaintext, -1: tally.unopened}

    def findings(self, **options: Any) -> list[str]:
        """What a dry run says before it looks."""
        with self._opened(options) as found:
            return [each.words for each in found.findings(staged=True)]

    def _opened(self, options: dict[str, Any]) -> Any:
        sops = {"program": str(locate.require("sops")), **options.pop("sops", {})}
        told = {"type": "files", "roots": [str(self.root)], "codec": "sops", "sops": sops}
        return opened("secrets", FilesDatasetEntry.model_validate({**told, **options}))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An empty one."""
    return Tree(tmp_path / "secrets")


def said(path: Path) -> Metadata:
    """What a file says of itself."""
    found = metadata_of(path.read_bytes())
    assert found is not None
    return found


def data_keys(path: Path, key: DataKey) -> set[bytes]:
    """The data key that a key opens."""
    whose = [each for each in said(path).stanzas if each.recipient == recipient_of(key)]
    return {STANZAS.decrypt(each.wrapped, key) for each in whose}


def test_files_of_every_format_come_under_the_active_key(tree: Tree) -> None:
    """A colleague still reads them; content, layout, mode and times stay, and the data key not."""
    for name, data in PLAIN.items():
        path = tree.add(name, data, OLD, COLLEAGUE)
        os.chmod(path, 0o640)
        os.utime(path, ns=(1, 2_000_000_000))
    narrow = tree.add("narrow.yaml", YAML.encode(), options=("--indent", "2"))
    shape = re.sub(r"ENC\[[^]]*\]", "…", narrow.read_text()).partition("\nsops:")[0]
    wide = tree.add("wide.json", b'{"a": {"b": 1}}', options=("--indent", "3"))
    whole = {path: Sops(OLD)("decrypt", path) for path in tree.root.rglob("*.*")}
    keys = {path: data_keys(path, OLD) for path in whole}
    assert tree.census() == {1: 8, 2: 0, 0: 0, -1: 0}
    assert tree.run() == {}
    for path, content in whole.items():
        assert Sops(NEW)("decrypt", path) == content
        assert not Sops(OLD).opens(path)
        assert len(found := data_keys(path, NEW)) == 1
        assert not found & keys[path], "whoever has the data key of before reads nothing"
    for name in PLAIN:
        path, status = tree.root / name, (tree.root / name).stat()
        assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o640, 2_000_000_000)
        assert Sops(COLLEAGUE)("decrypt", path) == whole[path]
        assert len(said(path).stanzas) == 2
    assert re.sub(r"ENC\[[^]]*\]", "…", narrow.read_text()).partition("\nsops:")[0] == shape
    assert wide.read_text().startswith('{\n   "a": {\n      "b": ')
    assert tree.census() == {1: 0, 2: 8, 0: 0, -1: 0}
    inodes = {path: path.stat().st_ino for path in whole}
    assert tree.run() == {}
    assert {path: path.stat().st_ino for path in whole} == inodes, "nothing is left to do"
    assert {each.suffix for each in tree.root.rglob("*.*")} == {Path(e).suffix for e in PLAIN}


def test_what_does_not_open_stays_and_is_listed(tree: Tree) -> None:
    """Each with its reason; the others are re-encrypted, and no link is followed."""
    tree.add("theirs.yaml", b"a: 1\n", COLLEAGUE)
    mac = tree.add("mac.yaml", b"a: 1\nb: 2\n")
    lines = mac.read_text().splitlines(keepends=True)
    mac.write_text("".join(line for line in lines if not line.startswith("b:")))
    damaged = tree.add("damaged.json", b'{"a": 1}')
    armor = str(json.loads(damaged.read_text())["sops"]["age"][0]["enc"]).splitlines()
    broken = armor[3][::-1]
    damaged.write_text(damaged.read_text().replace(armor[3], broken))
    tree.add("cut.json", b'{"a": 1}')
    (tree.root / "cut.json").write_bytes((tree.root / "cut.json").read_bytes()[:-20])
    (tree.root / "plain.yaml").write_text("no: secret\n")
    apart = tree.add("apart.yaml", b"a: 1\n")
    outside = tree.root.parent / "outside.yaml"
    apart.rename(outside)
    (tree.root / "link.yaml").symlink_to(outside)
    linked = tree.add("linked.yaml", b"a: 1\n")
    os.link(linked, tree.root.parent / "other.yaml")
    good = tree.add("good.yaml", b"a: 1\n")
    before = {each: each.read_bytes() for each in tree.root.iterdir() if each != good}
    assert tree.census() == {1: 3, 2: 0, 0: 0, -1: 4}
    left = tree.run()
    assert {each: each.read_bytes() for each in before} == before
    assert left.pop("mac.yaml").startswith(f"{locate.require('sops')} decrypt exited with 51: ")
    assert f"it is for age {recipient_of(COLLEAGUE)}" in left.pop("theirs.yaml")
    assert "1 more names (hard links)" in left.pop("linked.yaml")
    assert left == {
        "damaged.json": "what it has for version 1 does not open",
        "cut.json": "it is not whole as JSON",
        "plain.yaml": "SOPS did not write it",
    }
    assert tree.census() == {1: 2, 2: 1, 0: 0, -1: 4}
    assert tree.census(plaintext="leave") == {1: 2, 2: 1, 0: 1, -1: 3}


def test_a_file_that_old_and_new_keys_open_loses_the_old_one(tree: Tree) -> None:
    """As after sops updatekeys, which keeps the data key; and so does one that only says so."""
    both = tree.add("both.yaml", b"a: 1\n", OLD, NEW)
    before = data_keys(both, OLD)
    says = tree.add("says.json", b'{"a": 1}', NEW)
    told = json.loads(says.read_text())
    told["sops"]["age"].append({"recipient": recipient_of(OLD), "enc": "gone"})
    says.write_text(json.dumps(told, indent=4))
    assert tree.census() == {1: 2, 2: 0, 0: 0, -1: 0}
    assert tree.run() == {}
    for path in (both, says):
        assert [each.recipient for each in said(path).stanzas] == [recipient_of(NEW)]
    assert data_keys(both, NEW) != before
    assert tree.census() == {1: 0, 2: 2, 0: 0, -1: 0}


def test_other_recipients_and_what_is_encrypted_stay(tree: Tree) -> None:
    """A PGP key that sops cannot reach keeps the file; a rule that spares values is kept."""
    rule = ("--encrypted-regex", "^secret$")
    path = tree.root / "some.yaml"
    path.write_text("secret: 1\nknown: 2\n")
    Sops()("encrypt", "--age", recipient_of(OLD), *rule, "-i", path)
    pgp = tree.add("pgp.yaml", b"a: 1\n")
    text = pgp.read_text()
    key = '    pgp:\n        - created_at: "2026-01-01T00:00:00Z"\n          enc: x\n          fp: '
    pgp.write_text(text.replace("    lastmodified:", f"{key}{'A' * 40}\n    lastmodified:", 1))
    left = tree.run()
    assert list(left) == ["pgp.yaml"]
    assert "rotate exited with" in left["pgp.yaml"]
    assert "known: 2\n" in path.read_text()
    assert said(path).settings["encrypted_regex"] == "^secret$"
    assert Sops(NEW)("decrypt", path) == b"secret: 1\nknown: 2\n"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ('echo garbage >"$out"', "is no file of SOPS"),
        ('cat "$file" >"$out"', "is not for the active key alone"),
        (': >"$out"', "is no file of SOPS"),
        ('printf "sops:\\n    mac: x" >"$out"', "is not for the active key alone"),
        ("echo it broke >&2; exit 7", "rotate exited with 7: it broke"),
        ("kill -9 $$", "rotate was killed by signal 9"),
        (
            '"$SOPS" "$@"; text=$(sed "s/^known: .*/known: 3/" "$out"); echo "$text" >"$out"',
            "exited with 51",
        ),
        (
            '"$SOPS" "$@" >/dev/null; "$SOPS" --config /dev/null encrypt --age "$new" '
            '--input-type yaml --output-type yaml --output "$out" "$other"',
            "has not the other settings of the file",
        ),
    ],
)
def test_a_program_that_does_something_else_changes_no_file(
    tree: Tree, tmp_path: Path, script: str, words: str
) -> None:
    """Whatever it prints and however it ends."""
    other = tmp_path / "other.yaml"
    other.write_text("a: 1\n")
    path = tree.root / "some.yaml"
    path.write_text("secret: 1\nknown: 2\n")
    Sops()("encrypt", "--age", recipient_of(OLD), "--encrypted-regex", "secret", "-i", path)
    program, before = tmp_path / "sops", path.read_bytes()
    program.write_text(
        "#!/bin/bash\n"
        f"SOPS={locate.require('sops')} new={recipient_of(NEW)} other={other}\n"
        'case "$*" in *rotate*) ;; *) exec "$SOPS" "$@" ;; esac\n'
        "file=${@: -1} out=${@: -2:1}\n" + script + "\n"
    )
    program.chmod(0o755)
    left = tree.run(sops={"program": str(program)})
    assert words in left["some.yaml"]
    assert path.read_bytes() == before
    assert [each.name for each in tree.root.iterdir()] == ["some.yaml"]


def test_keys_are_in_no_argument_and_no_variable(tree: Tree, tmp_path: Path) -> None:
    """Others on the host list processes; the operator's own variables are there."""
    tree.add("a.yaml", b"a: 1\n")
    program, seen = tmp_path / "sops", tmp_path / "seen"
    program.write_text(
        f'#!/bin/sh\n(env; echo "$@") >>{seen}\nexec {locate.require("sops")} "$@"\n'
    )
    program.chmod(0o755)
    told = {"program": str(program), "environment": {"AWS_PROFILE": "gitops"}}
    assert tree.run(sops=told) == {}
    text = seen.read_text()
    assert text.count("HOME=/nonexistent\n") >= 3
    assert "AWS_PROFILE=gitops\n" in text
    assert "AGE-SECRET-KEY" not in text
    assert str(tree.root) not in text, "it works on a copy"
