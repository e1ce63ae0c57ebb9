"""A scan finds ciphertext that no dataset declares, in each kind of database and in files."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certrotd.clock import Clock, ManualClock, SystemClock
from certrotd.codecs.fernet import FernetTokens
from certrotd.codecs.tink import Tink
from certrotd.config.keyrings import KeyringEntry
from certrotd.datasets import sql_residue
from certrotd.datasets.residue import Scanned
from certrotd.errors import Transient
from certrotd.keyring.age_keys import recipient_of
from certrotd.keyring.evidence import Scan
from certrotd.keyring.keyring import Keyring, empty
from certrotd.keyring.material import Algorithm, DataKey, Material
from certrotd.keys.scanning import Residues, scans_in
from tests.contract.databases import Database
from tests.fakes.state import MemoryState

NOW = datetime(2027, 3, 4, tzinfo=UTC)
FERNET = DataKey(3, Algorithm.FERNET, Material(b"f" * 32))
TINK, TOKENS = Tink(), FernetTokens()


def keyring() -> Keyring:
    """Two Tink keys with ids, of which the second is active."""
    made = empty("orders", Material(bytes(32)))
    for number in (1, 2):
        key = DataKey(
            number, Algorithm.AES_256_GCM, Material(bytes([number] * 32)), f"7000{number}"
        )
        versions = made.versions.generate(at=NOW, why="due").distribute(number, at=NOW, why="due")
        made = made.added(key, versions.activate(number, at=NOW, why="due"))
    return made


def sealed(number: int, text: str = "a value", aad: bytes = b"") -> bytes:
    return TINK.encrypt(text.encode(), keyring().key(number), aad)


def residues(
    *, url: str = "", dataset: dict[str, Any] | None = None, clock: Clock | None = None, **told: Any
) -> Residues:
    """Those of a keyring with one dataset and this residue entry."""
    rows = {"type": "sql", "url": url, "table": "t", "columns": ["secret"], **(dataset or {})}
    if url and not url.startswith("sqlite"):
        rows["password"] = {"env": "DATABASE_PASSWORD"}
    entry = KeyringEntry.model_validate(
        {"datasets": {"rows": rows} if url else {}, "residue": told}
    )
    kept = scans_in(MemoryState().document("scans/orders"))
    return Residues(entry, [entry], keyring, kept, clock or SystemClock())


def found(scanned: Scanned) -> dict[str, str]:
    assert scanned.unfinished == scanned.unreadable == ()
    return {each.place.partition("/")[2]: each.what for each in scanned.found}


def filled(execute: Callable[..., list[Any]], url: str) -> None:
    """The dataset, an audit table that has old ciphertext, and much that is none."""
    binary = "bytea" if url.startswith("postgresql") else "blob"
    execute(f"create table t (id integer primary key, secret {binary}, note text, n integer)")
    execute(f"create table audit (at integer, old {binary}, token text, photo {binary})")
    execute("insert into t values (1, ?, 'gAAA is how a word may begin', 7)", sealed(2))
    for number in range(30):
        execute("insert into audit values (?, ?, ?, ?)", number, sealed(1, aad=b"t/1") if
                number == 29 else None, TOKENS.encrypt(b"x", FERNET).decode() if number == 7 else
                "eyJhbGciOiJIUzI1NiJ9", b"\x01" + os.urandom(40))  # fmt: skip


def test_old_ciphertext_in_an_audit_table_is_found(database: Database) -> None:
    """By its key, or its form; neither the dataset nor what only begins a little like it."""
    execute, url = database
    filled(execute, url)
    seen = found(residues(url=url).scan())
    places = {place.rpartition("audit.")[2]: what for place, what in seen.items()}
    assert places == {
        "old": "it is tink and names the key of version 1",
        "token": "it looks like fernet",
    }


def test_rows_that_a_dataset_leaves_out_are_looked_at(database: Database) -> None:
    """Its condition tells which; the same column in the rest is in no dataset."""
    execute, url = database
    filled(execute, url)
    execute("drop table audit")
    left_out = {"where": "note is null -- all but one"}
    [what] = found(residues(url=url, dataset=left_out).scan()).values()
    assert what == "it is tink and opens with version 2"
    assert found(residues(url=url, dataset={"where": "note is not null"}).scan()) == {}


def test_a_scan_that_is_out_of_time_says_where(database: Database) -> None:
    """It is no proof that nothing is there."""
    execute, url = database
    filled(execute, url)

    class Late(ManualClock):
        """A thousand seconds pass between two looks at it."""

        def monotonic(self) -> float:
            self.advance(timedelta(seconds=1000))
            return super().monotonic()

    late = residues(url=url, clock=Late(NOW))
    assert late.scan().unfinished
    kept = late.kept.read()
    assert kept is not None
    assert kept.unfinished


def test_a_database_that_is_away_is_not_empty(tmp_path: Path) -> None:
    """Anything may be in it."""
    scanned = residues(url=f"sqlite:///{tmp_path}/gone.db").scan()
    assert "cannot be reached" in scanned.unfinished[0] or "gone.db" in scanned.unfinished[0]


def test_what_fails_in_the_middle_of_a_scan_was_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    """A database that restarts, and a directory that cannot be read, with all behind it."""
    execute, url = database
    filled(execute, url)

    def gone(*_: object) -> list[bytes]:
        raise Transient("the server stops")

    with monkeypatch.context() as patch:
        patch.setattr(sql_residue.Database, "_values", gone)
        scanned = residues(url=url).scan()
    assert (len(scanned.unfinished), scanned.unreadable) == (scanned.columns, ())
    assert "the server stops" in scanned.unfinished[0]
    away = str(tmp_path / "away")
    scanned = residues(paths=[away]).scan()
    assert scanned.unreadable == ()
    [words] = scanned.unfinished
    assert words.startswith(f"{away}: cannot read")


def test_files_are_looked_into(tmp_path: Path) -> None:
    """A dump with a token in it, and a copy of a value; not what only looks a little like it."""
    (tmp_path / "export").mkdir()
    token = TOKENS.encrypt(b"x", FERNET)
    (tmp_path / "export/dump.sql").write_bytes(b"INSERT INTO t VALUES (1,'" + token + b"');\n")
    (tmp_path / "export/copy").write_bytes(sealed(1))
    (tmp_path / "export/words.txt").write_bytes(b"gAAAb, eyJpdiI6I\n")
    (tmp_path / "export/picture").write_bytes(b"\x01" + os.urandom(5000))
    scanned = residues(paths=[str(tmp_path / "export")]).scan()
    assert scanned.files == 4
    assert {Path(each.place).name: each.what for each in scanned.found} == {
        "copy": "it is tink and opens with version 1",
        "dump.sql": "it looks like fernet",
    }


def test_files_of_the_forms_of_datasets_are_found_beside_them(tmp_path: Path) -> None:
    """A copy of a vault, values within a file, a file of symmetric-encryption; no other text."""
    (tmp_path / "b").mkdir()
    header = b"$ANSIBLE_VAULT;1.1;AES256\n"
    (tmp_path / "b/vault.bak").write_bytes(header + b"6162\n")
    (tmp_path / "b/old.yml").write_bytes(b"x: !vault |\n  " + header + b"  6162\n")
    (tmp_path / "b/dump.enc").write_bytes(b"@EnC\1\0" + bytes(16))
    (tmp_path / "b/page.md").write_bytes(b"begins with $ANSIBLE_VAULT and @EnC")
    told = residues(paths=[str(tmp_path / "b")])
    assert found(told.scan()) == {}
    files = {
        "type": "files",
        "roots": [str(tmp_path)],
        "include": ["*.vault"],
    }
    gem = {"content": "utf8", "plaintext": "leave"}
    entry = KeyringEntry.model_validate({
        "datasets": {name: {**files, "codec": name} | more for name, more in (
            ("ansible-vault", {}), ("symmetric-encryption", gem))},
        "residue": {"paths": [str(tmp_path / "b")]},
    })  # fmt: skip
    seen = found(replace(told, entry=entry, every=[entry]).scan())
    assert {Path(place).name: what for place, what in seen.items()} == {
        "vault.bak": "it begins as ansible-vault does",
        "old.yml": "it begins as ansible-vault does",
        "dump.enc": "it begins as symmetric-encryption does",
    }


def test_texts_that_name_an_old_recipient_of_age_are_found(tmp_path: Path) -> None:
    """A file of SOPS, and a rule by which more come; those of the active key need no old one."""
    made = empty("gitops", Material(bytes(32)))
    for number in (1, 2):
        key = DataKey(number, Algorithm.AGE_X25519, Material(bytes([number] * 32)))
        versions = made.versions.generate(at=NOW, why="due").distribute(number, at=NOW, why="due")
        made = made.added(key, versions.activate(number, at=NOW, why="due"))
    old, new = (recipient_of(made.key(number)) for number in (1, 2))
    for name, text in {
        "old.yaml": f"sops:\n    age:\n        - recipient: {old}\n",
        "old.env": f"sops_age__list_0__map_recipient={old}\n",
        "old.json": f'{{"recipient": "{old}"}}',
        ".sops.yaml": f"creation_rules:\n  - age: {new},{old}\n",
        "new.yaml": f"sops:\n    age:\n        - recipient: {new}\n",
        "other.yaml": f"to: {old[:-1]}\n",
    }.items():
        (tmp_path / name).write_text(text)
    told = replace(residues(paths=[str(tmp_path)]), keyring=lambda: made)
    what = "it names the age recipient of version 1"
    names = (".sops.yaml", "old.env", "old.json", "old.yaml")
    assert {Path(each.place).name: each.what for each in told.scan().found} == dict.fromkeys(
        names, what
    )


def test_what_is_to_be_ignored_is_named_by_its_place_and_a_reason(tmp_path: Path) -> None:
    """Also of a scan that was kept before somebody said so."""
    (tmp_path / "copy").write_bytes(sealed(1))
    place = str(tmp_path / "copy")
    told = residues(paths=[str(tmp_path)], ignore=[{"place": f"{tmp_path}/c*", "why": "a relic"}])
    told.scan()
    assert told.ignored(place) == "a relic"
    kept = told.kept.read()
    assert kept is not None
    assert kept.undeclared == (f"{place}: it is tink and opens with version 1",)
    assert told.still(kept) == Scan(kept.at)
    assert residues().still(kept) == kept


@pytest.mark.parametrize(
    "data", [b"{half", b"[]", b'{"at": "2027-03-04", "undeclared": [], "x": 1}']
)
def test_a_scan_that_was_garbled_is_none(data: bytes) -> None:
    """It is made anew, and proves nothing until then."""
    document = MemoryState().document("scans/orders")
    document.write(data)
    assert scans_in(document).peek() is None
