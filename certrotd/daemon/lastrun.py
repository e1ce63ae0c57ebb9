"""The time of the last run, kept across restarts in ``STATE/clock.json``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from certrotd.daemon.clockwatch import from_json, to_json
from certrotd.errors import InvalidInput
from certrotd.files.reading import read_file
from certrotd.files.writing import rename, write_file

LIMIT = 4096


class LastRun:
    """Reads and keeps it; raises DiskTrouble. A file of something else is kept aside and said."""

    def __init__(self, state_dir: Path, listen: Callable[[str], None]) -> None:
        self._path = state_dir / "clock.json"
        self._listen = listen

    def read(self) -> datetime | None:
        """The last time that was believed; None before the first."""
        try:
            found = from_json(read_file(self._path, limit=LIMIT, follow=False))
        except FileNotFoundError:
            return None
        except InvalidInput:
            found = None
        if found is None:
            aside = self._path.with_name("clock.json.unreadable")
            rename(self._path, aside)
            self._listen(f"{self._path} is not what certrotd wrote: kept as {aside}")
        return found

    def keep(self, moment: datetime) -> None:
        """Durable when it returns."""
        write_file(self._path, to_json(moment), mode=0o600)
