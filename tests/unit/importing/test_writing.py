"""What an import writes, what it leaves alone, and that it leaves nothing if it fails."""

import fcntl
import os
from pathlib import Path

import pytest

from certrotd.errors import LockHeld, NeedsOperator, UsageError
from certrotd.importing import writing
from certrotd.importing.configuration import Plan
from certrotd.importing.writing import write

PLAN = Plan("certificates: []\n", {"cloudflare.token": b"theirs"})


class Fault(Exception):
    """What the accounts' CA, or its directory, fails with."""


def kept(_config: Path) -> None:
    """The accounts are kept."""


def fails(config: Path) -> None:
    """They are not."""
    assert config.read_text() == PLAN.document
    raise Fault


def everything(folder: Path) -> list[tuple[str, bytes]]:
    """All that is there."""
    found = sorted(folder.rglob("*"))
    return [(str(each), each.read_bytes() if each.is_file() else b"") for each in found]


@pytest.mark.parametrize("other", [b"mine", b"another, which is longer"])
def test_a_secret_that_is_there_is_not_replaced(tmp_path: Path, other: bytes) -> None:
    """Nobody else may have it: a token is shown once. What a killed import wrote may stay."""
    secret = tmp_path / "secrets/cloudflare.token"
    secret.parent.mkdir(mode=0o700)
    secret.write_bytes(other)
    with pytest.raises(UsageError, match=r"cloudflare\.token is there already with another secret"):
        write(PLAN, tmp_path, kept)
    assert everything(tmp_path) == [(str(secret.parent), b""), (str(secret), other)]
    secret.write_bytes(b"theirs\n")
    (tmp_path / writing.STAGED).write_text("of a killed import")
    assert write(PLAN, tmp_path, kept).read_text() == PLAN.document
    assert {each.name for each in tmp_path.iterdir()} == {"config.yaml", "secrets"}


@pytest.mark.parametrize("there", [True, False])
def test_an_import_that_fails_leaves_nothing_and_can_be_repeated(
    tmp_path: Path, there: bool
) -> None:
    """Neither secrets nor directories of its own; a file of somebody else's stays."""
    folder = tmp_path / "etc" / "certrotd"
    if there:
        folder.mkdir(parents=True)
        (folder / "mine").touch()
    before = everything(tmp_path)
    with pytest.raises(Fault):
        write(PLAN, folder, fails)
    assert everything(tmp_path) == before
    write(PLAN, folder, kept)
    assert (folder / "secrets/cloudflare.token").read_bytes() == b"theirs\n"


def test_what_cannot_be_removed_is_named(tmp_path: Path) -> None:
    """Whoever reads the message removes it, or repeats the command."""
    secret = tmp_path / "secrets/cloudflare.token"

    def fails_for_good(config: Path) -> None:
        secret.unlink()
        secret.mkdir()  # root may remove any file
        fails(config)

    with pytest.raises(NeedsOperator, match=r"secrets/cloudflare\.token left"):
        write(PLAN, tmp_path, fails_for_good)


def test_a_configuration_that_appears_meanwhile_is_left_alone(tmp_path: Path) -> None:
    """Another command, or an editor, may write it while accounts are kept."""

    def another(_config: Path) -> None:
        (tmp_path / "config.yaml").write_text("another's")

    with pytest.raises(UsageError, match="left alone"):
        write(PLAN, tmp_path, another)
    assert everything(tmp_path) == [(str(tmp_path / "config.yaml"), b"another's")]


def test_two_imports_do_not_write_at_once(tmp_path: Path) -> None:
    """Each would publish what the other has staged."""
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(LockHeld, match="another import"):
        write(PLAN, tmp_path, kept)
    os.close(handle)
    assert everything(tmp_path) == []

    def second(_config: Path) -> None:
        with pytest.raises(LockHeld):
            write(PLAN, tmp_path, kept)

    write(PLAN, tmp_path, second)


@pytest.mark.parametrize(
    ("mode", "below", "refused"),
    [
        (0o777, "", True),
        (0o777, "etc/certrotd", True),
        (0o1777, "", True),
        (0o1777, "certrotd", False),
        (0o755, "", False),
    ],
)
def test_nothing_is_written_where_everybody_may_write(
    tmp_path: Path, mode: int, below: str, refused: bool
) -> None:
    """Who can put another file there runs commands; below a sticky directory nobody can."""
    place = tmp_path / "open"
    place.mkdir()
    place.chmod(mode)
    (tmp_path / "link").symlink_to(place / below)
    for folder in (place / below, tmp_path / "link"):
        if not refused:
            assert write(PLAN, place / below, kept).exists()
            break
        with pytest.raises(UsageError, match=f"everybody may write in {tmp_path}"):
            write(PLAN, folder, kept)
        assert everything(place) == []
