"""``certrotd keys encrypt`` and ``decrypt``: files, for a person."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from certrotd.audit.record import Happened
from certrotd.cli.keys import account, keyring_at
from certrotd.cli.output import say
from certrotd.datasets.one_file import decrypt_file, encrypt_file
from certrotd.errors import Failure, UsageError
from certrotd.keyring.material import KeySet
from certrotd.rotation.step import JSON

SUFFIX = ".crd"


def encrypt(
    config: Path, name: str, files: Sequence[Path], output: Path | None, *, overwrite: bool
) -> int:
    """Carry out ``certrotd keys encrypt``; the exit code."""
    targets = _targets(files, output, lambda file: file.with_name(file.name + SUFFIX))
    with _keys(config, name, "encrypt", writes=False) as (keys, _):

        def one(source: Path, target: Path) -> str:
            version = encrypt_file(source, target, keys, overwrite=overwrite)
            return f"encrypted under version {version} of {name}"

        return _each(files, targets, one)


def decrypt(
    config: Path, name: str, files: Sequence[Path], output: Path | None, *, overwrite: bool
) -> int:
    """Carry out ``certrotd keys decrypt``; the exit code."""
    targets = _targets(files, output, _without_suffix)
    with _keys(config, name, "decrypt", writes=True) as (keys, record):

        def one(source: Path, target: Path) -> str:
            told = partial(record, source)
            version = decrypt_file(source, target, keys, overwrite=overwrite, before=told)
            return f"decrypted by version {version} of {name}"

        return _each(files, targets, one)


def _each(files: Sequence[Path], targets: Sequence[Path], one: Callable[[Path, Path], str]) -> int:
    """Do it to each, whatever becomes of the others; the exit code."""
    failed = False
    for source, target in zip(files, targets, strict=True):
        try:
            say(f"{target}: {one(source, target)}")
        except Failure as failure:
            say(f"{source}: {failure}")
            failed = True
    return 1 if failed else 0


def _targets(
    files: Sequence[Path], output: Path | None, named: Callable[[Path], Path]
) -> Sequence[Path]:
    for each in (*files, *([] if output is None else [output])):
        if not each.name:  # "", ".", "/"
            raise UsageError(f"{each} is a directory", hint="name files")
    if output is None:
        return [named(each) for each in files]
    if len(files) > 1:
        raise UsageError("--output names one file, and there are several", hint="leave it out")
    return [output]


def _without_suffix(file: Path) -> Path:
    if file.suffix != SUFFIX or file.stem in ("", SUFFIX):
        raise UsageError(f"{file} does not end in {SUFFIX}", hint="name the output: --output FILE")
    return file.with_suffix("")


@contextmanager
def _keys(
    config: Path, name: str, act: str, *, writes: bool
) -> Iterator[tuple[KeySet, Callable[[Path, int], None]]]:
    """The keys of a keyring that applications have, and what records that a file was decrypted."""
    with keyring_at(config, name, act, writes=writes) as (found, site):
        if writes:
            site.prepare()

        def record(file: Path, version: int) -> None:
            told: dict[str, JSON] = {"file": str(file.absolute()), "version": version}
            told["by"] = account()
            happened = Happened("keyring.file_decrypted", str(found.policy.id), details=told)
            site.audit.record(happened)

        yield found.stored.keyring().key_set(), record
