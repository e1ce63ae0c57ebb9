"""The audit log on disk: appended to by threads and processes at once, one chain for all of them.

``audit.jsonl`` is the newest file; full ones are ``audit-000001.jsonl`` and so on, and the chain
runs through them. ``head.json`` is what the log must end with.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from certrotd.audit.head import Anchor, read_head, write_head
from certrotd.audit.record import (
    DAMAGED,
    MAX_LINE,
    START,
    AuditRecord,
    Happened,
    Head,
    chained,
    parse,
    unsettled,
)
from certrotd.audit.recovery import End, recover, taken_back
from certrotd.audit.verify import Verification, verify
from certrotd.clock import Clock, Deadline
from certrotd.files.disktrouble import DiskTrouble, explained
from certrotd.files.reading import is_there, read_file
from certrotd.files.writing import (
    open_or_create,
    sweep_temporaries,
    sync_directory,
    write_all,
)
from certrotd.rotation.outcome import Stopped
from certrotd.state.lock import hold

MAX_FILE = 16 * 1024 * 1024
_MARGIN = 16 * 1024 * 1024  # a file may be longer than the limit by one append
_LOCK_WAIT = 60.0
_FULL = re.compile(r"audit-(\d{6,})\.jsonl")


@dataclass(frozen=True)
class LogSnapshot:
    """The log at one moment: its files, oldest first, how much of the newest, and the anchor."""

    files: tuple[Path, ...]
    newest: int | None
    size: int
    anchor: Anchor

    def lines(self) -> Iterator[bytes]:
        """Every line with its newline, oldest first; a torn one last. Raises DiskTrouble.

        A line longer than a record can be comes in pieces, which are no records.
        """
        for path in self.files:
            with explained(f"read {path}"), os.fdopen(_open(path, os.O_RDONLY)[0], "rb") as file:
                while line := file.readline(MAX_LINE + 1):
                    yield line
        if self.newest is None:
            return
        left = self.size
        with os.fdopen(os.dup(self.newest), "rb") as file:
            file.seek(0)
            while left and (line := file.readline(min(left, MAX_LINE + 1))):
                left -= len(line)
                yield line


def to_stderr(lines: bytes) -> None:
    """Write lines to standard error; who has closed it, wants none."""
    with contextlib.suppress(OSError):
        write_all(2, lines)


class AuditLog:
    """The log in ``directory``; any number of these may be at work in any number of processes.

    ``command`` is shown to whoever has to wait; a file longer than ``limit`` bytes is not
    appended to any more. ``damaged`` hears, in words, of what was done to the log, once that is
    recorded. ``copy`` gets every line that was written, once it is durable; those of other
    processes, since this one looked first, with the next one or by check().
    """

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock,
        command: str,
        limit: int = MAX_FILE,
        damaged: Callable[[str], None] = lambda _why: None,
        copy: Callable[[bytes], None] = lambda _lines: None,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._command = command
        self._limit = limit
        self._damaged = damaged
        self._copy = copy
        self._tip = START  # of what this process has written, or seen there
        self._copied = 0  # the number of the last line that was copied
        self._log = directory / "audit.jsonl"
        self._head = directory / "head.json"
        # threads wait here, where nobody has to poll; the lock file is for other processes
        self._turn = threading.Lock()

    def record(self, *happened: Happened) -> None:
        """Add records (at least one) in this order, by one write and one sync: durable on return.

        Raises DiskTrouble, LockHeld or InvalidInput, and then none of them is in the log, unless
        the disk would not even let go of them.
        """
        with self._held(), explained(f"write {self._log}"):
            end, size = self._end()
            others = self._by_others(end.tip)
            damage = end.damage or _damage_in(others)
            self._add(end, size, happened)
        if damage:
            self._damaged(damage)

    def check(self) -> None:
        """Record it now if the log is not what its head file says, and sweep what a kill left.

        Raises as record() does.
        """
        if self._tip == START and not self._directory.is_dir():
            return
        with self._held(), explained(f"write {self._log}"):
            sweep_temporaries(self._directory)
            end, size = self._end()
            others = self._by_others(end.tip)
            damage = end.damage or _damage_in(others)
            if end.damage:
                self._add(end, size, ())
            else:
                self._tip = end.tip
        if damage:
            self._damaged(damage)

    def unsettled(self, subject: str) -> str | None:
        """The id of the rotation of ``subject`` whose outcome is not in the log; None if all are.

        Raises DiskTrouble or LockHeld.
        """
        anchor = read_head(self._head)
        if subject not in anchor.waiting and self._ends_with(anchor):
            return None
        with self._held(), explained(f"read {self._log}"):
            end, _ = self._end()
            return end.waiting.get(subject)

    def head(self) -> Head | None:
        """What the head file says; None if there is none to trust. Raises DiskTrouble."""
        return read_head(self._head).known

    def verify(self) -> Verification:
        """Look at the whole log; appends may go on meanwhile. Raises DiskTrouble or LockHeld."""
        with self.snapshot() as snapshot:
            return verify(snapshot.lines(), snapshot.anchor.known)

    @contextmanager
    def snapshot(self) -> Iterator[LogSnapshot]:
        """The log as it is now, while others append to it; raises DiskTrouble or LockHeld."""
        if not is_there(self._directory):
            yield LogSnapshot((), None, 0, Anchor(state="missing"))
            return
        with ExitStack() as stack:
            with self._read(), explained(f"read {self._log}"):
                anchor, files = read_head(self._head), self._full()
                newest, size = _existing(self._log)
                if newest is not None:
                    stack.callback(os.close, newest)
            yield LogSnapshot(tuple(files), newest, size, anchor)

    def _ends_with(self, anchor: Anchor) -> bool:
        """Whether nothing is in the log that the head file does not know."""
        try:
            tail, _ = _tail(self._log)
        except OSError:
            return True  # nothing is begun before an append has said what is in the way
        last = _last(tail)
        known = anchor.state == "good" and last is not None and last.head == anchor.head
        return known or not tail

    @contextmanager
    def _held(self) -> Iterator[None]:
        with self._turn, ExitStack() as stack:
            try:
                stack.enter_context(self._lock())
            except Stopped:  # whoever sleeps is woken once; what has happened is written down still
                stack.enter_context(self._lock())
            yield

    @contextmanager
    def _read(self) -> Iterator[None]:
        """As _held(), for who only reads: of a file system that is mounted read-only, too."""
        with ExitStack() as stack:
            try:
                stack.enter_context(self._held())
            except DiskTrouble as trouble:
                if trouble.errno != errno.EROFS:
                    raise
                # where it can be written elsewhere, an append is waited for
                with contextlib.suppress(FileNotFoundError):
                    handle, _ = _open(self._directory / "lock", os.O_RDONLY)
                    stack.callback(os.close, handle)
                    fcntl.flock(handle, fcntl.LOCK_SH)
            yield

    def _lock(self) -> contextlib.AbstractContextManager[object]:
        return hold(
            self._directory / "lock",
            what="the audit log",
            command=self._command,
            now=self._clock.now(),
            wait=Deadline(self._clock, _LOCK_WAIT),
        )

    def _end(self) -> tuple[End, int]:
        """Where the next record goes, and the size of the file.

        The whole file is read only if something is not in order.
        """
        anchor = read_head(self._head)
        data, size = _tail(self._log)
        full = self._full() if not data or anchor.state != "good" else []
        tail = data or (_tail(full[-1])[0] if full else b"")
        last = _last(tail)
        if anchor.state == "good" and last is not None and last.head == anchor.head:
            end = End(anchor.head, anchor.waiting)
        else:
            full = self._full()
            before = _last(_tail(full[-1])[0]) if full else None
            end = recover(anchor, before, _content(self._log))
        if end.tip.seq < self._tip.seq:
            end = taken_back(self._tip, end.waiting, _content(self._log))
        return end, size

    def _by_others(self, tip: Head) -> Sequence[AuditRecord]:
        """What other processes have recorded since this one looked last, oldest first: copied."""
        if self._tip == START or tip.seq <= self._tip.seq:
            return ()
        found: list[AuditRecord] = []
        for path in (self._log, *reversed(self._full())):
            records = [*filter(None, map(parse, _content(path).splitlines(keepends=True)))]
            found[:0] = [each for each in records if self._tip.seq < each.seq <= tip.seq]
            if records and records[0].seq <= self._tip.seq + 1:
                break
        if missed := [each.line() for each in found if each.seq > self._copied]:
            self._copied = tip.seq
            self._copy(b"".join(missed))
        return found

    def _add(self, end: End, size: int, happened: tuple[Happened, ...]) -> None:
        records = self._chain(end, happened)
        lines = b"".join(record.line() for record in records)
        if end.said is None and size >= self._limit:
            self._put_aside()
        waiting = dict(end.waiting)
        for record in records:
            waiting = unsettled(waiting, record)
        self._append(end, lines, records[-1].head, waiting)
        self._tip = records[-1].head
        self._copied = self._tip.seq
        self._copy(lines)

    def _chain(self, end: End, happened: tuple[Happened, ...]) -> list[AuditRecord]:
        now, head = self._clock.now(), end.tip
        records = []
        for each in (end.said, *happened) if end.said else happened:
            record = chained(head, each, at=now)
            records.append(record)
            head = record.head
        return records

    def _append(self, end: End, lines: bytes, head: Head, waiting: dict[str, str]) -> None:
        handle, size = _checked(
            open_or_create(self._log, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
        )
        try:
            if end.keep is not None:
                os.ftruncate(handle, end.keep)
                size = end.keep
            try:
                write_all(handle, b"\n" + lines if end.broken_line else lines)
                os.fsync(handle)
                if size == 0:
                    sync_directory(self._directory)
                write_head(self._head, head, waiting)
            except (OSError, DiskTrouble):
                self._take_back(handle, size, head)
                raise
        finally:
            os.close(handle)

    def _take_back(self, handle: int, size: int, head: Head) -> None:
        """Cut off what could not be appended, unless the head has it: that would look like theft.

        Best effort: what stays all the same is found by the next append.
        """
        with contextlib.suppress(OSError, DiskTrouble):
            if read_head(self._head).head != head:
                os.ftruncate(handle, size)

    def _put_aside(self) -> None:
        full = self._full()
        number = int(_FULL.fullmatch(full[-1].name)[1]) + 1 if full else 1  # type: ignore[index]
        os.rename(self._log, self._directory / f"audit-{number:06d}.jsonl")
        sync_directory(self._directory)

    def _full(self) -> list[Path]:
        found = [
            (int(match[1]), self._directory / name)
            for name in os.listdir(self._directory)
            if (match := _FULL.fullmatch(name))
        ]
        return [path for _, path in sorted(found)]


def _damage_in(records: Sequence[AuditRecord]) -> str:
    """The damage that another process has recorded last, if any.

    It went on from there, so that the log is what its head file says again.
    """
    found = [each for each in records if each.event == DAMAGED]
    return str(found[-1].details.get("why")) if found else ""


def _open(path: Path, flags: int) -> tuple[int, int]:
    """A handle of a regular file that is not a link, and its size; raises OSError."""
    return _checked(os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))


def _checked(handle: int) -> tuple[int, int]:
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is not a regular file")
    return handle, status.st_size


def _existing(path: Path) -> tuple[int | None, int]:
    try:
        return _open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None, 0


def _tail(path: Path) -> tuple[bytes, int]:
    """The end of a file, enough for its last line, and the size of all of it.

    Nothing, and 0, if it is not there. Raises OSError.
    """
    handle, size = _existing(path)
    if handle is None:
        return b"", 0
    try:
        for length in (4096, MAX_LINE + 1):
            data = os.pread(handle, length, max(0, size - length))
            if length >= size or data.count(b"\n") > 1:
                break
        return data, size
    finally:
        os.close(handle)


def _last(tail: bytes) -> AuditRecord | None:
    """The record of the last line, if that is whole."""
    if not tail.endswith(b"\n"):
        return None
    return parse(tail[tail.rfind(b"\n", 0, -1) + 1 :])


def _content(path: Path) -> bytes:
    try:
        return read_file(path, limit=MAX_FILE + _MARGIN, follow=False)
    except FileNotFoundError:
        return b""
