"""A DNS server may be configured by name; the addresses behind it are looked up at use."""

import socket

import pytest

from certrotd.address import Address
from certrotd.dns.address import resolved
from certrotd.errors import NeedsOperator, Transient


def test_an_ip_address_resolves_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """No look-up is spent on what is known."""
    monkeypatch.setattr(socket, "getaddrinfo", None)
    assert resolved(Address("192.0.2.1", 53)) == (Address("192.0.2.1", 53),)


def test_a_host_name_resolves_through_the_system() -> None:
    """localhost is what every machine knows."""
    assert Address("127.0.0.1", 5353) in resolved(Address("localhost", 5353))


@pytest.mark.parametrize(
    ("number", "failure"),
    [(socket.EAI_NONAME, NeedsOperator), (socket.EAI_AGAIN, Transient)],
)
def test_a_failed_look_up_says_who_acts_next(
    number: int, failure: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that does not exist needs an operator; a resolver that is down needs time."""

    def fail(*args: object, **kw: object) -> object:
        raise socket.gaierror(number, "says the resolver")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(failure, match=r"ns1\.example\.net"):
        resolved(Address("ns1.example.net", 53))
