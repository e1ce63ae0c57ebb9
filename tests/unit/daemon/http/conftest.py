"""What the tests of the pages share."""

from pathlib import Path

import pytest

from tests.unit.daemon.http.stand import Stand


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """An empty one."""
    return Stand(tmp_path)
