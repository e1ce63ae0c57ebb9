"""Which layout a state directory has, and how an older one becomes today's.

- Format 1 has no ``format.json``; journals, histories and locks lie in ``journal/NAME.jsonl``,
  ``history/NAME.jsonl`` and ``locks/NAME.lock``, and all of them are certificates'.
- Format 2 has a folder for each kind: ``journal/certificate/NAME.jsonl`` and so on. The begin
  record of a journal says ``subject``, an id, and not ``name``.

The audit log stays as it is, for its chain must verify. Whoever migrates holds the daemon's lock,
and that of each certificate while its files move; ``format.json`` is written last. So a kill
anywhere leaves a state of format 1, of which the next start moves the rest.

An older certrotd that runs on a state of format 2 does not know it, and writes beside it where
format 1 does. Such files are taken over in the same way: the journal goes to its place, and the
lines of history, which are the latest, go behind those that are there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from certrotd.errors import Failure, InvalidInput, LockHeld, NeedsOperator
from certrotd.files.disktrouble import DiskTrouble, explained
from certrotd.files.reading import is_there, read_file
from certrotd.files.writing import make_directory, remove_file, sync_directory, write_file
from certrotd.id import ONLY_KIND, Id, is_name
from certrotd.jsontext import parsed
from certrotd.state.history import FileHistory
from certrotd.state.journal import MAX_JOURNAL
from certrotd.state.records import decode, encode

FORMAT = 2
FILE = "format.json"
RESTART = "restart certrotd with this version: systemctl restart certrotd"
_LIMIT = 4096
_SHOWN = 5
_MOVED = (("journal", ".jsonl"), ("history", ".jsonl"), ("locks", ".lock"))
PathLock = Callable[[Path, str], AbstractContextManager[object]]
"""Holds the lock at a path; the text says what it protects. Raises LockHeld."""


def require_known(state: Path) -> int | None:
    """The format that ``state`` says it has; None where it says nothing, as format 1 and new ones.

    Raises NeedsOperator for a newer one, or for a file of something else, and DiskTrouble.
    """
    path = state / FILE
    try:
        number = parsed(read_file(path, limit=_LIMIT, follow=False))["format"]
    except FileNotFoundError:
        return None
    except (InvalidInput, ValueError, KeyError, TypeError):
        number = None
    if type(number) is not int or number < 1:
        raise NeedsOperator(
            f"{path} is not what certrotd wrote",
            hint=f'restore it; a state of this version of certrotd has {{"format": {FORMAT}}}',
        )
    if number > FORMAT:
        raise NeedsOperator(
            f"{state} was written by a newer certrotd (format {number}, this one knows {FORMAT})",
            hint="install that version again, or restore a backup of the directory from before",
        )
    return number


def require_current(state: Path) -> None:
    """Raise NeedsOperator unless ``state`` can be read as it is: for who writes nothing there.

    What cannot be looked at is left to who reads it.
    """
    try:
        known = require_known(state)
        if next(_old_names(state, known), None) is None:
            return
    except (DiskTrouble, OSError):
        return
    what = "files in the format 1" if known else "the format 1"
    raise NeedsOperator(
        f"{state} has {what} of an older certrotd, and this one reads format {FORMAT}",
        hint=f"{RESTART}; without the daemon, certrotd rotate migrates it",
    )


def migrate(state: Path, lock: PathLock, *, daemon: Path | None) -> str:
    """Make ``state``, which is there, one of today's format; raises as require_known does.

    ``daemon`` is the daemon's lock, None where the caller holds it. Raises NeedsOperator, too,
    while an older certrotd is at work there. Returns what to tell the operator, or "".
    """
    if require_known(state) is not None and not _listed(state):
        return ""
    try:
        with lock(daemon, f"the state directory {state}") if daemon else nullcontext():
            known = require_known(state)  # another process may have been quicker
            names = _listed(state)
            for name in names:
                _move(state, Id(ONLY_KIND, name), lock, again=known is not None)
            if known is None:
                data = json.dumps({"format": FORMAT}).encode() + b"\n"
                write_file(state / FILE, data, mode=0o600)
    except LockHeld as held:
        raise NeedsOperator(
            f"{state} has the format 1 of an older certrotd and cannot be migrated yet: {held}",
            hint=RESTART,
        ) from held
    if known is None or not names:
        return ""
    shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    return f"an older certrotd ran on {state} after this one: took over what it wrote for {shown}"


def _listed(state: Path) -> list[str]:
    with explained(f"list {state}"):
        return sorted(set(_old_names(state, require_known(state))))


def _old_names(state: Path, known: int | None) -> Iterator[str]:
    """The certificates of which format 1 has files; what begins with ``_`` is no certificate's.

    In a state that is ``known`` to be of a later format, locks alone mean nothing.
    """
    for folder, end in _MOVED if known is None else _MOVED[:2]:
        try:
            with os.scandir(state / folder) as entries:
                found = [
                    entry.name.removesuffix(end)
                    for entry in entries
                    if entry.name.endswith(end) and not entry.is_dir(follow_symlinks=False)
                ]
        except FileNotFoundError:
            continue
        yield from (name for name in found if is_name(name))


def _move(state: Path, subject: Id, lock: PathLock, *, again: bool) -> None:
    """All files of one; ``again``: beside those of today's format, whose lock is held as well."""
    old, new = _paths(state, subject, "locks", ".lock")
    what = f"{subject.kind} {subject.name}"
    with lock(old, what), lock(new, what) if again else nullcontext():
        _move_journal(state, subject)
        if again:
            _append_history(state, subject)
            return  # the older lock stays: an older certrotd may be about to take it
        _rename(state, subject, "history", ".jsonl")
        # with the lock that is held: who opens the new name waits for its end
        _rename(state, subject, "locks", ".lock")


def _move_journal(state: Path, subject: Id) -> None:
    old, new = _paths(state, subject, "journal", ".jsonl")
    try:
        data = read_file(old, limit=MAX_JOURNAL, follow=False)
        records, _ = decode(data, what=str(old))
    except FileNotFoundError:
        return
    except NeedsOperator:
        _rename(state, subject, "journal", ".jsonl")  # damaged, as its rotation will say
        return
    content = b"".join(encode(_with_subject(record, subject)) for record in records)
    if is_there(new) and read_file(new, limit=MAX_JOURNAL, follow=False) != content:
        raise _twice(old, new)
    make_directory(new.parent, mode=0o700)
    write_file(new, content, mode=0o600)
    remove_file(old)


def _append_history(state: Path, subject: Id) -> None:
    old, new = FileHistory(state, subject.name), FileHistory(state, str(subject))
    there = {line.get("id") for line in new.lines()}
    for line in old.lines():
        if line.get("id") not in there:  # a kill came between, else
            new.add(line)
    remove_file(old.path)


def _with_subject(record: Mapping[str, Any], subject: Id) -> Mapping[str, Any]:
    if record.get("t") != "begin":
        return record
    return {**{k: v for k, v in record.items() if k != "name"}, "subject": str(subject)}


def _rename(state: Path, subject: Id, folder: str, end: str) -> None:
    """Move one file, durably; one that is not there has been moved."""
    old, new = _paths(state, subject, folder, end)
    if not is_there(old):
        return
    if folder != "locks" and is_there(new):
        raise _twice(old, new)
    make_directory(new.parent, mode=0o700)
    with explained(f"rename {old} to {new}"):
        os.rename(old, new)
        sync_directory(new.parent)
        sync_directory(old.parent)


def _paths(state: Path, subject: Id, folder: str, end: str) -> tuple[Path, Path]:
    return state / folder / f"{subject.name}{end}", state / folder / f"{subject}{end}"


def _twice(old: Path, new: Path) -> Failure:
    return NeedsOperator(
        f"{old} and {new} are both there: an older certrotd ran after this one",
        hint="stop it, and move away the one that is out of date",
    )
