"""What an import writes, and what it leaves alone."""

from pathlib import Path

import pytest

from certrotd.errors import UsageError
from certrotd.importing.configuration import Plan
from certrotd.importing.writing import publish, stage

PLAN = Plan("certificates: []\n", {"cloudflare.token": b"theirs"})


@pytest.mark.parametrize("other", [b"mine", b"another, which is longer"])
def test_a_secret_that_is_there_is_not_replaced(tmp_path: Path, other: bytes) -> None:
    """Nobody else may have it: a token is shown once. What an interrupted import wrote may stay."""
    stage(PLAN, tmp_path)
    stage(PLAN, tmp_path)
    secret = tmp_path / "secrets/cloudflare.token"
    assert secret.read_bytes() == b"theirs\n"
    secret.write_bytes(other)
    with pytest.raises(UsageError, match=r"cloudflare\.token is there already with another secret"):
        stage(PLAN, tmp_path)
    assert secret.read_bytes() == other
    secret.unlink()
    stage(PLAN, tmp_path)
    assert publish(tmp_path).read_text() == PLAN.document
