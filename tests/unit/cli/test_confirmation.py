"""What cannot be undone, and is not confirmed."""

import io

import pytest

from certrotd.cli.confirmation import confirm
from certrotd.errors import UsageError


def test_a_refusal_cannot_be_read_as_if_it_were_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so first, and what it says to add can be pasted into a shell."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    for typed in (None, "example.com"):
        with pytest.raises(UsageError) as refused:
            confirm("*.example.com", "generation 1 is to be revoked", typed)
        assert str(refused.value).startswith("nothing was done, for it is not confirmed: ")
        assert refused.value.hint == "--confirm '*.example.com'"
    confirm("*.example.com", "generation 1 is to be revoked", "*.example.com")
