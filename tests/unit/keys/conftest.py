"""What the tests of keyrings begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.keys.rings import Rings


@pytest.fixture
def rings(tmp_path: Path) -> Rings:
    """One keyring with a Tink keyset; there is no key yet."""
    return Rings(tmp_path)
