"""What the command line says around a rotation."""

import pwd
from pathlib import Path

import pytest

from certrotd.cli.rotate import foreign

STATE = Path("/var/lib/certrotd")


def test_root_is_warned_in_the_directory_of_another_user() -> None:
    """The service could not change what it finds there, at its next renewal."""
    somebody = next(each.pw_uid for each in pwd.getpwall() if each.pw_uid)
    warning = foreign(STATE, owner=somebody, user=0)
    assert warning is not None
    name = pwd.getpwuid(somebody).pw_name
    assert f"/var/lib/certrotd belongs to {name}, who cannot change" in warning
    unknown = foreign(STATE, owner=3_999_999_999, user=0)
    assert unknown is not None
    assert unknown.endswith("run this as user 3999999999")


@pytest.mark.parametrize(("owner", "user"), [(0, 0), (1, 1), (1, 2)])
def test_nobody_else_is_warned(owner: int, user: int) -> None:
    """Root in its own directory, the service's user; a stranger is refused by the file system."""
    assert foreign(STATE, owner=owner, user=user) is None
