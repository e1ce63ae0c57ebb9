"""Where ``certrotd run`` shows how it is: health, metrics and the status page."""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from certrotd.address import Address, parse
from certrotd.config.base import DomainName, Entry, Items, absolute, refuse, shown
from certrotd.config.modes import Mode
from certrotd.errors import InvalidInput

UNIX = "unix:"
# sun_path of unix(7), less its NUL
MAX_SOCKET_PATH = 107
_SOCKET_MODE = re.compile(r"0?6[06][06]", re.ASCII)
_RIGHT = "such as 127.0.0.1:9641 or unix:/run/certrotd/http.sock"


def _listen(value: object) -> Address | Path:
    if isinstance(value, Address | Path):
        return value
    if not isinstance(value, str):
        raise refuse(f"must be an address or a path {_RIGHT}, got {shown(value)}")
    if value.startswith(UNIX):
        path = absolute(value.removeprefix(UNIX))
        if len(bytes(path)) > MAX_SOCKET_PATH:
            raise refuse(f"is longer than a socket's path can be: {MAX_SOCKET_PATH} bytes")
        return path
    try:
        address = parse(value)
    except InvalidInput as error:
        raise refuse(str(error)) from None
    if not address.is_ip or "%" in address.host:
        raise refuse(f"must be an address of this machine {_RIGHT}, got {shown(value)}")
    if not address.port:
        raise refuse(f"{shown(value)} has no port from 1 to 65535")
    return address


def _mode(value: object) -> Mode:
    if isinstance(value, Mode):
        return value
    # who may connect is who may write
    if not isinstance(value, str) or not _SOCKET_MODE.fullmatch(value):
        raise refuse(f'must be a mode in quotes, "0600", "0660" or "0666", got {shown(value)}')
    return Mode(value, 8)


Listen = Annotated[
    Address | Path,
    PlainValidator(_listen),
    WithJsonSchema(
        {"type": "string", "examples": ["127.0.0.1:9641", "unix:/run/certrotd/http.sock"]}
    ),
]
SocketMode = Annotated[
    Mode,
    PlainValidator(_mode),
    WithJsonSchema({"type": "string", "enum": ["0600", "0660", "0666"]}),
]


class HttpEntry(Entry):
    """The HTTP server of the daemon: read-only, without TLS and without a password."""

    listen: Listen = Field(
        default=Address("127.0.0.1", 9641),
        description="A loopback address and port, or unix: and the path of a socket.",
    )
    mode: SocketMode = Field(
        default=Mode(0o660), description="Who may connect to the socket, as the mode of its file."
    )
    hosts: Items[DomainName] = Field(
        default=(),
        description="Names that browsers may use for it, besides localhost and IP addresses; "
        "others are refused, to stop DNS rebinding.",
    )
    allow_remote: bool = Field(
        default=False,
        description="Allow listen to be an address that other machines can reach; anybody who "
        "reaches it sees everything.",
    )

    @property
    def remote(self) -> bool:
        """Whether other machines may reach it."""
        return isinstance(self.listen, Address) and not ip_address(self.listen.host).is_loopback

    @model_validator(mode="after")
    def _near(self) -> Self:
        if self.remote and not self.allow_remote:
            raise refuse(
                f"{self.listen} is not a loopback address, and there is neither TLS nor a "
                "password: listen at 127.0.0.1, or set allow_remote: true"
            )
        return self
