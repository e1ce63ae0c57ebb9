"""Server addresses are read once, where they are configured."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.dns.address import Address, parse_address, resolved
from certrotd.errors import InvalidInput, NeedsOperator, Transient


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1", Address("127.0.0.1", 53)),
        ("127.0.0.1:5353", Address("127.0.0.1", 5353)),
        ("::1", Address("::1", 53)),
        ("[::1]", Address("::1", 53)),
        ("[2001:db8::1]:5353", Address("2001:db8::1", 5353)),
        ("fe80::1%eth0", Address("fe80::1%eth0", 53)),
    ],
)
def test_addresses_are_read(text: str, expected: Address) -> None:
    """IPv6 has colons of its own, which must not be taken for the port's."""
    assert parse_address(text) == expected


@given(st.ip_addresses(), st.integers(1, 65535))
def test_an_address_reads_back_what_it_prints(ip: object, port: int) -> None:
    """Messages show addresses as the configuration spells them."""
    address = Address(str(ip), port)
    assert parse_address(str(address)) == address


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    """A typo in the configuration is an error of the configuration, not a crash."""
    for names in (False, True):
        try:
            address = parse_address(text, names=names)
        except InvalidInput:
            continue
        assert 0 < address.port < 65536
        assert names or address.is_ip


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":53",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:٣",
        "[::1",
        "[::1]53",
        "[127.0.0.1]:53",
        "ns1.example.net",
        "127.1",
        "2130706433",
        "1.2.3.4.5",
    ],
)
def test_what_is_not_an_address_is_refused(text: str) -> None:
    """Resolvers are not found by name: that needs a resolver."""
    with pytest.raises(InvalidInput, match="DNS server address"):
        parse_address(text)


def test_host_names_are_read_only_where_allowed() -> None:
    """An update server may be named; a name that looks like a number is a mistyped address."""
    assert parse_address("NS1.example.net:5353", names=True) == Address("ns1.example.net", 5353)
    with pytest.raises(InvalidInput, match="is not an IP address or a host name"):
        parse_address("192.0.2.300", names=True)


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
