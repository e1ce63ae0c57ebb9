"""PostgreSQL would refuse a key, and say so in its log only: certrotd says it before."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from certrotd.clock import SystemClock
from certrotd.config.context import Context
from certrotd.config.services import PostgresqlEntry
from certrotd.errors import NeedsOperator, Transient
from certrotd.targets.postgresql import build, key_refusal
from tests.parts.process import free_port

HOME = "/data"
SHOWN = {"ssl": "on", "data_directory": HOME, "ssl_key_file": "server.key"}


def refusal(mode: int, owner: int, server: int = 26) -> str:
    """Why a server of that user would not take such a key."""

    def status(path: str) -> os.stat_result:
        found = (0o40700, server) if path == HOME else (0o100000 | mode, owner)
        assert path in (HOME, f"{HOME}/server.key")
        return os.stat_result((found[0], 0, 0, 1, found[1], 0, 0, 0, 0, 0))

    return (key_refusal(SHOWN, status=status) or ("",))[0]


@pytest.mark.parametrize(
    ("mode", "owner", "words"),
    [
        (0o600, 26, ""),
        (0o400, 26, ""),
        (0o640, 26, "nobody but its owner"),
        (0o604, 26, "nobody but its owner"),
        (0o640, 0, ""),
        (0o600, 0, "the server cannot read it"),
        (0o660, 0, "its group may read it"),
        (0o644, 0, "its group may read it"),
        (0o600, 33, "is user 33's, and must be user 26's or root's"),
    ],
)
def test_the_modes_and_owners_are_those_that_postgresql_takes(
    mode: int, owner: int, words: str
) -> None:
    """As its documentation has them ("Creating Certificates")."""
    found = refusal(mode, owner)
    assert words in found
    assert bool(words) == bool(found)


@given(st.integers(0, 0o777), st.sampled_from((0, 26, 33)))
def test_a_key_that_others_may_use_is_never_taken(mode: int, owner: int) -> None:
    """Whatever else is wrong with it."""
    if mode & 0o007 or mode & 0o020 or owner == 33:
        assert refusal(mode, owner)


def test_a_key_on_another_host_is_not_looked_at(tmp_path: Path) -> None:
    """Nor one whose place the server does not tell."""
    gone = {"data_directory": str(tmp_path), "ssl_key_file": "server.key"}
    assert key_refusal(gone) is None
    assert key_refusal({"ssl_key_file": "server.key"}) is None
    (tmp_path / "server.key").touch(mode=0o644)
    assert key_refusal(gone) is not None  # the control


def test_a_server_that_is_not_there_is_asked_again_later(tmp_path: Path) -> None:
    """With what libpq says, and without the password."""
    secret = tmp_path / "password"
    url = f"postgresql://certrotd@127.0.0.1:{free_port()}/postgres"
    written = {"type": "postgresql", "url": url, "password": {"file": str(secret)}}
    entry = TypeAdapter(PostgresqlEntry).validate_python(written)
    target = build(entry, Context("db", tmp_path, SystemClock()))
    with pytest.raises(NeedsOperator, match=r"the secret in .* cannot be read"):
        target.precheck()
    secret.write_text("canary-password")
    secret.chmod(0o600)
    target.precheck()
    with pytest.raises(Transient, match=r"PostgreSQL cannot be asked: .*refused") as caught:
        target.check()
    assert "canary" not in f"{caught.value}{target!r}"
    assert not entry.programs
