"""Looks at what a configuration refers to: files are read, programs only looked for."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from certrotd.config.base import EntryFinding, EntryFindings, Loc
from certrotd.errors import InvalidInput, NeedsOperator

MAX_PEM = 4 * 1024 * 1024


def program(name: str, loc: Loc, *, path: str | None = None) -> EntryFindings:
    """Whether a program is there, and may be executed; ``path`` is where it is looked for."""
    from certrotd.process import require

    try:
        require(name, what="the program", path=path)
    except NeedsOperator as error:
        yield loc, EntryFinding(str(error))


def library(module: str, loc: Loc, *, extra: str) -> EntryFindings:
    """Whether a library of an extra is installed here; the service may be installed elsewhere."""
    from certrotd.extras import how_to_install, installed

    if not installed(module):
        message = f"needs the Python module {module}, which is not installed"
        yield loc, EntryFinding(f"{message} ({how_to_install(extra)})", fatal=False)


def roots(file: object, loc: Loc) -> EntryFindings:
    """Whether ``file``, where it is a path at all, holds certificates in PEM."""
    if not isinstance(file, Path):
        return
    import ssl

    from certrotd.pki.roots import load_roots

    try:
        load_roots(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), file, what="the file")
    except NeedsOperator as error:
        yield loc, EntryFinding(str(error))


def parent(directory: Path, loc: Loc) -> EntryFindings:
    """Whether the folder that ``directory`` is in is there: its disk may not be mounted now."""
    if not os.path.lexists(directory.parent):
        message = f"is to be in {directory.parent}, which is not there: certrotd does not make it"
        yield loc, EntryFinding(message, fatal=False)


def readable(file: Path | None, loc: Loc) -> EntryFindings:
    """Whether ``file``, where one is named, is a regular file, and may be read."""
    if file is None:
        return
    try:
        regular = stat.S_ISREG(os.stat(file).st_mode)
        allowed = os.access(file, os.R_OK, effective_ids=True)
    except OSError as error:
        yield loc, EntryFinding(f"{file} cannot be read: {error.strerror}")
        return
    if not regular:
        yield loc, EntryFinding(f"{file} is not a regular file")
    elif not allowed:
        yield loc, EntryFinding(f"{file} cannot be read: Permission denied")


def pem(file: Path, loc: Loc, *, key: bool) -> EntryFindings:
    """Whether ``file`` holds a private ``key``, or else certificates."""
    from certrotd.pki.facts import parse_certificates
    from certrotd.pki.keys import load

    problems = list(readable(file, loc))
    yield from problems
    if problems:
        return
    try:
        with open(file, "rb") as stream:
            content = stream.read(MAX_PEM)
        (load if key else parse_certificates)(content, what=str(file))
    except (OSError, InvalidInput) as error:
        yield loc, EntryFinding(str(error))


def request(file: Path, names: Sequence[str], loc: Loc) -> EntryFindings:
    """Whether ``file`` holds a signing request for those names."""
    from certrotd.pki.request import check_request, read_request

    problems = list(readable(file, loc))
    yield from problems
    if problems:
        return
    try:
        with open(file, "rb") as stream:
            content = stream.read(MAX_PEM)
        check_request(read_request(content, what=str(file)), names, what=str(file))
    except (OSError, InvalidInput) as error:
        yield loc, EntryFinding(str(error))


def folder(path: Path | None, loc: Loc, *, made: bool = False) -> EntryFindings:
    """Whether ``path``, where one is named, is a directory, or could be ``made`` one."""
    if path is None:
        return
    nearest = path
    while made and not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not os.path.isdir(nearest):
        what = "is not there" if not os.path.lexists(nearest) else "is not a directory"
        yield loc, EntryFinding(f"{nearest} {what}: name a directory")
