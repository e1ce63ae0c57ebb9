"""Secrets as references: where one is kept, read only when it is used, and never shown."""

import os
import re
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, NoReturn, SupportsIndex

from pydantic import Discriminator, Field, Tag

from certrotd.clock import Deadline, SystemClock
from certrotd.config.base import (
    REFUSED,
    AbsolutePath,
    Argv,
    CredentialName,
    Entry,
    EntryFinding,
    EntryFindings,
    Loc,
    Variable,
)
from certrotd.config.durations import Duration
from certrotd.config.looks import program
from certrotd.errors import NeedsOperator, Transient, of_the_machine

MAX_SECRET = 64 * 1024
EXPOSED = stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH
"""Mode bits the file of a secret should not have; its group may read it, as services need."""


class Secret:
    """Bytes that stay out of reprs, logs, pickles and JSON."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The secret itself: for the call that needs it, not for a variable that lives on."""
        return self._value

    def __repr__(self) -> str:
        return "<secret>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a secret is neither pickled nor copied")


class FileSecret(Entry):
    """A file that holds only the secret; a newline at its end is ignored."""

    file: AbsolutePath = Field(description="The file, by its absolute path, of at most 64 KiB.")

    def resolve(self) -> Secret:
        """Read the secret; raises NeedsOperator, never showing content."""
        return _from_file(self.file)[0]

    def examine(self) -> EntryFindings:
        """Whether the secret can be read, and is out of others' reach."""
        try:
            exposed = _from_file(self.file)[1] & EXPOSED
        except NeedsOperator as error:
            yield (), EntryFinding(str(error))
            return
        if exposed:
            how = "readable by everybody" if exposed & stat.S_IROTH else "writable by others"
            yield (), EntryFinding(f"{self.file} is {how}: chmod it to 0600 or 0640", fatal=False)


class EnvironmentSecret(Entry):
    """A variable of the daemon's environment."""

    env: Variable = Field(description="The variable's name.")

    def resolve(self) -> Secret:
        """Read the secret; raises NeedsOperator if the variable is unset or empty."""
        value = os.environ.get(self.env, "")
        if not value:
            raise NeedsOperator(
                f"the environment variable {self.env} is not set",
                hint="set it in the environment that starts certrotd",
            )
        return _bounded(os.fsencode(value), f"the environment variable {self.env}")

    def examine(self) -> EntryFindings:
        """Whether the variable is set."""
        return _tried(self.resolve)


class CredentialSecret(Entry):
    """A credential that systemd passes to the service (LoadCredential=, SetCredential=)."""

    credential: CredentialName = Field(description="Its name below $CREDENTIALS_DIRECTORY.")

    def resolve(self) -> Secret:
        """Read the secret; raises NeedsOperator, never showing content."""
        return _from_file(self._path())[0]

    def examine(self) -> EntryFindings:
        """Whether systemd has passed the credential; outside of its service nobody can tell."""
        return _tried(self.resolve, fatal=bool(os.environ.get("CREDENTIALS_DIRECTORY")))

    def _path(self) -> Path:
        directory = os.environ.get("CREDENTIALS_DIRECTORY", "")
        if not directory:
            raise NeedsOperator(
                f"there is no credential {self.credential}: CREDENTIALS_DIRECTORY is not set",
                hint=f"give it to the systemd service with LoadCredential={self.credential}:PATH; "
                "from a shell, use systemd-run -p with the same setting",
            )
        return Path(directory) / self.credential


class CommandSecret(Entry):
    """A program that prints the secret to its standard output."""

    command: Argv = Field(description="The program and its arguments, run without a shell.")
    timeout: Duration = Field(
        default=timedelta(seconds=10), description="How long the program may take."
    )

    def resolve(self) -> Secret:
        """Run the program and read what it prints, never showing it.

        Raises NeedsOperator if there is no such program or it prints no secret, Transient if it
        fails or takes too long.
        """
        from certrotd import process

        name = self.command[0]
        ran = process.run(
            self.command,
            what=name,
            deadline=Deadline(SystemClock(), self.timeout.total_seconds()),
            variables={**os.environ, "PATH": process.search_path()},
            errors_too=False,  # it may hold the secret too
            most=MAX_SECRET + 2,
        )
        if ran.status != 0 and len(ran.output) <= MAX_SECRET + 2:
            raise Transient(
                f"{name} {ran.how} instead of printing the secret",
                hint="run it by hand, or raise its timeout",
            )
        return _bounded(_without_newline(ran.output), f"what {name} printed")

    def examine(self) -> EntryFindings:
        """Whether the program exists; it is not run."""
        return program(self.command[0], ("command",))


Reference = FileSecret | EnvironmentSecret | CredentialSecret | CommandSecret

_KINDS: dict[str, type[Entry]] = {
    "file": FileSecret,
    "env": EnvironmentSecret,
    "credential": CredentialSecret,
    "command": CommandSecret,
}


def _tag(value: object) -> str | None:
    """Which reference ``value`` is, by its only telling key; "~" keeps it apart from real keys."""
    if isinstance(value, dict):
        kinds = [name for name in _KINDS if name in value]
    else:
        kinds = [name for name, kind in _KINDS.items() if isinstance(value, kind)]
    return f"~{kinds[0]}" if len(kinds) == 1 else None


def _tag_or_text(value: object) -> str | None:
    return "~text" if isinstance(value, str) else _tag(value)


_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]{0,63})\}", re.ASCII)
_FORMS = "{file: PATH}, {env: NAME}, {credential: NAME} or {command: [PROGRAM, …]}"

SECRET_FORM = f"{REFUSED}_secret"
"""The error type of what is no reference to a secret, of which nothing may be shown."""


def misformed(value: object) -> str:
    """Why ``value`` is no reference to a secret, without showing any of it."""
    if isinstance(value, dict):
        given = [name for name in _KINDS if name in value]
        if len(given) > 1:
            return f"has {' and '.join(given)}: keep one of them"
        return f"must be a reference to the secret: {_FORMS}"
    if value is None:
        return f"must be a reference to the secret, got nothing: {_FORMS}"
    if isinstance(value, str) and (match := _VARIABLE.fullmatch(value)):
        return f"variables are not expanded: write {{env: {match[1]}}}"
    return f"must be a reference to the secret, not the secret itself: {_FORMS}"


SecretRef = Annotated[
    Annotated[FileSecret, Tag("~file")]
    | Annotated[EnvironmentSecret, Tag("~env")]
    | Annotated[CredentialSecret, Tag("~credential")]
    | Annotated[CommandSecret, Tag("~command")],
    Discriminator(
        _tag,
        custom_error_type=SECRET_FORM,
        custom_error_message="must be a reference to the secret",
    ),
]

TextOrSecret = Annotated[
    Annotated[str, Tag("~text")]
    | Annotated[FileSecret, Tag("~file")]
    | Annotated[EnvironmentSecret, Tag("~env")]
    | Annotated[CredentialSecret, Tag("~credential")]
    | Annotated[CommandSecret, Tag("~command")],
    Discriminator(
        _tag_or_text,
        custom_error_type=REFUSED,
        custom_error_message=f"must be text (quote numbers) or a reference to a secret: {_FORMS}",
    ),
]

Environment = Annotated[dict[Variable, TextOrSecret], Field(max_length=1000)]
"""Variables for a program, some of which may be secrets."""


def formed(secret: Reference, loc: Loc, parse: Callable[[bytes], object]) -> EntryFindings:
    """Whether ``parse`` takes a secret, where that can be read without running anything.

    One that cannot be read is for the reference itself to tell.
    """
    if isinstance(secret, CommandSecret):
        return
    try:
        value = secret.resolve().reveal()
    except NeedsOperator:
        return
    try:
        parse(value)
    except NeedsOperator as error:
        yield loc, EntryFinding(str(error))


def _from_file(path: Path) -> tuple[Secret, int]:
    """The secret a regular file holds, and the file's mode."""
    try:
        # Without O_NONBLOCK, opening a FIFO nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise NeedsOperator(
            f"the secret in {path} cannot be read: {error.strerror}",
            hint=of_the_machine(error) or "create the file, or let certrotd's user read it",
        ) from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise NeedsOperator(f"{path} is not a regular file", hint="keep the secret in one")
        with open(descriptor, "rb", closefd=False) as file:
            content = _without_newline(file.read(MAX_SECRET + 3))
    finally:
        os.close(descriptor)
    return _bounded(content, f"the secret in {path}"), mode


def _tried(resolve: Callable[[], Secret], *, fatal: bool = True) -> EntryFindings:
    """Why a secret that may be read at any time cannot be."""
    try:
        resolve()
    except NeedsOperator as error:
        yield (), EntryFinding(str(error), fatal)


def _without_newline(value: bytes) -> bytes:
    return value.removesuffix(b"\n").removesuffix(b"\r")


def _bounded(value: bytes, what: str) -> Secret:
    if not value:
        raise NeedsOperator(f"{what} is empty")
    if len(value) > MAX_SECRET:
        raise NeedsOperator(f"{what} is longer than 64 KiB", hint="check that it is the right one")
    return Secret(value)
