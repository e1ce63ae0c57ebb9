"""What an application says when it opens a keyring, and what that loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from certrotd.client import Keyring
from certrotd.client.keks import PassphraseFile, kek_of
from certrotd.errors import Failure, InvalidInput, NeedsOperator
from certrotd.files.writing import write_file
from certrotd.kek.credential import CredentialKek
from certrotd.kek.passphrase import Cost, Function, PassphraseKek
from certrotd.keyring.document import NoKek, Renamed
from certrotd.keyring.document import sealed as seal
from tests.unit.client.sealed import AAD, Sealed

CHEAP = Cost(Function.SCRYPT, 10, 8, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kek": None}, "needs either kek or keks"),
        ({"keks": {"local": "/kek"}}, "needs either kek or keks"),
        ({"kek": None, "keks": {}}, "needs either kek or keks"),
        ({"kek": "magic:kek"}, "magic:kek names no KEK"),
        ({"kek": "credential:"}, "names no KEK"),
        ({"name": "../orders"}, "none that a keyring can have"),
        ({"refresh": 0}, "times in seconds"),
        ({"every": float("inf")}, "times in seconds"),
        ({"heartbeats": "/beats"}, "need the name of the application"),
        ({"heartbeats": "/beats", "client": "The shop"}, "need the name of the application"),
    ],
)
def test_arguments_that_fit_nothing_are_refused(
    sealed: Sealed, arguments: dict[str, Any], message: str
) -> None:
    """When the keyring is opened, in words for whoever wrote the call."""
    with pytest.raises(InvalidInput, match=message):
        sealed.open(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"client": "shop"}, "which keyring of the socket"),
        ({"name": "orders"}, "need the name of the application"),
        ({"name": "orders", "client": "shop", "kek": "/kek"}, "give no KEK"),
        ({"name": "orders", "client": "shop", "keks": {"a": "/kek"}}, "give no KEK"),
    ],
)
def test_a_socket_needs_other_arguments(arguments: dict[str, Any], message: str) -> None:
    """The keys come unwrapped, of the keyring that is named."""
    with pytest.raises(InvalidInput, match=message):
        Keyring.open("unix:/run/certrotd/keys.sock", **arguments)


def test_heartbeats_of_a_keyring_in_a_file_may_go_to_a_socket(
    sealed: Sealed, tmp_path: Path
) -> None:
    """Where the daemon is told, though the keys are unwrapped here."""
    from tests.unit.keyserver.serving import Daemon, serving

    daemon = Daemon(sealed)
    more = {"client": "shop", "heartbeats": f"unix:{tmp_path}/s"}
    with serving(tmp_path / "s", daemon), sealed.open(**more):
        assert [each.client for each, _ in daemon.heard] == ["shop"]


def test_a_keyring_is_the_one_that_was_named(sealed: Sealed) -> None:
    """A file of another keyring in its place is noticed, named or once opened."""
    with sealed.open(name="orders") as keyring:
        assert keyring.name == "orders"
    with pytest.raises(Renamed):
        sealed.open(name="invoices")


def test_a_file_kek_is_named_by_its_path_or_given(sealed: Sealed) -> None:
    """By whatever name certrotd's configuration has for it, or by that one."""
    for arguments in (
        {"kek": str(sealed.kek.path)},
        {"kek": sealed.kek},
        {"kek": None, "keks": {"local": sealed.kek.path}},
    ):
        with sealed.open(**arguments) as keyring:
            assert keyring.encrypt(b"", associated_data=AAD)
    with pytest.raises(NoKek, match="none of these KEKs is configured"):
        sealed.open(kek=None, keks={"remote": sealed.kek.path})


def test_a_credential_is_named(
    sealed: Sealed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As systemd passes it to the application's service."""
    assert kek_of("credential:orders.kek") == CredentialKek("orders.kek")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with sealed.open(kek="credential:orders.kek") as keyring:
        assert keyring.encrypt(b"", associated_data=AAD)


def test_a_passphrase_is_named_by_its_file(sealed: Sealed, tmp_path: Path) -> None:
    """What wraps the keyring on another machine may be what a person remembers."""
    file = tmp_path / "passphrase"
    file.write_text("correct horse battery\r\n")
    wrapping = PassphraseKek("in a test", PassphraseFile(file), CHEAP)
    data, sealed.keyring = seal(sealed.keyring, {"words": wrapping, "local": sealed.kek})
    write_file(sealed.path, data, mode=0o600)
    with sealed.open(kek=f"passphrase:{file}") as keyring:
        assert keyring.encrypt(b"", associated_data=AAD)
    file.write_text("another horse battery")
    with pytest.raises(NoKek, match="is not the passphrase"):
        sealed.open(kek=f"passphrase:{file}")


@pytest.mark.parametrize("kind", ["absent", "directory"])
def test_a_passphrase_that_is_not_there_is_reported(tmp_path: Path, kind: str) -> None:
    """By the path that was given."""
    path = tmp_path if kind == "directory" else tmp_path / "none"
    with pytest.raises(NeedsOperator, match=str(path)):
        PassphraseFile(path).resolve()


def test_a_document_that_goes_while_it_is_opened_is_reported(
    sealed: Sealed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the reading."""

    def gone(*_arguments: object, **_more: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("certrotd.files.reading.read_status", gone)
    with pytest.raises(Failure, match="is gone"):
        sealed.open()


def test_a_keyring_without_an_active_key_is_not_opened(sealed: Sealed) -> None:
    """Nobody could encrypt with it."""
    sealed.move(lambda each: each.compromise(1, at=sealed.clock.now(), why="seen elsewhere"))
    with pytest.raises(InvalidInput, match="no version of the keyring orders is active"):
        sealed.open()


HEAVY = {
    *(
        "certrotd.daemon",
        "certrotd.state",
        "certrotd.config",
        "certrotd.lifecycle",
        "certrotd.keys",
    ),
    *("certrotd.certs", "certrotd.scheduling", "certrotd.cli", "certrotd.rotation"),
    *("pydantic", "yaml", "structlog", "rich", "typer", "requests", "acme", "asyncio", "logging"),
}


def loaded(program: str) -> set[str]:
    """The modules in memory after a program."""
    program += "\nimport sys; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_library_loads_no_cryptography() -> None:
    """An application that may never encrypt starts as fast as before."""
    found = loaded("import certrotd.client")
    assert "certrotd.client.keyring" in found
    assert not found & {*HEAVY, "cryptography", "certrotd.kek", "certrotd.keyserver", "socket"}


def test_using_the_library_loads_nothing_of_the_daemon(sealed: Sealed) -> None:
    """Nor what only the daemon needs; with a passphrase, too."""
    program = (
        "from certrotd.client import Keyring\n"
        "import certrotd.kek.passphrase, certrotd.client.asking\n"
        f"with Keyring.open({str(sealed.path)!r}, kek={str(sealed.kek.path)!r}) as keyring:\n"
        "    keyring.encrypt(b'', associated_data=b'')\n"
    )
    found = loaded(program)
    assert "cryptography" in found
    assert not found & HEAVY
