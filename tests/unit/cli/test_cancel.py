"""``certrotd cancel`` and what a crash left."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.conftest import Certrotd, listed


def test_a_rotation_whose_first_record_was_torn_is_cancelled(
    certrotd: Certrotd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`status` shows it in flight, so `cancel` ends it; the audit log says what became of it."""
    assert certrotd("rotate", "--all") == 0
    journal = tmp_path / "state/journal/certificate/web.jsonl"
    journal.write_bytes(b'{"c":"00')
    capsys.readouterr()
    assert certrotd("status", "web", "--json") == 0
    assert listed(capsys)["web"]["state"] == "in flight"
    assert certrotd("cancel", "web", "--json") == 0
    cancelled = listed(capsys)["web"]
    assert (cancelled["result"], cancelled["why"]) == ("cancelled", "nothing was changed")
    assert not journal.exists()
    assert certrotd("cancel", "web", "--json") == 1, "the control: now there is none"
    assert "no rotation of certificate/web is in flight" in listed(capsys)["web"]["why"]
