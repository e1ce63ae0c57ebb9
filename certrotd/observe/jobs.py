"""Jobs that this host does by the clock: where crontabs and timers of systemd name a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from certrotd.errors import Failure
from certrotd.files.reading import read_file

_TABLES = (
    "etc/crontab",
    "etc/anacrontab",
    "etc/cron.d/*",
    "etc/cron.hourly/*",
    "etc/cron.daily/*",
    "etc/cron.weekly/*",
    "etc/cron.monthly/*",
    "var/spool/cron/*",
    "var/spool/cron/crontabs/*",
)
_UNITS = ("etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system")
_LARGEST = 256 * 1024
"""So many bytes of a file at most: what is larger is no table of jobs."""


def jobs_that_name(path: Path, *, root: Path = Path("/")) -> list[str]:
    """Where on this host a job that runs by the clock names ``path``, as ``FILE:LINE``.

    What the user of this process cannot read is passed over, as are comments.
    """
    found = []
    for file, prefix in _jobs(root):
        for number, line in enumerate(_lines(file), 1):
            text = line.strip()
            if not text.startswith("#") and text.startswith(prefix) and str(path) in text:
                found.append(f"{file}:{number}")
    return found


def _jobs(root: Path) -> Iterator[tuple[Path, str]]:
    """Files with jobs, each with how the lines begin that say what is run."""
    for pattern in _TABLES:
        yield from ((file, "") for file in sorted(root.glob(pattern)))
    for folder in _UNITS:
        for timer in sorted(root.glob(f"{folder}/*.timer")):
            yield timer.with_suffix(".service"), "Exec"


def _lines(file: Path) -> list[str]:
    try:
        return read_file(file, limit=_LARGEST).decode(errors="replace").splitlines()
    except (Failure, OSError):  # a folder, a dangling link, or somebody else's
        return []
