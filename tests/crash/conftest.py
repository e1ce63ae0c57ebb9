"""Where the crash tier works."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory in memory where there is one: what is counted is calls, not the disk's speed."""
    shared = Path("/dev/shm")
    if shared.is_dir() and os.access(shared, os.W_OK) and runs_programs(shared):
        with tempfile.TemporaryDirectory(prefix="certrotd-crash-", dir=shared) as directory:
            yield Path(directory)
    else:
        yield tmp_path_factory.mktemp("crash")


def runs_programs(directory: Path) -> bool:
    """Whether programs may be there, as targets are; in a container they often may not."""
    return not os.statvfs(directory).f_flag & os.ST_NOEXEC
