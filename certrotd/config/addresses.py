"""Network addresses as people write them: ``192.0.2.1:53``, ``[2001:db8::1]:443``, ``ns1:53``."""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema

from certrotd.config.base import refuse, shown
from certrotd.errors import InvalidInput

DNS_PORT = 53

_HOST = re.compile(r"(?!-)(?!.*\.\.)[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """A host (an IP literal without brackets, or a name) and a port."""

    host: str
    port: int

    @property
    def is_ip(self) -> bool:
        """Whether ``host`` is an IP address (else it is a name to look up at use)."""
        return _is_ip(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(text: str, *, default_port: int | None = None) -> Address:
    """Read ``host:port`` or ``[v6]:port``; without a port where there is a ``default_port``.

    Raises InvalidInput with what would be right.
    """
    example = "192.0.2.1:443 or [2001:db8::1]:443"
    host, port = _split(text)
    if ":" in host and not _is_ip(host):
        raise InvalidInput(f"{shown(text)} is not a host and a port", hint=f"such as {example}")
    if not (_is_ip(host) or _is_name(host)):
        raise InvalidInput(f"{shown(text)} has no usable host", hint=f"such as {example}")
    if port is None:
        if default_port is None:
            raise InvalidInput(f"{shown(text)} lacks a port", hint=f"such as {example}")
        return Address(host, default_port)
    if not _PORT.fullmatch(port) or int(port) > 65535:
        raise InvalidInput(f"{shown(text)} has no port from 1 to 65535", hint=f"such as {example}")
    return Address(host, int(port))


def _split(text: str) -> tuple[str, str | None]:
    """Host and port; a bare IPv6 address is all host."""
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if closed and ":" in host and (not rest or rest.startswith(":")):
            return host, rest[1:] if rest else None
        return "", None
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port
    return text, None


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_name(host: str) -> bool:
    """A host name; not something a resolver may read as an address, such as 127.1 (RFC 3696 §2)."""
    return bool(_HOST.fullmatch(host)) and not host.rpartition(".")[2].isdigit()


def _reader(*, default_port: int | None, only_ip: bool = False, any_port: bool = False) -> object:
    """The validator of one kind of address."""

    def read(value: object) -> Address:
        if isinstance(value, Address):
            return value
        if not isinstance(value, str):
            raise refuse(f"must be an address such as 192.0.2.1:53, got {shown(value)}")
        try:
            address = parse(value, default_port=default_port)
        except InvalidInput as error:
            raise refuse(str(error)) from None
        if only_ip and not address.is_ip:
            raise refuse(f"must be an IP address such as 0.0.0.0:53, got {shown(value)}")
        if not (address.port or any_port):
            raise refuse(f"{shown(value)} has no port from 1 to 65535")
        return address

    return PlainValidator(read)


_SCHEMA = WithJsonSchema({"type": "string", "examples": ["192.0.2.1:53", "[2001:db8::1]:53"]})

ServerAddress = Annotated[Address, _reader(default_port=DNS_PORT), _SCHEMA]
"""A DNS server, by address or by name; port 53 unless it says otherwise."""

EndpointAddress = Annotated[Address, _reader(default_port=None), _SCHEMA]
"""A TLS endpoint, by address or by name, with its port."""

ListenAddress = Annotated[
    Address,
    _reader(default_port=None, only_ip=True, any_port=True),
    _SCHEMA,
]
"""An address of this machine; port 0 lets the system choose one."""
