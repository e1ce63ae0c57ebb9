"""Values of Ansible Vault are found wherever they stand, and nothing else of a file changes."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from certrotd.clock import ManualClock
from certrotd.codecs.ansible_vault import AnsibleVault
from certrotd.codecs.errors import Damaged
from certrotd.config.file_datasets import FilesDatasetEntry
from certrotd.datasets.configured import opened
from certrotd.datasets.reencryption import Pass, Passed
from certrotd.datasets.vault_documents import VaultDocument
from certrotd.jsonscan import Place
from certrotd.keyring.material import Algorithm, KeySet
from tests.contract.codec_cases import key_of

NOW = datetime(2027, 1, 1, tzinfo=UTC)
OLD, NEW = (key_of(Algorithm.PASSPHRASE, each, key_id=f"v{each}") for each in (1, 2))
KEYS = KeySet.of([OLD, NEW], active=2)
VAULT = AnsibleVault()
LABELLED = AnsibleVault(key_ids=True)


def sealed(plaintext: bytes, key: Any = OLD, codec: AnsibleVault = VAULT) -> str:
    return codec.encrypt(plaintext, key).decode()


def indented(value: str, by: str, end: str = "\n") -> str:
    return end.join(by + line for line in value.split("\n"))


class Vault(yaml.SafeLoader):
    """Reads ``!vault`` as the text that it tags."""


Vault.add_constructor("!vault", lambda loader, node: loader.construct_scalar(node))  # type: ignore[arg-type]


def secret(value: Any) -> bytes:
    """What an inline value holds, under the new key alone."""
    return VAULT.decrypt(str(value).strip().encode(), NEW)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty directory."""
    (tmp_path / "vars").mkdir()
    return tmp_path / "vars"


def run(root: Path, **options: Any) -> tuple[Passed, dict[int, int]]:
    """A pass, and the census after it."""
    told = {"type": "files", "roots": [str(root)], "codec": "ansible-vault", **options}
    with opened("vars", FilesDatasetEntry.model_validate(told)) as found:
        passed = Pass(found.dataset, found.form, KEYS, ManualClock(NOW), found.pace).run()
        tally = found.tally(KEYS)
        return passed, {**tally.by_version, 0: tally.plaintext, -1: tally.unopened}


def test_values_in_yaml_change_and_nothing_else_does(root: Path) -> None:
    """Comments, order, quotes, other indentation, and text that is no UTF-8 stay."""
    one, two, three = (sealed(each) for each in (b"one", "zwölf\n".encode(), b""))
    quoted = sealed(b"quoted").replace("\n", "\\n")
    text = (
        f"# ümlaut and $ANSIBLE_VAULT; alone\nplain:   'as it was'\none: !vault |\n"
        f"{indented(one, '          ')}\nnested:\n  - two: !vault |\n{indented(two, '      ')}\n\n"
        f'  - four: !vault "{quoted}\\n"\n'
        f"three: !vault |-\n{indented(three, '  ')}\nafter: [1,  2] # kept"
    )
    path = root / "all.yml"
    path.write_bytes(text.encode() + b"\n# \xff\n")
    os.chmod(path, 0o640)
    (root / "plain.yml").write_text("no: secret\n")
    passed, census = run(root)
    assert (passed.count, census) == (0, {1: 0, 2: 4, 0: 0, -1: 0})
    after = path.read_bytes()
    assert (path.stat().st_mode & 0o777, after[-4:]) == (0o640, b"# \xff\n")
    now = after[:-5].decode()
    told = yaml.load(now, Vault)
    assert secret(told["one"]) == b"one"
    assert secret(told["nested"][0]["two"]).decode() == "zwölf\n"
    assert secret(told["nested"][1]["four"]) == b"quoted"
    assert secret(told["three"]) == b""
    for was, key in ((one, "one"), (three, "three")):
        value = str(told[key]).strip()
        by = "          " if key == "one" else "  "
        now = now.replace(indented(value, by), indented(was, by))
    now = now.replace(indented(told["nested"][0]["two"].strip(), "      "), indented(two, "      "))
    now = now.replace(told["nested"][1]["four"].strip().replace("\n", "\\n"), quoted)
    assert now == text
    assert (root / "plain.yml").read_text() == "no: secret\n"


def test_whole_files_and_json_and_lines_of_windows_are_read(root: Path) -> None:
    """With or without a newline at the end; what is under the new key already is not written."""
    (root / "whole").write_text(sealed(b"a: 1\n") + "\n")
    (root / "bare").write_text(sealed(b"b"))
    (root / "crlf").write_bytes(indented(sealed(b"c"), "", "\r\n").encode() + b"\r\n")
    (root / "inventory.json").write_text(json.dumps({"k": {"__ansible_vault": sealed(b"d")}}))
    done = root / "done"
    done.write_text(sealed(b"e", NEW) + "\n")
    before = done.stat().st_ino
    passed, census = run(root)
    assert (passed.count, census) == (0, {1: 0, 2: 5, 0: 0, -1: 0})
    assert done.stat().st_ino == before
    assert (root / "whole").read_text().endswith("\n")
    assert secret((root / "whole").read_text()) == b"a: 1\n"
    assert secret((root / "bare").read_text()) == b"b"
    assert not (root / "bare").read_text().endswith("\n")
    told = (root / "crlf").read_bytes()
    assert told.count(b"\r\n") == told.count(b"\n") > 2
    assert secret(told.replace(b"\r", b"").decode()) == b"c"
    inventory = json.loads((root / "inventory.json").read_text())
    assert secret(inventory["k"]["__ansible_vault"]) == b"d"


def test_a_vault_id_stays_or_becomes_the_id_of_the_key(root: Path) -> None:
    """It is a hint: the HMAC tells the key, whatever it says."""
    (root / "prod").write_text(sealed(b"x").replace("1.1;AES256", "1.2;AES256;prod"))
    (root / "none").write_text(sealed(b"y"))
    run(root)
    assert (root / "prod").read_text().startswith("$ANSIBLE_VAULT;1.2;AES256;prod\n")
    assert (root / "none").read_text().startswith("$ANSIBLE_VAULT;1.1;AES256\n")
    (root / "more").write_text(sealed(b"z").replace("1.1;AES256", "1.2;AES256;v2 "))
    assert run(root, vault_ids="key")[1] == {1: 0, 2: 3, 0: 0, -1: 0}
    assert (root / "more").read_text().startswith("$ANSIBLE_VAULT;1.2;AES256;v2\n")


def test_what_does_not_open_is_listed_by_its_line_and_the_rest_is_done(root: Path) -> None:
    """Another password, altered hex, a line that is missing, a format of long ago."""
    good, value = sealed(b"good"), sealed(b"bad" * 50)
    other = sealed(b"other", key_of(Algorithm.PASSPHRASE, 9))
    lines = value.split("\n")
    flipped = "\n".join([*lines[:3], lines[3].translate(str.maketrans("3", "4")), *lines[4:]])
    bad = {"other": other, "flipped": flipped, "missing": "\n".join(lines[:2] + lines[3:]),
           "cut": value[:-3], "blank": "\n".join([*lines[:3], "", *lines[3:]])}  # fmt: skip
    for name, each in bad.items():
        (root / name).write_text(f"good: |\n{indented(good, '  ')}\nb: |\n{indented(each, '  ')}\n")
    head = {"old": "$ANSIBLE_VAULT;1.0;AES\n6162\n", "headless": "x: $ANSIBLE_VAULT;1.1;AES256\n"}
    for name, each in head.items():
        (root / name).write_text(each)
    passed, census = run(root)
    assert census == {1: 0, 2: len(bad), 0: 0, -1: len(bad) + 2}
    told = {str(each.key[1]): each.why for each in passed.quarantined}
    assert told.keys() == {*bad, *head}
    assert all(told[name].startswith("at line 9, ") for name in bad), told
    assert "line 1 begins a value of Ansible Vault that is not whole" in told["headless"]
    assert all(each not in str(passed) for each in ("good", "bad" * 3))
    for name, each in bad.items():
        text = (root / name).read_text()
        assert indented(each, "  ") in text
        assert good.split("\n")[1] not in text
    assert {name: (root / name).read_text() for name in head} == head


def test_a_file_of_hostile_text_takes_no_long_time() -> None:
    """Beginnings without end, lines of nothing but hex."""
    hostile = [
        b"$ANSIBLE_VAULT;1.1;AES256\n" * 20_000,
        b"$ANSIBLE_VAULT;1.1;AES256\n" + b"a\n" * 500_000,
        b"$ANSIBLE_VAULT;1.2;AES256;" + b" " * 1_000_000,
        b"$ANSIBLE_VAULT;1" * 50_000,
        b"$ANSIBLE_VAULT;1.1;AES256\n" + b" " * 1_000_000 + b"ab\nab",
    ]
    for each in hostile:
        try:
            found = list(VaultDocument().places(each))
        except Damaged:
            continue
        assert len(found) == 1


def test_splicing_changes_the_places_that_are_named() -> None:
    """Others, between them, stay."""
    text = f"{sealed(b'1')}\n--\n{sealed(b'2')}\n--\n{sealed(b'3')}".encode()
    first, second, third = VaultDocument().places(text)
    assert isinstance(second, Place)
    changed = VaultDocument().spliced(text, [(first, b"A\nB"), (third, b"C")])
    assert changed == b"A\nB\n--\n" + str(second.value).encode() + b"\n--\nC"
    assert repr(second) == "<value at line 8>"
