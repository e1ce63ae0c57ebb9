"""Root's hands beside the service's user: both go on with what the other wrote."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from certrotd.audit.log import AuditLog
from certrotd.cli import rotate as command
from certrotd.clock import SystemClock
from tests.parts import locate
from tests.unit.stores.unprivileged import plain_user

CONFIG = """
state_dir: {state}
issuers: {{ca: {{type: internal}}}}
certificates: [{{name: web, names: [example.test]}}]
"""


@contextmanager
def as_root() -> Iterator[None]:
    """Root once more, within plain_user()."""
    user, group = os.geteuid(), os.getegid()
    os.seteuid(0)
    os.setegid(0)
    try:
        yield
    finally:
        os.setegid(group)
        os.seteuid(user)


def rotate(config: Path) -> int:
    return command.rotate(config, ["web"], force=True, dry_run=False, as_json=True)


def test_the_service_user_continues_after_root_has_rotated_by_hand(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One ``sudo certrotd rotate`` must not be the last renewal there ever was."""
    locate.require_root()
    with plain_user() as directory:
        state, config = directory / "state", directory / "config.yaml"
        config.write_text(CONFIG.format(state=state))
        with as_root():
            assert rotate(config) == 0
        for path in (state, *state.rglob("*")):
            assert path.lstat().st_uid == os.geteuid(), path
            assert path.lstat().st_gid == os.getegid(), path
        assert rotate(config) == 0, capsys.readouterr().out
        with as_root():
            assert rotate(config) == 0
        assert rotate(config) == 0, capsys.readouterr().out
        log = AuditLog(state / "audit", clock=SystemClock(), command="test")
        assert log.verify().broken is None
        assert os.readlink(state / "certificates" / "web" / "live") == "generations/000004"


def test_files_that_root_left_are_given_back_by_its_next_run() -> None:
    """A lock and a log of an earlier release, or restored from a backup by root."""
    locate.require_root()
    with plain_user() as directory:
        state, config = directory / "state", directory / "config.yaml"
        config.write_text(CONFIG.format(state=state))
        with as_root():
            assert rotate(config) == 0
            for path in (state / "audit").iterdir():
                os.chown(path, 0, 0)
            os.chown(state / "locks/certificate/web.lock", 0, 0)
        assert rotate(config) == 1  # the control
        with as_root():
            assert rotate(config) == 0
        assert rotate(config) == 0


def test_root_takes_no_file_of_the_service_user_though_the_directory_became_its_own() -> None:
    """When the directory is given back, what is in it must still be usable."""
    locate.require_root()
    with plain_user() as directory:
        state, config = directory / "state", directory / "config.yaml"
        config.write_text(CONFIG.format(state=state))
        assert rotate(config) == 0
        user = os.geteuid(), os.getegid()
        with as_root():
            os.chown(state / "audit", 0, 0)
            assert rotate(config) == 0
            assert (state / "audit" / "lock").stat().st_uid == user[0]
            os.chown(state / "audit", *user)
