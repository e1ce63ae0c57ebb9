"""One file encrypted or decrypted for a person: whole under another name, or not at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import FileIO
from pathlib import Path

from certrotd.codecs import stream
from certrotd.codecs.stream_header import HEADER, MAGIC, new_header, read_header
from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.files.disktrouble import DiskTrouble, explained
from certrotd.files.rewriting import create
from certrotd.files.writing import open_directory, write_all
from certrotd.keyring.material import KeySet

PRIVATE = 0o600


def encrypt_file(source: Path, target: Path, keys: KeySet, *, overwrite: bool) -> int:
    """Encrypt under the active key, whose version it returns; mode and time stay.

    Raises Failure; then ``target`` is as it was.
    """
    key = keys.encrypting
    header = new_header(key)
    with _opened(source) as (file, status):
        if os.pread(file.fileno(), len(MAGIC), 0) == MAGIC:
            raise InvalidInput("it is encrypted already")

        def fill(new: int) -> None:
            write_all(new, header.data)
            stream.encrypt(header, file.readinto, partial(write_all, new))

        _create(target, fill, status, stat.S_IMODE(status.st_mode) & 0o777, overwrite=overwrite)
    return key.version


def decrypt_file(
    source: Path, target: Path, keys: KeySet, *, overwrite: bool, before: Callable[[int], None]
) -> int:
    """Decrypt; which version of the key it took, which ``before`` is told first.

    The plaintext is for its owner alone, whatever the mode of ``source``; its time stays. It is
    nowhere to be seen before all of it was authenticated. Raises Failure.
    """
    with _opened(source) as (file, status):
        header = read_header(_beginning(file), keys)
        version = max(each for each in header.opened if each is not None)

        def fill(new: int) -> None:
            stream.decrypt(header, file.readinto, partial(write_all, new))
            before(version)

        _create(target, fill, status, PRIVATE, overwrite=overwrite)
    return version


@contextmanager
def _opened(source: Path) -> Iterator[tuple[FileIO, os.stat_result]]:
    try:
        with explained(f"read {source}"):
            handle = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except DiskTrouble as trouble:
        if trouble.errno == errno.ENOENT:
            raise InvalidInput("there is no such file") from None
        raise
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):  # FileIO takes no folder, and leaves it open
        os.close(handle)
        folder = stat.S_ISDIR(status.st_mode)
        raise InvalidInput(
            f"it is {'a folder: name its files' if folder else 'not a regular file'}"
        )
    with FileIO(handle) as file:
        yield file, status


def _beginning(file: FileIO) -> bytes:
    data = b""
    while len(data) < HEADER and (more := file.read(HEADER - len(data))):
        data += more
    return data


def _create(
    target: Path,
    fill: Callable[[int], None],
    source: os.stat_result,
    mode: int,
    *,
    overwrite: bool,
) -> None:
    with explained(f"write {target}"), open_directory(target.parent) as folder:
        try:
            create(folder, target.name, fill, mode=mode, times=source, overwrite=overwrite)
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise
            hint = "--overwrite replaces it, --output names another"
            raise NeedsOperator(f"{target} is there already", hint=hint) from None
