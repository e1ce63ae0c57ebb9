"""Network addresses as people write them: ``192.0.2.1:53``, ``[2001:db8::1]:443``, ``ns1:53``."""

from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema

from certrotd.address import Address, parse
from certrotd.config.base import refuse, shown
from certrotd.errors import InvalidInput

DNS_PORT = 53
SSH_PORT = 22


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
        if "%" in address.host:
            raise refuse(f"{shown(value)} has a scope: give an address that works from anywhere")
        if only_ip and not address.is_ip:
            raise refuse(f"must be an IP address such as 192.0.2.1:53, got {shown(value)}")
        if not (address.port or any_port):
            raise refuse(f"{shown(value)} has no port from 1 to 65535")
        return address

    return PlainValidator(read)


_SCHEMA = WithJsonSchema({"type": "string", "examples": ["192.0.2.1:53", "[2001:db8::1]:53"]})

ServerAddress = Annotated[Address, _reader(default_port=DNS_PORT), _SCHEMA]
"""A DNS server, by address or by name; port 53 unless it says otherwise."""

ResolverAddress = Annotated[Address, _reader(default_port=DNS_PORT, only_ip=True), _SCHEMA]
"""A DNS server that must be reached without asking the DNS; port 53 unless it says otherwise."""

EndpointAddress = Annotated[Address, _reader(default_port=None), _SCHEMA]
"""A TLS endpoint, by address or by name, with its port."""

SshAddress = Annotated[
    Address,
    _reader(default_port=SSH_PORT),
    WithJsonSchema({"type": "string", "examples": ["edge1.example.com", "192.0.2.7:2222"]}),
]
"""An SSH server, by address or by name; port 22 unless it says otherwise."""

ListenAddress = Annotated[
    Address,
    _reader(default_port=None, only_ip=True, any_port=True),
    _SCHEMA,
]
"""An address of this machine; port 0 lets the system choose one."""
