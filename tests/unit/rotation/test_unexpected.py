"""What is said of an error that nobody expected."""

import os
from pathlib import Path

import pytest

from certrotd.errors import Transient
from certrotd.files.disktrouble import DiskTrouble, explained
from certrotd.rotation.unexpected import as_failure


def raised(path: Path) -> OSError:
    """What opening it raises."""
    with pytest.raises(OSError) as caught:  # noqa: PT011  # whichever
        os.open(path, os.O_RDONLY)
    return caught.value


def test_a_file_in_the_place_of_a_directory_is_named(tmp_path: Path) -> None:
    """Whoever reads it has to know where to look."""
    (tmp_path / "accounts").write_text("")
    failure = as_failure(raised(tmp_path / "accounts" / "ca"), "finish step 'order'")
    assert failure.message == f"cannot finish step 'order': {tmp_path}/accounts/ca: Not a directory"
    assert failure.hint == "a file stands where a directory belongs; move it away"


def test_a_failed_rename_names_both_paths(tmp_path: Path) -> None:
    """Either may be to blame."""
    with pytest.raises(OSError) as caught:  # noqa: PT011
        os.rename(tmp_path / "a", tmp_path / "none" / "b")
    said = as_failure(caught.value, "finish step 'swap'").message
    assert f"{tmp_path}/a: {tmp_path}/none/b: No such file" in said


def test_a_path_is_reported_once(tmp_path: Path) -> None:
    """What says it already does not say it twice; a name within a directory is no path."""
    gone = tmp_path / "gone"
    assert str(DiskTrouble(f"read {gone}", raised(gone))).count(str(gone)) == 1
    with pytest.raises(DiskTrouble) as caught, explained(f"read {gone}"):
        raise FileNotFoundError(2, "No such file or directory", "gone")
    assert caught.value.message == f"cannot read {gone}: No such file or directory"


@pytest.mark.parametrize("about", [None, 5, b"/a/b", "/a/c"])
def test_an_error_is_about_a_path_a_descriptor_or_nothing(about: object) -> None:
    """All of which Python puts into the same place."""
    failure = as_failure(OSError(24, "Too many open files", about), "look")
    assert isinstance(failure, Transient)
    named = {b"/a/b": "/a/b: ", "/a/c": "/a/c: "}.get(about, "")  # type: ignore[call-overload]
    assert failure.message == f"cannot look: {named}Too many open files"
    assert failure.hint == "raise the limit of open files"
