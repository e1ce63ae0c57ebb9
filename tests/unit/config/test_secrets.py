"""Secrets: read where they are when they are used, and shown nowhere."""

import copy
import json
import os
import pickle
import time
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from certrotd.config.base import Entry, EntryFinding
from certrotd.config.environment import reveal
from certrotd.config.load import check, load
from certrotd.config.secrets import (
    CommandSecret,
    CredentialSecret,
    EnvironmentSecret,
    FileSecret,
    Reference,
    Secret,
    SecretRef,
)
from certrotd.errors import Failure, NeedsOperator, Transient
from tests.unit.config.written import MINIMAL, not_root, write

HUNTER = b"hunter2"


def in_file(folder: Path, content: bytes, mode: int = 0o600) -> FileSecret:
    """A reference to a file with ``content``."""
    file = folder / "secret"
    file.write_bytes(content)
    file.chmod(mode)
    return FileSecret(file=file)


def printed_by(script: str, timeout: str = "60s") -> CommandSecret:
    """A reference to a program that a shell runs for the test."""
    command = {"command": ["/bin/sh", "-c", script], "timeout": timeout}
    return CommandSecret.model_validate(command)


def test_a_secret_is_shown_nowhere() -> None:
    """One repr in a traceback is one key in a log (acme.sh #6267)."""
    secret = Secret(HUNTER)
    assert secret.reveal() == HUNTER
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r:>20}", repr([secret])):
        assert "hunter" not in shown
    with pytest.raises(TypeError):
        json.dumps(secret)
    for escape in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="neither pickled nor copied"):
            escape(secret)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"hunter2", HUNTER),
        (b"hunter2\n", HUNTER),
        (b"hunter2\r\n", HUNTER),
        (b"hunter2\n\n", b"hunter2\n"),
        (b" hunter2 ", b" hunter2 "),
        (b"\x00\xff", b"\x00\xff"),
        (b"x" * 65536 + b"\n", b"x" * 65536),
    ],
)
def test_a_file_holds_the_secret_and_perhaps_a_newline(
    tmp_path: Path, content: bytes, expected: bytes
) -> None:
    """Editors end a file with a newline, which is no part of the password."""
    assert in_file(tmp_path, content).resolve().reveal() == expected


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is empty"), (b"\n", "is empty"), (b"x" * 65537, "longer than 64 KiB")],
)
def test_an_empty_or_huge_file_is_no_secret(tmp_path: Path, content: bytes, said: str) -> None:
    """An empty password would be tried against the server; a disk image would be read."""
    reference = in_file(tmp_path, content)
    with pytest.raises(NeedsOperator, match=said):
        reference.resolve()
    assert [finding.fatal for finding in seen(reference)] == [True]


def test_a_file_is_read_when_it_is_used(tmp_path: Path) -> None:
    """A secret that was rotated is the new one from then on."""
    reference = in_file(tmp_path, b"old")
    in_file(tmp_path, b"new")
    assert reference.resolve().reveal() == b"new"


def test_a_path_that_is_no_readable_file_is_no_secret(tmp_path: Path) -> None:
    """A folder, a FIFO that would wait for ever, nothing, and something of somebody else."""
    os.mkfifo(tmp_path / "pipe")
    for path, said in [
        (tmp_path, "is not a regular file"),
        (tmp_path / "pipe", "is not a regular file"),
        (tmp_path / "missing", "No such file"),
    ]:
        reference = FileSecret(file=path)
        with pytest.raises(NeedsOperator, match=said):
            reference.resolve()
        [finding] = seen(reference)
        assert finding.fatal
    hidden = in_file(tmp_path, HUNTER, mode=0)
    with not_root(), pytest.raises(NeedsOperator, match="Permission denied"):
        hidden.resolve()


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (0o604, "readable by everybody"),
        (0o620, "writable by others"),
        (0o602, "writable by others"),
    ],
)
def test_a_file_within_others_reach_is_warned_of(tmp_path: Path, mode: int, said: str) -> None:
    """It still works; the operator may know better."""
    [finding] = seen(in_file(tmp_path, HUNTER, mode))
    assert said in finding.message
    assert not finding.fatal


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_a_file_for_its_owner_and_group_is_fine(tmp_path: Path, mode: int) -> None:
    """Negative control; a group is how a service is given a secret."""
    assert seen(in_file(tmp_path, HUNTER, mode)) == ()


def test_a_variable_is_a_secret_if_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable is one somebody forgot to fill."""
    reference = EnvironmentSecret(env="CERTROTD_TEST")
    for value in (None, ""):
        if value is not None:
            monkeypatch.setenv("CERTROTD_TEST", value)
        with pytest.raises(NeedsOperator, match="CERTROTD_TEST is not set"):
            reference.resolve()
        assert seen(reference)[0].fatal
    monkeypatch.setenv("CERTROTD_TEST", "hunter2")
    assert reference.resolve().reveal() == HUNTER
    assert seen(reference) == ()


def test_a_credential_is_where_systemd_puts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LoadCredential= gives a file in a folder only the service can read."""
    reference = CredentialSecret(credential="secret")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(NeedsOperator, match="LoadCredential=secret:PATH"):
        reference.resolve()
    # who checks the configuration in a shell is not the service
    assert [found.fatal for found in seen(reference)] == [False]
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert seen(reference)[0].fatal
    in_file(tmp_path, b"hunter2\n")
    assert reference.resolve().reveal() == HUNTER
    assert seen(reference) == ()


def test_a_program_prints_the_secret() -> None:
    """A vault's client; what it complains about is not part of it."""
    assert printed_by("echo warning >&2; echo hunter2").resolve().reveal() == HUNTER
    assert seen(printed_by("true")) == ()


@pytest.mark.parametrize(
    ("script", "kind", "said"),
    [
        ("echo hunter2; exit 3", Transient, "exited with 3"),
        ("echo hunter2; kill -9 $$", Transient, "was killed by signal 9"),
        ("true", NeedsOperator, "is empty"),
        ("while :; do echo hunter2hunter2hunter2; done", NeedsOperator, "longer than 64 KiB"),
        ("exec head -c 65537 /dev/zero", NeedsOperator, "longer than 64 KiB"),
    ],
)
def test_a_program_that_fails_gives_no_secret(script: str, kind: type[Failure], said: str) -> None:
    """Half of a password is none, and none of it is shown."""
    with pytest.raises(kind, match=said) as caught:
        printed_by(script).resolve()
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize(
    "script", ["echo hunter2; sleep 600", "exec >&-; sleep 600", "(sleep 600) & (sleep 600)"]
)
def test_a_program_that_takes_too_long_is_ended_with_all_it_started(script: str) -> None:
    """A client that waits for a login must not hold up a rotation for ever."""
    began = time.monotonic()
    with pytest.raises(Transient, match="did not end in time and was killed instead of printing"):
        printed_by(script, timeout="1s").resolve()
    assert time.monotonic() - began < 60


def seen(reference: Entry) -> tuple[EntryFinding, ...]:
    """What looking at a reference finds."""
    return tuple(finding for _, finding in reference.examine())


def test_a_program_that_is_not_there_gives_no_secret(tmp_path: Path) -> None:
    """Found by the check, which runs no program."""
    reference = CommandSecret(command=(str(tmp_path / "missing"),))
    with pytest.raises(NeedsOperator, match="could not be started: No such file"):
        reference.resolve()
    [finding] = seen(reference)
    assert finding.fatal
    assert "is not an executable file" in finding.message


@pytest.mark.parametrize("kind", ["file", "env", "credential", "command"])
def test_a_reference_is_known_by_its_only_key(kind: str) -> None:
    """No type has to be written."""
    value = {"file": "/x", "env": "X", "credential": "x", "command": ["/x"]}[kind]
    adapter: TypeAdapter[Reference] = TypeAdapter(SecretRef)
    reference = adapter.validate_python({kind: value})
    assert type(reference).__name__.lower().startswith(kind[:3])
    assert adapter.validate_python(reference) is reference


def test_secrets_are_checked_where_they_are_referred_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``config check`` finds the missing file, not the first renewal; loading needs no secret."""
    monkeypatch.delenv("CERTROTD_TEST", raising=False)
    in_file(tmp_path, b"aHVudGVyMg==", mode=0o644)
    text = (
        MINIMAL
        + f"""\
  install:
  - pkcs12: /x.p12
    pkcs12_password: {{file: {tmp_path}/missing}}
solvers:
  ns1:
    type: rfc2136
    server: 192.0.2.1
    tsig:
      name: k
      secret: {{file: {tmp_path}/secret}}
  hook:
    type: exec
    command: [/bin/sh]
    environment:
      A: plain
      B: {{env: CERTROTD_TEST}}
      C: {{command: [/bin/sh, -c, "touch {tmp_path}/ran"]}}
"""
    )
    file = write(tmp_path, text)
    assert load(file).warnings == ()
    problems, warnings = check(file)
    assert [(problem.line, problem.path) for problem in problems] == [
        (7, "certificates[web].install[0].pkcs12_password"),
        (20, "solvers.hook.environment.B"),
    ]
    assert [(warning.line, warning.path) for warning in warnings] == [
        (14, "solvers.ns1.tsig.secret")
    ]
    assert "aHVu" not in str((problems, warnings))
    assert not (tmp_path / "ran").exists()


def test_variables_for_a_program_are_revealed_at_once(tmp_path: Path) -> None:
    """Plain ones as they are, secrets read; bytes that are no text cannot be a variable."""
    assert reveal({"A": "a", "B": in_file(tmp_path, HUNTER)}) == {"A": "a", "B": "hunter2"}
    with pytest.raises(NeedsOperator, match="the secret for B is not UTF-8 text"):
        reveal({"B": in_file(tmp_path, b"\xff")})
