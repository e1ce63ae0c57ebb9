"""What a plain user meets, also where the tests run as root."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NOBODY = 65534


@contextmanager
def plain_user() -> Iterator[Path]:
    """A directory of the user whose rights count within; root's do not."""
    directory = Path(tempfile.mkdtemp(prefix="certrotd-test-"))
    privileged = os.geteuid() == 0
    try:
        if privileged:
            os.chown(directory, _NOBODY, _NOBODY)
            os.setegid(_NOBODY)
            os.seteuid(_NOBODY)
        yield directory
    finally:
        if privileged:
            os.seteuid(0)
            os.setegid(0)
        _open_up(directory)
        shutil.rmtree(directory)


def _open_up(directory: Path) -> None:
    directory.chmod(0o700)
    for folder, below, _ in os.walk(directory):
        for name in below:  # each is opened before it is walked into
            Path(folder, name).chmod(0o700)
