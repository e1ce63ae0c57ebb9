"""Where the daemon may show how it is."""

from pathlib import Path

import pytest

from certrotd.address import Address
from certrotd.config.http import HttpEntry
from certrotd.config.modes import Mode
from tests.unit.config.written import MINIMAL, config, loaded, refused, said


def test_the_server_is_off_by_default(tmp_path: Path) -> None:
    """Nothing listens that nobody wanted."""
    assert config(tmp_path, MINIMAL).http is None


def test_loopback_is_the_default(tmp_path: Path) -> None:
    """There is neither TLS nor a password."""
    entry = config(tmp_path, "http: {}\n" + MINIMAL).http
    assert entry == HttpEntry()
    assert entry.listen == Address("127.0.0.1", 9641)
    assert not entry.remote


@pytest.mark.parametrize("listen", ["127.8.9.1:80", "[::1]:9641"])
def test_every_loopback_address_is_near(tmp_path: Path, listen: str) -> None:
    """Not just the usual one."""
    entry = config(tmp_path, f'http: {{listen: "{listen}"}}\n' + MINIMAL).http
    assert entry is not None
    assert str(entry.listen) == listen


def test_a_socket_has_a_path_and_a_mode(tmp_path: Path) -> None:
    """For a proxy on the same host."""
    text = 'http: {listen: "unix:/run/certrotd/http.sock", mode: "0666"}\n' + MINIMAL
    entry = config(tmp_path, text).http
    assert entry is not None
    assert (entry.listen, entry.mode) == (Path("/run/certrotd/http.sock"), Mode(0o666))
    assert not entry.remote


def test_an_address_that_others_reach_is_refused_unless_allowed(tmp_path: Path) -> None:
    """A page open to the network is a decision, and warned about all the same."""
    near = said(refused(tmp_path, "http: {listen: 192.0.2.1:9641}\n" + MINIMAL))
    assert near == [
        "1: http: 192.0.2.1:9641 is not a loopback address, and there is neither TLS nor a "
        "password: listen at 127.0.0.1, or set allow_remote: true"
    ]
    text = 'http: {listen: "[::]:9641", allow_remote: true}\n' + MINIMAL
    [warning] = loaded(tmp_path, text).warnings
    assert warning.path == "http.listen"
    assert warning.message.startswith("anybody who reaches [::]:9641 sees every certificate")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("listen: 9641", "listen: must be an address or a path such as 127.0.0.1:9641 or unix:"),
        ("listen: localhost:9641", "listen: must be an address of this machine such as 127.0.0.1"),
        ('listen: "127.0.0.1"', 'listen: "127.0.0.1" lacks a port'),
        ("listen: 127.0.0.1:0", 'listen: "127.0.0.1:0" has no port from 1 to 65535'),
        ("listen: 'unix:run/s'", 'listen: must be an absolute path without ".."'),
        (f"listen: unix:/{'a' * 107}", "listen: is longer than a socket's path can be: 107 bytes"),
        ("listen: 'fe80::1%eth0:9641'", "listen: "),
        ("mode: 660", "mode: must be a mode in quotes"),
        ('mode: "0640"', "mode: must be a mode in quotes"),
        ("hosts: [127.0.0.1]", "hosts[0]: must be a domain name such as example.com"),
        ("hosts: ['*.example.com']", "hosts[0]: must be a domain name such as example.com"),
        ("port: 9641", "port: unknown key, known: listen, mode, hosts"),
    ],
)
def test_an_invalid_option_is_refused_with_an_example(
    tmp_path: Path, line: str, expected: str
) -> None:
    """Before the daemon starts, at its line."""
    [problem] = said(refused(tmp_path, f"http:\n  {line}\n" + MINIMAL))
    assert expected in problem
    assert problem.startswith("2: http")


def test_the_responder_cannot_have_the_same_address(tmp_path: Path) -> None:
    """It listens by TCP too."""
    solver = (
        "solvers: {here: {type: responder, zones: [a.example.org], nameserver: ns.example.org, "
        'listen: ["127.0.0.1:5353"]}}\n'
    )
    near = "http: {listen: 127.0.0.1:5353}\n"
    [problem] = said(refused(tmp_path, near + solver + MINIMAL))
    assert "127.0.0.1:5353 is also used by" in problem
    assert config(tmp_path, "http: {listen: 127.0.0.1:5354}\n" + solver + MINIMAL).http
