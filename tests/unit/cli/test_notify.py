"""Trying the ways that alerts go."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from certrotd.cli.notify import test as carry_out
from certrotd.errors import InvalidInput
from tests.parts.process import free_port
from tests.parts.receiver import Receiver, receiving

CERTIFICATES = (
    "issuers: {lab: {type: internal}}\ncertificates: [{name: web, names: [example.com]}]\n"
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver without TLS."""
    with receiving() as started:
        yield started


def configured(folder: Path, **urls: str) -> Path:
    """A configuration with a webhook to each URL."""
    key = folder / "webhook.key"
    key.write_text(f"whsec_{base64.b64encode(b'k' * 32).decode()}\n")
    key.chmod(0o600)
    hooks = {
        name: {"type": "webhook", "url": url, "secret": {"file": str(key)}, "severity": "error"}
        for name, url in urls.items()
    }
    config = folder / "config.yaml"
    state = json.dumps(str(folder / "state"))
    config.write_text(f"state_dir: {state}\nnotifications: {json.dumps(hooks)}\n{CERTIFICATES}")
    return config


def test_every_notifier_gets_a_message_that_says_it_is_a_test(
    tmp_path: Path, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever it wants to hear otherwise; nothing is written."""
    config = configured(tmp_path, ops=receiver.url, tickets=receiver.url)
    assert carry_out(config, [], as_json=False) == 0
    assert capsys.readouterr().out == "ops: delivered\ntickets: delivered\n"
    assert [got.json["type"] for got in receiver.got] == ["alert.test"] * 2
    assert not (tmp_path / "state").exists()


def test_a_notifier_that_fails_is_reported_and_the_others_are_tried(
    tmp_path: Path, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code says so too."""
    gone = f"http://127.0.0.1:{free_port()}/"
    config = configured(tmp_path, gone=gone, ops=receiver.url)
    assert carry_out(config, [], as_json=False) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("gone: the receiver of notification gone at 127.0.0.1")
    assert second == "ops: delivered"
    assert carry_out(config, ["ops"], as_json=True) == 0  # the control: that one alone
    assert json.loads(capsys.readouterr().out) == [{"name": "ops", "failure": None}]


def test_a_missing_secret_is_one_line(
    tmp_path: Path, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    """With where it should be."""
    config = configured(tmp_path, ops=receiver.url)
    (tmp_path / "webhook.key").unlink()
    assert carry_out(config, [], as_json=False) == 1
    [line] = capsys.readouterr().out.splitlines()
    assert f"ops: the secret in {tmp_path}/webhook.key cannot be read" in line


def test_an_unknown_name_is_refused_with_the_nearest(tmp_path: Path) -> None:
    """Nothing is sent to anybody."""
    config = configured(tmp_path, tickets="http://127.0.0.1:1/")
    with pytest.raises(InvalidInput, match="there is no notification 'ticket'") as caught:
        carry_out(config, ["ticket"], as_json=False)
    assert '"tickets"' in caught.value.hint


def test_without_notifications_there_is_nothing_to_try(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which is said."""
    config = configured(tmp_path)
    assert carry_out(config, [], as_json=False) == 0
    assert capsys.readouterr().err == "the configuration has no notifications\n"


def test_without_notifications_json_is_an_empty_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What reads it need not know of any exception."""
    assert carry_out(configured(tmp_path), [], as_json=True) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == []
    assert "no notifications" in said.err
