"""The files are all that a daemon, a one-shot command and a crash have in common."""

import json
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.dns import recordfiles
from certrotd.dns.recordfiles import RecordFiles
from certrotd.dns.records import TxtRecord
from certrotd.errors import NeedsOperator, Transient

NAME = "a.acme.example.net"
ONE = TxtRecord(NAME, "one")
TWO = TxtRecord(NAME, "two")
OTHER = TxtRecord("b.acme.example.net", "one")


@pytest.fixture
def files(tmp_path: Path) -> RecordFiles:
    return RecordFiles(tmp_path / "state" / "dns")


def _paths(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "state" / "dns").iterdir())


def test_a_second_process_sees_the_same_records(files: RecordFiles, tmp_path: Path) -> None:
    """A second instance stands for the other process: nothing but files is shared."""
    other = RecordFiles(tmp_path / "state" / "dns")
    assert other.read() == {}
    files.add(ONE)
    files.add(TWO)
    files.add(OTHER)
    assert other.read() == {NAME: ("one", "two"), OTHER.name: ("one",)}
    files.remove(ONE)
    assert other.read() == {NAME: ("two",), OTHER.name: ("one",)}
    other.remove(TWO)
    other.remove(OTHER)
    assert other.read() == files.read() == {}


def test_files_are_private_and_named_by_a_hash(files: RecordFiles, tmp_path: Path) -> None:
    """Names from outside are never part of a path (CVE-2022-30636)."""
    files.add(ONE)
    (path,) = _paths(tmp_path)
    assert len(path.name) == 64
    assert set(path.name) <= set("0123456789abcdef")
    assert path.stat().st_mode & 0o7777 == 0o600
    assert path.parent.stat().st_mode & 0o7777 == 0o700


def test_adding_and_removing_twice_is_fine(files: RecordFiles, tmp_path: Path) -> None:
    """Steps run again after a crash."""
    files.add(ONE)
    files.add(ONE)
    assert files.read() == {NAME: ("one",)}
    assert len(_paths(tmp_path)) == 1
    files.remove(ONE)
    files.remove(ONE)
    assert files.read() == {}


def test_removing_without_a_directory_is_fine(files: RecordFiles) -> None:
    """The sweep after losing the state directory has nothing to do."""
    files.remove(ONE)
    assert files.read() == {}


def test_a_half_written_file_is_no_record_and_is_swept(files: RecordFiles, tmp_path: Path) -> None:
    """A crash between writing and renaming leaves a temporary file, which withdrawing removes."""
    files.add(ONE)
    (path,) = _paths(tmp_path)
    torn = path.with_name(f".{path.name}.123.abcdef")
    path.rename(torn)
    assert files.read() == {}
    files.remove(TWO)
    assert torn.exists()
    files.remove(ONE)
    assert not torn.exists()


def test_a_file_that_is_not_what_its_name_says_is_no_record(
    files: RecordFiles, tmp_path: Path
) -> None:
    """A planted, torn or foreign file must not be answered with, nor stop the others."""
    files.add(ONE)
    files.add(OTHER)
    first = next(p for p in _paths(tmp_path) if json.loads(p.read_text()) == ONE.to_json())
    for content in (
        "",
        "{",
        "[]",
        '{"name": "x"}',
        json.dumps(TWO.to_json()),
        "9" * 5000,
        "[" * 60_000,
        "\0",
    ):
        first.unlink()
        first.write_text(content)
        assert files.read() == {OTHER.name: ("one",)}
    files.add(ONE)
    assert files.read() == {NAME: ("one",), OTHER.name: ("one",)}


def test_a_symlink_is_not_followed(files: RecordFiles, tmp_path: Path) -> None:
    """CVE-2016-1247: symlinks planted in a directory; what they lead to is no record of ours."""
    files.add(ONE)
    (path,) = _paths(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert RecordFiles(path.parent).read() == {}
    with pytest.raises(OSError, match="symbolic links"):
        RecordFiles(path.parent)._load(path.name)


def test_a_record_withdrawn_while_being_read_is_seen_when_it_returns(
    files: RecordFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was gone for a moment must not be remembered as gone."""
    files.add(ONE)
    (path,) = _paths(tmp_path)
    entry = (path.name, path.stat().st_ino)
    path.rename(tmp_path / "aside")
    with monkeypatch.context() as patched:
        patched.setattr(files, "_list", lambda: [entry])
        assert files.read() == {}
    (tmp_path / "aside").rename(path)
    assert files.read() == {NAME: ("one",)}


def test_unchanged_files_are_not_read_again(
    files: RecordFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question costs one listing, with two hundred records as with one."""
    files.add(ONE)
    first = files.read()
    monkeypatch.setattr(files, "_load", None)
    assert files.read() is first


def test_the_number_of_records_is_bounded(
    files: RecordFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runaway writer must not take the responder's memory."""
    monkeypatch.setattr(recordfiles, "MAX_RECORDS", 2)
    for record in (ONE, TWO, OTHER):
        files.add(record)
    assert sum(map(len, files.read().values())) == 2


def test_a_directory_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    """Here it is a file: that stops root as well."""
    (tmp_path / "state").write_text("")
    with pytest.raises(NeedsOperator, match="cannot write DNS records in"):
        RecordFiles(tmp_path / "state").add(ONE)
    with pytest.raises(NeedsOperator, match="cannot delete DNS records in"):
        RecordFiles(tmp_path / "state").remove(ONE)


def test_a_full_disk_is_reported_and_leaves_nothing(
    files: RecordFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """acme.sh #7247: what a full disk leaves must not be half a record."""

    def full(*args: object, **kw: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dump", full)
    with pytest.raises(Transient, match="No space left on device"):
        files.add(ONE)
    assert _paths(tmp_path) == []


def test_threads_may_add_and_remove_at_once(files: RecordFiles) -> None:
    """Two hundred certificates are obtained over threads of one process."""
    records = [TxtRecord(NAME, f"value{n}") for n in range(40)]

    def work(part: list[TxtRecord]) -> None:
        for record in part:
            files.add(record)
            files.add(ONE)
            if record.value.endswith("0"):
                files.remove(record)

    threads = [threading.Thread(target=work, args=(records[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = sorted(["one", *(r.value for r in records if not r.value.endswith("0"))])
    assert list(files.read()[NAME]) == kept


@given(st.binary(max_size=1200))
def test_any_content_is_a_record_or_none(content: bytes) -> None:
    """Whatever a disk gives back, reading goes on."""
    name = recordfiles._file_name(ONE)
    files = RecordFiles(Path())
    read, write = os.pipe()
    os.write(write, content)
    os.close(write)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "open", lambda *args: read)
        assert files._load(name) in (None, ONE)
