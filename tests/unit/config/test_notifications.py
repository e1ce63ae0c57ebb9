"""Whom alerts go to, as the file says it."""

from pathlib import Path

import pytest

from certrotd.config.notifications import WebhookEntry, is_loopback
from tests.unit.config.written import MINIMAL, config, refused

SECRET = "secret: {env: HOOK}"


def hook(url: str, more: str = "") -> str:
    """A configuration with one webhook."""
    entry = f"{{type: webhook, url: '{url}', {SECRET}{more}}}"
    return f"{MINIMAL}notifications: {{ops: {entry}}}\n"


@pytest.mark.parametrize(
    "url",
    [
        "https://ops.example.com/hook?team=1",
        "https://[2001:db8::1]:8443/",
        "http://127.0.0.1:9000/",
        "http://localhost/",
        "http://[::1]/",
    ],
)
def test_https_and_this_machine_are_taken(tmp_path: Path, url: str) -> None:
    """A relay on loopback needs no TLS."""
    entry = config(tmp_path, hook(url)).notifications["ops"]
    assert isinstance(entry, WebhookEntry)
    assert entry.url == url


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://ops.example.com/", "must begin with https:// unless it is this machine"),
        ("http://127.0.0.1.example.com/", "must begin with https://"),
        ("ftp://ops.example.com/", "must be a URL such as"),
        ("https://", "must be a URL such as"),
        ("https://ops.example.com:0/", "must be a URL such as"),
        ("https://ops.example.com:x/", "is not a URL"),
        ("https://ops example.com/", "must be a URL such as"),
        ("https://user:pass@ops.example.com/", "without a user name"),
        ("https://ops.example.com/#x", "a fragment"),
        ("https://ops.exämple.com/", "must be a URL such as"),
    ],
)
def test_other_urls_are_refused(tmp_path: Path, url: str, words: str) -> None:
    """Alerts tell what is wrong with a host: not to everybody on the way."""
    [problem] = refused(tmp_path, hook(url))
    assert problem.path == "notifications.ops.url"
    assert words in problem.message


@pytest.mark.parametrize(
    ("more", "path"),
    [
        (", events: [rotation_faild]", "notifications.ops.events[0]"),
        (", severity: info", "notifications.ops.severity"),
        (", remind: 0s", "notifications.ops.remind"),
        (", urls: []", "notifications.ops.urls"),
    ],
)
def test_wrong_options_are_refused_where_they_are(tmp_path: Path, more: str, path: str) -> None:
    """A typo in a kind would be silence."""
    [problem] = refused(tmp_path, hook("https://ops.example.com/", more))
    assert problem.path == path


def test_a_url_of_apprise_is_a_secret(tmp_path: Path) -> None:
    """It holds tokens: it is never written into the file."""
    text = "notifications: {ops: {type: apprise, urls: ['slack://a/b/c']}}\n"
    [problem] = refused(tmp_path, MINIMAL + text)
    assert "must be a reference to the secret" in problem.message
    assert "slack" not in problem.message
    [problem] = refused(tmp_path, f"{MINIMAL}notifications: {{ops: {{type: apprise, urls: []}}}}\n")
    assert problem.path == "notifications.ops.urls"


def test_loopback_addresses_and_names_are_this_machine() -> None:
    """By address or by name."""
    assert is_loopback("127.1.2.3")
    assert is_loopback("::1")
    assert is_loopback("localhost")
    assert not is_loopback("192.0.2.1")
    assert not is_loopback("localhost.example.com")
