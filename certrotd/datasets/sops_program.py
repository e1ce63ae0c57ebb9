"""The operator's own ``sops``, which alone knows every format and every kind of recipient.

Files and keys are handed over in memory (memfd_create(2)): nothing is on a disk that a kill could
leave there, and no key is in arguments or variables.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from certrotd import process
from certrotd.clock import Clock, Deadline
from certrotd.datasets.row_values import Unfit
from certrotd.datasets.sops_metadata import Metadata
from certrotd.errors import Transient
from certrotd.files.writing import write_all

MOST = 64 * 1024 * 1024
"""The most that it may make of a file, in bytes."""
_NOWHERE = "/nonexistent"
"""The home of what it runs as: no key of anybody's is there."""


@dataclass(frozen=True)
class SopsProgram:
    """``program`` is its name or path; it has ``seconds`` for a file.

    ``variables`` are more of the operator's for it, read when they are needed.
    """

    program: str
    seconds: float
    variables: Callable[[], Mapping[str, str]] = field(repr=False)
    clock: Clock

    def require(self) -> None:
        """Raises NeedsOperator where it is not there."""
        path = self._environment().get("PATH")
        process.require(self.program, what="the program", path=path)

    def decrypted(self, data: bytes, of: Metadata, identities: Sequence[str]) -> bytes:
        """The plaintext, its MAC verified; raises Unfit for what does not open, and Failure."""
        return self._run(["decrypt"], data, of, identities)

    def rotated(
        self,
        data: bytes,
        of: Metadata,
        identities: Sequence[str],
        *,
        add: Sequence[str],
        remove: Sequence[str],
    ) -> bytes:
        """The same plaintext under a new data key, for other recipients; raises as decrypted()."""
        words = ["rotate"]
        for option, recipients in (("--add-age", add), ("--rm-age", remove)):
            words += [option, ",".join(recipients)] if recipients else []
        return self._run(words, data, of, identities)

    def _run(
        self, words: Sequence[str], data: bytes, of: Metadata, identities: Sequence[str]
    ) -> bytes:
        with ExitStack() as stack:
            source, made = stack.enter_context(_held(data)), stack.enter_context(_held(b""))
            keys = stack.enter_context(_held("".join(f"{i}\n" for i in identities).encode()))
            indent = ["--indent", str(of.indent)] if of.indent is not None else []
            formats = ["--input-type", of.kind, "--output-type", of.kind]
            argv = [self.program, *indent, *words, *formats, "--output", _path(made), _path(source)]
            what = f"{self.program} {words[0]}"
            ran = process.run(
                argv,
                what=what,
                deadline=Deadline(self.clock, self.seconds),
                variables={**self._environment(), "SOPS_AGE_KEY_FILE": _path(keys)},
                handles=(source, made, keys),
            )
            if ran.status is None:
                hint = "run it by hand on that file, or raise its timeout"
                raise Transient(f"{what} {ran.how} ({self.seconds:g} s){ran.tail}", hint=hint)
            if ran.status:
                raise Unfit(f"{what} {ran.how}{ran.tail}")
            return _all_of(made, what)

    def _environment(self) -> dict[str, str]:
        apart = {"HOME": _NOWHERE, "XDG_CONFIG_HOME": _NOWHERE}
        return process.environment({**apart, **self.variables()})


@contextmanager
def _held(data: bytes) -> Iterator[int]:
    """A handle of a file that is nowhere but in memory."""
    handle = os.memfd_create("certrotd", os.MFD_CLOEXEC)
    try:
        write_all(handle, data)
        yield handle
    finally:
        os.close(handle)


def _path(handle: int) -> str:
    """By which a program opens a handle that it was given (proc(5))."""
    return f"/proc/self/fd/{handle}"


def _all_of(handle: int, what: str) -> bytes:
    size = os.fstat(handle).st_size
    if size > MOST:
        raise Unfit(f"{what} wrote {size:,} bytes, more than the {MOST:,} that are read")
    data = b""
    while len(data) < size and (more := os.pread(handle, size - len(data), len(data))):
        data += more
    return data
