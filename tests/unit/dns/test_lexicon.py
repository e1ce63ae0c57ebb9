"""dns-lexicon runs in a process of its own: how that ends, and what of its errors is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from certrotd.clock import Deadline
from certrotd.dns import lexicon
from certrotd.dns.lexicon import Lexicon
from certrotd.dns.lexicon_child import MAX_SHOWN, scrubbed
from certrotd.dns.records import TxtRecord
from certrotd.errors import NeedsOperator, Transient
from tests.builders import soon

RECORD = TxtRecord("_acme-challenge.example.test", "value")


@pytest.mark.parametrize("secret", ["to/k+en=", "two words", "p%40ss", "plain-token"])
def test_a_secret_is_not_shown_in_the_url_of_a_request_either(secret: str) -> None:
    """Some providers take it there, and an error of the connection shows that."""
    import requests

    request = requests.Request("GET", "https://dns.test/", params={"key": secret}).prepare()
    said = f"Max retries exceeded with url: {request.path_url} ({secret})"
    shown = scrubbed(said, {"auth_token": secret, "mode": "api"})
    assert shown == "Max retries exceeded with url: /?key=*** (***)"
    cut = scrubbed("x" * (MAX_SHOWN - 3) + secret, {"auth_token": secret})
    assert cut.strip("x") == "***"


def solver(monkeypatch: pytest.MonkeyPatch, directory: Path, program: str) -> Lexicon:
    """One whose child is another program."""
    child = directory / "child.py"
    child.write_text(program)
    monkeypatch.setattr(lexicon, "CHILD", child)
    return Lexicon("Lexicon", "hetzner", {}, zone_of=lambda _name, _limit: "example.test")


def test_a_child_that_is_late_is_worth_another_try(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody has to do anything about a provider that hangs, whatever part of a second is left."""
    slow = solver(
        monkeypatch,
        tmp_path,
        f"import sys, time\nsys.path.insert(0, {str(Path(lexicon.__file__).parent)!r})\n"
        "import lexicon_child\nlexicon_child._act = lambda _asked: time.sleep(60)\n"
        "lexicon_child.main()\n",
    )
    clock = soon().clock
    with pytest.raises(Transient, match="did not end in time"):
        slow.present(RECORD, deadline=Deadline(clock, 1.45))


def test_a_child_that_dies_is_told_by_how(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Such as one that the kernel kills for its memory."""
    dying = solver(monkeypatch, tmp_path, "import os\nos.kill(os.getpid(), 9)\n")
    with pytest.raises(NeedsOperator, match="was killed by signal 9 without reporting"):
        dying.present(RECORD, deadline=soon())
