"""Where a DNS server listens: an IP address, or where allowed a host name, and a port."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from certrotd.dns.names import fqdn
from certrotd.dns.words import shown
from certrotd.errors import InvalidInput, NeedsOperator, Transient

DNS_PORT = 53

_MAX_ADDRESSES = 16


@dataclass(frozen=True)
class Address:
    """A host and a port; ``host`` is an IP literal without brackets, or a host name."""

    host: str
    port: int = DNS_PORT

    @property
    def is_ip(self) -> bool:
        """Whether ``host`` is an IP address (else it is a name to resolve at use)."""
        return _is_ip(self.host)

    @property
    def family(self) -> socket.AddressFamily:
        """AF_INET or AF_INET6; only meaningful when ``is_ip``."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, default_port: int = DNS_PORT, *, names: bool = False) -> Address:
    """Read ``127.0.0.1``, ``127.0.0.1:53``, ``[::1]:53``, ``::1``, and with ``names`` a host name.

    Raises InvalidInput for anything else.
    """
    host, port = _split(text)
    if not (_is_ip(host) or (names and not _looks_numeric(host))):
        wanted = "an IP address or a host name" if names else "an IP address"
        raise _unreadable(text, f"is not {wanted}")
    if not _is_ip(host):
        host = fqdn(host)
    return Address(host, default_port if port is None else _port(text, port))


def resolved(address: Address) -> tuple[Address, ...]:
    """The IP addresses behind ``address``, by the system's own look-up; at most 16.

    Raises Transient if the look-up fails for now and NeedsOperator if the name does not exist.
    """
    if address.is_ip:
        return (address,)
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_NONAME:
            raise NeedsOperator(
                f"DNS server {address.host} does not resolve: {error.strerror}",
                hint="correct the server's name, or give its IP address",
            ) from error
        raise Transient(f"DNS server {address.host}: look-up failed: {error.strerror}") from error
    hosts = dict.fromkeys(str(entry[4][0]) for entry in found)
    return tuple(Address(host, address.port) for host in list(hosts)[:_MAX_ADDRESSES])


def _split(text: str) -> tuple[str, str | None]:
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or ":" not in host or (rest and not rest.startswith(":")):
            raise _unreadable(text, "has unmatched brackets")
        return host, rest[1:] if rest else None
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port
    return text, None


def _port(text: str, port: str) -> int:
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise _unreadable(text, "has a port that is not 1 to 65535")
    return int(port)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _looks_numeric(host: str) -> bool:
    """Whether a resolver might take ``host`` for an address: ``127.1`` and ``2130706433`` are."""
    return host.rpartition(".")[2][:1].isdigit()


def _unreadable(text: str, what: str) -> InvalidInput:
    return InvalidInput(
        f"DNS server address {shown(text)} {what}", hint="for example 192.0.2.1:53 or [2001:db8::1]"
    )
