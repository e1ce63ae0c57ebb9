"""Entries of solvers: what goes together, and what cannot be."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from certrotd.config.model import Config
from tests.unit.config.written import MINIMAL, config, refused, said

WEBHOOK = "type: webhook, url: https://dns.example.com"
ROUTE53 = "type: route53"
FILE = "{file: /etc/hostname}"


def text(entry: str) -> str:
    """A configuration with that solver."""
    return f"{MINIMAL}solvers:\n  dns: {{{entry}}}\n"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (f"{WEBHOOK}, username: {FILE}", "username and password go together"),
        (f"{WEBHOOK}, mode: raw", "follow_cname must be false with mode: raw"),
        (
            "type: webhook, url: http://dns.example.com",
            "must begin with https:// unless it is this machine",
        ),
        (
            "type: webhook, url: https://user:secret@dns.example.com",
            "must be a URL without a user name, a password or a fragment",
        ),
        ("type: webhook, url: 'https://dns.example.com/?token=x'", "without a query"),
        (f"{ROUTE53}, access_key_id: {FILE}", "access_key_id and secret_access_key go together"),
        (f"{ROUTE53}, session_token: {FILE}", "session_token takes access_key_id"),
        (
            f"{ROUTE53}, profile: p, access_key_id: {FILE}, secret_access_key: {FILE}",
            "profile and access_key_id exclude each other",
        ),
        (
            "type: acmedns, url: https://auth.example.org, follow_cname: false",
            "follow_cname must be true",
        ),
        (
            "type: acmedns, url: https://auth.example.org, allow_from: [everywhere]",
            "must be a network such as 192.0.2.0/24",
        ),
        ("type: cloudflare, token: a-token", "must be a reference to the secret"),
    ],
)
def test_a_mistake_is_told_in_words(entry: str, expected: str, tmp_path: Path) -> None:
    """And with no secret in them."""
    [problem] = said(refused(tmp_path, text(entry)))
    assert expected in problem
    assert "secret@" not in problem
    assert "a-token" not in problem


@pytest.mark.parametrize(
    "entry",
    [
        f"{WEBHOOK}, username: {FILE}, password: {FILE}",
        f"{WEBHOOK}, mode: raw, follow_cname: false",
        f"{ROUTE53}",
        f"{ROUTE53}, access_key_id: {FILE}, secret_access_key: {FILE}, session_token: {FILE}",
        f"type: powerdns, url: 'http://127.0.0.1:8081', api_key: {FILE}",
        f"type: lexicon, provider: hetzner, options: {{auth_token: {FILE}, other: text}}",
    ],
)
def test_what_is_right_is_taken(entry: str, tmp_path: Path) -> None:
    """The control."""
    assert "dns" in config(tmp_path, text(entry)).solvers


def _acts(loaded: Config) -> timedelta:
    return loaded.solvers["dns"].act_time


@pytest.mark.parametrize(
    ("entry", "seconds"),
    [
        ("type: exec, command: [/bin/true], timeout: 5m", 300),
        ("type: lexicon, provider: ovh", 120),
        (f"{ROUTE53}", 300),
        (f"{WEBHOOK}", 60),
    ],
)
def test_a_solver_has_the_time_that_it_is_configured_to_take(
    entry: str, seconds: int, tmp_path: Path
) -> None:
    """A program with ``timeout: 5m`` was killed after a minute."""
    assert _acts(config(tmp_path, text(entry))) == timedelta(seconds=seconds)
