"""What another process has rotated is noticed by what it leaves in the state directory."""

import os
from pathlib import Path
from typing import Any

import pytest

from certrotd.state.changes import FileChanges
from certrotd.state.journal import FileJournal


@pytest.fixture
def changes(tmp_path: Path) -> FileChanges:
    """Those of a state in which two certificates were rotated long ago."""
    for name in ("old", "older"):
        close(tmp_path, name)
        os.utime(tmp_path / "history/certificate", (1, 1))
    changes = FileChanges(tmp_path, "certificate")
    assert changes.subjects() == set()
    settle(changes)
    return changes


def settle(changes: FileChanges) -> None:
    """Two ticks later."""
    changes.subjects()
    assert changes.subjects() == set()


def close(state: Path, name: str, **more: Any) -> None:
    """A rotation from its beginning to its end."""
    journal = FileJournal(state, f"certificate/{name}")
    journal.append({"t": "begin"}, sync=True)
    journal.close({"id": name, "failure": None, **more})


def test_a_rotation_is_noticed_when_it_begins_and_when_it_has_ended(
    changes: FileChanges, tmp_path: Path
) -> None:
    """Also one that is killed: its journal is there, and somebody is to go on with it."""
    journal = FileJournal(tmp_path, "certificate/web")
    journal.append({"t": "begin"}, sync=True)
    assert "certificate/web" in changes.subjects()
    settle(changes)
    journal.close({"id": "1", "failure": None})
    assert "certificate/web" in changes.subjects()
    settle(changes)


def test_a_rotation_that_begins_and_ends_between_two_looks_is_noticed(
    changes: FileChanges, tmp_path: Path
) -> None:
    """Nothing of its journal is left by then."""
    close(tmp_path, "web")
    assert "certificate/web" in changes.subjects()


def test_a_certificate_rotated_before_the_start_is_not_looked_at_twice(tmp_path: Path) -> None:
    """The daemon looks at all certificates at its start; those made a moment ago are no news."""
    close(tmp_path, "web")
    changes = FileChanges(tmp_path, "certificate")
    assert changes.subjects() == set()
    assert changes.subjects() == set()


def test_a_stray_file_among_the_journals_hides_nothing(tmp_path: Path) -> None:
    """Whoever edits a journal leaves a copy; what it is called is no id of anybody's."""
    close(tmp_path, "web")
    changes = FileChanges(tmp_path, "certificate")
    assert changes.subjects() == set()
    for stray in ("certificate/web (copy).jsonl", "Old Ones/web.jsonl"):
        (tmp_path / "journal" / stray).parent.mkdir(exist_ok=True)
        (tmp_path / "journal" / stray).write_text("{}")
    close(tmp_path, "www")
    assert "certificate/www" in changes.subjects()


def test_the_first_rotation_of_all_is_noticed(tmp_path: Path) -> None:
    """There were no directories yet."""
    changes = FileChanges(tmp_path, "certificate")
    assert changes.subjects() == set()
    close(tmp_path, "web")
    assert changes.subjects() == {"certificate/web"}


def test_a_clock_that_was_put_back_hides_nothing(changes: FileChanges, tmp_path: Path) -> None:
    """What was written before is dated later then."""
    close(tmp_path, "later")
    os.utime(tmp_path / "history/certificate", (4_000_000_000, 4_000_000_000))
    changes.subjects()
    close(tmp_path, "web")
    assert "certificate/web" in changes.subjects()
