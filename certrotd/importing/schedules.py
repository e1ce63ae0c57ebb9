"""What starts another client at its times: timers of systemd, and lines for cron."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from certrotd.errors import Failure, one_line
from certrotd.files.reading import read_file

_UNITS = tuple(f"{each}/systemd/system" for each in ("etc", "run", "usr/lib", "lib"))
_TABLES = ("etc/crontab", "etc/anacrontab")
_FOLDERS = ("etc/cron.d", "var/spool/cron/crontabs", "var/spool/cron")
_SCRIPTS = ("etc/cron.hourly", "etc/cron.daily", "etc/cron.weekly", "etc/cron.monthly")
_WORDS = {"certbot": r"certbot|letsencrypt-auto", "lego": r"lego", "acme.sh": r"acme\.sh"}
_VARIABLE = re.compile(r"(?<![\w-])((?!Exec)[A-Za-z_]\w*)=(?:'[^']*'|\"[^\"]*\"|\S+)", re.ASCII)
_SECRET = re.compile(r"(--?[\w.-]*(?:hmac|pass|secret|token)[\w.-]*[ =])\S+", re.ASCII | re.I)
_MAX = 256 * 1024


@dataclass(frozen=True)
class Schedule:
    """Where the client is started from, and what ends that."""

    where: str
    line: str
    stop: str


def schedules(client: str, root: Path = Path("/")) -> list[Schedule]:
    """Every timer and line of cron that starts the client, as far as they may be read."""
    word = re.compile(rf"(?<![\w.-])(?:{_WORDS[client]})(?![\w.-])")
    found = [*_timers(word, root), *_cron(word, root)]
    return list({each.where + each.line: each for each in found}.values())


def _timers(word: re.Pattern[str], root: Path) -> Iterator[Schedule]:
    seen = set()
    for folder in _UNITS:
        for path in _files(root / folder):
            if path.suffix != ".timer" or path.name in seen:
                continue
            service = path.with_suffix(".service").name
            texts = [_text(root / each / service) for each in _UNITS]
            lines = [line for text in texts for line in text.splitlines() if "Exec" in line]
            if hit := next((line for line in lines if word.search(line)), ""):
                seen.add(path.name)
                stop = f"systemctl disable --now {path.name}"
                yield Schedule(f"/{path.relative_to(root)}", _shown(hit), stop)


def _cron(word: re.Pattern[str], root: Path) -> Iterator[Schedule]:
    tables = [root / each for each in _TABLES]
    tables += [path for folder in _FOLDERS for path in _files(root / folder)]
    for path in tables:
        where = f"/{path.relative_to(root)}"
        for line in _text(path).splitlines():
            if word.search(line) and not line.lstrip().startswith("#") and _is_entry(line):
                user = f" (crontab -e -u {path.name})" if "spool" in path.parts else ""
                shown = _shown(line)
                yield Schedule(where, shown, f"remove this line from {where}{user}: {shown}")
    for path in (path for folder in _SCRIPTS for path in _files(root / folder)):
        lines = (line.strip() for line in _text(path).splitlines())
        if hit := next((each for each in lines if word.search(each) and each[:1] != "#"), ""):
            where = f"/{path.relative_to(root)}"
            yield Schedule(where, _shown(hit), f"remove {where}")


def _shown(line: str) -> str:
    """A line without the values of variables, and of options that may be secrets."""
    bare = _VARIABLE.sub(r"\1=…", one_line(line.strip()))
    return _SECRET.sub(r"\1…", bare)


def _is_entry(line: str) -> bool:
    """Whether a line of a crontab starts something, and sets no variable."""
    return not re.match(r"\s*[A-Za-z_][A-Za-z0-9_]*\s*=", line)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if each.is_file())[:1000]
    except OSError:
        return []  # not there, or not for this user to see


def _text(path: Path) -> str:
    try:
        return read_file(path, limit=_MAX).decode(errors="replace")
    except (OSError, Failure):
        return ""
