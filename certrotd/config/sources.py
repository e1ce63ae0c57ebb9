"""The configuration's files: found and read, within bounds."""

import glob
import os
import stat
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from certrotd.config.base import kind
from certrotd.config.yamlpos import YamlDocument
from certrotd.config.yamlwords import BadYaml, other_format
from certrotd.errors import ConfigProblem

MAX_BYTES = 64 * 1024 * 1024
MAX_FILES = 10_000
MAX_SNIFFED = 64 * 1024
_HINTS = (
    (
        FileNotFoundError,
        "write it, if only with {} where conf.d holds the rest, or name another file: certrotd -c "
        "FILE",
    ),
    (PermissionError, "run certrotd as its own user, or let this user read it"),
)


@dataclass(frozen=True)
class Source:
    """A file that could be read: ``data`` is its mapping, ``document`` knows the lines.

    ``exposed`` if everybody may write it.
    """

    file: Path
    document: YamlDocument
    data: Mapping[str, object]
    exposed: bool


class Unreadable(Exception):
    """A file has nothing to use; ``problem`` says why."""

    def __init__(self, problem: ConfigProblem) -> None:
        self.problem = problem
        super().__init__(str(problem))


def read(file: Path, *, main: bool = False) -> tuple[Source, list[ConfigProblem]]:
    """The file's data and what is wrong in what can be read of it.

    Raises Unreadable if that is nothing. Only the ``main`` file must not be empty.
    """
    try:
        text, mode = _content(file)
        document = YamlDocument(text)
    except BadYaml as error:
        raise Unreadable(ConfigProblem(file, error.line, "", str(error))) from None
    problems = [ConfigProblem(file, line, "", message) for line, message in document.faults]
    data = document.data
    if data is None and not main:
        data = {}
    if data is None:
        raise _unreadable(file, "is empty: write {} into it if the files of conf.d hold everything")
    if not isinstance(data, dict):
        if isinstance(data, str) and (other := other_format(text)) is not None:
            raise Unreadable(ConfigProblem(file, other.line, "", str(other)))
        raise _unreadable(file, f"must hold settings such as certificates:, got {kind(data)}")
    return Source(file, document, data, exposed=bool(mode & stat.S_IWOTH)), problems


def source_of(file: Path, text: str) -> Source:
    """What ``file`` would be with that text, which is a mapping."""
    document = YamlDocument(text)
    assert isinstance(document.data, dict), "it was made of one"
    return Source(file, document, document.data, exposed=False)


def fragments(main: Path, pattern: str) -> tuple[list[Path], list[ConfigProblem]]:
    """The files that ``pattern`` finds from the folder of ``main``, in the order of their names."""
    folder = (main.parent / pattern).parent
    try:
        os.listdir(folder)  # glob takes a folder it may not search for an empty one
    except (FileNotFoundError, NotADirectoryError, ValueError):
        pass  # ValueError: a NUL; nothing is found, and the caller says so where that matters
    except OSError as error:
        return [], [ConfigProblem(folder, 0, "", f"cannot be searched: {error.strerror}")]
    found = glob.glob(os.path.join(glob.escape(str(main.parent)), pattern))
    files = sorted((Path(name) for name in found), key=lambda file: (file.name, file))
    files = [file for file in files if file != main]
    if len(files) > MAX_FILES:
        return [], [ConfigProblem(folder, 0, "", "holds more than 10,000 files: join some of them")]
    return files, []


def _content(file: Path) -> tuple[str, int]:
    """The text of a regular file, and the file's mode."""
    try:
        # Without O_NONBLOCK, opening a FIFO nobody writes to would wait for ever.
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise _unreadable(file, _irregular(mode))
            with open(descriptor, "rb", closefd=False) as stream:
                content = stream.read(MAX_BYTES + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        why = error.strerror if isinstance(error, OSError) else "it is not a path"
        hint = next((f" ({hint})" for kind, hint in _HINTS if isinstance(error, kind)), "")
        raise _unreadable(file, f"cannot be read: {why}{hint}") from None
    if len(content) > MAX_BYTES:
        raise _unreadable(file, "is larger than 64 MiB: split it into files below conf.d")
    if b"\0" in content[:MAX_SNIFFED] and not content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        raise _unreadable(file, "is a binary file: name one that holds YAML")
    try:
        return content.decode("utf-8-sig"), mode
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Unreadable(
            ConfigProblem(
                file, line, "", f"is not UTF-8 at byte {error.start + 1}: save it as UTF-8"
            )
        ) from None


def _irregular(mode: int) -> str:
    what = "is a folder" if stat.S_ISDIR(mode) else "is not a regular file"
    return f"{what}: name a file that holds YAML"


def _unreadable(file: Path, message: str) -> Unreadable:
    return Unreadable(ConfigProblem(file, 0, "", message))
