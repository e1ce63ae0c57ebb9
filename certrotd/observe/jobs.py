"""Jobs that this host does by the clock: where crontabs and timers of systemd name a file."""

from __future__ import annotations

import re
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
_UNITS = ("etc", "run", "usr/local/lib", "usr/lib", "lib")
"""Where systemd/system is, the place that counts first."""
_RUNS = ("Exec", "Environment")
"""How the lines of a service begin that say what it runs, and with what."""
_LARGEST = 1024 * 1024
"""So many bytes of a file at most: what is larger is no table of jobs."""


def jobs_that_name(path: Path, *, root: Path = Path("/")) -> list[str]:
    """Where on this host a job that runs by the clock names ``path``, as ``FILE:LINE``.

    What the user of this process cannot read is passed over, as are comments.
    """
    whole = re.compile(rf"(?<![\w./-]){re.escape(str(path))}(?![\w/-]|\.\w)")
    found = []
    for file, prefixes in _jobs(root):
        for number, line in _lines(file):
            if line.startswith(prefixes) and whole.search(line):
                found.append(f"{file}:{number}")
    return found


def _jobs(root: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Files with jobs, each with how the lines begin that say what is run."""
    for pattern in _TABLES:
        yield from ((file, ("",)) for file in sorted(root.glob(pattern)))
    folders = [root / each / "systemd/system" for each in _UNITS]
    folders = list({each.resolve(): each for each in reversed(folders)}.values())[::-1]
    seen = set()
    for timer in (timer for folder in folders for timer in sorted(folder.glob("*.timer"))):
        for service in _services_of(timer):
            for file in (file for folder in folders for file in _parts_of(folder, service)):
                if file not in seen:
                    seen.add(file)
                    yield file, _RUNS


def _services_of(timer: Path) -> set[str]:
    """The services that a timer starts: what Unit= says, else that of its name."""
    said = {line.partition("=")[2].strip() for _, line in _lines(timer) if line.startswith("Unit=")}
    return said or {f"{timer.stem}.service"}


def _parts_of(folder: Path, service: str) -> Iterator[Path]:
    """The files of a service, and of the template that it may be an instance of, in one folder."""
    template = re.sub(r"@.*\.service$", "@.service", service)
    for name in dict.fromkeys((service, template)):
        yield folder / name
        yield from sorted(folder.glob(f"{name}.d/*.conf"))


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines that are no comment, each with its number and those that it is continued by."""
    try:
        text = read_file(file, limit=_LARGEST).decode(errors="replace")
    except (Failure, OSError):  # a folder, a dangling link, or somebody else's
        return
    begun, number = "", 0
    for at, line in enumerate(text.split("\n"), 1):
        number = number if begun else at
        if line.endswith("\\"):
            begun += f"{line[:-1]} "
            continue
        whole = (begun + line).strip()
        begun = ""
        if not whole.startswith(("#", ";")):
            yield number, whole
