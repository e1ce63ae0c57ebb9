"""What the tests of the client library begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.client.sealed import Sealed


@pytest.fixture
def sealed(tmp_path: Path) -> Sealed:
    """A keyring whose version 1 encrypts."""
    return Sealed(tmp_path)
