"""What is wrong with a target that is a well-known service is one line."""

from pathlib import Path

import pytest

from tests.unit.config.written import MINIMAL, loaded, refused, said

TARGET = MINIMAL + "targets:\n  box: {type: %s}\n"
PROBE = 'probe: [{address: "127.0.0.1:443"}]'


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("haproxy, socket: admin.sock", "must be an absolute path"),
        ("postgresql, url: 'sqlite:////db'", "targets.box: url must begin with postgresql:"),
        ("postgresql, url: 'postgresql://u:p@h/db'", "has a password in it"),
        ("http, url: 'http://metrics.example.com/'", "url must begin with https:// unless"),
        ("http, url: 'https://u:p@h/'", "without a user name"),
        ("http, url: 'ftp://h/'", "must be a URL such as"),
        ("http, url: 'http://localhost/', ca_bundle: /r", "ca_bundle is for https"),
        ("http, url: 'https://h/', headers: {Host: x}", "Host is set by certrotd"),
        ("http, url: 'https://h/', headers: {'a b': x}", "must be the name of a header"),
        ("http, url: 'https://h/', status: 99", "must be a whole number from 200 to 599"),
        ("none", "targets.box.probe: is required: Endpoints that must serve"),
    ],
)
def test_it_is_refused(tmp_path: Path, written: str, words: str) -> None:
    """With what would be right."""
    [line] = said(refused(tmp_path, TARGET % written))
    assert words in line


@pytest.mark.parametrize(
    "written",
    [
        "haproxy",
        "postgresql, url: 'postgresql:///postgres?host=/run/postgresql'",
        "postfix",
        "dovecot",
        "apache",
        "http, url: 'http://[::1]:9090/-/reload'",
        "http, url: 'http://metrics.example.com/', plain: true",
        "http, url: 'http://metrics.example.com/', socket: /run/metrics.sock",
        f"none, {PROBE}",
    ],
)
def test_it_is_taken(tmp_path: Path, written: str) -> None:
    """The control."""
    loaded(tmp_path, TARGET % written)
