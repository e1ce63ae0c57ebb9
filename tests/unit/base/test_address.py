"""Addresses: hosts and ports, with IPv6 told apart from the port."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.address import Address, parse
from certrotd.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1:53", Address("192.0.2.1", 53)),
        ("[2001:db8::1]:443", Address("2001:db8::1", 443)),
        ("ns1.example.com:5353", Address("ns1.example.com", 5353)),
        ("localhost:1", Address("localhost", 1)),
    ],
)
def test_hosts_and_ports_are_read(text: str, address: Address) -> None:
    """IPv6 has colons of its own, which must not be taken for the port's."""
    assert parse(text) == address
    assert address.is_ip == text[0].isdigit() or text[0] == "["


@pytest.mark.parametrize("text", ["192.0.2.1", "::1", "[::1]", "ns1"])
def test_a_port_may_be_left_out_only_where_there_is_a_usual_one(text: str) -> None:
    """A DNS server is at port 53; a TLS endpoint could be anywhere."""
    assert parse(text, default_port=53) == Address(text.strip("[]"), 53)
    with pytest.raises(InvalidInput, match="lacks a port"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no usable host"),
        (":53", "no usable host"),
        ("[::1:53", "no usable host"),
        ("[]:53", "no usable host"),
        ("[192.0.2.1]:53", "no usable host"),
        ("[::1]53", "no usable host"),
        ("[::g]:53", "not a host and a port"),
        ("a:b:c", "not a host and a port"),
        ("127.1:53", "no usable host"),
        ("2130706433:53", "no usable host"),
        ("a..b:53", "no usable host"),
        ("-a:53", "no usable host"),
        ("a b:53", "no usable host"),
        ("https://a:53", "is a URL"),
        ("a/b:53", "no usable host"),
        ("a:", "no port from 1 to 65535"),
        ("a:x", "no port from 1 to 65535"),
        ("a:65536", "no port from 1 to 65535"),
        ("a:-1", "no port from 1 to 65535"),
        ("a:١", "no port from 1 to 65535"),
    ],
)
def test_a_text_that_is_no_address_is_refused_with_an_example(text: str, said: str) -> None:
    """A resolver would read 127.1 as another address than a person."""
    with pytest.raises(InvalidInput, match=said) as caught:
        parse(text)
    assert "192.0.2.1:443" in caught.value.hint


def test_an_address_of_one_interface_is_read() -> None:
    """resolv.conf may name a resolver on the link itself."""
    assert parse("[fe80::1%eth0]", default_port=53) == Address("fe80::1%eth0", 53)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_an_address_reads_back_as_it_is_shown(ip: object, port: int) -> None:
    """Messages show addresses as the configuration spells them."""
    address = Address(str(ip), port)
    assert parse(str(address)) == address


@given(st.text(max_size=60) | st.text("0123456789:.[]ab", max_size=40))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    """A typo is an error of the configuration, never a crash."""
    with suppress(InvalidInput):
        parse(text, default_port=53)
