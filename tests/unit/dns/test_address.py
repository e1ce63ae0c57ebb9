"""A DNS server may be configured by name; the addresses behind it are looked up at use."""

import socket
import threading

import pytest

from certrotd.address import Address
from certrotd.clock import Deadline, SystemClock
from certrotd.dns.address import resolved
from certrotd.errors import NeedsOperator, Transient
from tests.builders import soon


def test_an_ip_address_resolves_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """No look-up is spent on what is known."""
    monkeypatch.setattr(socket, "getaddrinfo", None)
    assert resolved(Address("192.0.2.1", 53), deadline=soon()) == (Address("192.0.2.1", 53),)


def test_a_host_name_resolves_through_the_system() -> None:
    """localhost is what every machine knows."""
    assert Address("127.0.0.1", 5353) in resolved(Address("localhost", 5353), deadline=soon())


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
        resolved(Address("ns1.example.net", 53), deadline=soon())


def test_a_resolver_that_does_not_answer_is_reported_and_waited_for_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The deadline of a publication holds for the name of its server too."""
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(30) and [])
    with pytest.raises(Transient, match=r"DNS server ns1\.example\.net was not looked up") as said:
        resolved(Address("ns1.example.net", 53), deadline=Deadline(SystemClock(), 0.05))
    answered.set()
    assert "/etc/resolv.conf" in said.value.hint
