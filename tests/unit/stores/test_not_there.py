"""What cannot be looked at is not taken for what is not there: real errors of a real file system.

A file in the place of a directory, and a loop of links above it, fail as a broken disk does.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from certrotd.audit.log import AuditLog
from certrotd.clock import ManualClock
from certrotd.daemon.mount_guard import MountGuard
from certrotd.errors import Failure
from certrotd.files.disktrouble import DiskTrouble
from certrotd.files.reading import is_there
from certrotd.internal.root import load
from certrotd.rotation.flight import flight_in
from certrotd.state.journal import FileJournal, in_flight
from certrotd.stores.local import LocalStore
from tests.builders import state_folder
from tests.unit.audit.kept import NOW

Ask = Callable[[Path], Any]


def in_the_place_of(path: Path) -> None:
    """A file stands where a directory belongs."""
    path.write_text("")


def below_a_loop(path: Path) -> None:
    """Nobody gets to the directory."""
    path.symlink_to(path)


ASKED: list[tuple[str, Ask]] = [
    ("journal", lambda place: in_flight(place.parent)),
    ("journal", lambda place: flight_in(FileJournal(place.parent, "certificate/web"))),
    ("history", lambda place: FileJournal(place.parent, "certificate/web").history.last()),
    ("ca", lambda place: load(state_folder(place.parent, "ca", ManualClock(NOW).now))),
    ("ca", lambda place: state_folder(place.parent, "ca", ManualClock(NOW).now).names()),
    ("audit", lambda place: AuditLog(place, clock=ManualClock(NOW), command="x").verify()),
    ("store", lambda place: LocalStore(place).sealed("web", 1)),
    ("store", lambda place: LocalStore(place).staged_key("web", 1)),
    ("store", lambda place: LocalStore(place).look("web")),
    ("store", lambda place: LocalStore(place).sweep("web")),
    ("any", lambda place: is_there(place / "file")),
]


@pytest.mark.parametrize("broken", [in_the_place_of, below_a_loop])
@pytest.mark.parametrize(
    ("name", "ask"), ASKED, ids=[f"{name} {number}" for number, (name, _) in enumerate(ASKED)]
)
def test_a_directory_that_cannot_be_looked_into_is_a_trouble_and_not_empty(
    tmp_path: Path, broken: Callable[[Path], None], name: str, ask: Ask
) -> None:
    """Else a rotation would never go on, and a second root or certificate be made."""
    place = tmp_path / name
    assert not ask(place) or name in ("audit", "store")  # nothing is wrong with one that is new
    broken(place)
    with pytest.raises(Failure) as met:
        ask(place)
    assert isinstance(met.value, DiskTrouble)
    assert str(place) in met.value.message


def test_a_directory_nobody_gets_to_is_not_said_to_be_gone(tmp_path: Path) -> None:
    """Whoever reads it looks for what is wrong, not for a disk to mount."""
    above = tmp_path / "above"
    (above / "state").mkdir(parents=True)
    mount_guard = MountGuard([above / "state"])
    above.rename(tmp_path / "away")
    above.symlink_to(above)
    assert "cannot look at" in str(mount_guard.trouble())
    late = MountGuard([above / "state"])
    assert "cannot look at" in str(late.trouble())
    above.unlink()
    (tmp_path / "away").rename(above)
    assert (mount_guard.trouble(), late.trouble()) == (None, None)
